"""Nothing drawn is lost, and nothing of others is overwritten."""

from __future__ import annotations

import json
import urllib.request

from tests.page.sheet import Paper


def test_a_reload_shows_the_same_strokes_to_the_pixel(paper):
    """Strokes, decisions and remark are there again after a reload, and the canvas shows the same pixels."""
    paper.stroke((0.4, 0.4), (0.55, 0.5))
    paper.page.keyboard.press("n")
    paper.stroke((0.3, 0.6), (0.5, 0.6))
    paper.page.keyboard.press("Shift+F")
    paper.page.fill(".remark textarea", "edge of the disc")
    paper.page.mouse.move(*paper.place(0.02, 0.9))
    paper.until(lambda: (paper.draft() or {}).get("remark") == "edge of the disc" and paper.draft()["flagged"])
    before, saved = paper.picture(), paper.wait_saved()
    case, window = paper.case, saved["window"]
    paper.page.reload()
    paper.wait_for_case()
    assert paper.case == case
    assert paper.page.evaluate("sessionStorage['regaze.window']") == window
    assert paper.picture() == before
    assert paper.page.input_value(".remark textarea") == "edge of the disc"
    assert paper.wait_saved()["shapes"] == saved["shapes"]


def test_a_server_that_is_away_costs_nothing(paper):
    """The page says that it is not saved, keeps the drawing, and saves it by itself when the server is back."""
    paper.stroke((0.4, 0.4), (0.5, 0.5))
    paper.wait_saved()
    paper.world.down = True
    paper.stroke((0.5, 0.4), (0.6, 0.5))
    paper.until(lambda: paper.page.locator(".saved.is-away").count())
    assert "Not saved" in paper.saved
    assert len(paper.draft()["shapes"]) == 1
    paper.world.down = False
    paper.until(lambda: len(paper.draft()["shapes"]) == 2, 30)
    assert paper.wait_saved()["version"] == 2


def test_a_window_closed_while_the_server_was_away_is_recovered(browser, world):
    """The drawing that never reached the server comes back from the browser when the case is opened again."""
    held, address = world
    first = Paper(browser, address, held)
    held.down = True
    first.stroke((0.4, 0.4), (0.5, 0.5))
    first.until(lambda: first.page.locator(".saved.is-away").count())
    drawn = first.page.evaluate("location.hash")
    first.page.close()
    held.down = False
    held.cases[0].holder = None  # its lease ran out
    again = Paper(browser, address, held, context=first.context)
    assert again.page.evaluate("location.hash") == drawn
    assert len(again.wait_saved()["shapes"]) == 1
    again.close()


def _put(address: str, case: int, draft: dict) -> int:
    request = urllib.request.Request(f"{address}/api/cases/{case}/draft", json.dumps(draft).encode(), method="PUT")  # noqa: S310 - the stand-in's own address
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        return int(json.load(answer)["version"])


def test_a_newer_save_elsewhere_is_shown_and_never_overwritten(paper):
    """Both drawings survive until the expert says which one counts."""
    other = {
        "window": "other",
        "base": 0,
        "decision": None,
        "reason": "",
        "grade": 3,
        "flagged": False,
        "remark": "mine",
    }
    other["shapes"] = [{"kind": "box", "mark": "look", "points": [[100, 100], [180, 160]]}]
    _put(paper.address, paper.case, other)
    paper.stroke((0.5, 0.4), (0.6, 0.5))
    paper.until(lambda: paper.page.locator(".conflict").count())
    paper.stroke((0.5, 0.6), (0.6, 0.6))
    paper.page.wait_for_timeout(1500)
    assert paper.draft()["window"] == "other"
    assert "newer elsewhere" in paper.saved
    paper.page.get_by_role("button", name="Keep what is here").click()
    paper.until(lambda: len(paper.draft()["shapes"]) == 2 and paper.draft()["window"] != "other")
    _put(paper.address, paper.case, other | {"base": paper.draft()["version"]})
    paper.stroke((0.4, 0.3), (0.5, 0.3))
    paper.page.get_by_role("button", name="Show the other").click()
    paper.until(lambda: paper.page.input_value(".remark textarea") == "mine")
    assert paper.page.locator(".saved.is-saved").count() == 1
    assert paper.draft()["window"] == "other"


def test_finishing_makes_one_correction_and_opens_the_next_case(paper):
    """Save, accept, nothing and skip end a case once each, with what the expert said."""
    first = paper.case
    paper.stroke((0.4, 0.4), (0.55, 0.5))
    paper.page.select_option(".decide select", "4")
    paper.page.keyboard.press("Control+Enter")
    paper.until(lambda: paper.case != first)
    paper.wait_for_case()
    (done,) = paper.world.finished
    assert done["case"] == first
    assert done["decision"] == "correct"
    assert done["grade"] == 4
    assert len(done["shapes"]) == 1
    second = paper.case
    paper.page.keyboard.press("Shift+N")
    paper.until(lambda: any(set(grid) == {0} for grid in paper.world.grids))
    paper.page.keyboard.press("Control+Enter")
    paper.until(lambda: paper.case != second)
    paper.wait_for_case()
    assert paper.world.finished[1]["decision"] == "nothing"
    paper.page.keyboard.press("Shift+S")
    paper.page.get_by_label("Not a photograph of a fundus").check()
    paper.page.get_by_role("button", name="Skip this photograph").click()
    paper.until(lambda: len(paper.world.finished) == 3)
    assert paper.world.finished[2]["decision"] == "skip"
    assert paper.world.finished[2]["reason"] == "not_fundus"
    paper.page.get_by_text("Nothing is waiting").wait_for()
    assert [case.state for case in paper.world.cases] == ["corrected", "corrected", "skipped"]
