"""Settings side by side, by folds of patients and of periods: what defaults and recommended settings rest on.

Each setting is one `regaze run` per split and seed; a run that is finished is not done again, and one that was stopped
goes on, so the grid may be spread over several calls, processes and machines. One process per core computes on one
thread; on a graphics card give `--jobs 1`.

Several seeds of one setting are also counted together: the mean of the figures of each model, and what the last one
gains over its control with the answers of all seeds pooled, a patient's resampled together.

Usage: python bench/grid.py OUT --data idrid:DIR --boxes DIR --weights FILE [--settings a,b] [--splits patient,period]
       [--seeds 1] [--jobs N] [--table]   (prints Markdown; --table prints what is there and runs nothing)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from recipes import records

from regaze.evaluation.intervals import paired_kappa_difference, paired_mean_difference
from regaze.evaluation.proper_scores import log_losses, ranked_probability_scores

# What a setting adds to the default run. With `--learn train` phase 1 is the control.
_LEARN = "--learn train --lr-maps 5e-3 --map-weight 5"
_GATE = f"{_LEARN} --weighting gate --teacher-maps 0.5"
# Small branches on a frozen backbone, whose features are computed once: what lets two cores see 768 px.
_POOLING = (
    "--learn train --weighting pooling --perception none --lr-extractor 0 --no-augment --epochs 5 --lr-heads 2e-3 "
    "--lr-maps 5e-3 --map-loss bce --map-weight 20 --teacher-maps 0.3 --refit 0.01 --everything"
)
_TWO = f"{_POOLING} --scales 2"  # layer3 and layer4 alone
_ONE = f"{_POOLING} --scales 4 --maps one --box-weight 0.1"  # one map for all blocks
SETTINGS = {
    "default": "",
    "plain": "--network plain",
    "residual": f"{_LEARN} --weighting residual",
    "gate": f"{_LEARN} --weighting gate",
    "gate-teacher": _GATE,
    "evidence-teacher": f"{_LEARN} --weighting evidence --teacher-maps 0.5",
    "gate-teacher-384": f"{_GATE} --size 384",
    "gate-teacher-512": f"{_GATE} --size 512",
    "gate-teacher-512-normalised": f"{_GATE} --size 512 --colour normalised",
    "pooling-768": f"{_POOLING} --size 768",
    "pooling-512": f"{_POOLING} --size 512",
    "pooling-224": f"{_POOLING} --size 224",
    "pooling-768-two": f"{_TWO} --size 768",
    "pooling-768-two-12-epochs": f"{_TWO} --size 768 --epochs 12",
    "pooling-768-two-10-percent": f"{_TWO} --size 768 --share 0.1",
    "pooling-768-two-30-percent": f"{_TWO} --size 768 --share 0.3",
    "pooling-768-one": f"{_ONE} --size 768 --cache 8GB",
    "pooling-768-one-8": f"{_ONE} --size 768 --cache 8GB --batch 8 --lr-heads 4e-3",
    "pooling-512-two": f"{_TWO} --size 512",
    "gate-teacher-512-jitter": f"{_GATE} --size 512 --colour-jitter strong",
}
SCORES = ("ranked_probability_score", "log_loss")
FOLDS = {"patient": "5", "period": "3"}  # three folds leave every year out whole


def main() -> None:
    """Run what is missing, then print the table."""
    options = arguments()
    chosen = options.settings.split(",")
    if unknown := set(chosen) - set(SETTINGS):
        sys.exit(f"--settings {', '.join(sorted(unknown))}: expected some of {', '.join(SETTINGS)}.")
    cells = [
        (setting, split, seed)
        for setting in chosen
        for split in options.splits.split(",")
        for seed in range(options.seeds)
    ]
    if not options.table:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda cell: run(options, *cell), cells))
    print("| setting | split | seed | model | kappa | 95 % interval | RPS | log-loss | AUROC | enrichment | MA lit |")
    print("|---" * 11 + "|")
    for cell in cells:
        file = folder(options, *cell) / "evaluation" / "validation.json"
        if file.is_file():
            rows(*cell, json.loads(file.read_text(encoding="utf-8")))
    for setting in chosen if options.seeds > 1 else []:
        for split in options.splits.split(","):
            studies = [folder(options, setting, split, seed) for seed in range(options.seeds)]
            if all((study / "evaluation" / "validation.json").is_file() for study in studies):
                together(setting, split, studies)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("data", "boxes", "weights"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--splits", default="patient,period")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", action="store_true")
    return parser.parse_args()


def folder(options: argparse.Namespace, setting: str, split: str, seed: int) -> Path:
    """The study of one cell."""
    return Path(options.out) / f"{setting}-by-{split}-seed{seed}"


def run(options: argparse.Namespace, setting: str, split: str, seed: int) -> None:
    """One run of the loop; its words go to a log beside the study."""
    study = folder(options, setting, split, seed)
    study.parent.mkdir(parents=True, exist_ok=True)
    words = ["run", str(study), "--data", options.data, "--boxes", options.boxes, "--weights", options.weights]
    words += ["--split-by", split, "--folds", FOLDS[split], "--seed", str(seed), "--faithfulness", "0"]
    words += SETTINGS[setting].split()
    threads = {} if options.jobs == 1 else {"OMP_NUM_THREADS": "1"}
    with study.with_suffix(".log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "regaze", *words]
        subprocess.run(command, stdout=log, stderr=log, env=os.environ | threads, check=False)  # noqa: S603 - ours


def rows(setting: str, split: str, seed: int, result: dict[str, Any]) -> None:
    """The models of one run, and what the last one gains over its control."""
    for model, figures in result["models"].items():
        fused = figures["maps"]["fused"]["lesion_enrichment"]
        lit = figures["lesion_recall"]["masks"]["types"].get("microaneurysms", {"recall": {}})["recall"].get("fused")
        low, high = figures["interval"]
        values = [f"{figures['quadratic_weighted_kappa']:.3f}", f"[{low:.3f}, {high:.3f}]"]
        values += [f"{figures[key]['mean']:.4f}" for key in SCORES]
        values += [f"{figures['referable']['auroc']:.3f}"]
        values += ["-" if fused is None else f"{fused:.2f}", "-" if lit is None else f"{lit['share']:.2f}"]
        print(f"| {setting} | {split} | {seed} | {model} | " + " | ".join(values) + " |")
    for label, pair in result["paired"].items():
        found = {key: pair[key] for key in ("kappa", *SCORES, "enrichment")}
        said = [
            f"{key.replace('_', ' ')} {item['difference']:+.4f} [{item['interval'][0]:.4f}, {item['interval'][1]:.4f}]"
            for key, item in found.items()
            if item is not None and item["difference"] is not None
        ]
        print(f"| {setting} | {split} | {seed} | {label} | {'; '.join(said)} |" + " |" * 6)


def together(setting: str, split: str, studies: Sequence[Path]) -> None:
    """The models of several seeds counted together."""
    results = [json.loads((study / "evaluation" / "validation.json").read_text(encoding="utf-8")) for study in studies]
    for model in results[0]["models"]:
        of_seeds = [result["models"][model] for result in results]
        means = [np.mean([figures["quadratic_weighted_kappa"] for figures in of_seeds])]
        means += [np.mean([figures[key]["mean"] for figures in of_seeds]) for key in SCORES]
        means += [np.mean([figures["referable"]["auroc"] for figures in of_seeds])]
        means += [np.mean([figures["maps"]["fused"]["lesion_enrichment"] for figures in of_seeds])]
        kappa, rps, loss, auroc, enrichment = means
        values = f"{kappa:.3f} | - | {rps:.4f} | {loss:.4f} | {auroc:.3f} | {enrichment:.2f} | - |"
        print(f"| {setting} | {split} | mean of {len(studies)} | {model} | {values}")
    for label in results[0]["paired"]:
        after, before = label.split(" against ")
        pairs = pooled(*([row for study in studies for row in records(study, name)] for name in (before, after)))
        said = [
            f"{key.replace('_', ' ')} {item['difference']:+.4f} [{item['interval'][0]:.4f}, {item['interval'][1]:.4f}]"
            for key, item in pairs.items()
        ]
        print(f"| {setting} | {split} | {len(studies)} pooled | {label} | {'; '.join(said)} |" + " |" * 6)


def pooled(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """What a model gains over another one, all seeds' answers together: as the paired figures of `regaze evaluate`."""
    labels = [row["label"] for row in before]
    patients = [row["patient"] or row["sample"] for row in before]
    if [row["sample"] for row in before] != [row["sample"] for row in after]:
        raise ValueError("the two models were judged on other photographs")
    classes = len(before[0]["probabilities"])
    grades = ([row["grade"] for row in rows] for rows in (before, after))
    found = {"kappa": paired_kappa_difference(labels, *grades, classes, patients)}
    for key, score in zip(SCORES, (ranked_probability_scores, log_losses), strict=True):
        one, other = (score(np.array([row["probabilities"] for row in rows]), labels) for rows in (before, after))
        found[key] = paired_mean_difference(one, other, patients)
    return found


if __name__ == "__main__":
    main()
