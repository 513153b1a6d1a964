"""Selects the photographs that an expert should correct, and corrects them from lesion masks or a clinician's boxes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from regaze.corrections.author import default_author
from regaze.data.images import photo_size
from regaze.data.masks import lesion_union
from regaze.errors import StudyError
from regaze.records import Correction, Sample, Selection
from regaze.selection.rules import NothingToSelect, Ranking
from regaze.selection.rules import select as rank
from regaze.study.check import check_selection
from regaze.study.folder import Study
from regaze.study.lesions import lesion_status
from regaze.study.options import CorrectOptions, SelectOptions
from regaze.study.steps.collect import read_collected, read_features
from regaze.study.steps.supervision import corrections_of


def select(study: Study, name: str, options: SelectOptions, author: str | None = None) -> list[Selection]:
    """Rank the collected photographs and store the selection, one per fold; the same request is stored once.

    A fold in which nobody needs an expert has no selection.

    Raises:
        StudyError: The model is missing or its maps have not been collected.
        NothingToSelect: Nobody needs an expert in any fold.
        OptionError: The share or count is out of range, or the rule needs what is not known.
    """
    check_selection(options)
    study.require_model(name)
    selections = []
    nothing: NothingToSelect | None = None
    for fold in study.folds:
        try:
            ranking = _rank(study, name, fold, options)
        except NothingToSelect as reason:
            nothing = reason
            continue
        model = study.fold_name(name, fold)
        share = options.share if options.count is None else min(1.0, options.count / ranking.n_candidates)
        stored = study.store.add_selection(
            model,
            request_text(options),
            share,
            study.options.seed,
            samples=ranking.samples,
            reasons=ranking.reasons,
            author=author or default_author(),
            unless_latest=True,
        )
        selections.append(stored)
    if not selections and nothing is not None:
        raise nothing
    return selections


def is_selected(study: Study, name: str, options: SelectOptions) -> bool:
    """Whether this very request was the last one for the model, on every fold."""
    latest = [study.store.latest_selection(study.fold_name(name, fold)) for fold in study.folds]
    wanted = (request_text(options), study.options.seed)
    share = options.share if options.count is None else None
    return all(item is not None and (item.rule, item.seed) == wanted and share in (None, item.share) for item in latest)


def request_text(options: SelectOptions) -> str:
    """A selection's rule with what changes its order, e.g. `cam, diversity 0.5, quota equal`."""
    parts: list[str] = [options.by]
    if options.count is not None:
        parts.append(f"count {options.count}")
    if options.diversity > 0:
        parts.append(f"diversity {options.diversity:g}")
    if options.quota != "none":
        parts.append(f"quota {options.quota}")
    parts += [name for name in ("everything", "more") if getattr(options, name)]
    return ", ".join(parts)


def _rank(study: Study, name: str, fold: int, options: SelectOptions) -> Ranking:
    """The ranking of one fold's training photographs."""
    collected = read_collected(study, name, fold)
    features = read_features(study, name, fold) if options.diversity > 0 else None
    corrected: set[str] = set()
    if options.more:
        corrected = {entry.sample for entry in corrections_of(study, study.card(name).root, fold)}
    done = [index for index, item in enumerate(collected) if item.sample in corrected]
    pool = [index for index, item in enumerate(collected) if item.sample not in corrected]
    if options.more and not pool:
        raise NothingToSelect(f"All {len(done)} collected photographs have been corrected: leave out --more.")
    patients = {sample.id: sample.patient for sample in study.dataset.samples}
    return rank(
        [collected[index] for index in pool],
        options.by,
        share=options.share,
        count=options.count,
        seed=study.options.seed,
        everything=options.everything,
        classes=study.classes,
        features=None if features is None else features[pool],
        corrected=None if features is None or not done else features[done],
        groups=None if features is None else [patients[collected[index].sample] for index in pool],
        diversity=options.diversity,
        quota=None if options.quota == "none" else options.quota,
    )


def correct(study: Study, name: str, options: CorrectOptions) -> dict[str, int]:
    """Write the expert's corrections for the selected photographs, from lesion masks or a clinician's boxes.

    A photograph that has a correction of the same model already keeps it.

    Returns:
        `written`, `kept` (had one already), `without_knowledge` (selected, but no masks or boxes), `healthy` (of the
        written: "nothing here deserves attention").

    Raises:
        StudyError: Nothing has been selected, or no photograph has what `--from` names.
    """
    study.require_model(name)
    if options.source != "all" and not any(sample.origin == options.source for sample in study.dataset.samples):
        cure = "pass --boxes DIR to `regaze init`" if options.source == "boxes" else "add masks, or pass --from boxes"
        raise StudyError(f"{study.options.data} has no {options.source} for any photograph: {cure}.")
    selections = {fold: study.store.latest_selection(study.fold_name(name, fold)) for fold in study.folds}
    if not any(selections.values()):
        raise StudyError(f"Nothing has been selected for {name}: run `regaze select {study.path}` first.")
    counts = {"written": 0, "kept": 0, "without_knowledge": 0, "healthy": 0}
    by_id = {sample.id: sample for sample in study.dataset.samples}
    existing = {(entry.model, entry.sample) for entry in study.store.correction_index()}
    for fold, selection in selections.items():
        if selection is None:
            continue
        model = study.fold_name(name, fold)
        wanted = [by_id[sample] for sample in selection.samples]
        sound = study.dataset.sound
        if options.healthy and sound is not None:
            selected = set(selection.samples)
            wanted += [item for item in study.training(fold) if item.label == sound and item.id not in selected]
        todo = [sample for sample in wanted if (model, sample.id) not in existing]
        empty: set[str] = set()
        skipped: set[str] = set()
        # Another process may correct the same photographs meanwhile: who writes first, the other keeps it.
        drafts = _from_truth(study, model, todo, options, empty, skipped)
        written = {entry.sample for entry in study.store.add_corrections(drafts, unless_corrected=True)}
        counts["written"] += len(written)
        counts["healthy"] += len(written & empty)
        counts["without_knowledge"] += len(skipped)
        counts["kept"] += len(wanted) - len(written) - len(skipped)
    return counts


def _from_truth(
    study: Study, model: str, samples: list[Sample], options: CorrectOptions, empty: set[str], skipped: set[str]
) -> Iterator[Correction]:
    """Corrections that replace the whole map by masks or boxes; notes which are empty, and which are left out."""
    author = options.author or default_author()
    for sample in samples:
        usable = sample.origin != "none" and options.source in ("all", sample.origin)
        look = lesion_union(sample) if usable else None
        state = "unknown" if look is None else lesion_status(sample, bool(look.any()), study.dataset.sound)
        if look is None or state == "unknown" or (state == "free" and not options.healthy):
            skipped.add(sample.id)
            continue
        if state == "free":
            width, height = photo_size(sample.image)
            look = np.zeros((height, width), dtype=bool)
            empty.add(sample.id)
        yield Correction(0, sample.id, model, sample.origin, "replace", look, None, author, "")
