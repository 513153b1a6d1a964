"""A wide photograph, padded to a square, is measured on its picture alone: `evaluate`, `collect` and `reproduce`."""

import numpy as np
import pytest
from PIL import Image

from regaze.data.pixels import load_pixels
from regaze.evaluation.agreement import lesion_enrichment, relevance_rank, squared_error
from regaze.evaluation.lesion_coverage import light
from regaze.evaluation.overlap import iou_curve
from regaze.experiments.measure import Scene, _agreement
from regaze.models.predictor import Predictions
from regaze.records import Sample
from regaze.study.assessment.measure import measure_maps
from regaze.study.lesions import enlarge, targets
from regaze.study.options import CollectOptions
from regaze.study.steps.collect import diagnose_all
from regaze.study.steps.uncertainty import forward_scores

ROWS, CELLS = slice(68, 132), slice(3, 7)  # of the square of 200, and of its 10 x 10 cells


@pytest.fixture
def wide(tmp_path):
    """One photograph of 200 x 64 pixels with a lesion, its pixels at a side of 200, and a map bright on the bars."""
    rng = np.random.default_rng(0)
    mask = np.zeros((64, 200), np.uint8)
    mask[30:42, 50:80] = 255
    Image.fromarray(rng.integers(0, 256, (64, 200, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    masks = {"hard_exudates": (tmp_path / "mask.png",)}
    sample = Sample("a", tmp_path / "a.png", 1, origin="masks", masks=masks)
    pixels = load_pixels([sample], 200, None, crop=False)
    maps = rng.random((1, 10, 10), dtype=np.float32)
    maps[:, :3] = maps[:, 7:] = 1
    said = Predictions(np.array([[0.2, 0.8]], np.float32), np.array([1]), (maps,), maps)
    return sample, pixels, said, mask > 0


def test_the_picture_is_found(wide):
    """The bars above and below are no picture, the mask lies in it."""
    _, pixels, _, mask = wide
    assert pixels.pictures == [(ROWS, slice(0, 200))]
    np.testing.assert_array_equal(pixels.union[0, ROWS], mask)
    assert pixels.union.sum() == mask.sum()


def test_evaluate_counts_the_picture(wide):
    """Agreement, light and overlap are those of the 200 x 64 pixels, errors those of the cells that hold them."""
    sample, pixels, said, mask = wide
    rows = [{}]
    training = np.concatenate([pixels.union, np.roll(pixels.union, 30, axis=2)])
    measure_maps(rows, [sample], pixels, np.array([True]), training, said, lambda *_: None)
    large = enlarge(said.fused, 200)[0, ROWS]
    wanted = targets(pixels.union, [(10, 10)])[0][0, CELLS]
    found = rows[0]["maps"]["fused"]
    assert found["lesion_enrichment"] == pytest.approx(lesion_enrichment(large, mask))
    assert found["relevance_rank"] == pytest.approx(relevance_rank(large, mask))
    assert found["squared_error"] == pytest.approx(squared_error(said.fused[0, CELLS], wanted))
    assert found["zero_map_squared_error"] == pytest.approx(np.mean(wanted**2))
    assert found["pointing_game"] == 0, "its peak lies on a bar"
    assert rows[0]["overlap"]["fused"] == pytest.approx(list(iou_curve(np.clip(large, 0, 1), mask)), abs=1e-4)
    lesions = rows[0]["lesions"]
    assert lesions["chance"] == pytest.approx(640 / 12_800)
    (lit,) = lesions["lit"]["fused"]["hard_exudates"].values()
    assert lit == pytest.approx(light(large, 640)[mask].mean())


def test_collect_counts_the_picture(wide):
    """The diagnosis rests on the same figures; counted over the square this map would miss its lesion."""
    sample, pixels, said, mask = wide
    maps = said.fused.copy()
    maps[:, CELLS] = targets(pixels.union, [(10, 10)])[0][:, CELLS]
    said = Predictions(said.probabilities, said.grades, (maps,), maps)
    known, scores = np.array([True]), forward_scores(said)
    (found,) = diagnose_all([sample], said, pixels.union, known, pixels.pictures, CollectOptions(), scores)
    large = enlarge(maps, 200)[0]
    assert found.enrichment == pytest.approx(lesion_enrichment(large[ROWS], mask))
    assert found.relevance_rank == pytest.approx(relevance_rank(large[ROWS], mask))
    assert found.squared_error == pytest.approx(0, abs=1e-12)
    assert found.diagnosis == "fine"
    assert relevance_rank(large, pixels.union[0]) < 0.02


def test_reproduce_counts_the_picture(wide):
    """Tables 2 and 3 count the same cells and pixels."""
    sample, pixels, said, mask = wide
    target = targets(pixels.union, [(10, 10)])[0]
    scene = Scene([sample], pixels.images, pixels.union, target, target[0], pixels.pictures)
    found = _agreement(said.fused[0], scene, 0)
    assert found["enrichment"] == pytest.approx(lesion_enrichment(enlarge(said.fused, 200)[0, ROWS], mask))
    assert found["squared_error"] == pytest.approx(squared_error(said.fused[0, CELLS], target[0, CELLS]))
    values = said.fused[0, CELLS].astype(float)
    assert found["area"] == pytest.approx(values.sum() ** 2 / (40 * (values**2).sum()))
