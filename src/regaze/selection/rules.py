"""Which photographs an expert should correct first.

Invariant: the same photographs, rule and seed give the same ranking, in whatever order the photographs come and on
whatever machine; with the same seed, a bigger share begins with the smaller one.

What a rule may know: `map-error` is an oracle, every other rule scores by what the model itself says. *Who is scored*
is another matter. A photograph that is graded right needs an expert where its map misses known lesions (`elsewhere`)
and where nothing is known about lesions (`unknown`); it needs none where its map is known to be right (`fine`). So
where nothing is known about lesions, every right-graded photograph is a candidate, and a label-free rule uses no truth
but the grade. Where lesions are known, the truth has already taken the `fine` ones out; an experiment that asks what a
label-free rule would do without that knowledge has to rank everything, which is the very list it would get there.

To add a rule, write one function in `selection.scores` and give it one entry in `RULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from regaze.errors import OptionError
from regaze.records import Collected
from regaze.selection import scores
from regaze.selection.diversity import diverse
from regaze.selection.quotas import Quota

NEEDS_EXPERT = ("misgraded", "elsewhere", "unknown")


class NothingToSelect(OptionError):  # noqa: N818  (a state of the loop that callers ask for, seldom a mistake)
    """Nobody needs an expert: all photographs are graded right, and all maps are on the lesions."""


@dataclass(frozen=True)
class Rule:
    """A way to rank, callable like the function it holds.

    Attributes:
        function: The score.
        words: What the score says of a photograph, with `{score}` and `{rest}` (1 - score) to fill in; true for any
            score, a high or a low one.
        needs: What must be known for a score; named where no photograph has one.
        cure: How to come by it.
        explain: Photographs ranked together and their scores -> one phrase each, where one score does not say it.
    """

    function: scores.Score
    words: str
    needs: str = "nothing but the model's own output"
    cure: str = "add what it needs"
    explain: Callable[[Sequence[Collected], NDArray[np.float64]], list[str]] | None = None

    def __call__(self, collected: Sequence[Collected], seed: int) -> NDArray[np.float64]:
        """The scores of N photographs; the seed is used by `random` alone."""
        return self.function(collected, seed)

    def phrases(self, collected: Sequence[Collected], values: NDArray[np.float64]) -> list[str]:
        """What the scores of photographs that were ranked together mean, one phrase per photograph."""
        if self.explain is not None:
            return self.explain(collected, values)
        return [self.words.format(score=value, rest=1 - value) for value in values]


_PROBABILITIES = "the probabilities of the grades"
_RECOLLECT = "collect the maps again with `regaze collect`: an older version did not store it"
_SIGNALS = "collect the maps again with `regaze collect --signals`"

RULES: dict[str, Rule] = {
    "confidence": Rule(scores.confidence, "uncertainty {score:.3f}"),
    "entropy": Rule(
        scores.entropy, "its probability is spread over the grades to {score:.3f} of 1", _PROBABILITIES, _RECOLLECT
    ),
    "margin": Rule(scores.margin, "its two likeliest grades lie {rest:.3f} apart", _PROBABILITIES, _RECOLLECT),
    "map-error": Rule(
        scores.map_error,
        "squared error {score:.3f}",
        "masks or boxes",
        "add masks, or pass --boxes DIR to `regaze init`",
    ),
    "branches": Rule(
        scores.signal("branches"),
        "its branches disagree on the grade by {score:.3f}",
        "the grades of several branches",
        _RECOLLECT + ", and a network of one branch has none",
    ),
    "scales": Rule(
        scores.signal("scales"),
        "the maps of its scales differ by {score:.3f}",
        "the maps of several scales",
        _RECOLLECT + ", and a network of one scale has none",
    ),
    "cam": Rule(
        scores.signal("cam"),
        "its map and Grad-CAM differ by {score:.3f}",
        "the gap between attention map and Grad-CAM",
        _SIGNALS,
    ),
    "instability": Rule(
        scores.signal("instability"),
        "its map changes by {score:.3f} when the photograph is flipped or shifted a little",
        "the maps of flipped and shifted photographs",
        _SIGNALS,
    ),
    "prior": Rule(
        scores.signal("prior"),
        "its map differs by {score:.3f} from what earlier corrections make one expect",
        "a prior learned from earlier corrections",
        "correct some photographs first, then run `regaze collect --signals` again",
    ),
    "combined": Rule(
        scores.combined,
        "mean rank {score:.3f}",
        "at least one of the signals " + ", ".join(scores.SIGNALS),
        _SIGNALS,
        scores.explain_combined,
    ),
    "random": Rule(scores.random, "draw {score:.3f}"),
}


@dataclass(frozen=True)
class Ranking:
    """What a rule puts in front of an expert.

    Attributes:
        samples: `Sample.id`s taken, most wanted first.
        reasons: One line per sample: rank, score, grade, truth and diagnosis.
        n_candidates: Photographs that were ranked; the share is a share of these.
    """

    samples: tuple[str, ...]
    reasons: tuple[str, ...]
    n_candidates: int


def select(
    collected: Sequence[Collected],
    rule: str,
    *,
    share: float = 0.3,
    count: int | None = None,
    seed: int = 0,
    everything: bool = False,
    classes: Sequence[str] | None = None,
    features: NDArray[np.floating] | None = None,
    corrected: NDArray[np.floating] | None = None,
    groups: Sequence[str | None] | None = None,
    diversity: float = 0.0,
    quota: Quota | None = None,
) -> Ranking:
    """Rank the candidates and take the first of them, or a varied batch of them.

    Ties are broken by a draw that depends on the seed and the photograph's id alone. With diversity, groups or a
    quota the list is built one photograph after another, see `selection.diversity.diverse`.

    Args:
        collected: N photographs as the model sees them; unique sample ids.
        rule: One of `RULES`.
        share: Share of the ranked candidates to take, above 0 and at most 1, rounded up; the paper's grading
            gains come at 0.3. Not looked at where `count` is given.
        count: Number of photographs to take; all, where there are fewer.
        seed: Seed of the random rule and of ties.
        everything: Rank every photograph, also those that need no expert.
        classes: Class names for the reasons, indexed by grade and label; None: their numbers.
        features: (N, F) float, a pooled feature vector per photograph, in the order of `collected`; needed for
            diversity, not looked at without.
        corrected: (M, F) float, the same of photographs that were corrected before; diversity stays away from them.
        groups: N patients in the order of `collected`, None as a patient: unknown. No patient comes twice before all
            have come once. None: patients do not matter.
        diversity: 0: by score alone. 1: diversity alone. Between: both.
        quota: `equal`: grades take turns. `proportional`: each grade gets its share of the candidates. None: grades
            do not matter. A photograph's grade is its label, or where it has none, what the model says.

    Raises:
        NothingToSelect: No photograph needs an expert.
        OptionError: If nothing was collected, or the rule can score none of them.
        ValueError: If two photographs have the same id, there is not one feature vector or group for each, or diversity
            has no features.
    """
    _check_shapes(collected, features, groups, diversity)
    pool = _pool(collected, everything)
    if not pool:
        raise _nothing_to_rank(len(collected))
    indices, values = _ranked(collected, pool, rule, seed)
    n_taken = _amount(len(indices), share, count)
    phrases = RULES[rule].phrases([collected[index] for index in indices], values)
    batch = np.arange(n_taken)
    extras = _extras(diversity, any(group is not None for group in groups or ()), quota)
    if extras:
        batch = diverse(
            features[indices] if features is not None and diversity > 0 else None,
            values,
            n_taken,
            seed,
            weight=diversity,
            groups=None if groups is None else [groups[index] for index in indices],
            grades=[_grade(collected[index]) for index in indices],
            quota=quota,
            corrected=corrected,
        )
    reasons = []
    for position, rank in enumerate(batch, start=1):
        start = f"place {position} ({extras}), " if extras else ""
        line = f"rank {rank + 1} of {len(indices)} by {rule}: {phrases[rank]}"
        reasons.append(f"{start}{line}; {_describe(collected[indices[rank]], classes)}")
    samples = tuple(collected[indices[rank]].sample for rank in batch)
    return Ranking(samples, tuple(reasons), n_candidates=len(indices))


def _pool(collected: Sequence[Collected], everything: bool) -> list[int]:
    """Indices into `collected` of those who are asked for, sorted by sample id."""
    wanted = [i for i, photograph in enumerate(collected) if everything or photograph.diagnosis in NEEDS_EXPERT]
    return sorted(wanted, key=lambda index: collected[index].sample)


def _ranked(
    collected: Sequence[Collected], pool: Sequence[int], rule: str, seed: int
) -> tuple[list[int], NDArray[np.float64]]:
    """The indices of those that the rule can score, best first, and their scores."""
    values = RULES[rule]([collected[index] for index in pool], seed)
    assert values.shape == (len(pool),)
    scored = [(index, float(value)) for index, value in zip(pool, values, strict=True) if not math.isnan(value)]
    if not scored:
        raise OptionError(_no_score(rule, [collected[index] for index in pool], seed))

    def key(pair: tuple[int, float]) -> tuple[float, float, str]:
        sample = collected[pair[0]].sample
        return -pair[1], scores.draw("tie", seed, sample), sample

    scored.sort(key=key)
    return [index for index, _ in scored], np.array([value for _, value in scored], dtype=np.float64)


def _grade(photograph: Collected) -> int:
    return photograph.grade if photograph.label is None else photograph.label


def _extras(diversity: float, by_patient: bool, quota: str | None) -> str:
    """What changed the order of the scores, in words; empty where nothing did."""
    parts = (
        (diversity > 0, f"with diversity {diversity:g} of 1"),
        (by_patient, "groups in turn"),
        (quota == "equal", "grades in equal turns"),
        (quota == "proportional", "grades by their number"),
    )
    return ", ".join(text for given, text in parts if given)


def _check_shapes(
    collected: Sequence[Collected],
    features: NDArray[np.floating] | None,
    groups: Sequence[str | None] | None,
    diversity: float,
) -> None:
    if len({photograph.sample for photograph in collected}) != len(collected):
        raise ValueError("two collected photographs have the same sample id")
    if features is None and diversity > 0:
        raise ValueError(f"diversity is {diversity} without features of the photographs: pass 0, or collect them")
    for name, given in (("features", features), ("groups", groups)):
        if given is not None and len(given) != len(collected):
            raise ValueError(f"{len(given)} {name} for {len(collected)} collected photographs: pass one for each")


def _amount(n_ranked: int, share: float, count: int | None) -> int:
    if count is not None:
        return min(count, n_ranked)
    # As the decimal that the user typed: 0.07 * 100 is 7.000000000000001 in floats, rounded up 8.
    return math.ceil(Fraction(str(float(share))) * n_ranked)


def _no_score(rule: str, pool: Sequence[Collected], seed: int) -> str:
    able = [name for name, other in RULES.items() if not np.isnan(other(pool, seed)).all()]
    return (
        f"rule {rule!r} needs {RULES[rule].needs}, which none of the {len(pool)} photographs has: "
        f"take another rule ({', '.join(able)}), or {RULES[rule].cure}"
    )


def _nothing_to_rank(n_collected: int) -> OptionError:
    if n_collected == 0:
        return OptionError("no photograph was collected, expected at least one: collect the training photographs first")
    return NothingToSelect(
        f"none of the {n_collected} photographs needs an expert (all graded right, all maps on what is marked): "
        "ask for more with --min-rank or --min-enrichment of `regaze collect`, or rank them all with --everything"
    )


def _describe(photograph: Collected, classes: Sequence[str] | None) -> str:
    def name(index: int) -> str:
        return str(index) if classes is None else classes[index]

    truth = "unknown" if photograph.label is None else name(photograph.label)
    graded = f"graded {name(photograph.grade)} (confidence {photograph.confidence:.2f})"
    return f"{graded}, truth {truth}: {_diagnosis(photograph)}"


def _diagnosis(photograph: Collected) -> str:
    if photograph.diagnosis == "elsewhere":
        measures = (("relevance rank", photograph.relevance_rank), ("enrichment", photograph.enrichment))
        text = ", ".join(f"{name} {value:.2f}" for name, value in measures if value is not None)
        return f"off-target ({text})" if text else "off-target"
    return "marks unknown" if photograph.diagnosis == "unknown" else photograph.diagnosis
