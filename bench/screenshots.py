"""Pictures of every main state of the page, and a short animation of painting.

python bench/screenshots.py STUDY OUT      # a study, served by `regaze serve` (a copy: the page writes into it)
python bench/screenshots.py painted OUT    # painted eyes and the tests' stand-in for the server
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.page import stub

DESK, TABLET, PHONE = (1600, 1000), (1024, 768), (390, 844)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with _served(options.study) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        session = browser.new_context()
        session.new_page().goto(address)
        cookies = session.cookies()
        session.close()
        for language, theme in (("en", "dark"), ("en", "light"), ("ja", "dark")):
            page = _open(browser, address, cookies, DESK, language, theme)
            _desk(page, options.out, f"{language}-{theme}")
            page.context.close()
        for name, size in (("tablet", TABLET), ("phone", PHONE)):
            page = _open(browser, address, cookies, size, "en", "dark", has_touch=True, device_scale_factor=2)
            _paint(page)
            _shot(page, options.out / f"{name}-draw.webp")
            page.context.close()
        page = _open(browser, address, cookies, (1440, 900), "en", "dark")
        _animate(page, options.out / "painting.webp")
        browser.close()


@contextlib.contextmanager
def _served(study: str) -> Iterator[str]:
    """Address (for a study: the link that opens a session)."""
    if study == "painted":
        cases = stub.painted_cases(1400, 6)
        cases[1].name = "eye-002"
        _, address, stop = stub.serve(cases)
        yield address
        stop()
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(study).name
        shutil.copytree(study, copy)
        command = [sys.executable, "-m", "regaze", "serve", str(copy), "--port", "8439"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
        try:
            yield next(found[0] for line in server.stdout or () if (found := re.findall(r"http\S+", line)))
        finally:
            server.terminate()
            server.wait()


def _open(
    browser: Any, address: str, cookies: Any, size: tuple[int, int], language: str, theme: str, **options: Any
) -> Any:
    context = browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), **options)
    context.add_cookies(cookies)
    context.add_init_script(f"localStorage['regaze.language']='{language}';localStorage['regaze.theme']='{theme}'")
    page = context.new_page()
    page.goto(address.split("/enter")[0])
    page.wait_for_selector(".why")
    page.wait_for_timeout(2500)
    while page.locator(".tools .pair button").first.is_enabled():  # what the picture before left
        page.keyboard.press("Control+z")
        page.wait_for_timeout(100)
    return page


def _desk(page: Any, out: Path, name: str) -> None:
    """All screens of a desk."""
    _paint(page)
    _shot(page, out / f"{name}-draw.webp")
    for key in ("o", "k", "g"):
        page.keyboard.press(key)
    page.wait_for_timeout(1200)
    _shot(page, out / f"{name}-outlines.webp")
    page.keyboard.press("?")
    page.wait_for_timeout(400)
    _shot(page, out / f"{name}-keys.webp")
    page.keyboard.press("Escape")
    for screen in ("queue", "rounds", "overview"):
        page.click(f"nav a[href='#/{screen}']")
        page.wait_for_timeout(1500)
        _shot(page, out / f"{name}-{screen}.webp")


def _shot(page: Any, file: Path) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(file, quality=84, method=5)


def _place(page: Any, x: float, y: float) -> tuple[float, float]:
    box = page.locator("canvas.canvas").bounding_box()
    unit = min(box["width"], box["height"])
    return box["x"] + box["width"] / 2 + x * unit, box["y"] + box["height"] / 2 + y * unit


LOOK = (((-0.1, -0.1), (-0.03, -0.09), (0.01, -0.05)), ((0.0, 0.1), (0.06, 0.14), (0.1, 0.1)))
AVOID = ((-0.3, 0.05), (-0.25, 0.15), (-0.17, 0.17), (-0.15, 0.1), (-0.22, 0.02))


def _paint(page: Any) -> None:
    """Two strokes and a lasso."""
    for line in LOOK:
        _stroke(page, line, 8)
    page.keyboard.press("n")
    page.keyboard.press("f")
    _stroke(page, AVOID, 8)
    page.keyboard.press("l")
    page.keyboard.press("b")
    page.mouse.move(*_place(page, -0.45, 0.45))
    page.wait_for_selector(".saved.is-saved")
    page.wait_for_timeout(1500)


def _stroke(page: Any, points: Any, steps: int, each: Any = None) -> None:
    page.mouse.move(*_place(page, *points[0]))
    page.mouse.down()
    for start, stop in itertools.pairwise(points):
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, stop, strict=True))
            page.mouse.move(*_place(page, x, y))
            if each and step % 2 == 0:
                each()
    page.mouse.up()


def _animate(page: Any, file: Path) -> None:
    """Painting while the bars move."""
    frames: list[Image.Image] = []

    def frame() -> None:
        page.wait_for_timeout(120)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        frames.append(picture.resize((960, 600), Image.Resampling.LANCZOS))

    frame()
    for line in LOOK:
        _stroke(page, line, 8, frame)
    page.keyboard.press("n")
    page.keyboard.press("f")
    _stroke(page, AVOID, 6, frame)
    page.wait_for_timeout(800)
    frame()
    durations = [700, *[110] * (len(frames) - 2), 2200]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=72, method=4)


if __name__ == "__main__":
    main()
