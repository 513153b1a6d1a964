"""Maps of judged photographs, kept beside their records so that nobody predicts these photographs again.

Invariant: what is read is what was predicted for this key, to float16; a file that is missing, damaged or of another
key counts as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from regaze.files import replacing
from regaze.models.predictor import Predictions
from regaze.study.assessment.measure import layers_of

Maps = dict[str, NDArray[np.float32]]  # `scale1` (finest) and so on, then `fused` -> (h, w), 0..1


def keep_maps(file: Path, key: str, predictions: Predictions) -> None:
    """Write the maps of N photographs: at 512 pixels and three scales 75 kB each."""
    tensors = {name: np.ascontiguousarray(maps, np.float16) for name, maps in layers_of(predictions).items()}
    with replacing(file) as temporary:
        save_file(tensors, temporary, {"key": key})


def read_maps(file: Path, key: str, rows: Sequence[int]) -> list[Maps] | None:
    """The maps of some of the N photographs, by their indices; None where none are kept under this key."""
    try:
        with safe_open(file, framework="numpy") as stream:
            if (stream.metadata() or {}).get("key") != key:
                return None
            layers = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
            return [{name: np.asarray(maps[row], np.float32) for name, maps in layers.items()} for row in rows]
    except (SafetensorError, OSError):
        return None
