"""What the name of a mask's file says: whose mask it is, and of what.

Invariant: names are read as texts, without their suffix; what a word names is `regaze.lesion_names`' matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from regaze.lesion_names import lesion_type, named_lesion

_WORD = r"(?:cp_)?masks?|gt|segm?|segmentation|segmented|labels?|label_?map|annotations?|ground[_ -]?truth"
_ENDING = re.compile(rf"(.+?)(?:[_ .-]+({_WORD})|masks?)([_ .-]?\(?\d+\)?)?", re.IGNORECASE)
_BEGINNING = re.compile(rf"({_WORD})[_ .-]+(.+)", re.IGNORECASE)


def says_mask(stem: str) -> bool:
    """Whether a name ends or begins like a mask's (`x_mask`, `x_gt_1`, `mask_x`; Cellpose's `x_cp_masks`)."""
    return _ENDING.fullmatch(stem) is not None or _BEGINNING.fullmatch(stem) is not None


def mask_endings(stem: str) -> Iterator[tuple[str, str]]:
    """The shorter stems that a mask's stem may stand for, with the lesion that its ending names, '' for none."""
    ended, begun = _ENDING.fullmatch(stem), _BEGINNING.fullmatch(stem)
    if ended:
        yield ended[1], ""
    if begun:
        yield begun[2], ""
    for text in (stem, ended[1] if ended else ""):
        for separator in re.finditer(r"[_ -]", text):
            named = named_lesion(text[separator.end() :])
            if named is not None:
                yield text[: separator.start()], named


def landmark_endings(stem: str) -> Iterator[tuple[str, None]]:
    """The shorter stems whose ending names a landmark (`eye_OD`, `eye_optic_disc_mask`)."""
    ended = _ENDING.fullmatch(stem)
    text = ended[1] if ended else stem
    for separator in re.finditer(r"[_ -]", text):
        words = text[separator.end() :]
        if lesion_type(words) is None:
            yield text[: separator.start()], None
