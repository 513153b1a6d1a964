"""What is known about a photograph's lesions, as the page shows it: upright, original pixels."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from regaze.data.masks import lesion_masks
from regaze.records import Sample
from regaze.server.frame import Frame
from regaze.server.shape_bodies import shown_runs

_KEPT = 16


def lesions_of(sample: Sample, frame: Frame, sound: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Shapes as `bodies.Lesion` describes them, and whether the lesions are known (or known to be absent).

    Raises:
        DataError: A mask cannot be read.
    """
    from regaze.study.lesions import lesion_status  # with torch

    shapes = _boxes(sample, frame) if sample.origin == "boxes" else _masks(_Hashable(sample, frame))
    return shapes, lesion_status(sample, bool(shapes), sound) != "unknown"


class _Hashable:
    """A sample that `lru_cache` can take, equal by what decides its masks."""

    def __init__(self, sample: Sample, frame: Frame) -> None:
        self.sample, self.frame = sample, frame
        self._key = sample.id, sample.content

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashable) and self._key == other._key


@lru_cache(maxsize=_KEPT)
def _masks(wanted: _Hashable) -> list[dict[str, Any]]:
    masks = lesion_masks(wanted.sample).items()
    return [
        {"kind": "mask", "name": name, "points": [], "runs": shown_runs(mask, wanted.frame)}
        for name, mask in masks
        if mask.any()
    ]


def _boxes(sample: Sample, frame: Frame) -> list[dict[str, Any]]:
    shapes = []
    for box in sample.boxes:
        corners = ((box.x0 * frame.width, box.y0 * frame.height), (box.x1 * frame.width, box.y1 * frame.height))
        points = [list(frame.shown_point(corner)) for corner in corners]
        shapes.append({"kind": "box", "name": box.lesion, "points": points, "runs": []})
    return shapes
