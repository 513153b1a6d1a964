"""Table 3: squared error between map and lesions of the same nine cells.

An empty map has a small squared error where lesions are small, and so has the average lesion map of the training
photographs, which has seen no image: both stand beside every row, and so does the enrichment, which they cannot win.
"""

from __future__ import annotations

import math

from regaze.drawing.canvas import CONTROL
from regaze.drawing.charts import Bar, interval_chart
from regaze.evaluation.seeds import Estimate, Value, mean_difference, mean_over_seeds
from regaze.experiments import grid9
from regaze.experiments.claims import Claim
from regaze.experiments.grid9 import LINES, Cells, wants
from regaze.experiments.outcome import Outcome, number, shown, values
from regaze.experiments.paper import TABLE_3
from regaze.experiments.runs import Bench

__all__ = ["make", "wants"]

SOURCE = "section 3.2, table 3"
_BASELINES = {"zero": "control: empty map", "mean": "control: mean lesion map"}
_LINES = [line for line in LINES if line.view != "lesions"]  # which are what maps are compared with


def make(bench: Bench) -> Outcome:
    """Squared error and enrichment of every row, and the paper's claims about them."""
    rows: list[tuple[str, ...]] = []
    figures: dict[str, dict[str, Estimate | float | None]] = {}
    claims: list[Claim] = []
    errors: list[Bar] = []
    gains: list[Bar] = []
    resamples = bench.options.resamples
    for cells in grid9.measured(bench):
        errors.append(Bar(cells.backbone, None))
        gains.append(Bar(cells.backbone, None))
        for line in _LINES:
            paper = TABLE_3.get((line.method, cells.backbone))
            error, gain = (
                mean_over_seeds(cells.values(line, key), resamples, limits)
                for key, limits in (("squared_error", (0, 1)), ("enrichment", (0, math.inf)))
            )
            rows.append((cells.backbone, line.name, shown(error, 4), number(paper), shown(gain, 2), str(error.n)))
            figures[f"{cells.backbone}, {line.name}"] = {
                "squared error": error,
                "enrichment": gain,
                "paper's squared error": paper,
            }
            errors.append(Bar(line.name, error, line.colour, paper))
            gains.append(Bar(line.name, gain, line.colour))
        for key, name in _BASELINES.items():
            error = mean_over_seeds(values(cells.records["multi-scale"], key), resamples, (0, 1))
            rows.append((cells.backbone, name, shown(error, 4), "-", "-", str(error.n)))
            figures[f"{cells.backbone}, {name}"] = {"squared error": error}
            errors.append(Bar(name, error, CONTROL))
            gains.append(Bar(name, Estimate(None)))
        claims += _claims(bench, cells)
    panels = [("squared error (lower is better)", errors), ("enrichment (1 is chance)", gains)]
    return Outcome(
        experiment="table3",
        title="Table 3: squared error of the maps",
        headers=("backbone", "map", "squared error", "paper", "enrichment", "n"),
        rows=rows,
        figures=figures,
        claims=claims,
        picture=interval_chart(
            panels,
            "Squared error and enrichment of every map; the numbers are in the table",
            "Mean over seeds with its 95 % interval. Empty diamonds: the paper's numbers.",
        ),
        notes=[
            "Every map is compared with one target on one grid, a sixteenth of the side; the paper does not name its "
            "grid, so the numbers' order can be compared, their size cannot.",
            "Enrichment: energy of the map inside lesions over their area. n: photographs with known lesions, of any "
            "grade, over all seeds.",
        ],
    )


def _claims(bench: Bench, cells: Cells) -> list[Claim]:
    proposed = cells.values(LINES[2], "squared_error")

    def claim(rival: str, source: str, other: list[list[Value]]) -> Claim:
        text = f"{cells.backbone}: the proposed map is nearer to the lesions than {rival}"
        difference = mean_difference(other, proposed, bench.options.resamples)
        return Claim(text, source, "squared error", difference, bench.trainings)

    empty, mean = (values(cells.records["multi-scale"], key) for key in _BASELINES)
    return [
        claim("Grad-CAM's", SOURCE, cells.values(LINES[0], "squared_error")),
        claim("ABN's", SOURCE, cells.values(LINES[1], "squared_error")),
        claim("an empty map", "control", empty),
        claim("the mean lesion map", "control", mean),
    ]
