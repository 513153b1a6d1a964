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
    kappa_difference,
    kappa_over_seeds,
    mean_difference,
    mean_over_seeds,
    unlearned,
)
from regaze.experiments.claims import Claim
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.outcome import Outcome, Record, grades, judged, shown
from regaze.experiments.paper import ATTENTION_SHARE, GRADING_SHARE
from regaze.experiments.plan import Cell, Order, Want
from regaze.experiments.runs import Bench

PLACE = "section 3.3, figure 7"
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
    options, classes, ordinal = bench.options, len(bench.dataset.classes), bench.dataset.ordinal
    shares, resamples = options.share_values(), options.resamples
    rows: dict[Point, list[list[Record]]] = {
        (o, s): bench.rows(Want("judge", cell(options, o, s))) for o in ORDERS for s in shares
    }
    graded = {point: grades(items) for point, items in rows.items()}
    errors = {point: judged(items, "fused", "squared_error") for point, items in rows.items()}
    kappa = {point: kappa_over_seeds(items, classes, resamples, ordinal=ordinal) for point, items in graded.items()}
    right = {point: mean_over_seeds(accuracy_values(items), resamples, (0, 1)) for point, items in graded.items()}
    error = {point: mean_over_seeds(items, resamples, (0, 1)) for point, items in errors.items()}
    measures = {"kappa": kappa, "accuracy": right, "map's squared error": error}
    panels = [(title, _curves(found, shares)) for title, found in measures.items()]
    claims = _claims(bench, graded, errors)
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
            (f"{100 * s:g} %", o if 0 < s < 1 else "any", shown(kappa[o, s]), shown(right[o, s]), shown(error[o, s], 4))
            for s in shares
            for o in (ORDERS if 0 < s < 1 else ("map-error",))
        ],
        figures={
            f"{share:g}, {order}": {title: found[order, share] for title, found in measures.items()}
            for order, share in kappa
        },
        claims=claims,
        picture=curve_chart(
            panels,
            "Kappa, accuracy and map error against the share of corrected photographs; the numbers are in the table",
            "Mean over seeds with its 95 % interval. 0 %: fine-tuned equally long without the map loss.",
            "photographs corrected",
        ),
        notes=notes,
    )


def _curves(found: dict[Point, Estimate], shares: tuple[float, ...]) -> list[Curve]:
    return [
        Curve(
            f"by {order}" if order != "random" else "random order", points, colour, (4, 3) if order == "random" else ()
        )
        for order, colour in ORDERS.items()
        for points in ([(share, found[order, share]) for share in shares],)
    ]


def _claims(
    bench: Bench, graded: dict[Point, list[list[Grade]]], errors: dict[Point, list[list[Value]]]
) -> list[Claim]:
    """Those claims whose shares were run."""
    resamples, classes, ordinal = bench.options.resamples, len(bench.dataset.classes), bench.dataset.ordinal

    def grading(text: str, better: Point, worse: Point) -> Claim | None:
        if better not in graded or worse not in graded:
            return None
        found = kappa_difference(graded[worse], graded[better], classes, resamples, ordinal=ordinal)
        both = [kappa_over_seeds(graded[point], classes, resamples, ordinal=ordinal) for point in (better, worse)]
        void = unlearned(both)
        return Claim(text, PLACE, "kappa", found, bench.trainings, void)

    def attention(text: str, place: str, better: Point, worse: Point) -> Claim | None:
        if better not in errors or worse not in errors:
            return None
        found = mean_difference(errors[worse], errors[better], resamples)
        return Claim(text, place, "squared error", found, bench.trainings)

    early, late = ATTENTION_SHARE["map-error"], ATTENTION_SHARE["confidence"]
    few, more = f"{100 * early:g} %", f"{100 * late:g} %"
    error, doubt, chance = (("map-error", early), ("confidence", early), ("random", early))
    claims = [
        grading(f"{few} corrected by {o} grade better than none", (o, GRADING_SHARE), (o, 0.0))
        for o in ("map-error", "confidence")
    ]
    claims += [
        attention(
            f"{few} corrected by map error bring the maps nearer to the lesions than none",
            PLACE,
            error,
            ("map-error", 0.0),
        ),
        attention(f"{few} by map error bring the maps nearer than {few} by confidence", PLACE, error, doubt),
        attention(f"By confidence the maps still gain between {few} and {more}", PLACE, ("confidence", late), doubt),
        attention(f"{few} by map error bring the maps nearer than {few} in random order", "control", error, chance),
    ]
    return [claim for claim in claims if claim is not None]
