"""Table 2: deletion and insertion of Grad-CAM, ABN and the proposed method, on three backbones, with controls.

A network that is surer of itself has a higher insertion whatever the map, so every row also says what its map gains
over a random order on the same network, and where the proposed map gains nothing over it no claim about two networks
is decided. Photographs of grade 0 stay out.
"""

from __future__ import annotations

from dataclasses import replace

from regaze.drawing.charts import Bar, interval_chart
from regaze.evaluation.seeds import Estimate, Value, mean_difference, mean_over_seeds
from regaze.experiments import grid9
from regaze.experiments.claims import Claim
from regaze.experiments.grid9 import LINES, Cells, wants
from regaze.experiments.outcome import Outcome, number, shown
from regaze.experiments.paper import TABLE_2
from regaze.experiments.runs import Bench

__all__ = ["make", "wants"]

SOURCE = "section 3.2, table 2"
_GRAD_CAM, _ABN, _PROPOSED, _, _GRAD_CAM_TOO = LINES[:5]
_SHARE = (0.0, 1.0)
_BLIND = "on its own network it is not shown to beat a random order: the networks may differ, and not what maps know"


def make(bench: Bench) -> Outcome:
    """Deletion and insertion of every row, and the paper's claims about them."""
    rows: list[tuple[str, ...]] = []
    figures: dict[str, dict[str, Estimate | float | None]] = {}
    claims: list[Claim] = []
    deletions: list[Bar] = []
    insertions: list[Bar] = []
    resamples = bench.options.resamples
    for cells in grid9.measured(bench):
        deletions.append(Bar(cells.backbone, None))
        insertions.append(Bar(cells.backbone, None))
        for line in LINES:
            paper = TABLE_2.get((line.method, cells.backbone), (None, None))
            deletion, insertion = (
                mean_over_seeds(cells.values(line, key), resamples, _SHARE) for key in ("deletion", "insertion")
            )
            less, more = (
                mean_difference(cells.control(line.network, key), cells.values(line, key), resamples)
                for key in ("deletion", "insertion")
            )
            texts = (shown(deletion), number(paper[0]), shown(less), shown(insertion), number(paper[1]), shown(more))
            rows.append((cells.backbone, line.name, *texts, str(insertion.n)))
            figures[f"{cells.backbone}, {line.name}"] = {
                "deletion": deletion,
                "deletion over random": less,
                "insertion": insertion,
                "insertion over random": more,
                "paper's deletion": paper[0],
                "paper's insertion": paper[1],
            }
            deletions.append(Bar(line.name, deletion, line.colour, paper[0]))
            insertions.append(Bar(line.name, insertion, line.colour, paper[1]))
        claims += _claims(bench, cells)
    panels = [("deletion (lower is better)", deletions), ("insertion (higher is better)", insertions)]
    return Outcome(
        experiment="table2",
        title="Table 2: deletion and insertion",
        headers=("backbone", "map", "deletion", "paper", "less random's", "insertion", "paper", "less random's", "n"),
        rows=rows,
        figures=figures,
        claims=claims,
        picture=interval_chart(
            panels,
            "Deletion and insertion of every map; the numbers are in the table",
            "Mean over seeds with its 95 % interval. Empty diamonds: the paper's numbers.",
        ),
        notes=[
            f"Up to {bench.options.faithfulness} photographs with known lesions per seed, without grade 0 (n: over all "
            f"seeds), {bench.options.steps} steps, the model's own class; the paper does not say which photographs it "
            "used. less random's: minus that of a random order on the same network, paired.",
            "Reference rankings on the proposed network: random, from the centre outwards, blurred noise, and the "
            "lesion mask itself. Grad-CAM of a plain network is exact (its class activation map).",
        ],
    )


def _claims(bench: Bench, cells: Cells) -> list[Claim]:
    def claim(text: str, source: str, measure: str, other: list[list[Value]]) -> Claim:
        difference = mean_difference(other, cells.values(_PROPOSED, measure), bench.options.resamples)
        return Claim(f"{cells.backbone}: {text}", source, measure, difference, bench.trainings)

    def against(text: str, measure: str, line: grid9.Line) -> Claim:
        made = claim(text, SOURCE, measure, cells.values(line, measure))
        blind = claim("", "control", measure, cells.control("multi-scale", measure)).verdict != "holds"
        return replace(made, void=_BLIND) if blind else made

    def same(text: str, measure: str, other: list[list[Value]]) -> Claim:
        return claim(f"the proposed map has a {text} on the same network", "control", measure, other)

    blind_insertion, blind_deletion = (cells.control("multi-scale", key) for key in ("insertion", "deletion"))
    return [
        against("the proposed map has a higher insertion than Grad-CAM's", "insertion", _GRAD_CAM),
        against("the proposed map has a higher insertion than ABN's", "insertion", _ABN),
        against("the proposed map has a lower deletion than ABN's", "deletion", _ABN),
        same("higher insertion than a random order", "insertion", blind_insertion),
        same("lower deletion than a random order", "deletion", blind_deletion),
        same("higher insertion than Grad-CAM", "insertion", cells.values(_GRAD_CAM_TOO, "insertion")),
    ]
