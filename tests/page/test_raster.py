"""The browser draws what the store draws."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regaze.corrections.shape_checks import shapes_from_json
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.data.geometry import Geometry
from tests.page import stub

HEIGHT, WIDTH = 67, 91
LABELS = {"look": 1, "avoid": 2, "erase": 0}
DRAW = """async (scenes) => {
  const { rasterise } = await import("/static/raster.js");
  return scenes.map(([shapes, height, width]) => Array.from(rasterise(shapes, height, width)));
}"""


@pytest.fixture(scope="module")
def blank(browser):
    """A page of the stand-in's origin, to run modules in."""
    _, address, stop = stub.serve([])
    page = browser.new_page()
    page.goto(f"{address}/static/vendor/vendor.json")
    yield page
    page.close()
    stop()


def _reference(shapes: list[dict]) -> np.ndarray:
    """(H, W) uint8: what the store makes of the page's shapes."""
    look, avoid = rasterise(shapes_from_json(json.dumps(shapes), "shapes"), HEIGHT, WIDTH)
    return LABELS["look"] * look.astype(np.uint8) + LABELS["avoid"] * avoid.astype(np.uint8)


def _random_shape(rng: np.random.Generator) -> dict:
    """Any kind, inside and far outside, on whole, half and odd coordinates, with brushes from hair to fist."""
    kind = rng.choice(["stroke", "stroke", "polygon", "box", "mask"])
    shape: dict = {"kind": str(kind), "mark": str(rng.choice(list(LABELS)))}
    if kind == "mask":
        mask = rng.random((HEIGHT, WIDTH)) < rng.choice([0.0, 0.1, 0.9])
        return shape | {"runs": list(mask_to_runs(mask))}
    count = {"stroke": int(rng.integers(1, 7)), "polygon": int(rng.integers(3, 12)), "box": 2}[str(kind)]
    points = rng.uniform(-15, 1.2 * WIDTH, (count, 2)) if rng.random() < 0.7 else rng.uniform(20, 26, (count, 2))
    step = rng.choice([0.0, 0.5, 1.0])
    points = np.round(points / step) * step if step else points
    shape["points"] = points.tolist()
    return shape | ({"radius": float(rng.choice([0.2, 0.5, 1, 2.5, 7, 21.3]))} if kind == "stroke" else {})


def test_pixels_equal_the_stores(blank):
    """Over hundreds of random shapes the browser's labels are the store's, byte by byte."""
    rng = np.random.default_rng(20)
    scenes = [[_random_shape(rng) for _ in range(int(rng.integers(1, 6)))] for _ in range(160)]
    drawn = blank.evaluate(DRAW, [[shapes, HEIGHT, WIDTH] for shapes in scenes])
    assert {shape["kind"] for shapes in scenes for shape in shapes} == {"stroke", "polygon", "box", "mask"}
    for shapes, labels in zip(scenes, drawn, strict=True):
        expected = _reference(shapes)
        wrong = int((np.array(labels, np.uint8).reshape(HEIGHT, WIDTH) != expected).sum())
        assert wrong == 0, f"{wrong} pixels differ: {shapes}"
    assert len({tuple(labels) for labels in drawn}) > 100


def test_undo_gives_back_the_same_bytes(blank):
    """Undoing everything leaves nothing, redoing everything the same labels and the same cells, whatever was drawn."""
    rng = np.random.default_rng(21)
    shapes = [_random_shape(rng) for _ in range(40)]
    result = blank.evaluate(
        """async ([shapes, height, width]) => {
          const { History } = await import("/static/history.js");
          const { CellCounts } = await import("/static/cells.js");
          const counts = new CellCounts(height, width, { left: -3, top: 2, side: 80 }, [[16, 16], [5, 5]]);
          const history = new History(height, width, (a, b, from, to) => counts.change(a, b, from, to));
          const snaps = [Array.from(history.labels)];
          for (const shape of shapes) {
            if (shape.kind !== "stroke") history.add(shape);
            else {
              history.begin(shape.mark, shape.radius, shape.points[0]);
              for (const point of shape.points.slice(1)) history.extend(point);
              history.end();
            }
            snaps.push(Array.from(history.labels));
          }
          const cells = Array.from(counts.grids(false));
          const same = (i) => history.labels.every((value, at) => value === snaps[i][at]);
          let backwards = true;
          for (let i = shapes.length - 1; i >= 0; i--) backwards = history.undo() && same(i) && backwards;
          const empty = counts.grids(false).every((value) => value === 255) && !history.undo();
          let forwards = true;
          for (let i = 1; i <= shapes.length; i++) forwards = history.redo() && same(i) && forwards;
          const again = Array.from(counts.grids(false));
          return { backwards, empty, forwards, cells, again, labels: snaps[shapes.length], shapes: history.shapes };
        }""",
        [shapes, HEIGHT, WIDTH],
    )
    assert result["backwards"]
    assert result["empty"]
    assert result["forwards"]
    assert result["cells"] == result["again"]
    assert result["shapes"] == shapes
    labels = np.array(result["labels"], np.uint8).reshape(HEIGHT, WIDTH)
    assert np.array_equal(labels, _reference(shapes))
    # Cells: any look pixel in it: 1; else any "not here": 0; else the model's own.
    expected = []
    for cells in (16, 5):
        geometry = Geometry(WIDTH, HEIGHT, -3, 2, 80, cells)
        look, avoid = geometry.mask(labels == 1), geometry.mask(labels == 2)
        expected += np.where(look, 254, np.where(avoid, 0, 255)).reshape(-1).tolist()
    assert result["cells"] == expected


def test_runs_of_a_mask_are_the_stores(blank):
    """The wand's region is written as the store writes a mask."""
    mask = np.random.default_rng(3).random((9, 11)) < 0.5
    ask = 'async (mask) => (await import("/static/raster.js")).maskToRuns(Uint8Array.from(mask))'
    for case in (mask, ~mask, np.zeros_like(mask), np.ones_like(mask)):
        assert blank.evaluate(ask, case.reshape(-1).astype(int).tolist()) == list(mask_to_runs(case))
