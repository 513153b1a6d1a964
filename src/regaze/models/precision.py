"""Whether a network answers in bfloat16 as it does in fp32, and in which of the two it predicts.

It depends on the backbone: a ResNet18's probabilities move by thousandths, those of a network with few channels per
convolution by tenths. So it is measured when a model is finished in bfloat16, and written into its card under `details`
as `arithmetic`: `trained` (`bf16` or `fp32`) and, of a model trained in bfloat16, `n`, `largest_difference` and
`changed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.errors import ModelError
from regaze.models.build import Network
from regaze.models.card import ModelCard
from regaze.models.options import MachineOptions, Precision
from regaze.models.predictor import Predictor

PHOTOGRAPHS = 32  # that both precisions grade
#: Difference of a probability from which bfloat16 is another model, chosen beforehand: two points of certainty.
LARGEST = 0.02


def compare_precisions(
    network: Network, card: ModelCard, images_NSSC: NDArray[np.uint8], machine: MachineOptions
) -> dict[str, Any]:
    """Grade evenly spread photographs in bfloat16 and in fp32.

    Args:
        network: As it was trained.
        card: Its normalisation and decoding.
        images_NSSC: (N, S, S, 3) uint8, RGB, cropped pixels; of the training part.
        machine: The device.

    Returns:
        `n`: photographs; `largest_difference` of a probability, 0..1; `changed`: photographs with another grade. The
        last two are None where bfloat16 gave no number.
    """
    images = images_NSSC[np.unique(np.linspace(0, len(images_NSSC) - 1, PHOTOGRAPHS).round().astype(int))]

    def predict(precision: Precision) -> Any:
        same = replace(machine, precision=precision)
        return Predictor(network, card.mean, card.std, card.decoding, same).predict(images)

    try:
        short, full = predict("bf16"), predict("fp32")
    except ModelError:
        return {"n": len(images), "largest_difference": None, "changed": None}
    return {
        "n": len(images),
        "largest_difference": float(np.abs(short.probabilities - full.probabilities).max()),
        "changed": int((short.grades != full.grades).sum()),
    }


def predicting(card: ModelCard, machine: MachineOptions) -> MachineOptions:
    """The machine with the precision in which a model predicts on it.

    A model whose bfloat16 answers are others predicts in fp32, also under `--precision bf16`, which asks for speed and
    not for other grades. A model trained in fp32 predicts in it unless bf16 is asked for, since nobody compared. An
    older card knows nothing of it: as the machine says.
    """
    known = card.details.get("arithmetic")
    if known is None:
        return machine
    untried = known["trained"] == "fp32" and machine.precision == "auto"
    return replace(machine, precision="fp32") if untried or _parts(known) else machine


def why_fp32(card: ModelCard) -> str:
    """Why a model trained in bfloat16 predicts in fp32, in one sentence; empty where it does not have to."""
    known = card.details.get("arithmetic")
    if known is None or not _parts(known):
        return ""
    if known["changed"] is None:
        return "predicts in fp32: bfloat16 gives no number."
    return (
        f"predicts in fp32: in bfloat16 {known['changed']} of {known['n']} of its training photographs get another "
        f"grade, and a probability differs by up to {known['largest_difference']:.3f}."
    )


def _parts(known: Mapping[str, Any]) -> bool:
    if known["trained"] == "fp32":
        return False
    return known["changed"] is None or known["changed"] > 0 or known["largest_difference"] > LARGEST
