"""What the report page takes: plain data, already measured, nothing to compute.

Invariant: the page shows what stands here and adds no figure of its own beyond counts and differences that a
reader could take from it with pencil and paper. Whatever could not be measured is None, and is shown as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.records import Origin

IN_FULL = 4  # photographs of each list of what got worse that are shown in full; the others are shown small


@dataclass(frozen=True, eq=False)
class View:
    """What one model said about one photograph, and where it looked.

    Attributes:
        grade: The decoded class index.
        confidence: Probability of that class, 0..1.
        probabilities: K values, 0..1, one for each class.
        fused: (S, S) float32, 0..1, the attention map in cropped pixels, the frame of `Case.photo`.
        scales: One (h, w) float32 map for each block in map cells, 0..1, finest first.
        enrichment: Energy of the map inside the lesions over the share of the picture that they cover (1 =
            chance); None where the lesions are unknown or absent.
        relevance_rank: Share of the k strongest pixels that lie in lesions, k = number of lesion pixels; None
            as above.
        squared_error: Mean squared difference from the expert's map; None where that is unknown.
    """

    grade: int
    confidence: float
    probabilities: list[float]
    fused: NDArray[np.float32]
    scales: list[NDArray[np.float32]] = field(default_factory=list)
    enrichment: float | None = None
    relevance_rank: float | None = None
    squared_error: float | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """One photograph before and after.

    Attributes:
        sample: `Sample.id`.
        label: The expert's class index; None where there is none.
        photo: (S, S, 3) uint8 RGB, cropped pixels.
        lesions: (S, S) bool in the same frame; all False: known to be free of lesions; None: unknown.
        origin: `masks` (drawn pixel by pixel), `boxes` (a clinician's rectangles) or `none`.
        before: The model before the corrections.
        after: The model fine-tuned on them.
    """

    sample: str
    label: int | None
    photo: NDArray[np.uint8]
    lesions: NDArray[np.bool_] | None
    origin: Origin
    before: View
    after: View

    def __post_init__(self) -> None:
        """Hold the pictures of a case to one frame.

        Raises:
            ValueError: If photo, lesions and fused maps do not share one square frame.
        """
        side = self.photo.shape[0]
        if self.photo.shape != (side, side, 3) or self.photo.dtype != np.uint8:
            raise ValueError(
                f"photo of {self.sample} is {self.photo.shape} {self.photo.dtype}, expected (S, S, 3) uint8"
            )
        layers = {"lesions": self.lesions, "before.fused": self.before.fused, "after.fused": self.after.fused}
        for name, layer in layers.items():
            if layer is not None and layer.shape != (side, side):
                raise ValueError(f"{name} of {self.sample} is {layer.shape}, expected the photo's {(side, side)}")

    def reduced(self, side: int) -> Case:
        """The case at most `side` pixels large, without the maps of the single scales.

        Returns:
            The case itself where it is small enough; else one of (side, side), in which a pixel is a lesion where any
            of the pixels that it stands for is one.
        """
        if self.photo.shape[0] <= side:
            return self
        lesions = None if self.lesions is None else _shrunk(self.lesions.astype(np.float32), side) > 0
        before, after = (replace(v, fused=_shrunk(v.fused, side), scales=[]) for v in (self.before, self.after))
        return replace(self, photo=_shrunk(self.photo, side), lesions=lesions, before=before, after=after)


def _shrunk(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything on the page.

    Attributes:
        title: Heading of the page.
        classes: Class names; labels and grades index them.
        results: The JSON of `regaze evaluate`: `part`, `n`, `models` (name -> figures), `notes`. Any figure
            may be None or absent.
        before: Name in `results["models"]` of the model before the corrections.
        after: Name of the model fine-tuned on them.
        control: Name of the model fine-tuned equally long without the map loss; None: there is none.
        paired: Comparisons over the same photographs, each `{"difference", "interval": [lo, hi]}` or None,
            difference = after - before (or after - control), with `probability_better` (or
            `probability_greater`), `n_used`, `mean_a` and `mean_b` where known. Keys: `kappa`, `enrichment`,
            `squared_error`, and each of them with `_against_control`. The intervals hold 95 % unless a
            comparison says otherwise in `level` (0..1). With more measured also `deletion`, `insertion` and `iou`,
            `without_grade_0` (a dict of the first two) and `lesion_recall` (map's name -> `all` and each lesion type ->
            comparison), likewise.
        cases: For the galleries, in the order to show.
        worse_graded: Graded right before and wrong after, worst first. The page shows the first in full, the others
            small.
        worse_maps: Photographs whose map moved away from the lesions, likewise.
        further_off: Graded wrong before, and further from the expert's grade after; empty where the classes are no
            grades.
        n_worse_graded: How many were graded right before and wrong after, shown or not.
        n_better_graded: How many were graded wrong before and right after.
        n_worse_maps: How many maps lie less on the lesions than before.
        n_better_maps: How many lie more on them.
        provenance: Options, versions, data fingerprint, seeds, lineage, number of corrections, wall times;
            nested.
        commands: Command lines that reproduce the page.
        curves: Mean curves of deletion and insertion: `models` (by `before`, `control`, `after`) and `orders` (of the
            model after: `fused` and the reference rankings), each as `assessment.curves` gives it; None: not measured.
    """

    title: str
    classes: tuple[str, ...]
    results: dict[str, Any]
    before: str
    after: str
    control: str | None
    paired: dict[str, Any]
    cases: list[Case]
    worse_graded: list[Case]
    worse_maps: list[Case]
    n_worse_graded: int
    n_better_graded: int
    n_worse_maps: int
    n_better_maps: int
    provenance: dict[str, Any]
    commands: list[str] = field(default_factory=list)
    further_off: list[Case] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=lambda: {"models": None, "orders": None})
