"""Intersection over union of maps and lesions, at a threshold that is chosen on other photographs.

Invariant: no photograph has a say in its own threshold. On the test part and on other data the threshold comes from the
validation photographs (each judged by the model that never saw it); in a cross-validated validation part a fold's comes
from the other folds; where a study has one fixed validation part, from photographs that the model learned from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from regaze.evaluation.overlap import at_threshold, best_threshold
from regaze.files import digest, read_sealed, typed, write_sealed
from regaze.models.card import read_card
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.records import Sample
from regaze.study.assessment.measure import layers_of, rounded_curve, spread
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, known_lesions

Row = dict[str, Any]
Curves = dict[str, list[list[float]]]  # map's name -> one curve per photograph

_FORMAT = 2  # of the file; raise it when its content changes
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
        study: Whose data.
        name: The model.
        machine: Device and precision.
        judged: The photographs of the records.
        folds: Records of `measure_maps`; `overlap` is taken out of each, and `iou` and `iou_threshold` are added to
            each record in `maps` (None where the photograph has no known lesion, or no photograph gives a threshold).
        crossed: The records are a cross-validated validation part, one sequence per fold.
    """
    curves = [_joined(_by_map(row) for row in rows) for rows in folds] if crossed else []
    common = {} if crossed else _best(_choosing_curves(study, name, machine, judged))
    for fold, rows in enumerate(folds):
        chosen = _best(_joined(curves[:fold] + curves[fold + 1 :])) if crossed else common
        for row in rows:
            overlap = row.pop("overlap")
            for scale, record in row["maps"].items():
                threshold = chosen.get(scale)
                curve = overlap[scale] if overlap else None
                record["iou_threshold"] = threshold
                record["iou"] = None if curve is None or threshold is None else at_threshold(curve, threshold)


def _best(curves: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, float]:
    best = {scale: best_threshold(items) for scale, items in curves.items()}
    return {scale: threshold for scale, threshold in best.items() if threshold is not None}


def _by_map(row: Row) -> Curves:
    return {scale: [curve] for scale, curve in (row["overlap"] or {}).items()}


def _joined(parts: Iterable[Curves]) -> Curves:
    joined: Curves = {}
    for part in parts:
        for scale, curves in part.items():
            joined.setdefault(scale, []).extend(curves)
    return joined


def _choosing_curves(study: Study, name: str, machine: MachineOptions, judged: Sequence[Sample]) -> Curves:
    """Curves of photographs other than those of the records, kept in `evaluation/thresholds/`."""
    excluded = {_content(sample) for sample in judged}
    groups = {fold: _choosing(study, fold, excluded) for fold in study.folds}
    contents = [[fold, [[s.id, s.content, s.label, s.origin] for s in group]] for fold, group in groups.items()]
    cards = [read_card(study.model_folder(name, fold)).key for fold in study.folds]
    key = digest([_FORMAT, cards, contents, study.dataset.fingerprint, machine.precision])
    file = study.evaluation_folder / "thresholds" / f"{name}-{digest([contents])[:8]}.json"
    try:
        stored = read_sealed(file)
        if stored["key"] == key:
            kept: Curves = typed(Curves, stored["curves"])
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, of another key, or damaged: made again
    curves = _joined([_fold_curves(study, name, fold, group, machine) for fold, group in groups.items() if group])
    write_sealed(file, {"key": key, "curves": curves})
    return curves


def _choosing(study: Study, fold: int, judged: set[str]) -> list[Sample]:
    """Photographs with lesions from which a fold's model may choose: its validation part, else what it learned from."""
    for samples in (study.validation(fold), study.training(fold)):
        usable = [item for item in samples if (item.masks or item.boxes) and _content(item) not in judged]
        if usable:
            return [usable[index] for index in spread(len(usable), _MOST)]
    return []


def _content(sample: Sample) -> str:
    """Identifies a photograph in other data too."""
    return sample.content or sample.id


def _fold_curves(study: Study, name: str, fold: int, samples: Sequence[Sample], machine: MachineOptions) -> Curves:
    predictor, card = load_model(study.model_folder(name, fold), machine)
    pixels = study.pixels(samples, card.size, machine.workers)
    masks, known = known_lesions(samples, pixels, study.dataset.sound)
    curves: Curves = {}
    for scale, maps in layers_of(predictor.predict(pixels.images)).items():
        parts = zip(enlarge(maps, card.size), masks, pixels.pictures, known, strict=True)
        found = [rounded_curve(item[picture], mask[picture]) for item, mask, picture, is_known in parts if is_known]
        curves[scale] = [curve for curve in found if curve is not None]
    return curves
