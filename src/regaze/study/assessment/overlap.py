"""Photographs that a model is judged on although it learned from them: found by content, refused, or said everywhere.

Three things count. The file itself; the same picture stored anew (the square that the network saw, or a copy that the
data set's own reader found); and, in other data, a near-copy (`data.near_copies`) of a photograph that the study holds.
What another study's model learned from is known by file and square alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regaze.data.match import groups
from regaze.data.near_copies import near_copies
from regaze.data.pixels import load_pixels
from regaze.errors import StudyError
from regaze.files import digest, read_json, typed, write_json
from regaze.models.learned import Learned, square_hash
from regaze.records import Dataset, Sample
from regaze.study.assessment.judge import judged_parts, part_of
from regaze.study.folder import Study
from regaze.study.learned import learned_by

LISTED = 20  # photographs that a refusal names
_FORMAT = 1  # of the kept near-copies


@dataclass(frozen=True)
class Overlap:
    """Judged photographs that were learned from.

    Attributes:
        judged: Number of judged photographs.
        reasons: Photograph -> what it is: `the same file`, `the same picture`, `a near-copy of ID`.
        models: Model -> its photographs among them.
        unknown: Models of which nobody can tell (all of) what they learned from.
    """

    judged: int
    reasons: Mapping[str, str]
    models: Mapping[str, tuple[str, ...]]
    unknown: tuple[str, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """As `evaluate --json` has it."""
        photographs = [
            {"sample": sample, "why": why, "models": [name for name, found in self.models.items() if sample in found]}
            for sample, why in self.reasons.items()
        ]
        words = self.words if photographs else ""
        return {"n": len(photographs), "words": words, "photographs": photographs, "unknown": list(self.unknown)}

    @property
    def notes(self) -> list[str]:
        """What a reader of any figure must know; nothing where nothing overlaps."""
        notes = []
        if self.reasons:
            notes.append(f"{self.words}, which flatters all figures (--allow-overlap).")
        return notes + [
            f"{name} does not say what it learned from (an earlier version made it in another study): nobody can tell "
            "whether it is judged on that."
            for name in self.unknown
        ]

    @property
    def words(self) -> str:
        """`3 of the 40 photographs were learned from (by NAME)`."""
        by = ", ".join(name for name, found in self.models.items() if found)
        return f"{len(self.reasons)} of the {self.judged} photographs were learned from (by {by})"


def overlap(study: Study, names: Sequence[str], part: str | None = None, other: Dataset | None = None) -> Overlap:
    """Look for photographs that models are judged on and learned from.

    Args:
        study: Whose models.
        names: Those to be judged.
        part: `test` or `validation`, as for `judge_model`.
        other: Judge on this data instead.

    Raises:
        ModelError: A model's folder is damaged.
        DataError: A photograph cannot be read.
    """
    reasons: dict[str, str] = {}
    models: dict[str, set[str]] = {name: set() for name in names}
    unknown: set[str] = set()
    count = 0
    for folds, samples in judged_parts(study, part or part_of(study), other):
        count += len(samples)
        copies = _copies(study, folds, samples, other)
        for name in names:
            learned = [learned_by(study, name, fold) for fold in folds]
            if not all(each.whole for each in learned):
                unknown.add(name)
            found = _found(study, name, samples, learned, copies)
            models[name] |= found.keys()
            for sample, why in found.items():
                reasons.setdefault(sample, why)
    order = {name: tuple(sorted(found)) for name, found in models.items()}
    return Overlap(count, dict(sorted(reasons.items())), order, tuple(name for name in names if name in unknown))


def refuse(
    found: Overlap,
    what: str,
    cure: str = "Leave them out, or pass --allow-overlap to judge all the same; every figure then says so.",
) -> None:
    """Refuse to judge models on what they learned from.

    Args:
        found: What `overlap` found.
        what: The photographs' origin, for the message.
        cure: What to do.

    Raises:
        StudyError: There is such a photograph.
    """
    if not found.reasons:
        return
    listed = [f"{sample} ({why})" for sample, why in list(found.reasons.items())[:LISTED]]
    more = len(found.reasons) - len(listed)
    raise StudyError(f"{what}: {found.words}: {', '.join(listed)}{f' and {more} more' if more else ''}. {cure}")


def refuse_copies(dataset: Dataset) -> None:
    """Refuse data of which training photographs come back in the test part, before a model learns from them.

    Raises:
        StudyError: There is such a photograph.
    """
    learned = [sample for sample in dataset.samples if sample.part == "training"]
    contents, twins = {sample.content for sample in learned}, {sample.twin for sample in learned} - {None}
    test = [sample for sample in dataset.samples if sample.part == "test"]
    reasons = {sample.id: "the same picture" for sample in test if sample.twin in twins}
    reasons |= {sample.id: "the same file" for sample in test if sample.content in contents}
    refuse(Overlap(len(test), reasons, {"any model": tuple(reasons)}, ()), dataset.spec)


def _found(
    study: Study,
    name: str,
    samples: Sequence[Sample],
    learned: Sequence[Learned],
    copies: Mapping[str, list[tuple[str, str]]],
) -> dict[str, str]:
    """Photograph -> why, of one model (of several folds together)."""
    contents: frozenset[str] = frozenset().union(*(each.contents for each in learned))
    squares: frozenset[str] = frozenset().union(*(each.squares for each in learned))
    found = {sample.id: "the same file" for sample in samples if sample.content in contents}
    rest = [sample for sample in samples if sample.id not in found]
    own = {sample.content for sample in study.dataset.samples}
    # Of the study's own photographs its reader has found the copies.
    if squares and rest and not own >= contents | {sample.content for sample in rest}:
        card = study.card(name)
        images = load_pixels(rest, card.size, study.path / "cache", crop=card.crop, colour=card.colour).images
        for sample, image in zip(rest, images, strict=True):
            if square_hash(image, card.crop, card.colour) in squares:
                found[sample.id] = "the same picture"
    for sample in rest:
        for content, why in copies.get(sample.id, ()):
            if content in contents:
                found.setdefault(sample.id, why)
    return found


def _copies(
    study: Study, folds: Iterable[int], samples: Sequence[Sample], other: Dataset | None
) -> dict[str, list[tuple[str, str]]]:
    """Judged photograph -> (content, what it is) of the study's photographs that are copies of it."""
    training = {sample.id: sample for fold in folds for sample in study.training(fold)}
    if other is not None:
        return _near(study, list(training.values()), samples, other)
    twins: dict[str, list[tuple[str, str]]] = {}
    for sample in training.values():
        if sample.twin is not None:
            twins.setdefault(sample.twin, []).append((sample.content, "the same picture"))
    return {sample.id: twins[sample.twin] for sample in samples if sample.twin in twins}


