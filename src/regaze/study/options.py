"""Options of the study's commands. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from regaze.data.classes import LabelWish
from regaze.data.columns import TableWish
from regaze.errors import OptionError
from regaze.files import restored
from regaze.models.options import NetworkOptions
from regaze.records import Colour, Substrate
from regaze.selection.diagnosis import MIN_ENRICHMENT, MIN_RANK
from regaze.training.options import FinetuneOptions, MapLoss, SupervisionOptions, TrainingOptions

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
# Uncertainty scores that `collect` computes only with --signals; the others need one forward pass, made anyway.
RULES_OF_EXTRA_PASSES: tuple[Rule, ...] = ("cam", "instability", "prior", "combined")


@dataclass(frozen=True)
class PhotographOptions:
    """Photographs, and how they are read and split."""

    data: str
    """Photographs: idrid:DIR, folder:DIR, csv:FILE, synthetic[:N] or synthetic-simple[:N]."""
    boxes: Path | None = None
    """Folder with a clinician's boxes in YOLO format; masks win where a photograph has both."""
    size: int = 224
    """Side of the network's square input in pixels, 32 to 4096 (small lesions need 512; 224 is for quick runs)."""
    folds: int = 1
    """1: one fixed validation part of 20 %. K: cross-validation, K models per method, pooled validation."""
    patient: str | None = None
    """Column (csv) or regular expression on the file name (with a slash in it: on the path) that names the patient."""
    crop: bool = True
    """Crop to the round field of view; off for photographs without one."""
    colour: Colour = "none"
    """normalised: take each photograph's colour and illumination out, fitted on its field of view, so that they are no
    shortcut to the grade. none: as it is."""
    split_by: str = "patient"
    """What lies in one fold as a whole: patient; period (year and camera by EXIF; a large year is cut in time); or a
    column of the table (csv), e.g. site. Patients and copies of one picture are never divided."""
    image_column: str | None = None
    """Column of the table (csv) with the photographs' names; default: image, or another usual name (id_code ...)."""
    label_column: str | None = None
    """Column of the table (csv) with the labels, or one-hot columns joined by commas (N,D,G); default: label, or
    another usual name (diagnosis, level ...)."""
    images: Path | None = None
    """Folder with the photographs of the table (csv), whose names may lack suffix and folder; default: the table's."""
    classes: str | None = None
    """All classes in their order, the worst last, joined by commas; default: as the labels say."""
    ordinal: Annotated[bool | None, tyro.conf.arg(constructor=bool)] = None
    """The classes are grades on one scale, or are not; default: words and numbers of grades are, other names and
    numbers are not."""
    sound_class: str | None = None
    """Class whose photographs count as free of lesions where none is marked; default: the one named so (normal, good,
    No_DR ...), else 0 of a scale."""
    mask_classes: str | None = None
    """What the values of masks of no stated type mean: 1=MA,2=HE,5=optic_disc, or #ff0000=EX for colours. Landmarks are
    no lesion. Default: every value but 0 is lesion."""

    @property
    def label_wish(self) -> LabelWish:
        """What these options say of the classes.

        Raises:
            OptionError: `classes` are fewer than two, or name one twice.
        """
        names = None if self.classes is None else tuple(name.strip() for name in self.classes.split(","))
        if names is not None and (len(names) < 2 or len(set(names)) < len(names) or "" in names):
            raise OptionError(f"--classes {self.classes!r}: expected two or more different names joined by commas.")
        return LabelWish(names, self.ordinal, self.sound_class)

    @property
    def table_wish(self) -> TableWish:
        """What these options say of the table's columns."""
        return TableWish(self.image_column, self.label_column, self.images)

    @property
    def split_words(self) -> str:
        """What the split is by, for a reader: `patient`, `period` or `column site`."""
        return self.split_by if self.split_by in ("patient", "period") else f"column {self.split_by}"


