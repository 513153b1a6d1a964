"""The threshold at which a map's bright part is compared with the lesions, chosen on other photographs.

Invariant: no photograph has a say in its own threshold. On the test part and on other data the threshold comes from the
validation photographs (each judged by the model that never saw it); in a cross-validated validation part a fold's comes
from the other folds; where a study has one fixed validation part, from photographs that the model learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regaze.evaluation.overlap import at_threshold, best_threshold
from regaze.files import digest, read_json, write_json
from regaze.models.card import read_card
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.records import Sample
from regaze.study.assessment.measure import layers_of, rounded_curve, spread
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, known_lesions

Row = dict[str, Any]
Curves = dict[str, list[list[float]]]  # map's name -> one curve per photograph

_FORMAT = 1  # of the file; raise it when its content changes
#: Photographs with lesions, per fold, from which a threshold is chosen; not tuned: one number needs no more.
_MOST = 64


def add_iou(
    study: Study,
    name: str,
    machine: MachineOptions,
    judged: Sequence[Sample],
    folds: Sequence[Sequence[Row]],
    crossed: bool,
) -> None:
    """Give every record of a model its intersection over union.

    Args:
        study: The study.
        name: The model.
        machine: Device and precision.
        judged: The photographs of the records.
        folds: Records of `measure_maps`; `overlap` is taken out of each, and `iou` and `iou_threshold` are added to
            each record in `maps` (None where the photograph has no known lesion, or no photograph tells a threshold).
        crossed: The records are a cross-validated validation part, one sequence per fold.
    """
    own = [_curves(rows) for rows in folds] if crossed else []
    common = {} if crossed else _best(_choosing_curves(study, name, machine, judged))
    for fold, rows in enumerate(folds):
        chosen = _best(_joined([curves for other, curves in enumerate(own) if other != fold])) if crossed else common
        for row in rows:
            overlap = row.pop("overlap")
            for scale, record in row["maps"].items():
                threshold = chosen.get(scale)
                curve = overlap[scale] if overlap else None
                record["iou_threshold"] = threshold
                record["iou"] = None if curve is None or threshold is None else at_threshold(curve, threshold)


def _best(curves: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, float]:
    best = {scale: best_threshold(some) for scale, some in curves.items()}
    return {scale: threshold for scale, threshold in best.items() if threshold is not None}


def _curves(rows: Sequence[Row]) -> Curves:
    joined: Curves = {}
    for row in rows:
        for scale, curve in (row["overlap"] or {}).items():
            joined.setdefault(scale, []).append(curve)
    return joined


def _joined(many: Sequence[Curves]) -> Curves:
    joined: Curves = {}
    for curves in many:
        for scale, some in curves.items():
            joined.setdefault(scale, []).extend(some)
    return joined


def _choosing_curves(study: Study, name: str, machine: MachineOptions, judged: Sequence[Sample]) -> Curves:
    """Curves of photographs other than those of the records, kept in `evaluation/thresholds/`."""
    pictures = {_picture(sample) for sample in judged}
    groups = {fold: _choosing(study, fold, pictures) for fold in study.folds}
    contents = [[fold, [[s.id, s.content, s.label, s.origin] for s in some]] for fold, some in groups.items()]
    cards = [read_card(study.model_folder(name, fold)).key for fold in study.folds]
    key = digest([_FORMAT, cards, contents, study.dataset.fingerprint, machine.precision])
    file = study.evaluation_folder / "thresholds" / f"{name}-{digest([contents])[:8]}.json"
    try:
        stored = read_json(file)
        if stored["key"] == key:
            return dict(stored["curves"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, of another key, or damaged: made again
    curves = _joined([_fold_curves(study, name, fold, some, machine) for fold, some in groups.items() if some])
    write_json(file, {"key": key, "curves": curves})
    return curves


def _choosing(study: Study, fold: int, judged: set[str]) -> list[Sample]:
    """Photographs with lesions from which a fold's model may choose: its validation part, else what it learned from."""
    for some in (study.validation(fold), study.training(fold)):
        others = [sample for sample in some if _picture(sample) not in judged]
        marked = [sample for sample in others if sample.masks or sample.boxes]
        if marked:
            return [marked[index] for index in spread(len(marked), _MOST)]
    return []


def _picture(sample: Sample) -> str:
    """What tells a photograph in other data too: its bytes."""
    return sample.content or sample.id


def _fold_curves(study: Study, name: str, fold: int, samples: Sequence[Sample], machine: MachineOptions) -> Curves:
    predictor, card = load_model(study.model_folder(name, fold), machine)
    pixels = study.pixels(samples, card.size, machine.workers)
    masks, known = known_lesions(samples, pixels, study.dataset.ordinal)
    layers = layers_of(predictor.predict(pixels.images))
    curves_of: Curves = {}
    for scale, maps in layers.items():
        curves = [
            rounded_curve(enlarged, mask)
            for enlarged, mask, sure in zip(enlarge(maps, card.size), masks, known, strict=True)
            if sure
        ]
        curves_of[scale] = [curve for curve in curves if curve is not None]
    return curves_of
