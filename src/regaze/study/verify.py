"""Checks that nothing in a study was altered: rows, their chain, models, and what these learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regaze.errors import CorrectionError, ModelError
from regaze.files import digest
from regaze.models.card import read_card
from regaze.models.learned import read_learned
from regaze.study.folder import Study


@dataclass(frozen=True)
class Verification:
    """How much was checked, and what is wrong.

    Attributes:
        corrections, selections, links: Rows and links of the store.
        models: Model folders, one per fold.
        head: Hash of the chain's last link; noted down elsewhere, it shows later that nothing before it changed.
        problems: One line each; empty where all is well.
    """

    corrections: int
    selections: int
    links: int
    models: int
    head: str
    problems: tuple[str, ...]


def verify(study: Study) -> Verification:
    """Check everything but the data, which opening the study has compared with its fingerprint."""
    problems: list[str] = []
    index = study.store.correction_index()
    hashes: dict[int, str] = {}
    with study.voice.progress("reading corrections") as feed:
        for done, entry in enumerate(index, start=1):
            try:
                study.store.correction(entry.id)
                hashes[entry.id] = entry.hash
            except CorrectionError as error:
                problems.append(str(error))
            feed(done, len(index))
    selections = 0
    try:
        selections = len(study.store.selections())
    except CorrectionError as error:
        problems.append(str(error))
    chain = study.store.chain()
    folders = sorted(path.parent for path in (study.path / "models").glob("*/fold*/model.json"))
    problems += [*chain.problems, *(problem for folder in folders for problem in _model_problems(folder, hashes))]
    return Verification(len(index), selections, chain.n_links, len(folders), chain.head, tuple(problems))


def _model_problems(folder: Path, hashes: dict[int, str]) -> list[str]:
    from regaze.models.folder import check_fit  # with torch, which a study is opened without

    try:
        card = read_card(folder)
        check_fit(folder, card)
        read_learned(folder, card)
    except ModelError as error:
        return [str(error)]
    ids = card.corrections.get("ids", [])
    missing = [number for number in ids if number not in hashes]
    if missing:
        return [f"{folder} learned from correction {missing[0]}, which the store does not hold (whole)."]
    if ids and digest([hashes[number] for number in ids]) != card.corrections["fingerprint"]:
        return [f"{folder} learned from other corrections than the store holds under their ids."]
    return []