@dataclass(frozen=True)
class CheckOptions(PhotographOptions):
    """What is to be checked, and how it is read; a study says itself how."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA|STUDY")]
    """Photographs (idrid:DIR, folder:DIR, csv:FILE), or the folder of a study."""
    group_near_copies: bool = False
    """Near-copies count as one group, as a study made with this option has them."""
    # What changes nothing here.
    size: tyro.conf.Suppress[int] = PhotographOptions.size
    crop: tyro.conf.Suppress[bool] = PhotographOptions.crop
    colour: tyro.conf.Suppress[Colour] = PhotographOptions.colour


@dataclass(frozen=True)
class StudyOptions(PhotographOptions):
    """Data, split and input size of a study; fixed when it is made."""

    group_near_copies: bool = False
    """Keep near-copies (one part or eye under another exposure, or a little shifted) on one side of the split; `init`
    says whether there are any."""
    seed: int = 0
    """Seed of the split, the initial weights, the order of the photographs and the augmentation."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds them; paths absolute, so that the study can be used from any folder."""
        values = asdict(self)
        kind, _, rest = self.data.partition(":")
        if kind in ("idrid", "folder", "csv"):
            values["data"] = f"{kind}:{Path(rest).expanduser().resolve()}"
        for name in ("boxes", "images"):
            path: Path | None = values[name]
            values[name] = None if path is None else str(path.expanduser().resolve())
        return values

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> StudyOptions:
        """What `plain` gave.

        Raises:
            TypeError: It is something else.
        """
        options: StudyOptions = restored(cls, values)
        return options


@dataclass(frozen=True)
class CollectOptions:
    """Thresholds below which the map of a correctly graded photograph counts as off-target, and what is measured."""

    min_rank: float = MIN_RANK
    """Relevance rank accuracy below which a map is off-target, 0 to 1."""
    min_enrichment: float = MIN_ENRICHMENT
    """Enrichment (share of the map's energy in lesions over their share of the area) below which a map is off-target,
    0 or more; 1 is chance."""
    signals: bool = False
    """Also compute the uncertainty scores that need extra forward passes (cam, instability, prior; about five times as
    long), and the features for `select --diversity`."""


@dataclass(frozen=True)
class SelectOptions:
    """Which photographs an expert should see."""

    by: Rule = "branches"
    """Acquisition rule: which come first. Disagreement of the branches' grades (branches), of the maps of the scales
    (scales), of map and Grad-CAM (cam), of maps under flips and shifts (instability), with earlier corrections (prior),
    mean rank of these (combined); confidence, entropy or margin of the grade; error against known lesions (map-error,
    the paper's); random."""
    share: float = 1.0
    """Share of the candidates, above 0 to 1; the paper's gain comes at 0.3."""
    count: int | None = None
    """Number of photographs instead of a share, 1 or more."""
    diversity: float = 0.0
    """Weight of diversity against uncertainty, 0 to 1; above 0, one photograph per patient in turn."""
    quota: Literal["none", "equal", "proportional"] = "none"
    """equal: grades take turns. proportional: each grade gets its share of the candidates. none: no quota."""
    everything: bool = False
    """Rank all training photographs, also those that need no expert."""
    more: bool = False
    """Leave out photographs that have been corrected already."""


