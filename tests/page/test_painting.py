"""Painting by mouse, pen and finger, in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

from tests.page.sheet import Paper


def test_a_stroke_is_saved_and_moves_the_bars(paper):
    """What the mouse draws is a stroke in original pixels, the network is asked about it, and before and now appear."""
    assert paper.page.locator(".tick.before").count() == 0
    paper.stroke((0.4, 0.4), (0.5, 0.45), (0.55, 0.6))
    (shape,) = paper.wait_saved()["shapes"]
    assert shape["kind"] == "stroke"
    assert shape["mark"] == "look"
    assert shape["radius"] == 20
    size = paper.world.cases[paper.case].photo.shape[0]
    assert all(0 < value < size for point in shape["points"] for value in point)
    paper.until(lambda: paper.page.locator(".bar .tick.before").count() == 5)
    assert paper.page.locator(".bar .tick.even").count() == 5
    grids = np.frombuffer(paper.world.grids[-1], np.uint8)
    assert grids.size == 64**2 + 32**2 + 16**2
    assert set(grids.tolist()) == {254, 255}


def test_undo_and_redo_are_exact_to_the_pixel(paper):
    """Undoing everything shows the untouched photograph again, redoing the same drawing, and both are saved."""
    empty = paper.picture()
    paper.stroke((0.35, 0.4), (0.6, 0.5))
    paper.page.keyboard.press("n")
    paper.page.keyboard.press("f")
    paper.stroke((0.5, 0.4), (0.6, 0.7), (0.4, 0.6))
    paper.page.keyboard.press("r")
    paper.stroke((0.3, 0.3), (0.4, 0.35))
    paper.page.keyboard.press("b")
    paper.page.keyboard.press("e")
    paper.stroke((0.5, 0.3), (0.5, 0.7))
    paper.page.mouse.move(*paper.place(0.02, 0.9))
    drawn = paper.picture()
    assert [s["kind"] for s in paper.wait_saved()["shapes"]] == ["stroke", "polygon", "box", "stroke"]
    assert [s["mark"] for s in paper.wait_saved()["shapes"]] == ["look", "avoid", "avoid", "erase"]
    for _ in range(4):
        paper.page.keyboard.press("Control+z")
    assert paper.picture() == empty
    paper.until(lambda: paper.draft()["shapes"] == [])
    for _ in range(4):
        paper.page.keyboard.press("Control+Shift+Z")
    assert paper.picture() == drawn
    assert drawn != empty


def test_the_wand_takes_the_region_of_a_click(paper):
    """A click with the wand is one mask of the whole photograph's runs, around the click; one undo takes it back."""
    paper.page.keyboard.press("w")
    paper.stroke((0.5, 0.5), (0.56, 0.5))
    (shape,) = paper.wait_saved()["shapes"]
    case = paper.world.cases[paper.case]
    assert shape["kind"] == "mask"
    assert sum(shape["runs"]) == case.photo.shape[0] * case.photo.shape[1]
    assert sum(shape["runs"][1::2]) > 4
    paper.page.keyboard.press("Control+z")
    paper.until(lambda: paper.draft()["shapes"] == [])


def test_the_right_button_erases_and_space_moves(paper):
    """The right button erases whatever mark is chosen; space and drag moves the view and draws nothing."""
    paper.stroke((0.4, 0.5), (0.6, 0.5))
    paper.stroke((0.5, 0.4), (0.5, 0.6), button="right")
    paper.until(lambda: len(paper.wait_saved()["shapes"]) == 2)
    assert paper.draft()["shapes"][1]["mark"] == "erase"
    before = paper.picture()
    paper.page.keyboard.down(" ")
    paper.stroke((0.5, 0.5), (0.6, 0.6))
    paper.page.keyboard.up(" ")
    assert paper.picture() != before
    assert len(paper.wait_saved()["shapes"]) == 2


@pytest.fixture
def tablet(browser, world):
    """The page on a screen that takes touch."""
    held, address = world
    paper = Paper(browser, address, held, has_touch=True)
    yield paper
    paper.close()


def test_a_pen_paints_while_the_palm_rests(tablet):
    """The pen's stroke alone is drawn, the view does not move, and pen mode stays until its button is pressed."""
    before = tablet.page.locator(".zoom-value").inner_text()
    tablet.pen("mouseMoved", 0.4, 0.4, pressed=False)
    tablet.touch("touchStart", (0.62, 0.7, 44))
    tablet.pen("mousePressed", 0.4, 0.4)
    for step in range(20):
        tablet.pen("mouseMoved", 0.4 + step * 0.008, 0.4 + step * 0.004)
        tablet.touch("touchMove", (0.62 + step * 0.004, 0.7, 44))
    tablet.pen("mouseReleased", 0.56, 0.48)
    tablet.touch("touchEnd")
    (shape,) = tablet.wait_saved()["shapes"]
    assert shape["kind"] == "stroke"
    assert len(shape["points"]) >= 20
    assert tablet.page.locator(".zoom-value").inner_text() == before
    assert tablet.page.locator(".pen-chip").is_visible()


