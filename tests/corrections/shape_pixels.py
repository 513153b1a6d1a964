"""Shapes drawn on a photograph of 9 x 11 pixels."""

import numpy as np
from hypothesis import HealthCheck, settings

from regaze.corrections.shapes import rasterise

# A busy machine is slow; that is no fault of the code.
PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
HEIGHT, WIDTH = 9, 11


def draw(shape, height=HEIGHT, width=WIDTH):
    """(H, W) bool, the pixels to look at; the shape marks no pixel to avoid."""
    look, avoid = rasterise([shape], height, width)
    assert not avoid.any()
    return look


def pixels_of(shape, height=HEIGHT, width=WIDTH):
    """The same as a set of (row, column)."""
    return {(int(row), int(column)) for row, column in zip(*np.nonzero(draw(shape, height, width)), strict=True)}
