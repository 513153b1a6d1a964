"""Frozen records that the rooms hand to each other.

Invariant: this module imports the standard library and NumPy only, so that every room may use it.
Coordinates are in *original pixels* unless a name says otherwise: x to the right, y down, the centre of the top-left
pixel at (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["training", "test"]
Diagnosis = Literal["misgraded", "elsewhere", "fine", "unknown"]
Origin = Literal["masks", "boxes", "none"]
# What takes a pixel's place, see `evaluation.substrates`.
Substrate = Literal["grey", "black", "mean", "blur", "inpaint"]
Mark = Literal["look", "avoid", "erase"]  # what a shape says of its pixels
Colour = Literal["none", "normalised"]  # whether a photograph's colour is taken out, see `data.colour`

FUSED = "fused"  # the fused map's name in every record of maps

# Largest photograph or mask: three times the largest fundus cameras (about 50 Mpx), and below 179 Mpx, where Pillow
# itself refuses by default, so that its process-wide limit need not be touched.
MAX_PIXELS = 150_000_000

LESION_TYPES: tuple[str, ...] = (
    "microaneurysms",
    "haemorrhages",
    "hard_exudates",
    "soft_exudates",
    "neovascularisation",
    "lesion",  # a type that the data does not name (a folder's single mask, a box without a known class)
)


def timestamp() -> str:
    """The time now as records and files write it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Box:
    """A rectangle that a clinician drew around lesions.

    Attributes:
        lesion: One of `LESION_TYPES`.
        x0, y0, x1, y1: Edges as shares of the original photograph's width and height, 0..1, x0 < x1, y0 < y1.
    """

    lesion: str
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Sample:
    """One photograph and what is known about it.

    Attributes:
        id: Unique and stable within its data set, e.g. `training/IDRiD_001`; safe as a relative path.
        image: The photograph's file.
        label: Index into `Dataset.classes`, or None where the photograph has no grade (it may supervise maps).
        part: `test` only where the data itself sets photographs aside for the final test.
        patient: Photographs with the same value stay on one side of every split; None: unknown.
        masks: Lesion type -> mask files (original pixels, non-zero = lesion). Types that are absent from the mapping
            are absent from the photograph, provided that `origin` is `masks`.
        mask_values: What the values of masks of type `lesion` mean: `3` or `#ff0000` -> lesion type, None: no lesion.
            Empty: every value but 0 is lesion.
        boxes: The clinician's boxes, provided that `origin` is `boxes`; may be empty (nothing was marked).
        origin: Where the knowledge about lesions comes from. `none`: nothing is known, which differs from `masks` or
            `boxes` with nothing in them (known to be free of lesions).
        content: Fingerprint of the file's bytes (hex). Keys the decoded cache.
        twin: Samples with the same value show the same picture (re-encoded or shrunk); None: no twin.
        period: What photographs were taken in, and may look alike for: year and camera (`data.periods`), or the value
            of the column that the split is by (site, batch); None: unknown.
        date: The day on which it was taken, `2009-08-20`; None: unknown, or `period` comes from a column.
    """

    id: str
    image: Path
    label: int | None
    part: Part = "training"
    patient: str | None = None
    masks: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    mask_values: Mapping[str, str | None] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    origin: Origin = "none"
    content: str = ""
    twin: str | None = None
    period: str | None = None
    date: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Photographs with one set of classes.

    Attributes:
        spec: The spelling that the user gave, e.g. `idrid:DIR`.
        classes: Class names; `Sample.label` indexes them.
        ordinal: True where the classes are grades on one scale, worst last.
        samples: In a fixed order, unique ids.
        fingerprint: Hash over ids, contents, labels, parts, patients and lesion files.
        notes: What a reader of the data should know (twins found, pictures left out, and why).
        named_by: What says which photographs belong together (`column patient`); None: nothing does.
        sound: Index of the class whose photographs count as free of lesions where none is marked; None: no class is
            known to be that.
        referable: Index of the class from which on a patient is referred; None: the classes are no such grades.
        eyes: Whether the photographs show eyes; else parts, see `words`.
    """

    spec: str
    classes: tuple[str, ...]
    ordinal: bool
    samples: tuple[Sample, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    named_by: str | None = None
    sound: int | None = None
    referable: int | None = None
    eyes: bool = True


@dataclass(frozen=True)
class Collected:
    """A training photograph as the model of phase 1 sees it, and whether an expert should look at it.

    Attributes:
        sample: `Sample.id`.
        label: True class index or None.
        grade: Predicted class index.
        confidence: Probability of the predicted grade, 0..1.
        squared_error: Mean over scales of the mean squared difference between map and target map; None where the
            truth about lesions is unknown.
        relevance_rank: Share of the top-k pixels of the fused map that lie in lesions, k = number of lesion pixels;
            None where unknown or where there is no lesion.
        enrichment: Share of the fused map's energy inside lesions over the share of the picture that they cover; None
            as above.
        diagnosis: `misgraded`; `elsewhere` (graded right, map misses the lesions); `fine`; `unknown`.
        probabilities: K probabilities of the classes, sum 1; empty where an older version collected.
        signals: What the model's own behaviour says about its map, no label needed; each 0 or more, higher = more
            doubtful; None where it could not be computed. Keys: `branches` (disagreement among the branches' grades),
            `scales` (disagreement among the scales' maps), `cam` (gap between the attention map and Grad-CAM),
            `instability` (of the map under flips and small shifts), `prior` (distance to what earlier corrections
            make one expect). A missing key counts as None.
    """

    sample: str
    label: int | None
    grade: int
    confidence: float
    squared_error: float | None
    relevance_rank: float | None
    enrichment: float | None
    diagnosis: Diagnosis
    probabilities: tuple[float, ...] = ()
    signals: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """The photographs put in front of an expert, first = most wanted.

    Attributes:
        id: Row id in the store (0 before it is stored).
        model: Name of the model whose maps are to be corrected.
        rule: The rule, and what else decided the order, e.g. `cam, diversity 0.5, quota equal`.
        share: Share of the candidates taken, 0..1.
        seed: Seed of the random rule and of ties.
        samples: `Sample.id`s, most wanted first.
        reasons: One line per sample: why it is on the list.
        author: Who asked for the selection.
        time: UTC, ISO 8601, seconds, ends with `Z`.
    """

    id: int
    model: str
    rule: str
    share: float
    seed: int
    samples: tuple[str, ...]
    reasons: tuple[str, ...]
    author: str
    time: str


@dataclass(frozen=True)
class Shape:
    """One thing that an expert drew, in original pixels.

    Attributes:
        kind: `stroke` (a round brush along a line), `polygon`, `box`, or `mask`.
        mark: `look`: "look here". `avoid`: "not here". `erase`: nothing any more, as where nobody drew.
        points: (x, y) pairs. A stroke's line (one point: a dot); a polygon's corners, three or more, closed by
            itself; a box's two opposite corners; none for a mask.
        radius: Half the width of a stroke's brush; 0 for the other kinds.
        runs: A mask's run lengths row by row, starting with the pixels outside (which may be 0); their sum is
            height x width. Empty for the other kinds.
    """

    kind: Literal["stroke", "polygon", "box", "mask"]
    mark: Mark
    points: tuple[tuple[float, float], ...] = ()
    radius: float = 0.0
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Correction:
    """Where the model should look in one photograph, by an expert.

    Attributes:
        id: Row id in the store (0 before it is stored).
        sample: `Sample.id`.
        model: Name of the model whose map was corrected.
        origin: `masks`, `boxes` or `expert` (drawn by hand).
        mode: `replace`: the mask is the whole map. `edit`: pixels in neither mask keep the model's own value.
        look: (H, W) bool in original pixels, "look here". All False with `replace`: nothing here deserves attention,
            which differs from no correction at all; such a correction may have shapes and `avoid` too.
        avoid: (H, W) bool in original pixels, "not here"; None: none drawn.
        author: Who made it.
        time: UTC, ISO 8601, seconds, ends with `Z`.
        remark: Free text.
        map: Which map was corrected: `fused`, `scale1`, `scale2` ...; empty where it was not one map in particular.
        shapes: How `look` and `avoid` were drawn, in order, a later shape over an earlier one; empty: they came as
            masks. Where there are shapes, the two masks are exactly what `corrections.shapes.rasterise` makes of them.
    """

    id: int
    sample: str
    model: str
    origin: str
    mode: Literal["replace", "edit"]
    look: NDArray[np.bool_]
    avoid: NDArray[np.bool_] | None
    author: str
    time: str
    remark: str = ""
    map: str = ""
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class DrawnCorrection:
    """A correction as an expert drew it, before the store has made its masks.

    Attributes:
        sample, model, mode, author, remark, map: `Correction`'s, whose origin is `expert`.
        shapes: In order, a later one over an earlier one; original pixels. What was erased or never drawn on is as the
            mode says of pixels in neither mask; with `replace`, no shapes say that nothing here deserves attention, and
            shapes say where it does after all.
        height, width: Rows and columns of the photograph, original pixels.
    """

    sample: str
    model: str
    mode: Literal["replace", "edit"]
    shapes: tuple[Shape, ...]
    height: int
    width: int
    author: str
    remark: str = ""
    map: str = ""
