"""What people call lesions: one vocabulary for boxes, table columns, folders, file names and annotation labels.

Invariant: a name means the same lesion type wherever it stands, and a landmark (optic disc, fovea, vessels ...) or a
word for "nothing here" (background, normal ...) is a lesion nowhere. Case and separators do not matter; IDRiD's short
names (MA, HE, EX, SE, OD) count.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class DisplayName(NamedTuple):
    """What a page (`full`) and a narrow table (`short`) call a lesion type."""

    full: str
    short: str


DISPLAY_NAMES: dict[str, DisplayName] = {
    "microaneurysms": DisplayName("Microaneurysms", "MA"),
    "haemorrhages": DisplayName("Haemorrhages", "HE"),
    "hard_exudates": DisplayName("Hard exudates", "EX"),
    "soft_exudates": DisplayName("Soft exudates", "SE"),
    "neovascularisation": DisplayName("New vessels", "NV"),
    "lesion": DisplayName("Lesions of no stated type", "other"),
}
"""By the types of `records.LESION_TYPES`, in their order."""

_TYPES: dict[str, str] = {
    # The first that fits decides; `haemorrhages and microaneurysms` counts as haemorrhages, see `data.boxes`.
    "haemorrhages": r"(retinal_)?(ha?emorr?h?ag[a-z]*)|he",
    "microaneurysms": r"micro_?an[a-z]*|ma",
    "soft_exudates": r"soft(_?exudat[a-z]*)?|cotton(_?wool)?(_?spots?)?|cws|se",
    "hard_exudates": r"(hard_?)?exudat[a-z]*|ex",
    "neovascularisation": r"neo_?vasc[a-z]*|new_?vessels?|nv",
    "lesion": r"lesions?",
}
"""Lesion type -> the names that mean it, plain (`_plain`)."""

# Words that make a name a landmark wherever they stand in it, unless a lesion is named too ("disc haemorrhage").
_LANDMARK = r"o?_?dis[ck]s?|optic[a-z]*|od|onh|oc|cup|nerve|(neuroretinal_?)?rim|papill(ae?|e)|fove(a|ola)[a-z]*|faz"
# Names that are no lesion as a whole only: "venous beading" and "macula edema" are lesions. What a name says of itself
# ("macula mask", "ignore region", "normal retina") changes nothing.
_NO_LESION = (
    r"((retinal_|blood_)*(vessels?|vasculature|arter(y|ies|ioles?)|veins?|venules?)|bv|retina|fundus|fov|field_of_view"
    r"|macula(_lutea|_cent(er|re))?|macular(?=_(region|area|mask))|backgrounds?|bg|void|don_?t_care|ignored?|excluded?"
    r"|normal|healthy|sound|good|ok|negative|none|nothing|unlabell?ed|no_[a-z]+|non_lesions?)"
    r"(_(masks?|gt|seg(mentation)?|labels?|class|regions?|areas?|tissue|retina|eye|pixels?))*"
)


def lesion_type(name: str) -> str | None:
    """What the name of a class or a label stands for.

    Args:
        name: As people write it: `Hard Exudates`, `hemorrhage`, `MA`, `optic_disc`.

    Returns:
        One of `records.LESION_TYPES`, `lesion` for an unknown name; None where it names no lesion.
    """
    plain = _plain(name)
    if re.fullmatch(_NO_LESION, plain):
        return None
    for kind, pattern in _TYPES.items():
        if re.search(rf"(^|_)({pattern})(_|$)", plain):
            return kind
    return None if re.search(rf"(^|_)({_LANDMARK})(_|$)", plain) else "lesion"


def named_lesion(name: str) -> str | None:
    """The lesion type that a name is, for names that may mean anything else (columns, folders, ends of file names).

    Args:
        name: `MA`, `3. Hard Exudates`, `grade`.

    Returns:
        One of `records.LESION_TYPES` where the whole name is one of its names, else None.
    """
    plain = _plain(name)
    return next((kind for kind, pattern in _TYPES.items() if re.fullmatch(pattern, plain)), None)


def _plain(name: str) -> str:
    """Lower case, one `_` between words: `3. HardExudates` -> `hard_exudates`."""
    return re.sub(r"[^a-z]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
