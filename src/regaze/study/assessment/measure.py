"""What is measured on each photograph beyond its grade: agreement of the maps with lesions, and whether they matter.

Invariant: every model of a study gets the same photographs, the same random rankings and the same noise, so that what
is measured may be paired. (Whose map is another photograph's is drawn by the same lot among those that the model grades
alike.) Records are plain dicts that JSON can hold; what was not measured is None.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.data.pixels import Pixels
from regaze.evaluation.agreement import agree_all
from regaze.evaluation.comparison import ALL_MEASURES, faithfulness_records
from regaze.evaluation.faithfulness import Procedure, compare_orders, mean_result
from regaze.evaluation.lesion_coverage import count, find_lesions, lesion_light
from regaze.evaluation.overlap import iou_curve
from regaze.evaluation.reference_rankings import RANKINGS, mirrored, other_photographs, turned
from regaze.evaluation.sanity import parameter_randomisation, stability
from regaze.files import json_number
from regaze.models.build import Network
from regaze.models.network import AttentionNetwork
from regaze.models.predictor import Predictions, Predictor
from regaze.records import FUSED, LESION_TYPES, Sample
from regaze.study.assessment.ensemble import Ensemble
from regaze.study.lesions import enlarge, grids_of, mean_targets, targets

Row = dict[str, Any]
Feed = Callable[[int, int], None]

_CURVE_DIGITS = 4  # of curves in JSON
ANOTHER = "another"  # the reference ranking by another photograph's map
OTHERS = 3  # photographs whose maps are tried in a photograph's place


def layers_of(predictions: Predictions) -> dict[str, NDArray[np.float32]]:
    """The maps by name: `scale1` (finest) and so on, then `fused`; each (N, h, w) float32, 0..1."""
    scales = {f"scale{index + 1}": maps for index, maps in enumerate(predictions.maps)}
    return {**scales, FUSED: predictions.fused}


def measure_maps(
    rows: Sequence[Row],
    samples: Sequence[Sample],
    pixels: Pixels,
    known_N: NDArray[np.bool_],
    training_NSS: NDArray[np.bool_],
    predictions: Predictions,
    feed: Feed,
) -> None:
    """Agreement with lesions per scale and fused: at each map's own grid, and in cropped pixels.

    Args:
        rows: N records; get `maps` (map's name -> record of `agree`), `overlap` (map's name -> `iou_curve`) and
            `lesions`: `origin` (`masks` or `boxes`), `chance`, `found` (counts of lesions) and `lit` (map's name ->
            counts of lit ones). The last two are None where no lesion is known.
        samples: N photographs.
        pixels: The same in cropped pixels.
        known_N: Where lesions are known, or known to be absent.
        training_NSS: Masks of the model's training photographs, for the mean-map baseline.
        predictions: What the model says of the N photographs.
        feed: Called with (maps done, all maps).
    """
    side = pixels.images.shape[1]
    masks, pictures = pixels.union, pixels.pictures
    # Bit i of `pixels.lesions` is set where a pixel holds a lesion of type i.
    planes = [
        {kind: (plane >> bit & 1).astype(bool) for bit, kind in enumerate(LESION_TYPES)} for plane in pixels.lesions
    ]
    lesions = [
        find_lesions(plane, picture) if has else None
        for plane, picture, has in zip(planes, pictures, known_N & masks.any(axis=(1, 2)), strict=True)
    ]
    for row, sample, single in zip(rows, samples, lesions, strict=True):
        row["maps"], row["overlap"], row["lesions"] = {}, None, None
        if single is not None:
            row["overlap"] = {}
            row["lesions"] = {"origin": sample.origin, "chance": single.chance, "found": count(single), "lit": {}}
    layers = layers_of(predictions)
    grids = [*grids_of(predictions), (int(predictions.fused.shape[1]), int(predictions.fused.shape[2]))]
    baselines = zip(layers.items(), targets(masks, grids), mean_targets(training_NSS, grids), strict=True)
    for done, ((name, maps), wanted, mean) in enumerate(baselines, start=1):
        large = enlarge(maps, side)
        records = agree_all(maps, large, wanted, masks, mean_target=mean, known=known_N, pictures=pictures)
        for row, record, enlarged, mask, single in zip(rows, records, large, masks, lesions, strict=True):
            row["maps"][name] = record
            if single is not None:
                row["overlap"][name] = rounded_curve(enlarged[single.picture], mask[single.picture])
                # The order of a dead map is the rounding of its resampling, so it is taken as constant.
                ranked = np.zeros_like(enlarged) if record["dead"] else enlarged
                row["lesions"]["lit"][name] = count(single, lesion_light(ranked, single))
        feed(done, len(layers))


def rounded_curve(map_HW: NDArray[np.float32], mask_HW: NDArray[np.bool_]) -> list[float] | None:
    """`iou_curve` of the picture's pixels for JSON, to four decimals; None for an empty mask."""
    # Bilinear resampling may leave 0..1 by a rounding error.
    curve = iou_curve(np.clip(map_HW, 0, 1), mask_HW)
    return None if curve is None else [round(float(value), _CURVE_DIGITS) for value in curve]


