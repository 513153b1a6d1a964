"""Figure 1: what a model grades when other maps than its own weigh its features, for each weighting.

Three models of each weighting: phase 1, which knows no lesions; trained anew on the corrections from the first step,
without and with teacher maps (only then are the expert's maps an input that the network knows). The paper's weighting
has the paper's fine-tuning beside them. Each is given its own maps, the expert's, empty and full ones, and another
photograph's, which have all that the model's maps have but for what it saw here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regaze.drawing.canvas import AFTER, BEFORE, CONTROL
from regaze.drawing.charts import Bar, interval_chart
from regaze.evaluation.proper_scores import ranked_probability_scores
from regaze.evaluation.seeds import Estimate, Grade, Value, kappa_difference, mean_difference, mean_over_seeds
from regaze.experiments.claims import Claim, kappa, kappa_claim
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.outcome import Outcome, shown
from regaze.experiments.plan import Cell, Want
from regaze.experiments.run_file import Record
from regaze.experiments.runs import Bench
from regaze.study.assessment.given_maps import GIVEN
from regaze.study.assessment.measure import OTHERS

SOURCE = "figure 1"
TEACHER = 0.5  # the share at which the expert's maps were first seen to help (docs/LOG.md)

_MAPS = dict(zip(GIVEN, ("its own", "the expert's", "empty", "full", "another photograph's"), strict=True))
_COLOURS = {"own": BEFORE, "expert": AFTER}
_EVERYWHERE, _LESIONS = "known lesions or none", "with lesions"
_KAPPA, _SCORE, _LESS = "kappa", "ranked probability score", "{}, less own's"
_Rows = list[list[Record]]


def models(options: ReproduceOptions) -> dict[str, Cell]:
    """Name -> model, weighting by weighting."""
    backbone, named = options.figure_backbone(), {}
    for weighting in options.weighting_names():
        named[f"{weighting}, phase 1"] = Cell(backbone, "multi-scale", weighting=weighting)
        if weighting == "residual":
            named["residual, fine-tuned (the paper's)"] = Cell(backbone, "multi-scale", 1.0)
        for words, share in (("corrected", 0.0), ("corrected, teacher maps", TEACHER)):
            cell = Cell(backbone, "multi-scale", 1.0, weighting=weighting, learn="train", teacher_maps=share)
            named[f"{weighting}, {words}"] = cell
    return named


def wants(options: ReproduceOptions) -> list[Want]:
    """Each model under each map."""
    return [Want("given", cell) for cell in models(options).values()]


def make(bench: Bench) -> Outcome:
    """Kappa and ranked probability score of each model under each map, and how far they are from its own maps'."""
    named = models(bench.options)
    rows = {name: bench.rows(Want("given", cell)) for name, cell in named.items()}
    measured = {
        (name, what): {
            **_figures(bench, rows[name], what, _EVERYWHERE),
            "grades changed": mean_over_seeds(_changed(rows[name], what), bench.options.resamples, (0, 1)),
            **_figures(bench, rows[name], what, _LESIONS),
        }
        for name in named
        for what in GIVEN
    }
    panels = [
        (f"{measure}, {part}", _bars(f"{part}: {measure}", list(named), measured))
        for part in (_EVERYWHERE, _LESIONS)
        for measure in ((_KAPPA, _SCORE) if bench.dataset.ordinal else (_KAPPA,))
    ]
    return Outcome(
        experiment="fig1",
        title="Figure 1: other maps than the model's own",
        headers=(
            *("model", "maps", "kappa", "less own's", "RPS", "less own's", "grades changed"),
            *(f"{_LESIONS}: kappa", "less own's", "RPS", "less own's"),
        ),
        rows=[
            (name, _MAPS[what], *(shown(value, 4 if _SCORE in key else 3) for key, value in figures.items()))
            for (name, what), figures in measured.items()
        ],
        figures={f"{name}, {_MAPS[what]}": {**figures} for (name, what), figures in measured.items()},
        claims=[claim for name, cell in named.items() if _is_asked(cell) for claim in _claims(bench, name, rows[name])],
        picture=interval_chart(
            panels,
            "Kappa and ranked probability score of each model under each map; the numbers are in the table",
            "Mean over seeds with its 95 % interval. Ranked probability score: lower is better.",
        ),
        notes=_notes(bench, next(iter(rows.values()))),
    )


def _is_asked(cell: Cell) -> bool:
    """Whether a model's claims are asked: the paper's own, and those that know the expert's maps as an input."""
    return cell.share is not None and (cell.learn == "finetune" or cell.teacher_maps > 0)


def _part(seeds: _Rows, part: str) -> _Rows:
    return [[record for record in records if part == _EVERYWHERE or record["lesions"]] for records in seeds]