def _near(
    study: Study, training: Sequence[Sample], samples: Sequence[Sample], other: Dataset
) -> dict[str, list[tuple[str, str]]]:
    """Near-copies between other data and the study's, kept since every photograph is read; painted ones have none."""
    if study.options.data.startswith("synthetic") and other.spec.startswith("synthetic"):
        return {}
    file = study.evaluation_folder / f"data-{digest([other.fingerprint])}" / "near_copies.json"
    key = digest([_FORMAT, [sample.content for sample in training], [sample.content for sample in samples]])
    try:
        values = read_json(file)
        if values["key"] != key:
            raise ValueError("of other photographs")
        pairs = typed(list[tuple[int, int]], values["pairs"])
        return _named(pairs, training, samples)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        pass
    with study.voice.progress("looking for photographs that were learned from") as feed:
        alike = near_copies([sample.image for sample in (*training, *samples)], feed)
    known = len(training)
    linked = groups(known + len(samples), [(like.first, like.second) for like in alike])
    pairs = [(a, b - known) for group in linked for a in group if a < known for b in group if b >= known]
    write_json(file, {"key": key, "pairs": pairs})
    return _named(pairs, training, samples)


def _named(
    pairs: Iterable[tuple[int, int]], training: Sequence[Sample], samples: Sequence[Sample]
) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for learned, judged in pairs:
        why = f"a near-copy of {training[learned].id}"
        found.setdefault(samples[judged].id, []).append((training[learned].content, why))
    return found
