"""Is everything in a study what it was when it was written? Rows, their chain, models, and what they learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regaze.errors import CorrectionError, ModelError
from regaze.files import digest
from regaze.models.card import check_weights, read_card
from regaze.study.folder import Study


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong.

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
    """Look at everything; nothing is changed.

    Opening a study has already compared its data with what it was.
    """
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
    problems += chain.problems
    folders = sorted(path.parent for path in (study.path / "models").glob("*/fold*/model.json"))
    for folder in folders:
        problems += _model(folder, hashes)
    return Verification(len(index), selections, chain.n_links, len(folders), chain.head, tuple(problems))


def _model(folder: Path, hashes: dict[int, str]) -> list[str]:
    """What is wrong with one model folder."""
    try:
        card = read_card(folder)
        check_weights(folder, card)
    except ModelError as error:
        return [str(error)]
    ids = card.corrections.get("ids", [])
    gone = [number for number in ids if number not in hashes]
    if gone:
        return [f"{folder} learned from correction {gone[0]}, which the store does not hold (whole)."]
    if ids and digest([hashes[number] for number in ids]) != card.corrections["fingerprint"]:
        return [f"{folder} learned from corrections that were others than the store holds under their ids."]
    return []
