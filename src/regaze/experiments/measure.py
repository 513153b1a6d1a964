"""What tables 2 and 3 and figure 6 need of one model: its maps, how faithful they are, and how near to the lesions.

Only photographs with known lesions are measured, so that the lesion mask can stand beside every map as an order. (Table
2 leaves out those of grade 0.)

Invariant: all maps are compared with one target on one grid (a sixteenth of the side, the deepest block's of a
ResNet). On its own grid each method would have another target with another zero-map error, and a coarse map would be
charged for its cells. Deletion and insertion follow the model's arg-max; maps are ranked before their sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.errors import DataError
from regaze.evaluation.agreement import lesion_enrichment, squared_error
from regaze.evaluation.faithfulness import Faithfulness, Procedure, compare_orders
from regaze.evaluation.picture import Picture, picture_cells
from regaze.evaluation.reference_rankings import RANKINGS
from regaze.explanation.explainers import explain
from regaze.files import replacing
from regaze.models.folder import load_model
from regaze.models.network import PlainNetwork
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictor
from regaze.records import Sample
from regaze.study.assessment.judge import part_of
from regaze.study.assessment.measure import spread
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, known_lesions, mean_targets, targets

Maps = NDArray[np.float32]
_SHOWN = 4  # photographs kept for figure 6


@dataclass
class Scene:
    """Photographs with known lesions that a model has not seen, in cropped pixels.

    Attributes:
        samples: N photographs.
        images: (N, S, S, 3) uint8 RGB.
        masks: (N, S, S) bool, each with a lesion.
        target: (N, g, g) float32 in 0..1, what a map should be.
        mean: (g, g) float32, the mean target of the training photographs: a baseline that has seen no image.
        pictures: Where in each of the N squares the photograph lies; only there is measured.
    """

    samples: list[Sample]
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    target: Maps
    mean: Maps
    pictures: list[Picture]

    def cells(self, index: int, attention_map: Maps) -> Maps:
        """The cells (h', w') of a map (h, w) of one photograph that hold any of its picture."""
        return attention_map[picture_cells(self.pictures[index], self.masks.shape[1], attention_map.shape)]


def measure(
    study: Study, name: str, machine: MachineOptions, faithfulness: int, steps: int, shown: Path
) -> list[dict[str, Any]]:
    """Measure a model's maps.

    Args:
        study: Where the model lies.
        name: The model.
        machine: Device and precision.
        faithfulness: Photographs for deletion and insertion, over all folds; 0: the network's own maps alone.
        steps: Of deletion and insertion.
        shown: Where the first photographs and their maps go, as npz, for figure 6.

    Returns:
        One record per photograph: `sample`, `patient`, `zero` and `mean` (squared errors of the empty map and of the
        mean target), and `views`: name of a map or control -> `squared_error`, `enrichment`, `area` (controls brought
        to 0..1; None for the lesion mask), `deletion` and `insertion` (None where not measured).

    Raises:
        DataError: No photograph has known lesions.
    """
    test = part_of(study) == "test"
    records: dict[str, list[dict[str, Any]]] = {}
    for fold in study.folds:
        predictor, card = load_model(study.model_folder(name, fold), machine)
        scene = _scene(study, study.test() if test else study.validation(fold), fold, card.size)
        if not scene.samples:
            continue
        wanted = faithfulness if test else -(-faithfulness // len(study.folds))
        with study.voice.progress(f"measuring maps of {name}") as feed:
            rows = _rows(predictor, scene, spread(len(scene.samples), wanted), steps, study.options.seed, feed)
        if not records:
            _keep(predictor, scene, shown)
        for row in rows:
            records.setdefault(row["sample"], []).append(row)
    if not records:
        raise DataError(f"{study.options.data}: no photograph of the part to judge on has known lesions: add masks.")
    return [_averaged(rows) for rows in records.values()]


def effective_area(attention_map: Maps) -> float:
    """Share of the map's cells over which its energy spreads: (Σ m)² / (n Σ m²), 0..1; 1 for a constant map.

    Args:
        attention_map: (h, w) float, 0 or more; of an empty one the share is 0.
    """
    values = attention_map.astype(np.float64)
    squares = float((values**2).sum())
    return float(values.sum() ** 2 / (values.size * squares)) if squares > 0 else 0.0


def on_grid(maps: Maps, side: int) -> Maps:
    """Bring maps (N, h, w) to (N, side, side).

    Args:
        maps: (N, h, w) float.
        side: Cells of a side; fewer than before: means of cells, more: bilinear.
    """
    how = cv2.INTER_AREA if maps.shape[1] > side else cv2.INTER_LINEAR
    return np.stack([cv2.resize(item, (side, side), interpolation=how) for item in maps]).astype(np.float32)


def _scene(study: Study, judged: list[Sample], fold: int, size: int) -> Scene:
    pixels = study.pixels(judged, size)
    masks, known = known_lesions(judged, pixels, study.dataset.sound)
    kept = np.flatnonzero(known & masks.any(axis=(1, 2)))
    grid = [(max(1, round(size / 16)),) * 2]
    return Scene(
        samples=[judged[index] for index in kept],
        images=pixels.images[kept],
        masks=masks[kept],
        target=targets(masks[kept], grid)[0],
        mean=mean_targets(study.training_masks(fold, size), grid)[0],
        pictures=[pixels.geometries[index].picture for index in kept],
    )


def _own_maps(predictor: Predictor, images_NSSC: NDArray[np.uint8]) -> dict[str, Maps]:
    """Name -> maps (N, h, w) in 0..1 as the network gives them; a plain network's is its (exact) Grad-CAM."""
    predictions = predictor.predict(images_NSSC)
    if isinstance(predictor.network, PlainNetwork):
        return {"grad-cam": predictions.maps[0]}
    own = {f"scale{number}": maps for number, maps in enumerate(predictions.maps, start=1)}
    return own | ({"attention": predictions.fused} if len(own) > 1 else {})


