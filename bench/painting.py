"""What painting costs in the browser: a pen on a photograph of 4288 x 2848 pixels in a view of 1600 x 1000.

    python bench/painting.py [--strokes 500]

Headless Chromium without a GPU, so all drawing is the processor's work. CPU milliseconds a frame are the figure to
trust on a busy machine. What-ifs are answered by the tests' stand-in.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.page import stub

WIDTH, HEIGHT = 4288, 2848
POINTS = 60  # of a stroke

# Main-thread time of input handlers and frame callbacks, summed up per frame.
_TIMER = """
window.frames_ms = []; let spent = 0; let inside = false;
const timed = (run) => function (...args) {
  if (inside) return run.apply(this, args);
  inside = true; const began = performance.now();
  try { return run.apply(this, args); } finally { spent += performance.now() - began; inside = false; }
};
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (run) => frame(timed(function (now) {
  run(now);
  queueMicrotask(() => { window.frames_ms.push(spent); spent = 0; });
}));
const add = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (name, run, options) {
  return add.call(this, name, typeof run === "function" && name.startsWith("pointer") ? timed(run) : run, options);
};
"""


def main() -> None:
    """Print frame times, CPU a frame and memory over the strokes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strokes", type=int, default=500)
    strokes = parser.parse_args().strokes
    (case,) = stub.painted_cases(1400, 1)
    case.photo = cv2.resize(case.photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    case.lesions = []
    _, address, stop = stub.serve([case])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600 + 392, "height": 1000 + 52})
        page.add_init_script(_TIMER)
        page.goto(address)
        page.wait_for_selector(".why strong")
        page.wait_for_timeout(8000)
        whole, pen = browser.new_browser_cdp_session(), page.context.new_cdp_session(page)
        for name, key in (("whole photograph", "0"), ("one pixel is one pixel", "1")):
            page.keyboard.press(key)
            page.wait_for_timeout(1500)
            _report(name, page, whole, pen, 20)
        first = _memory(whole)
        _report(f"{strokes} strokes more", page, whole, pen, strokes)
        print(f"renderer's memory: {first:.0f} MB before, {_memory(whole):.0f} MB after")
        browser.close()
    stop()


def _report(name: str, page: Any, whole: Any, pen: Any, strokes: int) -> None:
    page.evaluate("frames_ms.length = 0")
    before, began = _cpu(whole), time.perf_counter()
    for number in range(strokes):
        page.keyboard.press("ln"[number // 7 % 2])  # look over avoid and back: something changes in every frame
        _stroke(pen, number)
    frames = np.array(page.evaluate("frames_ms"))
    used = (_cpu(whole) - before) * 1000 / max(len(frames), 1)
    p50, p95 = np.percentile(frames, [50, 95])
    rate = len(frames) / (time.perf_counter() - began)
    print(
        f"{name}: main thread {p50:.2f} ms p50, {p95:.2f} p95 a frame, renderer {used:.1f} CPU ms; {rate:.0f} frames/s"
    )


def _stroke(pen: Any, number: int) -> None:
    x, y = 300 + 97 * number % 900, 250 + 61 * number % 550
    for step in range(POINTS):
        at = {"x": x + 2.5 * step, "y": y + 40 * math.sin(step / 8)}
        kind = "mousePressed" if step == 0 else "mouseReleased" if step == POINTS - 1 else "mouseMoved"
        event = {
            "type": kind,
            **at,
            "button": "left",
            "buttons": 1,
            "pointerType": "pen",
            "force": 0.6,
            "clickCount": 1,
        }
        pen.send("Input.dispatchMouseEvent", event)


def _processes(whole: Any) -> list[dict[str, Any]]:
    info = whole.send("SystemInfo.getProcessInfo")["processInfo"]
    return [process for process in info if process["type"] == "renderer"]


def _cpu(whole: Any) -> float:
    return sum(process["cpuTime"] for process in _processes(whole))


def _memory(whole: Any) -> float:
    pages = [int(Path(f"/proc/{p['id']}/statm").read_text().split()[1]) for p in _processes(whole)]
    return max(pages) * 4096 / 2**20


if __name__ == "__main__":
    main()
