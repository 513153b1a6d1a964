"""Runs: a mask as the lengths of its stretches, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.errors import CorrectionError
from regaze.records import Shape
from tests.corrections.shape_pixels import PATIENT, draw


def test_runs_by_hand():
    """Runs go row by row and begin outside, with 0 where the first pixel is inside."""
    assert mask_to_runs(np.array([[False, True], [True, False]])) == (1, 2, 1)
    assert mask_to_runs(np.array([[True, False], [False, True]])) == (0, 1, 2, 1)
    assert mask_to_runs(np.zeros((2, 3), bool)) == (6,)
    assert mask_to_runs(np.ones((2, 3), bool)) == (0, 6)
    np.testing.assert_array_equal(draw(Shape("mask", "look", runs=(1, 2, 1)), 2, 2), [[False, True], [True, False]])


@PATIENT
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)), st.booleans())
def test_runs_and_masks_are_two_ways_to_say_the_same(mask, as_view):
    """Back and forth without loss, also for a transposed view; and a mask shape draws exactly that mask."""
    mask = mask.T if as_view else mask
    runs = mask_to_runs(mask)
    assert all(isinstance(run, int) for run in runs)
    assert sum(runs) == mask.size
    assert all(run > 0 for run in runs[1:])
    np.testing.assert_array_equal(draw(Shape("mask", "look", runs=runs), *mask.shape), mask)


def test_runs_of_another_size_are_refused():
    """Runs that do not fill the photograph are refused."""
    with pytest.raises(CorrectionError, match=r"sum to 5, expected 2 x 3 = 6"):
        rasterise([Shape("mask", "look", runs=(2, 3))], 2, 3)
    with pytest.raises(CorrectionError, match=r"shape 2 \(mask\) has runs that sum to 7"):
        rasterise([Shape("box", "look", ((0, 0), (1, 1))), Shape("mask", "look", runs=(7,))], 2, 3)