def _rows(
    predictor: Predictor, scene: Scene, chosen: list[int], steps: int, seed: int, feed: Any
) -> list[dict[str, Any]]:
    own = _own_maps(predictor, scene.images)
    ranked: dict[str, Maps] = {}
    if chosen:
        ranked = {name: explain(predictor, scene.images[chosen], name) for name in own}
        if len(own) > 1:  # Grad-CAM of the multi-scale network: does another explainer see what its own maps show?
            evidence = explain(predictor, scene.images, "grad-cam")
            ranked["grad-cam"] = evidence[chosen]  # before its last ReLU, which would tie cells with counter-evidence
            heat = np.maximum(evidence, 0)
            own["grad-cam"] = heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
        # The other rankings stand beside the proposed network alone; a random order says what each network gives away.
        for name in RANKINGS if len(own) > 1 else ("random",):
            order = RANKINGS[name](len(scene.samples), scene.masks.shape[1], seed, scene.masks)
            ranked[name] = order[chosen]
            if name != "lesions":  # the mask is what maps are held to: its own agreement would say nothing
                own[name] = _stretched(order)
    areas = _faithfulness(predictor, scene, chosen, ranked, steps, feed) if ranked else {}
    return [_row(scene, index, own, areas, chosen) for index in range(len(scene.samples))]


def _row(
    scene: Scene, index: int, own: dict[str, Maps], areas: dict[str, Faithfulness], chosen: list[int]
) -> dict[str, Any]:
    row = chosen.index(index) if index in chosen else None
    views: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys([*own, *areas]):
        agreement = _agreement(own[name][index], scene, index) if name in own else dict.fromkeys(_AGREEMENT)
        area = areas[name] if row is not None and name in areas else None
        deletion, insertion = (float(area.deletion[row]), float(area.insertion[row])) if area else (None, None)
        views[name] = agreement | {"deletion": deletion, "insertion": insertion}
    target, guess = scene.cells(index, scene.target[index]), scene.cells(index, scene.mean)
    zero, mean = (squared_error(baseline, target) for baseline in (np.zeros_like(guess), guess))
    sample = scene.samples[index]
    return {"sample": sample.id, "patient": sample.patient, "zero": zero, "mean": mean, "views": views}


def _stretched(orders: Maps) -> Maps:
    """Orders (N, S, S) brought to 0..1 each, as a map that could have been given."""
    low, high = (reduce(orders, axis=(1, 2), keepdims=True) for reduce in (np.min, np.max))
    return np.asarray((orders - low) / np.maximum(high - low, 1e-12), dtype=np.float32)


_AGREEMENT = ("squared_error", "enrichment", "area")


def _agreement(attention_map: Maps, scene: Scene, index: int) -> dict[str, float | None]:
    grid = scene.target.shape[1]
    picture = scene.pictures[index]
    large = enlarge(attention_map[None], scene.masks.shape[1])[0]
    gridded = scene.cells(index, on_grid(attention_map[None], grid)[0])
    return {
        "squared_error": squared_error(gridded, scene.cells(index, scene.target[index])),
        "enrichment": lesion_enrichment(large[picture], scene.masks[index][picture]),
        "area": effective_area(scene.cells(index, attention_map)),
    }


def _faithfulness(
    predictor: Predictor, scene: Scene, chosen: list[int], ranked: dict[str, Maps], steps: int, feed: Any
) -> dict[str, Faithfulness]:
    images, pictures = predictor.normalise(scene.images[chosen]), [scene.pictures[index] for index in chosen]
    orders = {name: np.array(maps, dtype=np.float32) for name, maps in ranked.items()}
    procedure = Procedure(n_steps=steps)
    return compare_orders(predictor.scores, images, orders, procedure, pictures=pictures, progress=feed)


def _averaged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One record of a photograph that several folds' models were measured on (the test part)."""
    if len(rows) == 1:
        return rows[0]
    views = {
        name: {key: _mean([row["views"][name][key] for row in rows]) for key in rows[0]["views"][name]}
        for name in rows[0]["views"]
    }
    return rows[0] | {"views": views, "mean": _mean([row["mean"] for row in rows])}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _keep(predictor: Predictor, scene: Scene, file: Path) -> None:
    """Photographs spread over the scene with their maps, for figure 6."""
    kept = spread(len(scene.samples), _SHOWN)
    images = scene.images[kept]
    maps: dict[str, Any] = {f"map {name}": own.astype(np.float16) for name, own in _own_maps(predictor, images).items()}
    ids = np.array([scene.samples[index].id for index in kept])
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, ids=ids, images=images, masks=scene.masks[kept], **maps)