def _grades(seeds: _Rows, what: str, tries: int) -> list[list[Grade]]:
    """Every photograph's grade `tries` times over, so that two lists of so many can be paired."""
    return [
        [
            Grade(record["sample"], record["patient"], record["label"], grade)
            for record in records
            for grade in record["given"][what]["grades"] * (tries // len(record["given"][what]["grades"]))
        ]
        for records in seeds
    ]


def _tries(what: str) -> int:
    return OTHERS if what == "another" else 1


def _scores(seeds: _Rows, what: str) -> list[list[Value]]:
    """Each photograph's ranked probability score; of several draws the mean of their scores."""

    def score(record: Record) -> float:
        tries = record["given"][what]["probabilities"]
        return float(np.mean(ranked_probability_scores(tries, [record["label"]] * len(tries))))

    return [[Value(item["sample"], item["patient"], score(item)) for item in records] for records in seeds]


def _changed(seeds: _Rows, what: str) -> list[list[Value]]:
    """Share of a photograph's grades that are not those of the model's own map."""

    def share(record: Record) -> float:
        (own,) = record["given"]["own"]["grades"]
        return float(np.mean([grade != own for grade in record["given"][what]["grades"]]))

    return [[Value(item["sample"], item["patient"], share(item)) for item in records] for records in seeds]


def _figures(bench: Bench, seeds: _Rows, what: str, part: str) -> dict[str, Estimate]:
    """Kappa and ranked probability score under one map, and their differences from the model's own maps'."""
    rows, tries, resamples = _part(seeds, part), _tries(what), bench.options.resamples
    classes, ordinal = len(bench.dataset.classes), bench.dataset.ordinal
    own, given = _grades(rows, "own", tries), _grades(rows, what, tries)
    figures = {_KAPPA: kappa(bench, given)}
    figures[_LESS.format(_KAPPA)] = kappa_difference(own, given, classes, resamples, ordinal=ordinal)
    figures |= dict.fromkeys((_SCORE, _LESS.format(_SCORE)), Estimate(None))
    if ordinal:
        mine, its = _scores(rows, "own"), _scores(rows, what)
        figures[_SCORE] = mean_over_seeds(its, resamples, (0, 1))
        figures[_LESS.format(_SCORE)] = mean_difference(mine, its, resamples)
    if what == "own":
        figures |= dict.fromkeys(map(_LESS.format, (_KAPPA, _SCORE)), Estimate(None))
    return {f"{part}: {measure}": value for measure, value in figures.items()}


def _bars(key: str, names: Sequence[str], measured: dict[tuple[str, str], dict[str, Estimate]]) -> list[Bar]:
    bars = []
    for name in names:
        bars.append(Bar(name, None))
        bars += [Bar(words, measured[name, what][key], _COLOURS.get(what, CONTROL)) for what, words in _MAPS.items()]
    return bars


def _claims(bench: Bench, name: str, seeds: _Rows) -> list[Claim]:
    def claim(text: str, source: str, better: str, worse: str, part: str = _EVERYWHERE) -> Claim:
        rows, tries = _part(seeds, part), max(_tries(better), _tries(worse))
        graded = (_grades(rows, what, tries) for what in (better, worse))
        return kappa_claim(bench, f"{name}: {text}", source, *graded)

    return [
        claim("the expert's maps grade better than the model's own", SOURCE, "expert", "own"),
        claim("... and on photographs with lesions alone", "control", "expert", "own", _LESIONS),
        claim("the model's own maps grade better than empty ones", "control", "own", "empty"),
        claim("the model's own maps grade better than another photograph's", "control", "own", "another"),
    ]


def _notes(bench: Bench, seeds: _Rows) -> list[str]:
    sick, every = (sum(len(records) for records in _part(seeds, part)) for part in (_LESIONS, _EVERYWHERE))
    away = ", which gives grade 0 away: so photographs with lesions have figures of their own"
    return [
        f"Photographs with a grade whose lesions are known ({sick} over all seeds) or known to be absent "
        f"({every - sick}).",
        "The expert's map: M' of the known lesions, as training sees it; where there are none it is empty"
        f"{away if bench.dataset.ordinal else ''}.",
        f"Another photograph's: the model's own maps of {OTHERS} of these photographs, of other patients, drawn by lot "
        "among those of the same predicted grade as far as there are any. Kappa counts the grades of all draws "
        "together; RPS (ranked probability score, 0 is perfect) is the mean of theirs, since averaged probabilities "
        "would score better than any of them.",
        "corrected: trained anew, as long as phase 1, on grades and maps together from the first step; it knows the "
        "lesions of every training photograph where they are known, and that grade 0 has none where none is marked. "
        f"teacher maps: from a third of the epochs on, {100 * TEACHER:g} % of the corrected photographs are graded "
        "from the expert's map.",
        "The paper shows figure 1 as an example, without numbers.",
    ]
