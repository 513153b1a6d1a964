"""The whole loop in a browser: a study, `regaze serve`, an expert, a killed server, a round, its verdict, and back."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.page.sheet import Paper

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("regaze.server.app") is None or importlib.util.find_spec("fastapi") is None,
        reason="regaze serve is missing: pip install 'regaze[serve]'",
    ),
]


class Served:
    """`regaze serve` on a study, in a process that can be killed and started again."""

    def __init__(self, study: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.study = study
        self.link = self.start()

    def start(self) -> str:
        """Start it; the link that it prints."""
        command = [sys.executable, "-m", "regaze", "serve", str(self.study), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = []
        for line in self.process.stdout:
            said.append(line)
            if found := re.search(r"http\S+/enter\S+", line):
                return found[0]
        raise AssertionError("".join(said))

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def served(new_study, regaze, tiny):
    """A served study with a model, whose photographs wait for an expert."""
    study = new_study("study")
    for call in (
        ("init", study, "--data", tiny["data"], "--size", "64"),
        ("train", study, *tiny["network"], *tiny["training"], *tiny["machine"]),
        ("collect", study, *tiny["machine"]),
        ("select", study, "--everything"),
    ):
        assert regaze(*call, "--quiet").code == 0
    served = Served(study)
    yield served
    served.kill()


def _draft(paper: Paper) -> dict:
    return paper.context.request.get(f"{paper.origin}/api/cases/{paper.case}").json()["draft"] or {"shapes": []}


def test_an_expert_works_through_the_loop(browser, served):
    """Open by link, zoom, paint by mouse and pen, undo, save, reload, next, lose the server, train, judge, go back."""
    paper = Paper(browser, served.link, None, has_touch=True)
    page = paper.page

    fitted = page.locator(".zoom-value").inner_text()
    page.mouse.move(*paper.place(0.5, 0.5))
    page.mouse.wheel(0, -400)
    paper.until(lambda: page.locator(".zoom-value").inner_text() != fitted)
    page.keyboard.press("0")

    paper.stroke((0.4, 0.4), (0.5, 0.5))
    paper.until(lambda: page.locator(".bar .tick.before").count() > 0, 60)
    paper.pen("mousePressed", 0.55, 0.4)
    paper.touch("touchStart", (0.7, 0.7, 44))
    for step in range(10):
        paper.pen("mouseMoved", 0.55 + 0.01 * step, 0.42)
    paper.pen("mouseReleased", 0.65, 0.42)
    paper.touch("touchEnd")
    page.locator(".pen-chip").click()
    paper.stroke((0.4, 0.7), (0.5, 0.7))
    page.keyboard.press("Control+z")
    paper.until(lambda: len(_draft(paper)["shapes"]) == 2)
    paper.until(lambda: page.locator(".saved.is-saved").count())
    page.mouse.move(*paper.place(0.02, 0.9))
    drawn, case = paper.picture(), paper.case
    page.reload()
    paper.wait_for_case()
    page.mouse.move(*paper.place(0.02, 0.9))
    assert paper.picture() == drawn
    assert paper.case == case

    page.keyboard.press("Control+Enter")
    paper.until(lambda: paper.case != case)
    paper.wait_for_case()

    page.mouse.move(*paper.place(0.4, 0.4))
    page.mouse.down()
    page.mouse.move(*paper.place(0.5, 0.45), steps=4)
    served.kill()
    page.mouse.move(*paper.place(0.6, 0.5), steps=4)
    page.mouse.up()
    paper.until(lambda: page.locator(".saved.is-away").count(), 60)
    case = paper.case
    page.goto(served.start())
    paper.wait_for_case()
    assert paper.case == case
    paper.until(lambda: len(_draft(paper)["shapes"]) == 1, 60)
    page.keyboard.press("Control+Enter")
    paper.until(lambda: paper.case != case, 60)

    page.click("nav a[href='#/rounds']")
    before = page.locator(".round.is-active h2").inner_text()
    page.get_by_role("button", name="Train a round").click()
    page.get_by_role("heading", name="Round trained").wait_for(timeout=400_000)
    page.get_by_role("button", name="Use the new model").click()
    paper.until(lambda: page.locator(".round.is-active h2").inner_text() != before)
    assert page.locator(".round.is-active .chip").count() >= 2
    page.locator(".round", has_text=before).last.get_by_role("button", name="Go back to this one").click()
    paper.until(lambda: page.locator(".round.is-active h2").inner_text() == before)
    paper.close()
