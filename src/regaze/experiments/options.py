"""Options of `regaze reproduce`. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from regaze.errors import OptionError
from regaze.models.options import Weighting
from regaze.study.check import check_options
from regaze.study.options import PhotographOptions, StudyOptions
from regaze.training.options import FinetuneOptions, SupervisionOptions, TrainingOptions

Experiment = Literal["fig1", "fig5", "fig6", "table2", "table3", "fig7"]
EXPERIMENTS: tuple[Experiment, ...] = get_args(Experiment)
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


@dataclass(frozen=True)
class ReproduceOptions(PhotographOptions):
    """Data, backbones, seeds and length of training; defaults are those of the single commands."""

    data: str
    """Photographs: idrid:DIR, folder:DIR, csv:FILE, or synthetic[:N] (painted once, the same for every seed)."""
    backbones: str = "alexnet,resnet18,resnet34"
    """Backbones of tables 2 and 3, joined by commas; the figures use resnet18 if listed, else the first."""
    weights: str = "none"
    """Initial weights per backbone, e.g. resnet18=FILE,alexnet=hub; random for all others."""
    seeds: int = 3
    """Number of repetitions, 1 to 100, each with its own split, initial weights and order."""
    epochs: int = TrainingOptions.epochs
    """Passes over the training part in phase 1, 1 or more."""
    finetune_epochs: int = FinetuneOptions.epochs
    """Passes over the training part in fine-tuning, 1 or more."""
    batch: int = TrainingOptions.batch
    """Photographs per step, 2 or more."""
    map_weight: float = FinetuneOptions.map_weight
    """Weight λ of the map loss in fine-tuning, above 0."""
    weightings: str = "residual,gate,evidence"
    """What the map does to the features in figure 1 (see `train --weighting`; pooling too), joined by commas; three
    phase-1 trainings each."""
    shares: str = "0.1,0.3,0.5,0.7"
    """Shares of corrected photographs in figure 7, 0 to 1, joined by commas; 0 and 1 are always added."""
    faithfulness: int = 24
    """Photographs per seed for deletion and insertion, 1 or more."""
    steps: int = 28
    """Steps of deletion and insertion, 1 or more."""
    resamples: int = 2000
    """Bootstrap resamples of each interval, 1 or more."""

    def study(self, data: str, seed: int) -> StudyOptions:
        """The study of one seed.

        Args:
            data: The photographs as a study spells them.
            seed: Of the split, the weights and the order.
        """
        values = {item.name: getattr(self, item.name) for item in fields(PhotographOptions)}
        return StudyOptions(**(values | {"data": data, "seed": seed}))

    def backbone_names(self) -> tuple[str, ...]:
        """The backbones, each once.

        Raises:
            OptionError: None is named.
        """
        names = tuple(dict.fromkeys(name.strip() for name in self.backbones.split(",") if name.strip()))
        if not names:
            raise OptionError(
                f"--backbones {self.backbones!r}: expected names joined by commas, e.g. resnet18,alexnet."
            )
        return names

    def figure_backbone(self) -> str:
        """The backbone of figures 5, 6 and 7: the paper's ResNet18 where it is asked for."""
        names = self.backbone_names()
        return "resnet18" if "resnet18" in names else names[0]

    def weights_of(self) -> dict[str, str]:
        """Backbone -> weights, as `regaze train --weights` takes them.

        Raises:
            OptionError: An entry is not BACKBONE=WEIGHTS, or names a backbone that is not asked for.
        """
        weights = dict.fromkeys(self.backbone_names(), "none")
        if self.weights.strip() in ("", "none"):
            return weights
        for entry in self.weights.split(","):
            name, equals, value = (part.strip() for part in entry.partition("="))
            if not equals or not value:
                raise OptionError(
                    f"--weights {entry.strip()!r}: expected BACKBONE=FILE, e.g. resnet18=weights.safetensors."
                )
            if name not in weights:
                raise OptionError(f"--weights {entry.strip()!r}: {name} is none of --backbones {self.backbones}.")
            weights[name] = value
        return weights

    def share_values(self) -> tuple[float, ...]:
        """Shares from 0 (none corrected) to 1 (all), ascending.

        Raises:
            OptionError: An entry is no number between 0 and 1.
        """
        inner = set()
        for entry in self.shares.split(","):
            try:
                value = float(entry)
            except ValueError:
                value = -1.0
            if not 0 <= value <= 1:
                raise OptionError(
                    f"--shares {self.shares}: expected numbers from 0 to 1 joined by commas, not {entry!r}."
                )
            inner.add(round(value, 4))
        return tuple(sorted({0.0, 1.0, *inner}))

    def weighting_names(self) -> tuple[Weighting, ...]:
        """Figure 1's weightings, each once, in the order in which they are explained.

        Raises:
            OptionError: None is named, or one that there is not.
        """
        asked = {name.strip() for name in self.weightings.split(",") if name.strip()}
        if not asked or asked - set(WEIGHTINGS):
            raise OptionError(
                f"--weightings {self.weightings!r}: expected one or more of {', '.join(WEIGHTINGS)}, joined by commas."
            )
        return tuple(name for name in WEIGHTINGS if name in asked)

    def training(self) -> TrainingOptions:
        """The recipe of phase 1."""
        return TrainingOptions(epochs=self.epochs, batch=self.batch)

    def finetuning(self, map_weight: float) -> FinetuneOptions:
        """The recipe of fine-tuning, with every photograph in each epoch.

        With a replayed share the number of steps would grow with the corrections, and so would part of the gain.
        """
        return FinetuneOptions(epochs=self.finetune_epochs, batch=self.batch, map_weight=map_weight, replay=1.0)

    def supervision(self, teacher_maps: float) -> SupervisionOptions:
        """What phase 1 learns from corrections where it learns from them, from the first step.

        Args:
            teacher_maps: See `SupervisionOptions`.
        """
        return SupervisionOptions(teacher_maps=teacher_maps)

    def check(self) -> None:
        """Refuse options that a later run would refuse.

        Raises:
            OptionError: A value is out of range.
        """
        self.weights_of()
        self.share_values()
        self.weighting_names()
        if not self.map_weight > 0:
            raise OptionError(
                f"--map-weight {self.map_weight}: expected above 0 (the control without it is always made)."
            )
        if self.faithfulness < 1:
            raise OptionError(f"--faithfulness {self.faithfulness}: expected 1 or more.")
        check_options(self, self.training(), self.finetuning(self.map_weight))