def measure_faithfulness(
    rows: Sequence[Row],
    samples: Sequence[Sample],
    ensemble: Ensemble,
    pixels: Pixels,
    known_N: NDArray[np.bool_],
    probabilities_NK: NDArray[np.float32],
    procedure: Procedure,
    wanted: int,
    rankings: int,
    feed: Feed,
) -> None:
    """Deletion and insertion of the fused map, and of the reference rankings, on evenly spread photographs.

    Each order costs 2 (steps - 1) forward passes, the photograph and its substrates 3 once. With reference rankings
    there are 10 orders (9 without lesions) for the fused map's one: 303 passes for 33 at 16 steps, and one for each of
    the `OTHERS` maps of other photographs.

    Args:
        rows: N records; those measured get `comparison.ALL_MEASURES` of the fused map, and `faithfulness`: `followed`
            (class), `maps` (`fused` and the rankings -> `comparison.ALL_MEASURES`), `curves` (the same names ->
            `shares`, `deletion`, `insertion`, each steps + 1 numbers) and `others` (`drawn`, `of_another_grade`: whose
            maps `another` is the mean of; None without reference rankings). All others get None.
        samples: The N photographs.
        ensemble: The model.
        pixels: The N photographs.
        known_N: Where lesions are known; elsewhere there is no ranking `lesions`.
        probabilities_NK: What the model says of them; the likeliest class is followed.
        procedure: Steps, patches and substrates.
        wanted: Photographs to measure.
        rankings: Photographs among these on which the reference rankings are measured too.
        feed: Called with (photographs done, all of them).
    """
    for row in rows:
        row |= dict.fromkeys((*ALL_MEASURES, "faithfulness"))
    chosen = spread(len(rows), wanted)
    with_rankings = {chosen[index] for index in spread(len(chosen), rankings)}
    side = pixels.images.shape[1]
    masks = pixels.union
    followed_N = probabilities_NK.argmax(axis=1).astype(np.int64)
    for done, index in enumerate(chosen, start=1):
        image, mask = pixels.images[index : index + 1], masks[index : index + 1]
        followed = followed_N[index : index + 1]
        maps = {FUSED: ensemble.order(image, followed)}
        others = None
        if index in with_rankings:
            drawn, unlike = other_photographs(index, followed_N, strangers(samples, index), OTHERS)
            others = {"drawn": len(drawn), "of_another_grade": unlike}
            for place, other in enumerate(drawn):
                maps[f"{ANOTHER} {place}"] = ensemble.order(pixels.images[other : other + 1], followed)
            maps |= {"turned": turned(maps[FUSED]), "mirrored": mirrored(maps[FUSED])}
            # The index is the seed: another order for each photograph, the same for each model.
            maps |= {
                name: np.array(make(1, side, index, mask))
                for name, make in RANKINGS.items()
                if name != "lesions" or (known_N[index] and mask.any())
            }
        normalised = ensemble.members[0].normalise(image)
        pictures = [pixels.geometries[index].picture]
        results = compare_orders(ensemble.scores, normalised, maps, procedure, classes=followed, pictures=pictures)
        tried = [results.pop(name) for name in maps if name.startswith(ANOTHER)]
        pooled = {ANOTHER: mean_result(tried)} if tried else {}
        record = faithfulness_records({FUSED: results.pop(FUSED), **pooled, **results})[0]
        rows[index]["faithfulness"] = record | {"curves": _rounded(record["curves"]), "others": others}
        rows[index] |= record["maps"][FUSED]
        feed(done, len(chosen))


