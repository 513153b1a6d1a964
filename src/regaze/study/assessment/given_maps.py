"""What a model grades when other maps than its own weigh its features (the paper's figure 1).

Only photographs with a grade whose lesions are known, or known to be absent, are measured, so that every one of them
has an expert's map: M' of its lesions, as training sees it, and an empty one where there is nothing to see.

Invariant: photographs, the lots by which another photograph is drawn, and what is given are the same for every model of
a study, so that differences may be paired; the model's own maps given back are its own grades.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.errors import DataError, ModelError
from regaze.evaluation.reference_rankings import other_photographs
from regaze.models.features import FeatureCache
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions, Predictor, decode
from regaze.records import Sample
from regaze.study.assessment.measure import OTHERS, strangers
from regaze.study.folder import Study
from regaze.study.lesions import grids_of, known_lesions, targets

#: Names of what weighs the features, the model's own maps first.
GIVEN = ("own", "expert", "empty", "full", "another")

Shares = NDArray[np.float32]
_Maps = Sequence[NDArray[np.float32]]


def judge_given_maps(study: Study, name: str, machine: MachineOptions) -> list[dict[str, Any]]:
    """Grades of one model with its own maps and with others.

    Judged is the test part where the data has one (by the mean of the folds' models, each with its own maps), else each
    fold's validation part.

    Args:
        study: Whose model and data.
        name: A complete model with attention maps.
        machine: Device and precision.

    Returns:
        One dict per photograph that has a grade and known lesions (or is known to be free of them): `sample`,
        `patient`, `label`, `lesions` (whether it has any), and `given`: each of `GIVEN` -> `probabilities` and
        `grades`, lists of one entry, of `another` one for each of `OTHERS` photographs.

    Raises:
        StudyError: The model is missing.
        ModelError: It has no attention maps.
        DataError: No photograph can be measured, or all are of one patient.
    """
    if not study.require_model(name).has_maps:
        raise ModelError(f"{name} is a plain network without attention maps to replace: give another model.")
    test = study.test()
    groups = [(study.folds, test)] if test else [([fold], study.validation(fold)) for fold in study.folds]
    rows = [row for folds, samples in groups for row in _judged(study, name, folds, samples, machine)]
    if not rows:
        raise DataError(f"{study.options.data}: no graded photograph of the part to judge on has known lesions.")
    return rows


def _judged(
    study: Study, name: str, folds: Sequence[int], judged: Sequence[Sample], machine: MachineOptions
) -> list[dict[str, Any]]:
    graded = [sample for sample in judged if sample.label is not None]
    pixels = study.pixels(graded, study.card(name).size, machine.workers)
    every_mask, known = known_lesions(graded, pixels, study.dataset.sound)
    kept = np.flatnonzero(known)
    if not kept.size:
        return []
    members = [load_model(study.model_folder(name, fold), machine)[0] for fold in folds]
    samples, masks = [graded[index] for index in kept], every_mask[kept]
    with study.voice.progress(f"giving other maps to {name}") as feed:
        given = _probabilities(members, pixels.images[kept], masks, samples, study.feature_cache(machine), feed)
    grades = {what: [decode(shares, members[0].decoding) for shares in tries] for what, tries in given.items()}
    return [
        {
            "sample": sample.id,
            "patient": sample.patient,
            "label": sample.label,
            "lesions": bool(masks[index].any()),
            "given": {
                what: {
                    "probabilities": [[float(value) for value in shares[index]] for shares in given[what]],
                    "grades": [int(each[index]) for each in grades[what]],
                }
                for what in GIVEN
            },
        }
        for index, sample in enumerate(samples)
    ]


def _probabilities(
    members: Sequence[Predictor],
    images_NSSC: NDArray[np.uint8],
    masks_NSS: NDArray[np.bool_],
    samples: Sequence[Sample],
    cache: FeatureCache,
    feed: Any,
) -> dict[str, list[Shares]]:
    """Each of `GIVEN` -> probabilities (N, K), one array per try."""
    own = [member.predict(images_NSSC, cache=cache) for member in members]
    others = _others(samples, decode(_mean(own), members[0].decoding))
    steps = 3 + OTHERS

    def given(step: int, maps: Sequence[_Maps]) -> Shares:
        told = [member.predict(images_NSSC, cache=cache, maps=its) for member, its in zip(members, maps, strict=True)]
        feed(step, steps)
        return _mean(told)

    expert = targets(masks_NSS, grids_of(own[0]))
    return {
        "own": [_mean(own)],
        "expert": [given(1, [expert] * len(members))],
        "empty": [given(2, [[np.zeros_like(item) for item in expert]] * len(members))],
        "full": [given(3, [[np.ones_like(item) for item in expert]] * len(members))],
        "another": [
            given(4 + draw, [[item[rows] for item in its.maps] for its in own]) for draw, rows in enumerate(others)
        ],
    }


def _mean(predictions: Sequence[Predictions]) -> Shares:
    """As `assessment.ensemble` averages several folds' models."""
    return np.asarray(np.mean([item.probabilities for item in predictions], axis=0), dtype=np.float32)


def _others(samples: Sequence[Sample], grades_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """(OTHERS, N): whose map stands in for each photograph's own, of the same predicted grade as far as there are any.

    Raises:
        DataError: A photograph has nobody else's map beside it.
    """
    drawn = []
    for index, own in enumerate(samples):
        found, _ = other_photographs(index, grades_N, strangers(samples, index), OTHERS)
        if not found:
            raise DataError(
                f"{own.id} is judged with photographs of no other patient, so that there is no other's map to give it: "
                "give fewer --folds."
            )
        drawn.append([found[draw % len(found)] for draw in range(OTHERS)])
    return np.array(drawn, dtype=np.int64).T
