"""Rounds as the page shows them, read from what a job judged: asking costs no arithmetic of networks.

Invariant: figures stand beside a model only while it is the very model that was judged; words and decisions are those
of `study.assessment.rounds`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from regaze.files import read_sealed, write_sealed
from regaze.models.options import MachineOptions
from regaze.server.desk import Desk
from regaze.study.folder import Study
from regaze.words import words_of

_NOTHING = {"before": None, "after": None, "difference": None, "interval": None, "verdict": "inconclusive"}


def keep_rounds(study: Study, machine: MachineOptions) -> None:
    """Judge all rounds of a study and keep what they say.

    Raises:
        StudyError: See `study.assessment.rounds.rounds`.
    """
    from regaze.study.assessment.rounds import advice, rounds  # with torch

    lines: dict[str, Any] = {}
    for item in rounds(study, machine):
        root = item.parent or item.model
        entry = lines.setdefault(root, {"rounds": [], "items": []})
        entry["items"].append(item)
        entry["rounds"].append({"key": study.card(item.model).key, **asdict(item)})
    patient = words_of(study.dataset).patient
    kept = {root: {"rounds": one["rounds"], "advice": advice(one["items"], patient)} for root, one in lines.items()}
    write_sealed(_file(study), {"lines": kept})


def line_of(desk: Desk) -> tuple[list[dict[str, Any]], str]:
    """The rounds of the shown model's line, as `replies.RoundInfo` describes them, and what to do next."""
    study = desk.study
    root = study.card(desk.model).root
    kept = _kept(study).get(root, {})
    judged = {item["model"]: item for item in kept.get("rounds", ())}
    active = desk.model
    infos: list[dict[str, Any]] = []
    names = rounds_of(desk)
    before: dict[str, Any] | None = None
    for number, name in enumerate(names):
        card = study.card(name)
        item = judged.get(name)
        item = item if item is not None and item["key"] == card.key else None
        infos.append(_info(name, number, int(card.corrections.get("n", 0)), item, before, name == active))
        before = item
    usual = "No round yet: correct some cases, then train a round."
    whole = len(judged) == len(names) > 1
    return infos, str(kept["advice"]) if whole else usual if len(names) < 2 else "The last round was not judged yet."


def kept_round(study: Study, model: str) -> dict[str, Any] | None:
    """One judged round; None where it was not judged."""
    for entry in _kept(study).values():
        items = entry["rounds"]
        for number, item in enumerate(items):
            if item["model"] == model:
                return _info(model, number, item["corrections"], item, items[number - 1] if number else None, False)
    return None


def rounds_of(desk: Desk) -> list[str]:
    """The shown model's line without controls, phase 1 first."""
    from regaze.study.assessment.controls import is_control

    root = desk.study.card(desk.model).root
    return [name for name in desk.models() if name == root or not is_control(desk.study, name)]


def changed(desk: Desk, model: str) -> tuple[str | None, list[dict[str, Any]], list[dict[str, Any]]]:
    """Photographs of the validation part that a round grades otherwise than the round before.

    Args:
        desk: The study.
        model: One of `rounds_of`.

    Returns:
        The round before (None for phase 1), and what got worse and what got better, the most changed first.
    """
    names = rounds_of(desk)
    number = names.index(model)
    if number == 0:
        return None, [], []
    against = names[number - 1]
    before, after = ({row["sample"]: row for row in _judgement(desk.study, name)} for name in (against, model))
    ids = desk.photograph_ids()
    moved: list[tuple[int, dict[str, Any]]] = []
    for sample, row in after.items():
        label, old = row["label"], before.get(sample)
        if label is None or old is None or sample not in ids or old["grade"] == row["grade"]:
            continue
        change = _error(desk, row["grade"], label) - _error(desk, old["grade"], label)
        entry = {"id": ids[sample], "name": sample, "label": label, "before": old["grade"], "after": row["grade"]}
        moved.append((change, entry))
    moved.sort(key=lambda pair: (-abs(pair[0]), pair[1]["name"]))
    return against, [entry for change, entry in moved if change > 0], [entry for change, entry in moved if change < 0]


def _error(desk: Desk, grade: int, label: int) -> int:
    return abs(grade - label) if desk.study.dataset.ordinal else int(grade != label)


def _judgement(study: Study, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for fold in study.folds:
        file = study.evaluation_folder / "rounds" / "validation" / f"{name}-fold{fold}.json"
        try:
            rows += read_sealed(file)["photographs"]
        except (OSError, ValueError, TypeError, KeyError):
            return []
    return rows


def _file(study: Study) -> Path:
    return study.evaluation_folder / "rounds" / "page.json"


def _kept(study: Study) -> dict[str, Any]:
    try:
        return dict(read_sealed(_file(study))["lines"])
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _info(
    name: str, number: int, corrections: int, item: dict[str, Any] | None, before: dict[str, Any] | None, active: bool
) -> dict[str, Any]:
    info: dict[str, Any] = {"name": name, "round": number, "corrections": corrections, "is_active": active}
    if item is None:
        return info | {"grading": _NOTHING, "attention": _NOTHING, "word": None}
    return info | {
        "grading": _figure(item, before, "kappa", "grading"),
        "attention": _figure(item, before, "enrichment", "attention"),
        "word": item["verdict"] if number else None,
    }


def _figure(item: dict[str, Any], before: dict[str, Any] | None, measure: str, word: str) -> dict[str, Any]:
    pair = item[f"{measure}_difference"] or {}
    return {
        "before": None if before is None else before[measure],
        "after": item[measure],
        "difference": pair.get("difference"),
        "interval": pair.get("interval"),
        "verdict": item[word],
    }
