"""regaze teaches an image classifier where to look.

Importing this package is cheap: it loads neither torch nor any image library. The public names below are
resolved on first use.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_API = ("open_study", "create_study", "train", "collect", "select", "correct", "finetune", "evaluate", "predict")
_LAZY = {
    "load_dataset": "regaze.data.sources",
    "build_network": "regaze.models.build",
    "load_model": "regaze.photographs.pictures",
    "Study": "regaze.study.folder",
    **dict.fromkeys(_API, "regaze.api"),
}

__all__ = [
    "Study",
    "__version__",
    "build_network",
    "collect",
    "correct",
    "create_study",
    "evaluate",
    "finetune",
    "load_dataset",
    "load_model",
    "open_study",
    "predict",
    "select",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'regaze' has no attribute {name!r}")
