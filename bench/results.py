"""Tables of docs/results.md from finished studies; run by hand, its output is what the page shows.

Usage: python bench/results.py STUDY [STUDY ...]   (prints Markdown)
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from regaze.commands.tables import interval, number
from regaze.files import read_json
from regaze.models.predictor import decode

AREAS = ("deletion", "insertion", "relative_deletion", "relative_insertion")
FINE = ("ranked_probability_score", "squared_error")  # four decimals


def main() -> None:
    """Print a section for every study."""
    for argument in sys.argv[1:]:
        section(Path(argument))


def section(study: Path) -> None:
    """One study: its command, the figures of its models, paired differences, wall times."""
    about = read_json(study / "study.json")
    part = next(
        path for path in (study / "evaluation" / f"{name}.json" for name in ("test", "validation")) if path.is_file()
    )
    result = read_json(part)
    run = study / "run.json"
    if run.is_file():
        # Paths of this machine become the ones that docs/results.md explains.
        command = re.sub(r"/\S*?/(shared/)", r"../\1", read_json(run)["command"])
        command = re.sub(r"(regaze run )\S+", rf"\1{study.name}", command)
        print(f"```console\n$ {command}\n```\n")
    folds = about["options"]["folds"]
    by = about["options"].get("split_by", "patient")
    print(
        f"{result['part']}, {result['n']} graded photographs, {folds} fold{'s' if folds > 1 else ''}"
        f"{'' if by == 'patient' else f' by {by}'}, "
        f"{about['options']['size']} px, seed {about['options']['seed']}.\n"
    )
    grading(study, result)
    periods(result)
    maps(result)
    recall(result)
    faithfulness(result)
    paired(result)
    times(study, list(result["models"]), folds)
    for note in result["notes"]:
        print(f"* {note}")
    print()


def grading(study: Path, result: dict[str, Any]) -> None:
    """Kappa as decoded and by the arg-max, accuracy, referable disease, calibration, deletion and insertion."""
    print(
        "| model | kappa | 95 % interval | RPS | 95 % interval | log-loss | 95 % interval | by arg-max "
        "| by expected value | accuracy | AUROC | sens. | spec. | sens. at spec. .9 | ECE "
        "| deletion | insertion | relative deletion | relative insertion |"
    )
    print("|---" * 19 + "|")
    for name, figures in result["models"].items():
        rows = [row for row in records(study, result["part"], name) if row["label"] is not None]
        labels = [row["label"] for row in rows]
        highest = [int(np.argmax(row["probabilities"])) for row in rows]
        expected = decode(np.array([row["probabilities"] for row in rows], dtype=np.float32), "expected")
        others = [cohen_kappa_score(labels, grades, weights="quadratic") for grades in (highest, expected)]
        referable = figures["referable"]
        cells = [
            number(figures["quadratic_weighted_kappa"]),
            interval(figures["interval"]),
            *_score(figures.get("ranked_probability_score"), 4),
            *_score(figures.get("log_loss"), 3),
            *(number(float(value)) for value in others),
            number(figures["accuracy"]),
            *(number(referable.get(key)) for key in ("auroc", "sensitivity", "specificity", "sensitivity_at_90")),
            *(number(figures.get(key)) for key in ("calibration_error", *AREAS)),  # earlier versions had fewer
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


def periods(result: dict[str, Any]) -> None:
    """Grading by period (year and camera, site): accuracy, beside what its grades explain, recall, kappa, RPS."""
    known = {name: figures["by_period"] for name, figures in result["models"].items() if figures.get("by_period")}
    if not known:
        return
    print("| model | period | n | accuracy | beside what its grades explain | recall per grade | kappa | RPS |")
    print("|---|---|---|---|---|---|---|---|")
    for name, found in known.items():
        for period, entry in found["periods"].items():
            excess = f"{entry['excess']['mean']:+.3f} {interval(entry['excess']['interval'])}"
            cells = [str(entry["n"]), number(entry["accuracy"]), excess]
            cells += [", ".join(number(share, 2) for share in entry["recall"])]
            cells += [number(entry[key]) for key in ("quadratic_weighted_kappa", "ranked_probability_score")]
            print(f"| {name} | {period} | " + " | ".join(cells) + " |")
    print()


def _score(entry: dict[str, Any] | None, digits: int) -> tuple[str, str]:
    """A mean and its interval; records of classes without an order have no ranked probability score."""
    if entry is None:
        return "-", "-"
    low, high = (number(bound, digits) for bound in entry["interval"])
    return number(entry["mean"], digits), f"[{low}, {high}]"


def maps(result: dict[str, Any]) -> None:
    """Agreement of maps with lesions, per scale."""
    print(
        "| model | map | squared error | zero map | mean map | enrichment | relevance rank | pointing (15 px of 224) "
        "| n |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, figures in result["models"].items():
        for scale, entry in figures["maps"].items():
            cells = [
                number(entry[key], 4) for key in ("squared_error", "zero_map_squared_error", "mean_map_squared_error")
            ]
            cells += [number(entry[key], 2) for key in ("lesion_enrichment", "relevance_rank", "pointing_game")]
            print(f"| {name} | {scale} | " + " | ".join(cells) + f" | {entry['n_used']} |")
    print()


def recall(result: dict[str, Any]) -> None:
    """Share of the lesions' pixels among the brightest 5 % of each map, per type, drawn masks only."""
    print("| model | lesions (masks) | n | per map: share lit (chance .05) |")
    print("|---|---|---|---|")
    for name, figures in result["models"].items():
        for kind, entry in (figures["lesion_recall"]["masks"] or {}).get("types", {}).items():
            lit = [
                f"{scale} {number(part['share'], 2)} {interval(part['interval'])}"
                for scale, part in entry["recall"].items()
            ]
            print(f"| {name} | {kind.replace('_', ' ')} | {entry['n_lesions']} | {', '.join(lit)} |")
    print()


