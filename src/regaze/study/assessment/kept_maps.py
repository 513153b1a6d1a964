"""Maps and evidence of judged photographs, kept beside their records so that nobody predicts these again.

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

# `scale1` (finest) and so on, then `fused` -> (h, w), 0..1; and the two below -> (h, w), signed, see `Evidence.of`.
Maps = dict[str, NDArray[np.float32]]

#: Evidence for the class that the model gave, and for the expert's (where there is none: again for the model's). Files
#: of earlier versions lack both.
GIVEN, EXPERTS = "evidence_given", "evidence_experts"


def keep_maps(file: Path, key: str, predictions: Predictions, labels: Sequence[int | None]) -> None:
    """Write the maps of N photographs: at 512 pixels and three scales 140 kB each, with the evidence.

    Args:
        file: To write or replace.
        key: Of models and photographs.
        predictions: With `evidence`.
        labels: N labels.
    """
    layers = layers_of(predictions)
    if predictions.evidence is not None:
        given = [int(grade) for grade in predictions.grades]
        experts = [grade if label is None else label for grade, label in zip(given, labels, strict=True)]
        layers |= {GIVEN: predictions.evidence.of(given), EXPERTS: predictions.evidence.of(experts)}
    tensors = {name: np.ascontiguousarray(maps, np.float16) for name, maps in layers.items()}
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
