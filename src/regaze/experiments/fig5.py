"""Figure 5: grading by the paper's four methods, and two controls that say where a gain comes from.

The controls: several scales without fine-tuning, and fine-tuning equally long without the map loss. A gain that the
latter shares does not come from the corrections.
"""

from __future__ import annotations

import math

from regaze.drawing.canvas import AFTER, BEFORE, CONTROL
from regaze.drawing.charts import Bar, interval_chart
from regaze.evaluation.seeds import accuracy_values, mean_difference, mean_over_seeds
from regaze.experiments.claims import Claim, kappa, kappa_claim
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.outcome import Outcome, grades, number, score_values, shown
from regaze.experiments.plan import Cell, Want
from regaze.experiments.runs import Bench

# Word -> proper score, largest possible value and decimals; beside kappa, which alone decides the paper's claims.
_SCORES = {
    "ranked probability score": ("ranked_probability_score", 1.0, 4),
    "log-loss": ("log_loss", math.inf, 3),
}

SOURCE = "section 3.1, figure 5"


def methods(options: ReproduceOptions) -> dict[str, tuple[Cell, str]]:
    """Name -> model and colour."""
    backbone = options.figure_backbone()
    return {
        f"{backbone} (plain)": (Cell(backbone, "plain"), BEFORE),
        "ABN, single-scale": (Cell(backbone, "single-scale"), BEFORE),
        "single-scale, fine-tuned": (Cell(backbone, "single-scale", 1.0), AFTER),
        "multi-scale, fine-tuned (proposed)": (Cell(backbone, "multi-scale", 1.0), AFTER),
        "control: multi-scale, no fine-tuning": (Cell(backbone, "multi-scale"), CONTROL),
        "control: fine-tuned without map loss": (Cell(backbone, "multi-scale", 0.0), CONTROL),
    }


def wants(options: ReproduceOptions) -> list[Want]:
    """Each method judged."""
    return [Want("judge", cell) for cell, _ in methods(options).values()]


def make(bench: Bench) -> Outcome:
    """Kappa and accuracy of each method, and the paper's claims about them."""
    named = methods(bench.options)
    graded = {name: grades(bench.rows(Want("judge", cell))) for name, (cell, _) in named.items()}
    kappas = {name: kappa(bench, rows) for name, rows in graded.items()}
    resamples = bench.options.resamples
    accuracies = {name: mean_over_seeds(accuracy_values(rows), resamples, (0, 1)) for name, rows in graded.items()}
    scored = {
        name: score_values(bench.rows(Want("judge", cell)), bench.dataset.ordinal) for name, (cell, _) in named.items()
    }
    scores = {
        name: {word: mean_over_seeds(of[key], resamples, (0, most)) for word, (key, most, _) in _SCORES.items()}
        for name, of in scored.items()
    }
    plain, abn, tuned, proposed, untuned, control = named

    def claim(text: str, source: str, better: str, worse: str) -> Claim:
        return kappa_claim(bench, text, source, graded[better], graded[worse])

    def beside(better: str, worse: str) -> str:
        parts = []
        for word, (key, _, digits) in _SCORES.items():
            difference = mean_difference(scored[worse][key], scored[better][key], resamples)
            state = Claim("", "", word.replace("-", " "), difference, bench.trainings).state
            parts.append(f"{word} {shown(difference, digits)}: {state}")
        return f"{better} minus {worse}, paired, lower is better: {'; '.join(parts)}."

    claims = [
        claim("The proposed method grades better than the plain network", SOURCE, proposed, plain),
        claim("The proposed method grades better than the single-scale ABN", SOURCE, proposed, abn),
        claim("The expert's knowledge makes the single-scale ABN grade better", SOURCE, tuned, abn),
        claim("Several scales grade better than one, both fine-tuned", SOURCE, proposed, tuned),
        claim("Fine-tuning makes the multi-scale network grade better", "control", proposed, untuned),
        claim("... and the gain comes from the corrections, not from training longer", "control", proposed, control),
    ]
    measure = "quadratic weighted kappa" if bench.dataset.ordinal else "kappa"
    panels = [
        (title, [Bar(name, values[name], colour) for name, (_, colour) in named.items()])
        for title, values in ((measure, kappas), ("accuracy", accuracies))
    ]
    spoken = "; ".join(f"{name} {shown(kappas[name])}" for name in named)
    return Outcome(
        experiment="fig5",
        title="Figure 5: grading",
        headers=("method", "kappa", "kappa of each seed", "accuracy", *_SCORES),
        rows=[
            (
                name,
                shown(kappas[name]),
                ", ".join(number(value, 3) for value in kappas[name].per_seed),
                shown(accuracies[name]),
                *(shown(scores[name][word], digits) for word, (*_, digits) in _SCORES.items()),
            )
            for name in named
        ],
        figures={name: {"kappa": kappas[name], "accuracy": accuracies[name], **scores[name]} for name in named},
        claims=claims,
        picture=interval_chart(panels, f"Kappa of each method: {spoken}", "Mean over seeds with its 95 % interval."),
        notes=[
            "The paper gives figure 5 as a picture without numbers, so none stands beside ours.",
            *(beside(proposed, other) for other in (plain, abn, untuned, control)),
        ],
    )
