"""Photographs that got worse beyond those shown in full: small, so that all of them fit on the page."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from regaze.report.data import Case, View


def reduced(case: Case, side: int) -> Case:
    """Return a case of at most `side` pixels, without the maps of the single scales.

    Args:
        case: The case, (S, S).
        side: Largest side in pixels.

    Returns:
        The case itself where it is small enough; else one of (side, side), in which a pixel is a lesion where any of
        the pixels that it stands for is one.
    """
    if case.photo.shape[0] <= side:
        return case
    size = (side, side)

    def view(one: View) -> View:
        fused = np.asarray(cv2.resize(one.fused, size, interpolation=cv2.INTER_AREA), np.float32)
        return replace(one, fused=fused, scales=[])

    lesions = case.lesions
    if lesions is not None:
        lesions = np.asarray(cv2.resize(lesions.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
    return replace(
        case,
        photo=np.asarray(cv2.resize(case.photo, size, interpolation=cv2.INTER_AREA), np.uint8),
        lesions=lesions,
        before=view(case.before),
        after=view(case.after),
    )
