"""Values of options that no step can work with, refused before any work is done.

Invariant: a message names the option as it is written on the command line, its value, and what is expected.
"""

from __future__ import annotations

import math
import re
from typing import Any

from regaze.errors import OptionError
from regaze.study.options import EvaluateOptions, SelectOptions
from regaze.training.options import FinetuneOptions, TrainingOptions

# Option -> smallest value, whether that value itself is allowed, largest value. Batch norm needs two images per step.
_RANGES: dict[str, tuple[float, bool, float]] = {
    "epochs": (1, True, math.inf),
    "batch": (2, True, math.inf),
    "smoothing": (0, True, 1),
    "lr_extractor": (0, True, math.inf),
    "lr_branches": (0, True, math.inf),
    "lr_heads": (0, True, math.inf),
    "lr_maps": (0, True, math.inf),
    "weight_decay": (0, True, math.inf),
    "averaging": (0, True, 0.9999),
    "map_weight": (0, True, math.inf),
    "replay": (0, False, 1),
    "tolerance": (0, True, math.inf),
    "share": (0, False, 1),
    "count": (1, True, math.inf),
    "diversity": (0, True, 1),
    "min_rank": (0, True, 1),
    "min_enrichment": (0, True, math.inf),
    "faithfulness": (0, True, math.inf),
    "steps": (1, True, math.inf),
    "patch": (1, True, math.inf),
    "reference_rankings": (0, True, math.inf),
    "sanity": (0, True, math.inf),
    "resamples": (1, True, math.inf),
    "size": (32, True, 4096),
}


def check_training(options: TrainingOptions) -> None:
    """Refuse a recipe of phase 1 that cannot work.

    Raises:
        OptionError: A value is out of range.
    """
    _check_all(options)


def check_finetuning(options: FinetuneOptions) -> None:
    """Refuse a recipe of fine-tuning that cannot work.

    Raises:
        OptionError: A value is out of range.
    """
    _check_all(options)


def check_evaluation(options: EvaluateOptions) -> None:
    """Refuse options of `evaluate` that cannot work.

    Raises:
        OptionError: A value is out of range.
    """
    _check_all(options)


def check_selection(options: SelectOptions) -> None:
    """Refuse a request for photographs that cannot be met.

    Raises:
        OptionError: A value is out of range, or two say how many.
    """
    if options.count is not None and options.share < 1:
        raise OptionError(f"--count {options.count} and --share {options.share:g} both say how many: give one.")
    for option in ("share", "count", "diversity"):
        value = getattr(options, option)
        if value is not None:
            check_value(option, value)


def check_value(option: str, value: float) -> None:
    """Refuse one value, e.g. ("size", 5).

    Raises:
        OptionError: It is out of range.
    """
    least, inclusive, most = _RANGES[option]
    # `not (...)`, so that NaN is refused too.
    if not (least <= value <= most if inclusive else least < value <= most) or math.isinf(value):
        words = f"{least:g} or more" if inclusive else f"above {least:g}"
        if math.isfinite(most):
            words = f"{least:g} to {most:g}" if inclusive else f"above {least:g}, up to {most:g}"
        raise OptionError(f"--{option.replace('_', '-')} {value}: expected {words}.")


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


def _check_all(options: Any) -> None:
    for option in _RANGES:
        if hasattr(options, option):
            check_value(option, getattr(options, option))
