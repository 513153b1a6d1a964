"""Stored pixels <-> what a person sees, by the EXIF orientation of a photograph (`images.orientation`).

Frames: *stored* (as a file has its pixels; photographs, masks, marks and maps inside the program) and *upright* (as
viewers, browsers and annotation tools turn it).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

SIDES_CHANGE = frozenset({5, 6, 7, 8})
"""Orientations whose upright width is the stored height."""


def upright(stored: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Turn an array as a viewer turns the photograph.

    Args:
        stored: (H, W, ...), stored frame, of any grid that covers the photograph (or a square around its middle).
        orientation: EXIF's, 1..8 (TIFF 6.0, tag 274: where row 0 and column 0 are seen).

    Returns:
        (H, W, ...), or (W, H, ...) for 5 to 8; a copy where it is turned.
    """
    turned = np.swapaxes(stored, 0, 1) if orientation in SIDES_CHANGE else stored
    if orientation in (2, 3, 6, 7):  # the first column is seen at the right
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):  # the first row is seen at the bottom
        turned = turned[::-1]
    return np.ascontiguousarray(turned)


def as_stored(seen: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Turn an array that was drawn on the upright photograph into the stored frame: `upright` undone."""
    return upright(seen, {6: 8, 8: 6}.get(orientation, orientation))
