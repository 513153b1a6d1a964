"""Whether photographs show the fundus of an eye: decided by looking at some of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regaze.data.geometry import field_mask
from regaze.data.images import read_photo
from regaze.errors import DataError

_LOOKED_AT = 9  # photographs, spread evenly over all
_SIDE = 128  # pixels of the shorter side: enough for the outline
# A disc fills .785 of its box, one cut above and below (IDRiD) .87, a rectangle all of it.
_FILL = (0.7, 0.95)
# Red over green: of IDRiD 1.8 to 2.4 in the field of view. Without a field (a crop inside the disc) only colour tells.
_RED_IN_FIELD, _RED_ALONE = 1.1, 1.5


def are_fundus(files: Sequence[Path]) -> bool:
    """Whether most photographs show a round, reddish field of view on a dark surround, or the inside of one.

    Args:
        files: Photographs in their order; a few of them are decoded. One that cannot be read does not count.
    """
    places = {round(place) for place in np.linspace(0, len(files) - 1, _LOOKED_AT)} if files else set()
    found = [_is_fundus(files[place]) for place in sorted(places)]
    return 2 * sum(found) > len(found)


def _is_fundus(file: Path) -> bool:
    try:
        photo = read_photo(file, _SIDE)
    except DataError:
        return False
    field = field_mask(photo)
    red, green, blue = photo[field].mean(axis=0)
    if field.all():
        return bool(red > _RED_ALONE * green and green > blue)
    fill = field.sum() / (field.any(axis=0).sum() * field.any(axis=1).sum())
    return bool(_FILL[0] < fill < _FILL[1] and red > _RED_IN_FIELD * green and green > blue)
