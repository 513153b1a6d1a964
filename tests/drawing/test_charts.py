"""Drawings: well-formed and escaped, in both forms; charts leave gaps where figures are missing."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from regaze.drawing.canvas import SCALE, Canvas
from regaze.drawing.charts import NARROW, Axis, Bar, Curve, curve_chart, interval_chart, swatch, ticks
from regaze.evaluation.seeds import Estimate

SVG = "{http://www.w3.org/2000/svg}"


def _estimate(value, low=None, high=None):
    return Estimate(value, low, high, (value,), 3, 3)


def test_both_files_hold_the_same_drawing(tmp_path):
    """The SVG parses, escapes what is written, and the PNG has its size and its colours in its place."""
    canvas = Canvas(60, 40, 'a <label> & "more"')
    canvas.box((10, 10), 20, 20, "#0a5c8a")
    canvas.text((2, 8), "<b> & c", size=6)
    canvas.line([(0, 35), (60, 35)], "#8a6a1c", 2, dash=(4, 3))
    canvas.image((40, 10), 10, np.full((2, 2, 3), (255, 0, 0), dtype=np.uint8))
    vector, raster = canvas.write(tmp_path / "drawing")
    root = ElementTree.fromstring(vector.read_text(encoding="utf-8"))  # noqa: S314 - our own file
    assert root.get("aria-label") == 'a <label> & "more"'
    assert root.find(f"{SVG}text").text == "<b> & c"
    with Image.open(raster) as picture:
        assert picture.size == (60 * SCALE, 40 * SCALE)
        assert picture.getpixel((20 * SCALE, 20 * SCALE)) == (0x0A, 0x5C, 0x8A)
        assert picture.getpixel((45 * SCALE, 15 * SCALE)) == (255, 0, 0)
        dashes = {picture.getpixel((x, 35 * SCALE)) for x in range(60 * SCALE)}
        assert {(0x8A, 0x6A, 0x1C), (255, 255, 255)} <= dashes


def test_signs_that_the_font_lacks_are_no_boxes():
    """A true minus and a no-break space are drawn in the picture as what they stand for."""
    written = []
    for words in ("\N{MINUS SIGN}1\N{NO-BREAK SPACE}%", "-1 %"):
        canvas = Canvas(40, 20, "label")
        canvas.text((5, 15), words)
        written.append(canvas.png().tobytes())
    assert written[0] == written[1]


def test_a_drawing_inside_a_page():
    """A chart has words for who does not see it, escaped, and scales with its place; an ornament is passed over."""
    canvas = Canvas(60, 40, '<b> & "c"')
    page = canvas.__html__()
    assert page.startswith(
        '<svg class="chart" role="img" aria-label="&lt;b&gt; &amp; &quot;c&quot;" viewBox="0 0 60 40">'
    )
    assert swatch(Curve("", [], "#000000")).__html__().startswith('<svg aria-hidden="true" viewBox')


def test_narrow_charts_have_names_above_and_their_own_scale():
    """The page's charts are one width; a row without a name is another figure of the row above."""
    bars = [Bar("both", Estimate(0.1, 0.0, 0.2), "#111111"), Bar("", Estimate(-0.1), "#222222"), Bar("next", None)]
    axis = Axis(-0.2, 0.2, sign=True, band=0.05, rule=0.0, ends=("worse", "better"))
    root = ElementTree.fromstring(interval_chart([("", bars)], "label", axis=axis).svg())  # noqa: S314 - our own text
    assert root.get("width") == str(NARROW)
    first, second = root.findall(f"{SVG}circle")
    assert float(first.get("cx")) + float(second.get("cx")) == pytest.approx(NARROW), "the scale is symmetric"
    above = next(text for text in root.iter(f"{SVG}text") if text.text == "both")
    assert float(above.get("y")) < float(first.get("cy")) < float(second.get("cy"))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"\N{MINUS SIGN}0.2", "0", "+0.2", "worse", "better"} <= set(words)


def test_missing_figures_leave_gaps():
    """A row without a figure has its name and no dot; the paper's number is a diamond."""
    bars = [Bar("heading", None), Bar("there", _estimate(0.5, 0.4, 0.6), paper=0.7), Bar("gone", _estimate(None))]
    drawn = interval_chart([("kappa", bars)], "label", "note").svg()
    assert drawn.count("<circle") == 1
    assert drawn.count("<polygon") == 1
    assert all(f">{name}<" in drawn for name in ("heading", "there", "gone"))
    curves = [Curve("one", [(0.0, _estimate(0.1, 0, 0.2)), (0.5, _estimate(None)), (1.0, _estimate(0.3))], "#000000")]
    assert curve_chart([("kappa", curves)], "label", "note", "share").svg().count("<circle") == 2
    nothing = interval_chart([("kappa", [Bar("gone", _estimate(None))])], "label", "note").svg()
    assert "<circle" not in nothing


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.001, 0.002), (0.2, 0.21), (-40, 300)])
def test_ticks_are_round_and_inside(low, high):
    """Three to six round numbers within the range."""
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low <= tick <= high for tick in found)
