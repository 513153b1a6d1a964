"""The painter: anatomy, exact masks, and grades that follow from the lesions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from regaze.errors import OptionError
from regaze.records import LESION_TYPES
from regaze.synthetic.eye import paint_eye, streams
from regaze.synthetic.lesion_plan import plan_lesions
from regaze.synthetic.lesions import MASK_OF, count_signs, grade_of, paint_lesions
from regaze.synthetic.photograph import TASKS, develop, paint


def planned(seed, size, grade):
    """A healthy eye and lesions of a grade, for one seed."""
    eye = paint_eye(seed, size)
    return eye, plan_lesions(eye, grade, streams(seed)["lesions"])


def painted_counts(seed, grade, task="clinical"):
    """Lesions per type of the mask that `paint` would give them."""
    chance = streams(seed)["lesions"]
    chance.choice(len(TASKS[task].shares), p=TASKS[task].shares)  # paint draws a grade first
    counts = {}
    for sign, count in count_signs(TASKS[task].plan(paint_eye(seed, 64), grade, chance)).items():
        counts[MASK_OF[sign]] = counts.get(MASK_OF[sign], 0) + count
    return counts


def clinical_grade(painted, fovea):
    """The grade by the clinical rule, from the masks alone: components, their areas and quadrants around the fovea."""
    size = painted.photo.shape[0]
    masks = {name: mask.astype(np.uint8) for name, mask in painted.masks.items() if mask.any()}
    quadrants: dict[tuple[bool, bool], int] = {}
    if "neovascularisation" in masks:
        return 4
    if "haemorrhages" in masks:
        _, _, stats, centres = cv2.connectedComponentsWithStats(masks["haemorrhages"], connectivity=8)
        # A blot covers up to about pi * .0125**2 = .0005 of the picture, a boat .0015 and more.
        if (stats[1:, cv2.CC_STAT_AREA] > 0.001 * size**2).any():
            return 4
        for x, y in centres[1:]:
            quadrant = (bool(x > fovea[0] * size), bool(y > fovea[1] * size))
            quadrants[quadrant] = quadrants.get(quadrant, 0) + 1
    if (sum(quadrants.values()) > 20 and len(quadrants) == 4) or "lesion" in masks:
        return 3
    if not masks:
        return 0
    return 1 if set(masks) == {"microaneurysms"} else 2


def test_grades_follow_from_the_masks():
    """An independent reading of the masks by the clinical rule gives the grade of every photograph."""
    seeds = [((5, index), None) for index in range(36)] + [((6, index), index % 5) for index in range(24)]
    grades = []
    for seed, grade in seeds:
        painted = paint(seed, 256, grade)
        grades.append((painted.grade, clinical_grade(painted, paint_eye(seed, 64).fovea)))
    assert [pair for pair in grades if pair[0] != pair[1]] == []
    assert {grade for grade, _ in grades} == {0, 1, 2, 3, 4}


def test_haemorrhages_are_as_many_as_components():
    """At 256 pixels the haemorrhages that were counted can be counted in the mask."""
    for index in range(6):
        painted = paint((7, index), 256, 3)
        found, _ = cv2.connectedComponents(painted.masks["haemorrhages"].astype(np.uint8), connectivity=8)
        assert found - 1 == painted_counts((7, index), 3)["haemorrhages"]


@pytest.mark.parametrize("size", [64, 200, 512])
@pytest.mark.parametrize("grade", [0, 1, 2, 3, 4])
def test_masks_are_exact(size, grade):
    """Before blur, noise and JPEG the picture differs from the healthy eye exactly where the masks say."""
    eye, lesions = planned((8, grade), size, grade)
    healthy = eye.canvas.copy()
    canvas, masks = paint_lesions(eye, lesions)
    union = np.zeros((size, size), np.bool_)
    for mask in masks.values():
        union |= mask
    np.testing.assert_array_equal((canvas != eye.canvas).any(axis=2), union)
    np.testing.assert_array_equal(eye.canvas, healthy)
    assert union.any() == (grade > 0)
    assert not (union & (eye.field < 1)).any()


@pytest.mark.parametrize("size", [64, 256])
def test_no_lesion_is_without_a_mask_pixel(size):
    """However small the photograph, each planned lesion owns the mask pixel at its own place."""
    signs = set()
    eye = paint_eye(9, size)
    for index in range(24):
        for lesion in plan_lesions(eye, 1 + index % 4, np.random.default_rng(index))[:60]:
            _, masks = paint_lesions(eye, (lesion,))
            (mask,) = masks.values()
            columns, rows = np.floor(lesion.anchors * size).astype(int).T
            assert mask[rows, columns].all()
            assert len(columns) > 0
            signs.add(lesion.sign)
    assert signs == set(MASK_OF)


def test_lesions_look_like_what_they_are():
    """Red lesions darken the green channel and exudates brighten it, by more than a trace."""
    for index in range(8):
        eye, lesions = planned((10, index), 256, 1 + index % 4)
        for lesion in lesions:
            canvas, masks = paint_lesions(eye, (lesion,))
            (mask,) = masks.values()
            change = (canvas - eye.canvas)[..., 1][mask].mean() / eye.canvas[..., 1][mask].mean()
            if lesion.sign.endswith("exudates"):
                assert change > 0.02, lesion.sign
            else:
                assert change < -0.02, lesion.sign


def test_microaneurysms_are_tiny():
    """A microaneurysm is 2 to 6 pixels wide in a photograph of 1000 pixels."""
    _, lesions = planned((11, 0), 64, 3)
    spans = [np.ptp(s.shapes[0], axis=0).max() * 1000 for s in lesions if s.sign == "microaneurysms"]
    assert len(spans) > 3
    assert 2 <= min(spans) <= max(spans) <= 6


def test_one_seed_is_one_photograph():
    """The same seed paints the same bytes; another seed another picture."""
    first, again, other = paint((1, 2), 96), paint((1, 2), 96), paint((1, 3), 96)
    np.testing.assert_array_equal(first.photo, again.photo)
    assert first.grade == again.grade
    assert (first.photo != other.photo).mean() > 0.2


@pytest.mark.parametrize("grade", [0, 2, 4])
def test_one_seed_is_one_eye_at_any_size(grade):
    """At 256 and 512 pixels a seed shows the same eye with the same lesions."""
    small, large = paint((12, grade), 256, grade), paint((12, grade), 512, grade)
    (eye, lesions), (large_eye, large_lesions) = (planned((12, grade), size, grade) for size in (256, 512))
    assert (eye.fovea, eye.disc, eye.left) == (large_eye.fovea, large_eye.disc, large_eye.left)
    assert count_signs(lesions) == count_signs(large_lesions)
    halved = cv2.resize(large.photo, (256, 256), interpolation=cv2.INTER_AREA)
    difference = np.abs(halved.astype(float) - small.photo.astype(float))
    assert difference.mean() < 3.0
    another = paint((13, grade), 256, grade).photo
    assert np.abs(halved.astype(float) - another.astype(float)).mean() > 4 * difference.mean()
    for name, mask in large.masks.items():
        coarse = cv2.resize(mask.astype(np.uint8), (256, 256), interpolation=cv2.INTER_AREA) > 0
        near = cv2.dilate(small.masks[name].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (coarse & ~near).sum() <= 0.02 * coarse.sum()


def test_the_grade_changes_the_lesions_and_not_the_eye():
    """A seed asked for two grades shows one eye: where no lesion lies, the canvas is the same."""
    eye, severe = planned((14, 0), 128, 3)
    other, moderate = planned((14, 0), 128, 2)
    np.testing.assert_array_equal(eye.canvas, other.canvas)
    assert count_signs(severe) != count_signs(moderate)


def test_anatomy():
    """A bright disc 2.5 (+-.3) diameters from a dark fovea, on the nose's side; veins wider; all taper."""
    for index in range(10):
        eye = paint_eye((15, index), 200)
        across = eye.disc[0] - eye.fovea[0]
        assert (across < 0) == eye.left
        assert np.hypot(across, eye.disc[1] - eye.fovea[1]) / (2 * eye.disc_radius) == pytest.approx(2.5, abs=0.3)
        green = cv2.GaussianBlur(eye.canvas[..., 1], (0, 0), 3)
        at = {name: green[int(p[1] * 200), int(p[0] * 200)] for name, p in (("disc", eye.disc), ("fovea", eye.fovea))}
        assert at["fovea"] < np.median(green) < at["disc"]
        trunk = {a: max(v.widths[0] for v in eye.vessels if v.artery is a) for a in (False, True)}
        assert trunk[True] < 0.8 * trunk[False]
        assert all((np.diff(v.widths) <= 0).all() and v.widths[-1] <= v.widths[0] for v in eye.vessels)
        for up in (True, False):
            ends = [v.points[-1] for v in eye.vessels if v.generation == 0]
            assert any((end[1] < eye.disc[1] - eye.disc_radius) == up for end in ends)