def faithfulness(result: dict[str, Any]) -> None:
    """Deletion and insertion of each model's map beside its reference rankings, paired, with and without grade 0."""
    known = {name: figures["faithfulness"] for name, figures in result["models"].items() if figures["faithfulness"]}
    if not known:
        return
    print(
        "| model | order | n | deletion | map less it | insertion | map less it "
        "| n without grade 0 | deletion, map less it | insertion, map less it |"
    )
    print("|---" * 10 + "|")
    for name, parts in known.items():
        for order, entry in parts["all"].items():
            against = entry.get("against") or {}
            cells = [name, order, str(entry["n_used"])]
            for measure in AREAS[:2]:
                cells += [number(entry[measure]["mean"]), _less(against.get(measure))]
            other = (parts["without_grade_0"] or {}).get(order) or {}
            cells.append(str(other.get("n_used", "-")))
            cells += [_less((other.get("against") or {}).get(measure)) for measure in AREAS[:2]]
            print("| " + " | ".join(cells) + " |")
    print()


def _less(pair: dict[str, Any] | None) -> str:
    if pair is None or pair["difference"] is None:
        return "-"
    return f"{pair['difference']:+.3f} {interval(pair['interval'])}"


def paired(result: dict[str, Any]) -> None:
    """Paired differences with their intervals."""
    if not result["paired"]:
        return
    keys = ("kappa", "ranked_probability_score", "log_loss", "enrichment", "squared_error", "iou", *AREAS)
    print(f"| comparison (first minus second) | {' | '.join(key.replace('_', ' ') for key in keys)} |")
    print("|---" * (len(keys) + 1) + "|")
    for label, pair in result["paired"].items():
        entries = [pair.get(key) for key in keys]
        known = [entry if entry is not None and entry["difference"] is not None else None for entry in entries]
        cells = [
            "-" if part is None else " ".join(_score({"mean": part["difference"], **part}, 4 if key in FINE else 3))
            for key, part in zip(keys, known, strict=True)
        ]
        print(f"| {label} | " + " | ".join(cells) + " |")
    print()


def times(study: Path, names: list[str], folds: int) -> None:
    """Wall time of the training of each model."""
    print("| model | epochs | seconds an epoch | seconds in all |")
    print("|---|---|---|---|")
    for name in names:
        cards = [read_json(study / "models" / name / f"fold{fold}" / "model.json") for fold in range(folds)]
        recipe = cards[0]["recipe"].get("finetune", cards[0]["recipe"]["phase1"])
        total = sum(card["details"]["seconds"] for card in cards)
        print(f"| {name} | {recipe['epochs']} | {total / folds / recipe['epochs']:.1f} | {total:.0f} |")
    print()


def records(study: Path, part: str, name: str) -> list[dict[str, Any]]:
    """Records per photograph of one model, pooled over the folds."""
    folder = study / "evaluation" / part
    files = [folder / f"{name}.json"] if part == "test" else sorted(folder.glob(f"{name}-fold[0-9]*.json"))
    return [row for file in files for row in read_json(file)["photographs"]]


if __name__ == "__main__":
    main()
