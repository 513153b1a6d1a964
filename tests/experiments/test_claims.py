"""Verdicts on hand-made numbers."""

from types import SimpleNamespace

import pytest

from regaze.evaluation.seeds import Estimate
from regaze.experiments import grid9, table2
from regaze.experiments.claims import Claim
from regaze.experiments.grid9 import Cells


def _claim(value, low, high, measure="kappa", trainings=3, void="", n=30, patients=10, undefined=0):
    return Claim(
        "A grades better than B",
        "section 0",
        measure,
        Estimate(value, low, high, (value,) * (3 - undefined) + (None,) * undefined, n, patients),
        trainings,
        void,
    )


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((0.08, 0.02, 0.14), "A grades better than B (section 0): **holds**. kappa +0.080 [+0.020, +0.140]."),
        (
            (0.02, 0.01, 0.03),
            "A grades better than B (section 0): **does not hold**. "
            "kappa +0.020 [+0.010, +0.030]: within ±0.05, too little to matter.",
        ),
        (
            (-0.08, -0.14, -0.02),
            "A grades better than B (section 0): **does not hold**. kappa -0.080 [-0.140, -0.020]: it is worse.",
        ),
        (
            (0.01, -0.02, 0.04),
            "A grades better than B (section 0): **does not hold**. "
            "kappa +0.010 [-0.020, +0.040]: within ±0.05, too little to matter.",
        ),
        (
            (0.03, -0.02, 0.08),
            "A grades better than B (section 0): **inconclusive**. "
            "kappa +0.030 [-0.020, +0.080]: the interval holds zero and differences that would matter.",
        ),
        (
            (None, None, None),
            "A grades better than B (section 0): **inconclusive**. The difference is not defined on these photographs.",
        ),
    ],
)
def test_sentence_by_hand(numbers, sentence):
    """Improved: holds. Worse, or within the margin: does not. Else: inconclusive."""
    assert _claim(*numbers).sentence == sentence


def test_lower_is_better_for_errors():
    """A squared error that falls is a gain; one that rises is not."""
    assert _claim(-0.03, -0.05, -0.01, "squared error").verdict == "holds"
    assert _claim(0.03, 0.01, 0.05, "squared error").verdict == "does not hold"
    assert _claim(-0.03, -0.05, 0.01, "deletion").verdict == "inconclusive"
    assert _claim(0.03, 0.01, 0.05, "insertion").verdict == "holds"
    assert "-0.0300 [-0.0500, -0.0100]" in _claim(-0.03, -0.05, -0.01, "squared error").sentence


def test_touching_zero_is_not_above_it():
    """An interval that ends at zero does not keep off it."""
    assert _claim(0.1, 0.0, 0.2).verdict == "inconclusive"
    assert _claim(0.0, 0.0, 0.0).verdict == "does not hold"


def test_few_trainings_or_patients_decide_nothing():
    """However clear the difference, two trainings of each model are not enough, nor are nine patients."""
    for few, words in (
        ({"trainings": 1}, "but of 1 training run, and 3 are the fewest: raise --seeds."),
        ({"trainings": 2}, "but of 2 training runs, and 3 are the fewest: raise --seeds."),
        ({"undefined": 1}, "but of 2 training runs, and 3 are the fewest: raise --seeds."),
        ({"patients": 9}, "but of 9 patients, and 10 are the fewest."),
    ):
        for found in (_claim(0.3, 0.2, 0.4, **few), _claim(-0.3, -0.4, -0.2, **few)):
            assert found.verdict == "inconclusive"
            assert found.sentence.endswith(words)
    assert _claim(0.3, 0.2, 0.4, trainings=3, patients=10).verdict == "holds"


def test_void_models_decide_nothing():
    """Models that learned nothing cannot decide a claim, and the sentence says why."""
    found = _claim(0.0, 0.0, 0.0, void="they guess")
    assert found.verdict == "inconclusive"
    assert found.sentence.endswith("but they guess.")
    assert found.plain()["verdict"] == found.verdict


@pytest.mark.parametrize(("gain", "verdict"), [(0.3, "holds"), (0.0, "inconclusive")])
def test_table_2_compares_maps_and_not_networks(gain, verdict):
    """A higher insertion than another network's counts only for a map that beats a random order on its own."""

    def record(number, insertion, random):
        noise = 0.01 * (number % 5)
        values = {"grad-cam": insertion, "scale3": insertion, "random": random + noise - 0.02}
        views = {name: {"insertion": value, "deletion": 0.3} for name, value in values.items()}
        return {"sample": str(number), "patient": str(number), "views": views}

    tuned, others = (
        [[record(number, insertion, random) for number in range(20)] for _ in range(3)]
        for insertion, random in ((0.5, 0.5 - gain), (0.2, 0.2))
    )
    bench = SimpleNamespace(options=SimpleNamespace(resamples=200), trainings=3)
    found = Cells("alexnet", {"plain": others, "single-scale": others, "multi-scale": tuned})
    claims = table2._claims(bench, found)
    assert [claim.verdict for claim in claims[:2]] == [verdict] * 2
    assert all(("not shown to beat a random order" in claim.sentence) == (gain == 0) for claim in claims[:2])
    assert (claims[3].verdict == "holds") == (gain > 0)
    assert claims[3].text.endswith("than a random order on the same network")
    assert claims[2].void, "its deletion is a random order's, so that a worse one is no word about maps either"


def test_grade_0_has_no_say_in_table_2():
    """Photographs of grade 0 count for the maps' errors, and not for deletion and insertion."""
    views = {"grad-cam": {"squared_error": 0.1, "deletion": 0.5, "insertion": 0.5}, "random": {"insertion": 0.2}}
    records = [[{"sample": name, "patient": name, "views": views} for name in "abc"]]
    found = Cells("alexnet", {"plain": records}, frozenset("a"))
    assert [item.sample for item in found.values(grid9.LINES[0], "squared_error")[0]] == ["a", "b", "c"]
    assert [item.sample for item in found.values(grid9.LINES[0], "insertion")[0]] == ["b", "c"]
    assert [item.sample for item in found.control("plain", "insertion")[0]] == ["b", "c"]
