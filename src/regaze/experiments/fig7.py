"""Figure 7: the share of corrected photographs against grading and map error, for three orders.

Each share restarts from the phase-1 model. The share 0 is fine-tuned equally long without the map loss, so that every
point of a curve has had the same number of steps. Order by map error needs every true map beforehand: it is an oracle.
"""

from __future__ import annotations

from regaze.drawing.canvas import AFTER, BEFORE, CONTROL
from regaze.drawing.charts import Curve, curve_chart
from regaze.evaluation.seeds import (
    Estimate,
    Grade,
    Value,
    accuracy_values,
    mean_difference,
    mean_over_seeds,
)
from regaze.experiments.claims import Claim, kappa, kappa_claim
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.outcome import Outcome, grades, shown, values
from regaze.experiments.paper import ATTENTION_SHARE, GRADING_SHARE
from regaze.experiments.plan import Cell, Order, Want
from regaze.experiments.run_file import Record
from regaze.experiments.runs import Bench

SOURCE = "section 3.3, figure 7"
ORDERS: dict[Order, str] = {"map-error": AFTER, "confidence": CONTROL, "random": BEFORE}
Point = tuple[str, float]


def cell(options: ReproduceOptions, order: Order, share: float) -> Cell:
    """The model at one point; with none or all corrected the order does not matter."""
    return Cell(options.figure_backbone(), "multi-scale", share, order if 0 < share < 1 else "map-error")


def wants(options: ReproduceOptions) -> list[Want]:
    """Every point judged."""
    return [Want("judge", cell(options, order, share)) for share in options.share_values() for order in ORDERS]


def make(bench: Bench) -> Outcome:
    """Kappa, accuracy and map error at every point, and the paper's claims about them."""
    shares, resamples = bench.options.share_values(), bench.options.resamples
    rows: dict[Point, list[list[Record]]] = {
        (o, s): bench.rows(Want("judge", cell(bench.options, o, s))) for o in ORDERS for s in shares
    }
    graded = {point: grades(seeds) for point, seeds in rows.items()}
    errors = {point: values(seeds, "maps", "fused", "squared_error") for point, seeds in rows.items()}
    kappas = {point: kappa(bench, seeds) for point, seeds in graded.items()}
    right = {point: mean_over_seeds(accuracy_values(seeds), resamples, (0, 1)) for point, seeds in graded.items()}
    error = {point: mean_over_seeds(seeds, resamples, (0, 1)) for point, seeds in errors.items()}
    measures = {"kappa": kappas, "accuracy": right, "map's squared error": error}
    panels = [(title, _curves(points, shares)) for title, points in measures.items()]
    notes = [
        "A share is one of the training photographs with known lesions. Order by map error knows the true maps "
        "beforehand, which nobody does in practice.",
        "The map is the fused one, on its own grid. The paper gives figure 7 as a picture without numbers.",
    ]
    if not {GRADING_SHARE, *ATTENTION_SHARE.values()} <= set(shares):
        notes.append("The paper's claims are about 30 % and 70 %; those about shares that were not run are left out.")
    return Outcome(
        experiment="fig7",
        title="Figure 7: how many corrections",
        headers=("share", "order", "kappa", "accuracy", "map's squared error"),
        rows=[
            (f"{100 * s:g} %", name, shown(kappas[o, s]), shown(right[o, s]), shown(error[o, s], 4))
            for s in shares
            for name, o in ([(o, o) for o in ORDERS] if 0 < s < 1 else [("any", "map-error")])
        ],
        figures={
            f"{share:g}, {order}": {title: points[order, share] for title, points in measures.items()}
            for order, share in kappas
        },
        claims=_claims(bench, graded, errors),
        picture=curve_chart(
            panels,
            "Kappa, accuracy and map error against the share of corrected photographs; the numbers are in the table",
            "Mean over seeds with its 95 % interval. 0 %: fine-tuned equally long without the map loss.",
            "photographs corrected",
        ),
        notes=notes,
    )


def _curves(figures: dict[Point, Estimate], shares: tuple[float, ...]) -> list[Curve]:
    curves = []
    for order, colour in ORDERS.items():
        name, dash = ("random order", (4, 3)) if order == "random" else (f"by {order}", ())
        curves.append(Curve(name, [(share, figures[order, share]) for share in shares], colour, dash))
    return curves


def _claims(
    bench: Bench, graded: dict[Point, list[list[Grade]]], errors: dict[Point, list[list[Value]]]
) -> list[Claim]:
    """Those claims whose shares were run."""

    def claim(text: str, source: str, better: Point, worse: Point) -> Claim:
        difference = mean_difference(errors[worse], errors[better], bench.options.resamples)
        return Claim(text, source, "squared error", difference, bench.trainings)

    early, late = ATTENTION_SHARE["map-error"], ATTENTION_SHARE["confidence"]
    few, more = f"{100 * early:g} %", f"{100 * late:g} %"
    none, error, doubt, chance = ("map-error", 0.0), ("map-error", early), ("confidence", early), ("random", early)
    nearer = f"{few} by map error bring the maps nearer than {few}"
    about_maps: list[tuple[str, str, Point, Point]] = [
        (f"{few} corrected by map error bring the maps nearer to the lesions than none", SOURCE, error, none),
        (f"{nearer} by confidence", SOURCE, error, doubt),
        (f"By confidence the maps still gain between {few} and {more}", SOURCE, ("confidence", late), doubt),
        (f"{nearer} in random order", "control", error, chance),
    ]
    about_grades = {
        f"{few} corrected by {order} grade better than none": order for order in ("map-error", "confidence")
    }
    return [
        kappa_claim(bench, text, SOURCE, graded[order, GRADING_SHARE], graded[order, 0.0])
        for text, order in about_grades.items()
        if (order, GRADING_SHARE) in graded
    ] + [claim(*wording) for wording in about_maps if wording[2] in errors and wording[3] in errors]
