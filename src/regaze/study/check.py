"""Values of options that no step can work with, refused before any work is done.

Invariant: a message names the option as it is written on the command line, its value, and what is expected.
"""

from __future__ import annotations

import math
import re
from typing import Any

from regaze.errors import OptionError
from regaze.study.options import SelectOptions

_RATES = ("lr_extractor", "lr_branches", "lr_heads", "lr_maps", "weight_decay", "map_weight")
_COUNTS = ("faithfulness", "unfreeze", "reference_rankings", "sanity", "seed")
_MOST = 10**9  # of what is counted: more is a slip of the hand, and no machine gets there
_UNREACHED = 100_000  # a largest value from here on is named to those alone who are above it
# Option -> smallest value, whether that value itself is allowed, largest value.
_RANGES: dict[str, tuple[float, bool, float]] = {
    **dict.fromkeys(("epochs", "steps"), (1, True, 100_000)),
    **dict.fromkeys(("count", "patch"), (1, True, _MOST)),
    **dict.fromkeys(_COUNTS, (0, True, _MOST)),
    **dict.fromkeys((*_RATES, "tolerance", "min_enrichment", "refit"), (0, True, math.inf)),
    **dict.fromkeys(("smoothing", "diversity", "min_rank", "teacher_maps", "box_weight"), (0, True, 1)),
    **dict.fromkeys(("replay", "share"), (0, False, 1)),
    "batch": (2, True, 100_000),  # batch norm needs two images per step
    "resamples": (1, True, 10**6),
    "averaging": (0, True, 0.9999),
    "size": (32, True, 4096),
    "folds": (1, True, 20),
    "seeds": (1, True, 100),
}


def check_options(*several: Any) -> None:
    """Refuse options dataclasses with a value that cannot work; None counts as not given.

    Raises:
        OptionError: A value is out of range.
    """
    for options in several:
        for option in _RANGES:
            value = getattr(options, option, None)
            if value is not None:
                check_value(option, value)


def check_selection(options: SelectOptions) -> None:
    """Refuse a request for photographs that cannot be met.

    Raises:
        OptionError: A value is out of range, or two say how many.
    """
    if options.count is not None and options.share < 1:
        raise OptionError(f"--count {options.count} and --share {options.share:g} both say how many: give one.")
    check_options(options)


def check_value(option: str, value: float) -> None:
    """Refuse one value, e.g. ("size", 5).

    Raises:
        OptionError: It is out of range.
    """
    least, inclusive, most = _RANGES[option]
    # `not (...)`, so that NaN is refused too.
    if not (least <= value <= most if inclusive else least < value <= most) or math.isinf(value):
        highest = f"{most:.0f}" if most > 1 else f"{most:g}"
        expected = f"{least:g} to {highest}" if inclusive else f"above {least:g}, up to {highest}"
        if most >= _UNREACHED and not value > most:
            expected = f"{least:g} or more"
        raise OptionError(f"--{option.replace('_', '-')} {value}: expected {expected}.")


def check_name(name: str) -> None:
    """Refuse a model name that is no plain folder name.

    Raises:
        OptionError: It could lie outside the study, or hide from it.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise OptionError(
            f"--name {name!r}: expected up to 100 letters, digits, dots, hyphens and underscores, a letter or digit "
            "first (it becomes a folder)."
        )