def test_black_outside_the_field_and_both_shapes_of_field():
    """Outside the round field the photograph is nearly black; some cameras cut top and bottom."""
    cuts = set()
    for index in range(12):
        eye = paint_eye((16, index), 128)
        photo = develop(eye, eye.canvas, np.random.default_rng(index))
        assert photo.shape == (128, 128, 3)
        assert photo.dtype == np.uint8
        outside = cv2.erode((eye.field == 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert photo[outside].mean() < 4
        assert photo[eye.field == 1][:, 0].mean() > 50
        cuts.add(eye.camera.cut < 1)
    assert cuts == {True, False}


def test_left_and_right_eyes_and_grade_shares():
    """Both eyes occur, and undictated grades keep near the shares of IDRiD."""
    grades = [int(streams((17, i))["lesions"].choice(5, p=TASKS["clinical"].shares)) for i in range(400)]
    shares = np.bincount(grades, minlength=5) / len(grades)
    np.testing.assert_allclose(shares, TASKS["clinical"].shares, atol=0.07)
    assert {paint_eye((17, i), 64).left for i in range(12)} == {True, False}
    assert [paint((17, i), 64).grade for i in range(8)] == grades[:8]


def test_masks_are_named_by_the_records():
    """Masks are named by lesion types that the rooms know, and only those that occur."""
    for index in range(10):
        painted = paint((18, index), 64, index % 5)
        assert set(painted.masks) == set(painted_counts((18, index), index % 5)) <= set(LESION_TYPES)
        for mask in painted.masks.values():
            assert mask.dtype == np.bool_
            assert mask.shape == (64, 64)
            assert mask.any()
        _, lesions = planned((18, index), 64, index % 5)
        assert ("preretinal" in count_signs(lesions)) <= (index % 5 == 4)


@pytest.mark.parametrize(
    ("counts", "quadrants", "grade"),
    [
        ({}, 0, 0),
        ({"microaneurysms": 3}, 0, 1),
        ({"microaneurysms": 3, "haemorrhages": 1}, 1, 2),
        ({"hard_exudates": 1}, 0, 2),
        ({"soft_exudates": 1}, 0, 2),
        ({"haemorrhages": 20}, 4, 2),
        ({"haemorrhages": 21}, 4, 3),
        ({"haemorrhages": 40}, 3, 2),
        ({"beading": 3}, 0, 3),
        ({"preretinal": 1}, 0, 4),
        ({"neovascularisation": 1, "haemorrhages": 40}, 4, 4),
    ],
)
def test_the_clinical_scale(counts, quadrants, grade):
    """The rule gives the grades of the clinical scale at its borders."""
    assert grade_of(counts, quadrants) == grade


@pytest.mark.parametrize(
    ("size", "grade", "words"),
    [(63, 0, "size 63"), (4001, 0, "size 4001"), (64, 5, "grade 5"), (64, -1, "grade -1")],
)
def test_values_out_of_range(size, grade, words):
    """A size or grade that cannot be painted is refused by name."""
    with pytest.raises(OptionError, match=words):
        paint(0, size, grade)


def test_simple_lesions_are_few_and_large():
    """The simple task: one to three lesions of a sort, each some 7 to 13 pixels across at 128, exact as the others."""
    for index in range(12):
        grade = index % 3
        painted = paint((9, index), 128, grade, task="simple")
        assert painted.grade == grade
        assert set(painted.masks) == set(("haemorrhages", "soft_exudates")[:grade])
        counts = painted_counts((9, index), grade, "simple")
        for name, mask in painted.masks.items():
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
            assert count - 1 == counts[name] <= 3
            assert stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].min() >= 5
    with pytest.raises(OptionError, match="grade 3 of a synthetic photograph: expected 0 to 2"):
        paint((9, 0), 128, 3, task="simple")