def test_in_pen_mode_fingers_move_and_never_paint(tablet):
    """One finger pans and two pinch, nothing is drawn; out of pen mode, by its button, a finger draws."""
    tablet.pen("mousePressed", 0.5, 0.5)
    tablet.pen("mouseMoved", 0.55, 0.5)
    tablet.pen("mouseReleased", 0.55, 0.5)
    tablet.page.wait_for_timeout(700)
    still = tablet.picture()
    tablet.touch("touchStart", (0.5, 0.5, 6))
    for step in range(1, 6):
        tablet.touch("touchMove", (0.5 + 0.03 * step, 0.5, 6))
    tablet.touch("touchEnd")
    assert tablet.picture() != still
    before = tablet.page.locator(".zoom-value").inner_text()
    tablet.touch("touchStart", (0.45, 0.5, 6), (0.55, 0.5, 6))
    for step in range(1, 8):
        tablet.touch("touchMove", (0.45 - 0.02 * step, 0.5, 6), (0.55 + 0.02 * step, 0.5, 6))
    tablet.touch("touchEnd")
    assert float(tablet.page.locator(".zoom-value").inner_text()[:-1]) > 1.5 * float(before[:-1])
    assert len(tablet.wait_saved()["shapes"]) == 1
    tablet.page.locator(".pen-chip").click()
    tablet.touch("touchStart", (0.4, 0.6, 6))
    for step in range(1, 6):
        tablet.touch("touchMove", (0.4 + 0.03 * step, 0.6, 6))
    tablet.touch("touchEnd")
    tablet.until(lambda: len(tablet.draft()["shapes"]) == 2)


_SYNTHETIC = """(c, [events, at]) => {
  for (const [kind, x, button, buttons] of events) {
    c.dispatchEvent(new PointerEvent(kind, { pointerId: 77, pointerType: "pen", isPrimary: true, bubbles: true,
      clientX: at[0] + x, clientY: at[1], button, buttons }));
  }
}"""


def test_a_cancelled_pointer_keeps_its_stroke_and_the_eraser_end_erases(paper):
    """What was drawn until `pointercancel` stays; a stroke with the pen's other end (button 5) is one of erasing."""
    at = paper.place(0.4, 0.5)
    cancelled = [
        ["pointerdown", 0, 0, 1],
        *[["pointermove", 9 * i, -1, 1] for i in range(9)],
        ["pointercancel", 80, 0, 0],
    ]
    paper.page.eval_on_selector("canvas.canvas", _SYNTHETIC, [cancelled, at])
    (shape,) = paper.wait_saved()["shapes"]
    assert len(shape["points"]) == 9
    eraser = [
        ["pointerdown", 20, 5, 32],
        *[["pointermove", 20 + 9 * i, -1, 32] for i in range(5)],
        ["pointerup", 60, 5, 0],
    ]
    paper.page.eval_on_selector("canvas.canvas", _SYNTHETIC, [eraser, at])
    paper.until(lambda: [s["mark"] for s in paper.draft()["shapes"]] == ["look", "erase"])


def test_one_question_at_a_time_and_the_newest_drawing_wins(paper):
    """However slow the network, painting goes on, few questions are asked, and the last is about the whole drawing."""
    paper.world.delay = 0.4
    paper.stroke((0.3, 0.4), (0.4, 0.5), (0.5, 0.4), (0.6, 0.5), (0.6, 0.6))
    paper.stroke((0.4, 0.6), (0.5, 0.65))
    shapes = paper.wait_saved()["shapes"]
    assert len(shapes) == 2
    paper.until(lambda: paper.page.locator(".pulse.is-on").count() == 0)
    assert 1 <= len(paper.world.grids) < 12
    ask = """async ([shapes, side]) => {
      const { CellCounts } = await import("/static/cells.js");
      const { History } = await import("/static/history.js");
      const counts = new CellCounts(side, side, { left: 0, top: 0, side }, [[64, 64], [32, 32], [16, 16]]);
      const history = new History(side, side, (...run) => counts.change(...run));
      for (const shape of shapes) history.add(shape);
      return Array.from(counts.grids(false));
    }"""
    expected = paper.page.evaluate(ask, [shapes, paper.world.cases[paper.case].photo.shape[0]])
    assert list(paper.world.grids[-1]) == expected
