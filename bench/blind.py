"""What can be graded without seeing a lesion, and what a linear layer on frozen features reaches: two baselines.

Both on the folds of a new study of any data; `regaze evaluate` sets the same ones beside a study's models.

Usage: python bench/blind.py --data DATA [any option of `regaze init`] [--backbone NAME --weights FILE.safetensors]
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from regaze.commands.tables import interval, number
from regaze.console import Voice
from regaze.evaluation.grading import grading_summary
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.assessment.baselines import judge_blind, judge_probe
from regaze.study.folder import create_study
from regaze.study.options import StudyOptions


@dataclass(frozen=True)
class Options:
    """Photographs and their split, and where a probe starts."""

    study: tyro.conf.OmitArgPrefixes[StudyOptions]
    network: tyro.conf.OmitArgPrefixes[NetworkOptions] = field(default_factory=NetworkOptions)


def main() -> None:
    """Print a row for each baseline."""
    options, machine = tyro.cli(Options), MachineOptions()
    with tempfile.TemporaryDirectory() as scratch:
        study = create_study(Path(scratch) / "study", options.study, Voice())
        found = {"blind": judge_blind(study, machine)}
        if options.network.weights != "none":
            name = f"probe-{options.network.backbone}"
            found[name] = judge_probe(study, name, options.network, study.options.size, machine)
        print("| baseline | n | kappa | 95 % interval | accuracy | AUROC |\n|---|---|---|---|---|---|")
        for name, rows in found.items():
            figures = grading_summary(
                [row["probabilities"] for row in rows],
                [row["grade"] for row in rows],
                [row["label"] for row in rows],
                referable_from=study.dataset.referable,
                groups=[row["patient"] for row in rows],
                ordinal=study.dataset.ordinal,
            )
            kappa = number(figures["quadratic_weighted_kappa"]), interval(figures["interval"])
            others = number(figures["accuracy"]), number(figures["referable"]["auroc"])
            print(f"| {name} | {figures['n']} | {' | '.join((*kappa, *others))} |")


if __name__ == "__main__":
    main()