def strangers(samples: Sequence[Sample], index: int) -> NDArray[np.bool_]:
    """(N,) bool: neither a copy of a photograph nor another one of its patient (both eyes of one are alike).

    Args:
        samples: N photographs.
        index: The photograph.
    """
    own = samples[index]
    patients = {own.patient} - {None}
    return np.array([other.content != own.content and other.patient not in patients for other in samples], dtype=bool)


def _rounded(curves: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Curves for JSON, to four decimals."""
    return {
        name: {key: [round(value, _CURVE_DIGITS) for value in values] for key, values in parts.items()}
        for name, parts in curves.items()
    }


def measure_sanity(
    rows: Sequence[Row], member: Predictor, images_NSSC: NDArray[np.uint8], wanted: int, seed: int
) -> None:
    """Sanity checks of a model's fused map on evenly spread photographs.

    Args:
        rows: N records; those measured get `sanity`: `stability` (`flip`, `shift`, `noise` -> rank correlation) and
            `randomisation` (group of layers, from the top -> `spearman`, `ssim`); None inside where a map is constant.
            All others get None.
        member: One model, of several folds the first; weights are destroyed in a copy of it.
        images_NSSC: (N, S, S, 3) uint8, the photographs.
        wanted: Photographs to measure.
        seed: Of the new weights and of the noise.
    """
    for row in rows:
        row["sanity"] = None
    chosen = spread(len(rows), wanted)
    if not chosen:
        return
    images = images_NSSC[chosen]
    side = images.shape[1]

    def fused(network: Network) -> NDArray[np.float32]:
        twin = copy.copy(member)
        twin.network = network
        return twin.predict(images).fused

    stages = parameter_randomisation(member.network, layer_groups(member.network), fused, seed=seed)
    steady = stability(lambda changed: enlarge(member.predict(changed).fused, side), images, seed=seed)
    for checked, index in enumerate(chosen):
        rows[index]["sanity"] = {
            "stability": {change: json_number(values[checked]) for change, values in steady.items()},
            "randomisation": {
                stage.name: {"spearman": json_number(stage.spearman[checked]), "ssim": json_number(stage.ssim[checked])}
                for stage in stages
            },
        }


def layer_groups(network: Network) -> list[tuple[str, list[str]]]:
    """Layers in the order in which they are destroyed: from the output down to the photograph.

    The attention branches come after the heads: what lies above them cannot change an attention map, and the check
    shows it.
    """
    if isinstance(network, AttentionNetwork):
        heads = ["perception", *(["fusion"] if network.fusion is not None else [])]
        top = [("heads", heads), ("attention", ["attention"])]
    else:
        top = [("heads", ["classify"])]
    segments = getattr(network.extractor, "segments", None)
    if segments is None:  # a backbone that is not cut runs whole
        return [*top, ("extractor", ["extractor"])]
    blocks = reversed(range(len(segments)))
    return [*top, *((f"block{index + 1}", [f"extractor.segments.{index}"]) for index in blocks)]


def spread(total: int, wanted: int) -> list[int]:
    """At most `wanted` indices spread evenly over 0..total-1."""
    if wanted <= 0:
        return []
    return sorted({int(index) for index in np.linspace(0, total - 1, min(wanted, total)).round()})
