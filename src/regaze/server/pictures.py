"""Photographs as the browser shows them: upright, encoded anew (no metadata leaves the study), at 1 to 1/8."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from regaze.data.images import read_photo
from regaze.records import Sample
from regaze.server.frame import Frame

LEVELS = (0, 1, 2, 3)
_QUALITY = 92


def jpeg(sample: Sample, frame: Frame, level: int) -> bytes:
    """A photograph as a JPEG.

    Args:
        sample: The photograph.
        frame: Its frame.
        level: Sides are divided by 2 to the power of this, and rounded up.

    Raises:
        DataError: It cannot be read.
    """
    wanted = -(-frame.width // 2**level), -(-frame.height // 2**level)
    pixels = read_photo(sample.image, None if level == 0 else min(wanted))
    image = Image.fromarray(pixels)
    if image.size != wanted:  # no JPEG, or one that its decoder cannot reduce so far
        image = image.resize(wanted, Image.Resampling.BOX)
    if frame.orientation != 1:
        image = Image.fromarray(frame.shown(np.asarray(image)))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
