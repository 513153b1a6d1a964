"""A claim, a paired difference with its interval, and the plain sentence that follows.

The claim is always "this is better than that". It *holds* where the whole interval lies on the better side of zero;
it *does not hold* where the whole interval lies below the least gain that would matter, so that the gain is ruled out;
else it *cannot be told*. Fewer than three trainings decide nothing (how far another one would lie is hardly known), nor
do fewer than ten patients.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from regaze.evaluation.intervals import FEWEST
from regaze.evaluation.seeds import Estimate
from regaze.evaluation.verdicts import ENRICHMENT_MARGIN, FAITHFULNESS_MARGIN, KAPPA_MARGIN

FEWEST_TRAININGS = 3

Verdict = Literal["holds", "does not hold", "cannot be told from this much data"]

# The least difference that we hold to matter, per measure; the report's where it has one.
MARGINS = {
    "kappa": KAPPA_MARGIN,
    "accuracy": KAPPA_MARGIN,
    "deletion": FAITHFULNESS_MARGIN,
    "insertion": FAITHFULNESS_MARGIN,
    "squared error": 0.01,
    "enrichment": ENRICHMENT_MARGIN,
    "area": 0.05,
}
LOWER_IS_BETTER = ("deletion", "squared error")


@dataclass(frozen=True)
class Claim:
    """What is claimed.

    Attributes:
        text: "A … than B", as a sentence without its full stop.
        place: Where the paper says so, or `control` for what we ask beside it.
        measure: A key of `MARGINS`.
        difference: Of the measure, the better one minus the other, paired.
        trainings: Independent trainings behind each side.
        void: Why these models cannot decide it whatever the difference, or empty.
    """

    text: str
    place: str
    measure: str
    difference: Estimate
    trainings: int
    void: str = ""

    @property
    def gain(self) -> tuple[float, float, float] | None:
        """The difference and its interval, turned so that above zero is better; None where undefined."""
        found = self.difference
        if found.value is None or found.low is None or found.high is None:
            return None
        if self.measure in LOWER_IS_BETTER:
            return -found.value, -found.high, -found.low
        return found.value, found.low, found.high

    @property
    def verdict(self) -> Verdict:
        """See the module."""
        if self.gain is None or self.void or self._too_few():
            return "cannot be told from this much data"
        _, low, high = self.gain
        if low > 0:
            return "holds"
        return "does not hold" if high < MARGINS[self.measure] else "cannot be told from this much data"

    @property
    def sentence(self) -> str:
        """The verdict for a person, with the figures that decided it."""
        gain = self.gain
        small = self.verdict == "holds" and gain is not None and gain[2] < MARGINS[self.measure]
        verdict = f"**{self.verdict}**" + (", though too little to matter" if small else "")
        return f"{self.text} ({self.place}): {verdict}. {self._why()}"

    def _too_few(self) -> str:
        """Why nothing is decided, or empty."""
        # A seed on whose photographs the figure is undefined has no say.
        trainings = min(self.trainings, sum(value is not None for value in self.difference.per_seed))
        if trainings < FEWEST_TRAININGS:
            runs = "one training run" if trainings == 1 else f"{trainings} training runs"
            return f"of {runs}: another may turn it round; raise --seeds to {FEWEST_TRAININGS} or more"
        if self.difference.patients < FEWEST:
            return f"of {self.difference.patients} patients: {FEWEST} are the fewest"
        return ""

    def _why(self) -> str:
        found = self.difference
        if found.value is None or found.low is None or found.high is None:
            return "The difference is not defined on these photographs."
        digits = 4 if self.measure == "squared error" else 3
        value, least, most = (f"{item:+.{digits}f}" for item in (found.value, found.low, found.high))
        figures = f"{self.measure} {value} [{least}, {most}]"
        if self.void:
            return f"{figures}, but {self.void}."
        if self._too_few():
            return f"{figures}, but {self._too_few()}."
        assert self.gain is not None
        _, low, high = self.gain
        margin = MARGINS[self.measure]
        if low > 0:
            return f"{figures}." if high >= margin else f"{figures}: below {margin:g}, the least that would matter."
        if high < 0:
            return f"{figures}: it is worse."
        if high < margin:
            return f"{figures}: no gain of {margin:g}, the least that would matter."
        return f"{figures}: the interval holds zero and gains that would matter."

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "text": self.text,
            "place": self.place,
            "measure": self.measure,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "difference": asdict(self.difference),
            "margin": MARGINS[self.measure],
            "trainings": self.trainings,
        }
