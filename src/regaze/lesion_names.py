"""What people call lesions: one vocabulary for boxes, table columns, folders, file names and annotation labels.

Invariant: a name means the same lesion type wherever it stands, and a landmark (optic disc, fovea, vessels ...) or a
word for "nothing here" (background, normal ...) is a lesion nowhere. Case, accents and separators do not matter;
IDRiD's short names (MA, HE, EX, SE, OD) count, and so do the usual words for landmarks in other languages.
"""

from __future__ import annotations

import re
import unicodedata
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

# Words that make a name a landmark wherever they stand in it, unless a lesion is named too ("disc haemorrhage"): in
# English, German, French, Spanish, Portuguese, Italian, Dutch and Polish, without accents.
_LANDMARK = (
    r"o?_?dis[ck]s?|disk?cus|diskus|dis(co|que)s?|tarcza|opti[ckq][a-z]*|o_?d|onh|oc|cup|cop[ao]|e(x|s)[ck]ava[a-z]*"
    r"|nerve|ner(f|vi?o)|sehnerv[a-z]*|oogzenuw|(neuroretinal_?)?rim|scleral_ring|papill?(ae?|en?)?"
    r"|fove(a|ola|e)[a-z]*|faz|blind[a-z]*_(spot|fleck|vlek)|(gelber|gele)_(fleck|vlek)|landmarks?|anatomy"
)
# The same in scripts that do not part words.
_SCRIPTS = (
    r"диск|зрительн|дзн|макула|фовеа|фон$|視神経|视神经|视盘|視盤|视乳头|視乳頭|黄斑|中心凹|中心窩|背景|血管"
    r"|시신경|황반|중심와|배경"
)
# Words that make a name a lesion although it names a landmark too ("disc edema").
_PATHOLOGY = (
    r"o?edem[a-z]*|[a-z]*odem[a-z]*|swelling|swollen|[a-z]*schwellung|drusen|atroph[a-z]*|holes?|tears?|scars?|cysts?"
    r"|neuritis|defe[ck]ts?|notch(es|ing)?|pits?|[ck]olobom[a-z]*|pallor|degenerat[a-z]*|detach[a-z]*|occlusions?"
    r"|fluid|tumou?rs?|nae?v(us|i)|myelinated|[a-z]*blutung(en)?|exs?udat[a-z]*|l(a|ae)sion(en)?|lesion(e|es|i)"
    r"|cracks?|scratch(es)?|dents?|stains?|damaged?"
)
# Names that are no lesion as a whole only: "venous beading" and "macula edema" are lesions. What a name says of itself
# ("macula mask", "ignore region", "normal retina") or of its side changes nothing.
_SIDE = r"left|right|upper|lower|superior|inferior|nasal|temporal|l|r|os|ou"
_NO_LESION = (
    rf"(({_SIDE})_)*"
    r"((retinal_|blood_)*(vessels?|vasculature|arter(y|ies|ioles?)|veins?|venules?)|bv|retina|fundus|fov|field_of_view"
    r"|gefa(e?)sse?|vaisseaux|vas(os|i)|netzhaut|ma[ck]ul[ae](_lutea|_cent(er|re))?|macular(?=_(region|area|mask))"
    r"|backgrounds?|bg|hintergrund|arriere_plan|fond|fondo|fundo|sfondo|achtergrond|tlo|void|null|nan|n_a"
    r"|don_?t_?care|ignored?|ignorieren|excluded?|normal|healthy|sound|good|ok|negative|none|nothing|unlabell?ed"
    r"|no_[a-z]+|non_lesions?|not_(a_)?lesions?)"
    rf"(_(masks?|gt|seg(mentation)?|labels?|class|regions?|areas?|tissue|retina|eye|pixels?|{_SIDE}))*"
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
    if re.search(rf"(^|_)({_PATHOLOGY})(_|$)", plain):
        return "lesion"
    return None if re.search(rf"(^|_)({_LANDMARK})(_|$)|{_SCRIPTS}", plain) else "lesion"


def is_landmark(name: str, *beside: str) -> bool:
    """Whether what stands beside a name that says nothing by itself (`object`, `1`) names a landmark.

    Args:
        name: Of a class or label.
        beside: What else is said of it: what kind of thing it is, a value of an attribute.
    """
    plain = _plain(name)
    known = "|".join([*_TYPES.values(), _PATHOLOGY])
    if lesion_type(name) is None or re.search(rf"(^|_)({known})(_|$)", plain):
        return False
    landmark = rf"(^|_)({_LANDMARK}|ma[ck]ul[ae][a-z]*)(_|$)|{_SCRIPTS}"
    return any(lesion_type(text) is None and re.search(landmark, _plain(text)) for text in beside)


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
    """Lower case without accents, one `_` between words: `3. HardExudates` -> `hard_exudates`, `Fóvea` -> `fovea`."""
    words = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    bare = "".join(letter for letter in words if not unicodedata.combining(letter))
    return re.sub(r"[\W\d_]+", "_", unicodedata.normalize("NFC", bare).casefold()).strip("_")
