"""A claim of the paper, a paired difference with its interval, and the plain sentence that follows.

The claim is always "this is better than that". It *holds* where `evaluation.verdicts` finds the difference improved,
*does not hold* where it finds it worse or equivalent (too small to matter), and is *inconclusive* otherwise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from regaze.evaluation import verdicts
from regaze.evaluation.seeds import Estimate, Grade, kappa_difference, kappa_over_seeds, unlearned
from regaze.experiments.runs import Bench

Answer = Literal["holds", "does not hold", "inconclusive"]

_ANSWERS: dict[verdicts.Verdict, Answer] = {
    "improved": "holds",
    "worse": "does not hold",
    "equivalent": "does not hold",
    "inconclusive": "inconclusive",
}


@dataclass(frozen=True)
class Claim:
    """What is claimed.

    Attributes:
        text: "A … than B", as a sentence without its full stop.
        source: Where the paper says so, or `control` for what we ask beside it.
        measure: A key of `evaluation.verdicts.MEASURES`, its words apart.
        difference: Of the measure, the better one minus the other, paired.
        trainings: Independent trainings behind each side.
        void: Why these models cannot decide it whatever the difference, or empty.
    """

    text: str
    source: str
    measure: str
    difference: Estimate
    trainings: int
    void: str = ""

    @property
    def state(self) -> verdicts.Verdict:
        """What the difference says; inconclusive where these models cannot decide it."""
        return "inconclusive" if self.void else verdicts.judge(self._comparison, self._key)

    @property
    def verdict(self) -> Answer:
        """The answer to the claim."""
        return _ANSWERS[self.state]

    @property
    def sentence(self) -> str:
        """The answer for a person, with the figures that decided it."""
        return f"{self.text} ({self.source}): **{self.verdict}**. {self._why()}"

    @property
    def _key(self) -> str:
        return self.measure.replace(" ", "_")

    @property
    def _comparison(self) -> verdicts.Comparison:
        paired = self.difference
        # A seed on whose photographs the figure is undefined has no say.
        seeds = min(self.trainings, sum(value is not None for value in paired.per_seed))
        return verdicts.Comparison(paired.value, paired.low, paired.high, patients=paired.patients, seeds=seeds)

    def _why(self) -> str:
        paired, margin = self.difference, verdicts.MEASURES[self._key].margin
        if paired.value is None or paired.low is None or paired.high is None:
            return "The difference is not defined on these photographs."
        digits = 4 if self.measure == "squared error" else 3
        value, low, high = (f"{number:+.{digits}f}" for number in (paired.value, paired.low, paired.high))
        figures = f"{self.measure} {value} [{low}, {high}]"
        few = verdicts.undecided(self._comparison)
        if self.void or few:
            cure = ": raise --seeds" if "training run" in few else ""
            return f"{figures}, but {self.void or f'of {few}{cure}'}."
        reasons: dict[verdicts.Verdict, str] = {
            "improved": ".",
            "worse": ": it is worse.",
            "equivalent": f": within ±{margin:g}, too little to matter.",
            "inconclusive": ": the interval holds zero and differences that would matter.",
        }
        return figures + reasons[self.state]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "text": self.text,
            "place": self.source,
            "measure": self.measure,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "difference": asdict(self.difference),
            "margin": verdicts.MEASURES[self._key].margin,
            "trainings": self.trainings,
        }


def kappa(bench: Bench, graded: list[list[Grade]]) -> Estimate:
    """Kappa of one model's grades, a list of them per seed, as the data's classes want it.

    Args:
        bench: Whose photographs are graded.
        graded: One list per seed.
    """
    classes, ordinal = len(bench.dataset.classes), bench.dataset.ordinal
    return kappa_over_seeds(graded, classes, bench.options.resamples, ordinal=ordinal)


def kappa_claim(bench: Bench, text: str, source: str, better: list[list[Grade]], worse: list[list[Grade]]) -> Claim:
    """That one model grades better than another; void where neither has learned to grade.

    Args:
        bench: Whose photographs are graded.
        text: As in `Claim`.
        source: As in `Claim`.
        better: The grades that are claimed to be better, one list per seed.
        worse: Those of the other model.
    """
    classes, ordinal = len(bench.dataset.classes), bench.dataset.ordinal
    difference = kappa_difference(worse, better, classes, bench.options.resamples, ordinal=ordinal)
    void = unlearned([kappa(bench, better), kappa(bench, worse)])
    return Claim(text, source, "kappa", difference, bench.trainings, void)