@dataclass(frozen=True)
class CorrectOptions:
    """Where the expert's corrections come from."""

    source: Annotated[Literal["masks", "boxes", "all"], tyro.conf.arg(name="from")] = "all"
    """masks: lesion masks. boxes: a clinician's boxes. all: masks, and boxes where a photograph has no masks."""
    healthy: bool = False
    """Also write an empty correction (look nowhere) for photographs of the sound class without lesions."""
    author: str | None = None
    """Author of the corrections; default: the user's login name."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What is measured beside the grades, and how."""

    faithfulness: int = 24
    """Photographs for deletion and insertion (two forward passes per step each); 0: none."""
    steps: int = 16
    """Steps of deletion and insertion, 1 or more; RISE's step of one image row is --steps equal to --size."""
    patch: int = 1
    """Side in pixels of the squares that deletion and insertion change as one; 1: single pixels."""
    deletion_substrate: Substrate = "inpaint"
    """What deleted pixels become: what is left around them (inpaint), grey (0 in normalised space, the paper's and
    RISE's; grey spots on a fundus photograph look like exudates), black, the photograph's mean colour, or its blur."""
    insertion_substrate: Substrate = "blur"
    """What insertion starts from; inpaint: what is missing is filled from what has been shown so far."""
    reference_rankings: int = 24
    """Photographs, of those with deletion and insertion, on which reference rankings are measured too (three other
    photographs' maps, the own map turned and mirrored, smooth noise, centre first, random, lesions first: nine more
    curves of each kind, so ten times the passes of one map); 0: none."""
    sanity: int = 0
    """Photographs for the sanity checks: maps must change with randomised weights, and hardly under small shifts, flips
    and noise; 0: none."""
    resamples: int = 2000
    """Bootstrap resamples of each interval, 1 or more."""
    allow_overlap: bool = False
    """Judge models on photographs that they learned from too; how many stands with the figures."""


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """A study, and each step of the loop."""

    study: StudyOptions = field(default_factory=lambda: StudyOptions(data=""))
    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    finetune_epochs: int = FinetuneOptions.epochs
    """Passes over the training part in fine-tuning, 1 or more."""
    map_weight: float | None = None
    """Weight λ of the map loss, 0 or more; default: that of --learn's step (fine-tuning 5, training 2)."""
    map_loss: MapLoss = "norm"
    """Distance of the map loss; norm is the paper's, bce makes maps sharper. See `regaze finetune --help`."""
    learn: Literal["finetune", "train"] = "finetune"
    """How corrections are learned. finetune: the branches of the phase-1 model, extractor frozen; the paper's quick
    round. train: phase 1 anew, grades and maps together from the first step; phase 1 is its control."""
    teacher_maps: float = 0.0
    """Share of the corrected photographs that are graded from the expert's map while training, 0 to 1."""
    box_weight: float = 1.0
    """What a cell in a box counts in the map loss beside one in a mask, 0 to 1. See `regaze finetune --help`."""
    collect: CollectOptions = field(default_factory=CollectOptions)
    select: SelectOptions = field(default_factory=SelectOptions)
    correct: CorrectOptions = field(default_factory=CorrectOptions)
    control: bool = True
    """Also fine-tune a control: equally long, without the map loss."""
    baselines: bool = False
    """Also train the paper's other methods: plain, and single-scale with the same fine-tuning."""

    @property
    def finetuning(self) -> FinetuneOptions:
        """Options of fine-tuning, in batches as large as those of phase 1."""
        weight = FinetuneOptions.map_weight if self.map_weight is None else self.map_weight
        return FinetuneOptions(
            epochs=self.finetune_epochs,
            batch=self.training.batch,
            map_weight=weight,
            map_loss=self.map_loss,
            teacher_maps=self.teacher_maps,
            box_weight=self.box_weight,
        )

    @property
    def supervision(self) -> SupervisionOptions:
        """What `--learn train` learns from the corrections."""
        weight = SupervisionOptions.map_weight if self.map_weight is None else self.map_weight
        return SupervisionOptions(
            map_weight=weight,
            map_loss=self.map_loss,
            teacher_maps=self.teacher_maps,
            box_weight=self.box_weight,
        )


def option_words(options: Any, usual: Any, skip: Collection[str] = ()) -> list[str]:
    """The options that differ from the usual ones, as words of a command line.

    Args:
        options: A dataclass of options.
        usual: Another of the same class.
        skip: Names of fields to leave out.
    """
    words: list[str] = []
    for item in fields(options):
        value = getattr(options, item.name)
        if item.name in skip or value == getattr(usual, item.name):
            continue
        flag = "from" if item.name == "source" else item.name.replace("_", "-")
        if isinstance(value, bool):
            words += [f"--{flag}" if value else f"--no-{flag}"]
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return words
