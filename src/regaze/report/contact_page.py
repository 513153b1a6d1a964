"""The contact sheet of `regaze collect --html`: where a model looked in its training photographs, the worst first.

Invariant: as the report's (`report.page`): no script, no load but inline pictures, everything from data is escaped.
The page is bounded: at most `MOST` photographs, and it says what was left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.data.images import photo_orientation
from regaze.drawing import overlay
from regaze.files import write_text
from regaze.orientation import upright_pixels
from regaze.records import Collected, Diagnosis
from regaze.report.templates import check_page_file, filled
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, known_lesions
from regaze.study.steps.collect import read_collected, read_fused

MOST = 200  # photographs with pictures, about 4 MB
_SIDE = 176  # pixels of a picture

# Diagnoses by harm, with what they mean.
_WORDS: dict[Diagnosis, str] = {
    "misgraded": "Graded wrong",
    "elsewhere": "Graded right, off-target: the map misses the lesions",
    "unknown": "Graded right, lesions unknown",
    "fine": "Graded right, on the lesions",
}
_SHORT: dict[Diagnosis, str] = {
    "misgraded": "graded wrong",
    "elsewhere": "off-target",
    "unknown": "lesions unknown",
    "fine": "fine",
}


def write_contact_sheet(study: Study, name: str, path: Path, workers: int = 2) -> Path:
    """Write the page, whole or not at all.

    Args:
        study: Whose model.
        name: A model whose maps were collected. With cross-validation a photograph is shown once, as the model of the
            fold that did worst on it sees it.
        path: The HTML file; one that is there is replaced, a missing folder is made.
        workers: Photographs decoded at the same time.

    Returns:
        `path`.

    Raises:
        StudyError: `path` is a folder, or the maps have not been collected.
    """
    check_page_file(path, "contact.html")
    ranked = _ranked(study, name)
    shown, left = ranked[:MOST], Counter(item.diagnosis for _, item in ranked[MOST:])
    cards = _cards(study, name, shown, workers)
    page = filled(
        "contact.html.j2",
        model=name,
        photographs=len(ranked),
        shown=len(shown),
        counts=[(_SHORT[key], count) for key in _WORDS if (count := sum(i.diagnosis == key for _, i in ranked))],
        left=[(count, _SHORT[key]) for key in _WORDS if (count := left[key])],
        sections=[
            (key, words, [card for card, (_, item) in zip(cards, shown, strict=True) if item.diagnosis == key])
            for key, words in _WORDS.items()
        ],
        ramp=[f"rgb({r} {g} {b})" for r, g, b in overlay.RAMP[::32]],
    )
    write_text(path, page)
    return path


def _ranked(study: Study, name: str) -> list[tuple[int, Collected]]:
    """Fold and record of each photograph, the most harmful first; of several folds' records the most harmful."""
    found = [(fold, item) for fold in study.folds for item in read_collected(study, name, fold)]
    found.sort(key=lambda each: (_harm(each[1], study.dataset.ordinal), each[1].sample, each[0]))
    first: dict[str, tuple[int, Collected]] = {}
    for fold, item in found:
        first.setdefault(item.sample, (fold, item))
    return list(first.values())


def _harm(item: Collected, ordinal: bool) -> tuple[int, float, float]:
    """Order by harm: wrong grades (furthest off, then surest), then maps (furthest off), then the least sure."""
    place = list(_WORDS).index(item.diagnosis)
    if item.diagnosis == "misgraded" and item.label is not None:
        return place, -float(abs(item.grade - item.label) if ordinal else 1), -item.confidence
    if item.diagnosis == "elsewhere":
        return place, np.inf if item.enrichment is None else item.enrichment, item.confidence
    return place, item.confidence, 0.0


def _cards(study: Study, name: str, shown: Sequence[tuple[int, Collected]], workers: int) -> list[dict[str, Any]]:
    """What the page says of each photograph, with pictures."""
    samples = {sample.id: sample for sample in study.dataset.samples}
    chosen = [samples[item.sample] for _, item in shown]
    pixels = study.pixels(chosen, study.card(name).size, workers, colour="none")
    masks, known = known_lesions(chosen, pixels, study.dataset.sound)
    maps: dict[tuple[int, str], NDArray[np.float32]] = {}
    for fold in {fold for fold, _ in shown}:
        wanted = {item.sample for other, item in shown if other == fold}
        fused = read_fused(study, name, fold)
        for row, item in enumerate(read_collected(study, name, fold)):
            if item.sample in wanted:
                maps[fold, item.sample] = fused[row]
    cards = []
    for index, (fold, item) in enumerate(shown):
        turn = photo_orientation(chosen[index].image)
        photo = pixels.images[index]
        seen = enlarge(maps[fold, item.sample][None], len(photo))[0]
        pictures = [overlay.shrink(photo, _SIDE), overlay.overlay(photo, seen, _SIDE)]
        if known[index]:
            pictures = [overlay.outlined(picture, masks[index]) for picture in pictures]
        upright = [overlay.data_uri(upright_pixels(picture, turn)) for picture in pictures]
        cards.append(_words(study, item) | {"photo": upright[0], "map": upright[1]})
    return cards


def _words(study: Study, item: Collected) -> dict[str, Any]:
    where = "lesions not known"
    if item.enrichment is not None:
        where = f"{item.enrichment:.1f} times as much attention on the lesions as by chance"
    elif item.diagnosis != "unknown" and item.squared_error is not None:
        where = "no lesion marked"
    return {
        "sample": item.sample,
        "expert": "not graded" if item.label is None else study.classes[item.label],
        "model": study.classes[item.grade],
        "sure": f"{item.confidence:.0%}",
        "right": None if item.label is None else item.grade == item.label,
        "where": where,
    }
