"""Figure 6: the map of each branch for a few photographs, before and after fine-tuning, and the same in figures."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.data.images import photo_orientation
from regaze.drawing.canvas import SOFT, Canvas
from regaze.drawing.overlay import outlined, overlay
from regaze.evaluation.seeds import Estimate, Value, mean_difference, mean_over_seeds
from regaze.experiments.claims import Claim
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.outcome import Outcome, shown, values
from regaze.experiments.plan import Cell, Want
from regaze.experiments.run_file import Record
from regaze.experiments.runs import Bench
from regaze.orientation import upright_pixels
from regaze.study.lesions import enlarge

SOURCE = "section 3.1, figure 6"
_SIDE, _GAP, _LEFT, _TOP = 130, 8, 14, 52
_PIXELS = 2 * _SIDE


def wants(options: ReproduceOptions) -> list[Want]:
    """The maps of the multi-scale network, before and after."""
    backbone = options.figure_backbone()
    return [Want("maps", Cell(backbone, "multi-scale")), Want("maps", Cell(backbone, "multi-scale", 1.0))]


def make(bench: Bench) -> Outcome:
    """The picture; area, enrichment and squared error of each branch's map."""
    before, after = wants(bench.options)
    records = {"before": bench.rows(before), "after": bench.rows(after)}
    scales = sorted(name for name in records["after"][0][0]["views"] if name.startswith("scale"))
    resamples = bench.options.resamples
    rows: list[tuple[str, ...]] = []
    figures: dict[str, dict[str, Estimate | float | None]] = {}
    for scale in scales:
        for when, seeds in records.items():
            area, gain, error = (
                mean_over_seeds(values(seeds, "views", scale, key), resamples, limits)
                for key, limits in (("area", (0, 1)), ("enrichment", (0, math.inf)), ("squared_error", (0, 1)))
            )
            rows.append((f"{scale}, {when}", shown(area), shown(gain, 2), shown(error, 4), str(area.n)))
            figures[f"{scale}, {when}"] = {"area": area, "enrichment": gain, "squared error": error}
    return Outcome(
        experiment="fig6",
        title="Figure 6: the branches' maps",
        headers=("map", "area that its energy covers", "enrichment", "squared error", "n"),
        rows=rows,
        figures=figures,
        claims=_claims(bench, records["before"], records["after"], scales),
        picture=_picture(bench, before, after, scales),
        notes=[
            "scale1 is the finest block. Area: the share of the image over which a map's energy spreads. n: "
            "photographs with known lesions, over all seeds.",
        ],
    )


def _claims(bench: Bench, before: list[list[Record]], after: list[list[Record]], scales: list[str]) -> list[Claim]:
    def claim(text: str, measure: str, worse: list[list[Value]], better: list[list[Value]]) -> Claim:
        difference = mean_difference(worse, better, bench.options.resamples)
        return Claim(text, SOURCE, measure, difference, bench.trainings)

    finest, deepest = (values(after, "views", scale, "area") for scale in (scales[0], scales[-1]))
    return [
        claim("The deepest branch looks at wider regions than the finest", "area", finest, deepest),
        *(
            claim(
                f"After fine-tuning the map of {scale} lies more on the lesions than before",
                "enrichment",
                *(values(seeds, "views", scale, "enrichment") for seeds in (before, after)),
            )
            for scale in scales
        ),
    ]


def _picture(bench: Bench, before: Want, after: Want, scales: list[str]) -> Canvas:
    """A row per photograph: lesions outlined, then each branch's map before and after."""
    with np.load(bench.shown(before)) as old, np.load(bench.shown(after)) as new:
        images, masks, ids = new["images"], new["masks"], new["ids"].tolist()
        assert ids == old["ids"].tolist()
        maps = [kept[f"map {scale}"] for kept in (old, new) for scale in scales]
    files = {sample.id: sample.image for sample in bench.dataset.samples}
    columns = [f"{scale}, {when}" for when in ("before", "after") for scale in scales]
    pitch = _SIDE + _GAP
    width, height = _LEFT + (1 + len(columns)) * pitch + _GAP, _TOP + len(ids) * (pitch + 14) + 8
    canvas = Canvas(width, height, f"Where each branch looks in {len(ids)} photographs, before and after fine-tuning")
    for column, name in enumerate(("lesions", *columns)):
        canvas.text((_LEFT + column * pitch, _TOP - 8), name, size=12.5, bold=True)
    canvas.text((_LEFT, 20), "Brighter: where the branch looks, relative to its own peak.", SOFT, 12)
    for line, sample in enumerate(ids):
        y = _TOP + line * (pitch + 14)
        side = images.shape[1]
        turn = photo_orientation(files[sample])
        canvas.image((_LEFT, y), _SIDE, upright_pixels(outlined(_sized(images[line]), masks[line]), turn))
        for column, layer in enumerate(maps, start=1):
            large = enlarge(layer[line : line + 1].astype(np.float32), side)[0]
            canvas.image(
                (_LEFT + column * pitch, y), _SIDE, upright_pixels(_sized(overlay(images[line], large, side)), turn)
            )
        canvas.text((_LEFT, y + _SIDE + 13), sample, SOFT, 11)
    return canvas


def _sized(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA), dtype=np.uint8)
