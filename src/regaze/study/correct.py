"""Select and correct: which photographs the expert gets, and what the expert's masks or boxes say about them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from regaze.corrections.store import default_author
from regaze.data.images import photo_size
from regaze.data.masks import lesion_union
from regaze.errors import StudyError
from regaze.records import Correction, Sample, Selection
from regaze.selection.rules import select as rank
from regaze.study.collect import read_collected
from regaze.study.folder import Study
from regaze.study.lesions import knowledge
from regaze.study.options import CorrectOptions, SelectOptions


def select(study: Study, name: str, options: SelectOptions, author: str | None = None) -> list[Selection]:
    """Rank the collected photographs and store the selection, one per fold; the same request is stored once.

    Raises:
        StudyError: The model is missing or its maps have not been collected.
        OptionError: The share is out of range, or the rule needs lesions that are not known.
    """
    study.require_model(name)
    selections = []
    for fold in study.folds:
        ranking = rank(
            read_collected(study, name, fold),
            options.rule,
            share=options.share,
            seed=study.options.seed,
            classes=study.classes,
        )
        model = f"{name}/fold{fold}"
        latest = study.store.latest_selection(model)
        if latest is None or (latest.rule, latest.share, latest.seed, latest.samples) != (
            options.rule,
            options.share,
            study.options.seed,
            ranking.samples,
        ):
            latest = study.store.add_selection(
                model=model,
                rule=options.rule,
                share=options.share,
                seed=study.options.seed,
                samples=ranking.samples,
                reasons=ranking.reasons,
                author=author or default_author(),
            )
        selections.append(latest)
    return selections


def correct(study: Study, name: str, options: CorrectOptions) -> dict[str, int]:
    """Write the expert's corrections for the selected photographs, from lesion masks or a clinician's boxes.

    A photograph that has a correction of the same model already keeps it.

    Returns:
        `written`, `kept` (had one already), `without_knowledge` (selected, but no masks or boxes), `healthy` (of the
        written: "nothing here deserves attention").

    Raises:
        StudyError: Nothing has been selected, or no photograph has what `--source` names.
    """
    study.require_model(name)
    if options.source != "all" and not any(sample.origin == options.source for sample in study.dataset.samples):
        cure = "pass --boxes DIR to `regaze init`" if options.source == "boxes" else "add masks, or pass --source boxes"
        raise StudyError(f"{study.options.data} has no {options.source} for any photograph: {cure}.")
    counts = {"written": 0, "kept": 0, "without_knowledge": 0, "healthy": 0}
    by_id = {sample.id: sample for sample in study.dataset.samples}
    existing = {(entry.model, entry.sample) for entry in study.store.correction_index()}
    for fold in study.folds:
        model = f"{name}/fold{fold}"
        selection = study.store.latest_selection(model)
        if selection is None:
            raise StudyError(f"Nothing has been selected for {name}: run `regaze select {study.path}` first.")
        wanted = [by_id[sample] for sample in selection.samples]
        if options.healthy and study.dataset.ordinal:
            chosen = set(selection.samples)
            wanted += [item for item in study.training(fold) if item.label == 0 and item.id not in chosen]
        todo = [sample for sample in wanted if (model, sample.id) not in existing]
        counts["kept"] += len(wanted) - len(todo)
        written = study.store.add_corrections(_from_truth(study, model, todo, options, counts))
        counts["written"] += len(written)
    return counts


def _from_truth(
    study: Study, model: str, samples: list[Sample], options: CorrectOptions, counts: dict[str, int]
) -> Iterator[Correction]:
    """Corrections that replace the whole map by what masks or boxes say."""
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    author = options.author or default_author()
    for sample in samples:
        usable = sample.origin != "none" and options.source in ("all", sample.origin)
        look = lesion_union(sample) if usable else None
        state = "unknown" if look is None else knowledge(sample, bool(look.any()), study.dataset.ordinal)
        if look is None or state == "unknown" or (state == "free" and not options.healthy):
            counts["without_knowledge"] += 1
            continue
        if state == "free":
            width, height = photo_size(sample.image)
            look = np.zeros((height, width), dtype=bool)
            counts["healthy"] += 1
        yield Correction(0, sample.id, model, sample.origin, "replace", look, None, author, time)
