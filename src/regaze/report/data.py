"""What the report page takes: plain data, already measured, nothing to compute.

Invariant: the page adds no figure of its own beyond counts and differences that a reader could take from it with pencil
and paper. Whatever could not be measured is None, and is shown as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.records import Origin
from regaze.words import EYES, Words

IN_FULL = 4  # photographs of each list of what got worse that are shown in full; the others are shown small


@dataclass(frozen=True, eq=False)
class View:
    """What one model said about one photograph, and where it looked.

    Attributes:
        grade: The decoded class index.
        confidence: Probability of that class, 0..1.
        probabilities: One for each class, 0..1.
        fused: (S, S) float32, 0..1, the attention map in cropped pixels, the frame of `Case.photo`.
        scales: One (h, w) float32 map for each block in map cells, 0..1, finest first.
        enrichment: Energy of the map inside the lesions over the share of the picture that they cover (1 = chance);
            None where the lesions are unknown or absent, as in the next two.
        relevance_rank: Share of the k strongest pixels that lie in lesions, k = number of lesion pixels.
        squared_error: Mean squared difference from the expert's map.
        evidence: Class index -> (S, S) float32 in cropped pixels, signed: what each point adds to the class's logit, up
            to a factor that all share. Empty where none was kept.
    """

    grade: int
    confidence: float
    probabilities: list[float]
    fused: NDArray[np.float32]
    scales: list[NDArray[np.float32]] = field(default_factory=list)
    enrichment: float | None = None
    relevance_rank: float | None = None
    squared_error: float | None = None
    evidence: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)


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
        layers |= {f"after.evidence of {index}": values for index, values in self.after.evidence.items()}
        for name, layer in layers.items():
            if layer is not None and layer.shape != (side, side):
                raise ValueError(f"{name} of {self.sample} is {layer.shape}, expected the photo's {(side, side)}")

    def reduced(self, side: int) -> Case:
        """The case at most `side` pixels large, without the maps of the single scales and without evidence.

        Returns:
            The case itself where it is small enough; else one of (side, side), in which a pixel is a lesion where any
            of the pixels that it stands for is one.
        """
        if self.photo.shape[0] <= side:
            return self
        lesions = None if self.lesions is None else _shrunk(self.lesions.astype(np.float32), side) > 0
        views = (self.before, self.after)
        before, after = (replace(v, fused=_shrunk(v.fused, side), scales=[], evidence={}) for v in views)
        return replace(self, photo=_shrunk(self.photo, side), lesions=lesions, before=before, after=after)


def _shrunk(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything on the page.

    Attributes:
        title: Heading of the page.
        classes: Class names; labels and grades index them.
        results: The JSON of `regaze evaluate`: `part`, `n`, `models` (name -> figures), `baselines`, `warnings`,
            `notes`.
        before: Name in `results["models"]` of the model before the corrections.
        after: Name of the model fine-tuned on them.
        control: Name of the model fine-tuned equally long without the map loss; None: there is none.
        paired: Measure -> paired difference after - before, or None: what `regaze evaluate` gives as `paired`, and with
            `_against_control` behind the measure's name the same for after - control.
        cases: For the galleries, in the order to show.
        worse_graded: All that were graded right before and wrong after, worst first.
        worse_maps: All whose map lies less on the lesions than before, likewise.
        further_off: Graded wrong before, and further from the expert's grade after; empty where the classes are no
            grades.
        n_better_graded: How many were graded wrong before and right after.
        n_better_maps: How many maps lie more on the lesions than before.
        provenance: Options, versions, data fingerprint, seeds, lineage, number of corrections, wall times; nested.
        commands: Command lines that reproduce the page.
        curves: Mean curves of deletion and insertion: `models` (by `before`, `control`, `after`) and `orders` (of the
            model after: `fused` and the reference rankings), each as `assessment.curves` gives it; None: not measured.
        groups: How many groups of photographs are known, and by what; empty: not told.
        unit: What intervals redraw, in the singular; `photograph` where nothing says which belong together.
        near_copies: That near-copies of judged photographs were learned from; None: they were not.
        words: What patients, lesions and eyes are called.
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
    n_better_graded: int
    n_better_maps: int
    provenance: dict[str, Any]
    commands: list[str] = field(default_factory=list)
    further_off: list[Case] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=lambda: {"models": None, "orders": None})
    groups: str = ""
    unit: str = "patient"
    near_copies: str | None = None
    words: Words = EYES

    @property
    def learned(self) -> str:
        """That models learned from photographs that they are judged on; empty: they did not."""
        return str(self.results["overlap"]["words"])

    def figures(self, name: str) -> Mapping[str, Any]:
        """A model's figures as `regaze evaluate` gives them."""
        figures: Mapping[str, Any] = self.results["models"][name]
        return figures

    @property
    def roles(self) -> list[tuple[str, str, str]]:
        """(Role, its word, model name) of the models on the page, in the order of the columns.

        One column for the model before where it is the control, too (`train --corrections`).
        """
        before = "Before, the control" if self.control == self.before else "Before"
        control = None if self.control == self.before else self.control
        names = (("before", before, self.before), ("control", "Control", control), ("after", "After", self.after))
        return [(role, word, name) for role, word, name in names if name is not None]
