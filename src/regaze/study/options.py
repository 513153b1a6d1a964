"""Options of the study's commands. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

Rule = Literal[
    "map-error",
    "confidence",
    "entropy",
    "margin",
    "branches",
    "scales",
    "cam",
    "instability",
    "prior",
    "combined",
    "random",
]
Substrate = Literal["grey", "black", "mean", "blur"]
# What `collect` measures only with --signals; the others need one forward pass, which it makes anyway.
RULES_BY_SIGNALS: tuple[Rule, ...] = ("cam", "instability", "prior", "combined")


@dataclass(frozen=True)
class PhotographOptions:
    """Which photographs, and how they are read and split."""

    data: str
    """Photographs: idrid:DIR, folder:DIR, csv:FILE, or synthetic[:N]."""
    boxes: Path | None = None
    """Folder with a clinician's boxes in YOLO format; where a photograph has masks too, the masks win."""
    size: int = 224
    """Side of the square that the network sees, in pixels (the paper's lesions want 512; 224 is for quick runs)."""
    folds: int = 1
    """1: one fixed validation part of 20 %. K: cross-validation, K models per method, validation pooled."""
    patient: str | None = None
    """Column (csv) or regular expression on the file name (folder) that names the patient."""
    crop: bool = True
    """Crop to the round field of view; off for photographs that have none."""


@dataclass(frozen=True)
class StudyOptions(PhotographOptions):
    """What a study is about; fixed when it is made."""

    seed: int = 0
    """Seed of the split, the weights, the order and the augmentation."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds them; paths absolute, so that the study can be used from any folder."""
        values = asdict(self)
        kind, _, rest = self.data.partition(":")
        if kind in ("idrid", "folder", "csv"):
            values["data"] = f"{kind}:{Path(rest).expanduser().resolve()}"
        values["boxes"] = None if self.boxes is None else str(self.boxes.expanduser().resolve())
        return values

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> StudyOptions:
        """What `plain` gave.

        Raises:
            KeyError, TypeError: It is something else.
        """
        boxes = values["boxes"]
        return cls(**(values | {"boxes": None if boxes is None else Path(boxes)}))


@dataclass(frozen=True)
class CollectOptions:
    """When a map that belongs to a right grade is said to miss the lesions."""

    min_rank: float = 0.3
    """Relevance rank below which a map misses the lesions, 0 to 1."""
    min_enrichment: float = 2.0
    """Energy in lesions over their area below which a map misses them; 1 is chance."""
    signals: bool = False
    """Also measure the signs of doubt that need more than one forward pass (cam, instability, prior; about five times
    as long), by which `select` can rank, and the features for its --diversity."""


@dataclass(frozen=True)
class SelectOptions:
    """Which photographs an expert should see."""

    by: Annotated[Rule, tyro.conf.arg(aliases=("--rule",))] = "branches"
    """Which come first. Without any label: branches (they disagree on the grade; did best in docs/results.md),
    scales (their maps differ), cam (map and Grad-CAM differ), instability (under flips and shifts),
    prior (distance to what earlier corrections make one expect), combined (mean rank of these). Of the grade:
    confidence, entropy, margin. map-error: the paper's, the largest error against the lesions (needs them known).
    random."""
    share: float = 1.0
    """Share of the candidates, above 0 to 1. The paper's gain comes at 0.3; a mask file costs no expert's time."""
    count: int | None = None
    """Number of photographs instead of a share."""
    diversity: float = 0.0
    """0: by the rule alone. Up to 1: variety too, so that ten photographs are not ten times the same eye; patients
    then take turns."""
    quota: Literal["none", "equal", "proportional"] = "none"
    """Grades take turns (equal), or get their share (proportional)."""
    everything: bool = False
    """Rank all photographs, also those that need no expert."""
    more: bool = False
    """Leave out what has been corrected already: the next batch."""


@dataclass(frozen=True)
class CorrectOptions:
    """Where the expert's corrections come from."""

    source: Annotated[Literal["masks", "boxes", "all"], tyro.conf.arg(name="from", aliases=("--source",))] = "all"
    """masks: lesion masks. boxes: a clinician's boxes. all: masks, and boxes where a photograph has no masks."""
    healthy: bool = False
    """Also say "nothing here deserves attention" of photographs of the lowest grade that have no lesion."""
    author: str | None = None
    """Who corrects; default: the user's login name."""


@dataclass(frozen=True)
class EvaluateOptions:
    """How the study's models are judged."""

    faithfulness: int = 24
    """Photographs for deletion and insertion (they cost two forward passes per step each); 0: leave them out."""
    steps: int = 28
    """Steps of deletion and insertion; RISE's own step of one image row is --steps equal to the side."""
    patch: int = 1
    """Side in pixels of the squares that deletion and insertion change as one; 1: single pixels. A small lesion whose
    pixels vanish one by one leaves hardly a trace."""
    deletion_substrate: Substrate = "grey"
    """What deleted pixels become: grey (0 in normalised space), black, the photograph's mean colour, or its blur."""
    insertion_substrate: Substrate = "blur"
    """What insertion starts from."""
    controls: int = 24
    """Photographs, of those with deletion and insertion, whose controls are measured too: a random order, the centre
    first, smooth noise, and the lesions (four more curves of each kind); 0: leave them out."""
    sanity: int = 0
    """Photographs on which it is checked that maps change when the weights are destroyed layer by layer, and hardly
    move under small shifts, flips and noise; 0: leave it out."""
    resamples: int = 2000
    """Bootstrap resamples of each interval."""
