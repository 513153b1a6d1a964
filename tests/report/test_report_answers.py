"""The page's answers: better or not, how sure, owed to the corrections or not; and what they never claim."""

import copy
import dataclasses
import re

import pytest

from regaze.report import matter, verdict
from regaze.report.page import render
from tests.report.contents import (
    BETTER,
    LESS,
    MORE,
    OPEN,
    SAME,
    UNKNOWN,
    WORSE,
    Reader,
    content,
    orders,
    paired,
    with_evidence,
)


@pytest.mark.parametrize(
    ("kappa", "enrichment", "state", "sentence"),
    [
        (BETTER, BETTER, "improved", "Yes: it grades better and it looks at the lesions more."),
        (SAME, SAME, "equivalent", "No: neither its grading nor where it looks changed by an amount that matters."),
        (
            UNKNOWN,
            UNKNOWN,
            "inconclusive",
            "Inconclusive: this much data cannot tell whether it grades better or looks in better places.",
        ),
        (WORSE, WORSE, "worse", "No, it got worse: it grades worse and it looks at the lesions less."),
        (
            UNKNOWN,
            BETTER,
            "improved",
            "In part: it looks at the lesions more; whether it grades better is inconclusive.",
        ),
        (WORSE, BETTER, "worse", "At a price: it looks at the lesions more, but it grades worse."),
        (BETTER, WORSE, "worse", "At a price: it grades better, but it looks at the lesions less."),
        (SAME, None, "inconclusive", "Inconclusive: its grading did not change by an amount that matters; "),
        (WORSE, None, "worse", "No, it got worse: it grades worse; whether it looks in better places is"),
    ],
)
def test_the_first_sentence_is_the_answer(kappa, enrichment, state, sentence):
    """Each situation has its own honest sentence; a good picture never speaks for the grades."""
    pairs = {"kappa": kappa, "enrichment": enrichment}
    beyond = {f"{key}_against_control": pair for key, pair in pairs.items()}
    reader = Reader(render(content(control="longer", paired=pairs | beyond)))
    assert sentence in reader.text
    assert reader.all("div", "banner")[0]["class"].split() == ["banner", state]


def test_few_photographs_decide_nothing():
    """Over nine photographs, or over the photographs of nine patients, no interval makes a claim or a colour."""
    for few, sentence in (
        ({"n_used": 9}, "Inconclusive: 9 photographs, and 10 are the fewest."),
        ({"n_used": 18, "n_groups": 9}, "Inconclusive: 9 patients, and 10 are the fewest."),
    ):
        found = content(paired(0.3, 0.5, **few), paired(-0.5, -0.3, **few))
        assert {answer(found).state for answer in (verdict.grading_answer, verdict.places_answer)} == {"inconclusive"}
        page = render(found)
        assert Reader(page).text.count(sentence) == 2
        rows = re.findall(r'<td class="trend (\w+)">', page)
        assert set(rows) == {"faint"}, "no figure is painted good or bad"
    enough = content(paired(0.3, 0.5, n_used=10, n_groups=10))
    assert verdict.grading_answer(enough).state == "improved"


def test_a_gain_too_small_to_matter_is_no_answer():
    """An interval off zero and within the margin: no difference that matters, and the size is told."""
    small = content(SAME, paired(0.107, 0.136, n_used=40))
    assert verdict.places_answer(small).state == "equivalent"
    text = Reader(render(small)).text
    assert "No: neither its grading nor where it looks changed by an amount that matters." in text
    assert "There is a small gain, below the 0.2 that we hold to be the least that matters." in text


def test_two_models_that_guess_are_not_the_same():
    """Where neither kappa is shown to be above chance, an interval within the margin is no finding."""
    guess = SAME | {"above_chance": False, "probability_better": 0.5}
    both = content(guess, control="phase1")
    assert verdict.grading_answer(both).state == "inconclusive"
    assert "Inconclusive: neither model is shown to grade better than chance." in Reader(render(both)).text
    assert verdict.grading_answer(both).sure == verdict.grading_answer(both).credit == ""
    assert verdict.grading_answer(content(SAME | {"above_chance": True})).state == "equivalent"


def test_squared_error_alone_makes_no_claim_but_can_forbid_one():
    """An empty map has a small squared error: a fall proves nothing, a rise forbids praise."""
    falls, rises = paired(-0.2, -0.1), paired(0.01, 0.02)
    only = content(paired={"kappa": SAME, "enrichment": None, "squared_error": falls})
    assert verdict.places_answer(only).state == "inconclusive"
    disagree = content(paired={"kappa": SAME, "enrichment": BETTER, "squared_error": rises})
    assert verdict.places_answer(disagree).state == "inconclusive"
    assert "The two measures disagree" in Reader(render(disagree)).text


def test_a_gain_that_longer_training_gives_too_is_not_credited_to_the_corrections():
    """With a control, only what exceeds it is owed to the corrections; without one the page says so."""
    both = {"kappa": BETTER, "enrichment": BETTER, "enrichment_against_control": BETTER}
    owed = content(control="longer", paired=both | {"kappa_against_control": BETTER})
    assert verdict.decide(owed).headline.startswith("Yes: ")
    assert "So the corrections made the difference." in Reader(render(owed)).text
    not_owed = content(control="longer", paired=both | {"kappa_against_control": UNKNOWN})
    assert verdict.decide(not_owed).headline.startswith(
        "In part: it grades better (not shown to come from the corrections)"
    )
    alone = content()
    assert verdict.decide(alone).headline.startswith("In part: it grades better (not compared with a control)")
    assert "It is not compared with a control" in Reader(render(alone)).text


def test_how_sure_in_words():
    """A share of bootstrap draws becomes a sentence that claims neither certainty nor impossibility."""
    for share, words in (
        (0.97, "better in 97."),
        (1.0, "better in more than 99."),
        (0.0, "better in fewer than 1."),
    ):
        page = Reader(render(content(kappa=paired(-0.1, 0.2, probability_better=share)))).text
        assert f"of 100 random redraws of the patients, the new model graded {words}" in page


def test_means_over_the_compared_photographs_stand_in_the_answer():
    """The means told are those of the compared photographs, where the comparison brings them."""
    entry = paired(0.5, 0.9, mean_a=1.2, mean_b=1.9, probability_greater=0.98, n_used=16)
    text = Reader(render(content(enrichment=entry))).text
    assert "went from 1.2 to 1.9 times chance. Difference +0.70" in text
    assert "the new model looked at the lesions more in 98." in text
    undefined = {"difference": None, "interval": [None, None], "probability_greater": None, "n_used": 0}
    assert verdict.places_answer(content(enrichment=undefined)).state == "inconclusive"


def test_numbers_of_the_answer_are_those_of_the_study():
    """Before, after, difference, interval and counts stand in the text as they were measured."""
    text = Reader(render(content(kappa=paired(0.01, 0.25, n_used=20)))).text
    assert "went from 0.61 to 0.74. Difference +0.13 (95 % interval +0.01 to +0.25), over 20 photographs." in text
    assert "Graded exactly right: 15 of 20 photographs before, 15 of 20 after." in text
    assert "5 that were wrong are now right, 1 that was right is now wrong." in text
    assert "7 maps moved towards the lesions, 1 away from them." in text
    assert "A note from the study." in text


def test_validation_is_not_sold_as_test():
    """A page on the validation part says first what that is worth."""
    base = content()
    page = Reader(render(dataclasses.replace(base, results=base.results | {"part": "validation"}))).text
    assert "Measured on the validation part, not on the test part" in page
    assert "Measured on the validation part" not in Reader(render(base)).text


def test_empty_map_that_scores_as_well_and_dead_maps_are_named():
    """The traps of the map measures are told, not hidden in a table."""
    base = content()
    results = copy.deepcopy(base.results)
    results["models"]["tuned"]["maps"]["fused"]["squared_error"] = 0.09
    results["models"]["tuned"]["maps"]["scale1"]["dead"] = 3
    text = Reader(render(dataclasses.replace(base, results=results))).text
    assert "By squared error the maps (0.0900) are no better than an empty map (0.0850)" in text
    assert "After: dead maps (the same everywhere) at Scale 1 (finest): 3 of 11." in text
    assert "not below the empty and mean map" in text


@pytest.mark.parametrize(
    ("deletion", "insertion", "answer", "words"),
    [
        ([LESS] * 5, [MORE] * 5, "Yes", "takes its certainty away sooner"),
        ([LESS, LESS, LESS, OPEN, LESS], [MORE] * 5, "Inconclusive", "(smooth noise)"),
        ([OPEN, *[LESS] * 4], [MORE] * 5, "Inconclusive", "(another photograph's map)"),
        ([LESS] * 5, [MORE, OPEN, OPEN, MORE, MORE], "Inconclusive", "(its own map turned and its own map mirrored)"),
        ([MORE, *[LESS] * 4], [LESS, *[MORE] * 4], "No", "(another photograph's map) finds the pixels"),
        ([MORE, LESS, LESS, LESS, LESS], [MORE] * 4 + [LESS], "Inconclusive", "map and the centre first)"),
    ],
)
def test_the_place_matters_only_where_the_map_beats_every_deciding_order(deletion, insertion, answer, words):
    """Yes needs all comparisons, no needs one order that is better on both; one lucky comparison decides nothing."""
    page = with_evidence({"all": orders(deletion, insertion), "without_grade_0": None})
    claim = matter.matter_answer(page)
    assert (claim.answer, words in claim.sentences[0]) == (answer, True)
    text = Reader(render(page)).text
    assert matter.matter_line(claim) in text
    assert "in the hardest of 10 comparisons the map won in 97 of 100" in text
    assert "Over 20 photographs." in text


def test_random_pixels_stand_in_the_table_and_decide_nothing():
    """A random order that beats the map on both, as it beats every smooth map, turns no answer; the table shows it."""
    beaten = orders([LESS] * 5, [MORE] * 5, random=(MORE, LESS))
    page = with_evidence({"all": beaten, "without_grade_0": None})
    assert matter.matter_answer(page).answer == "Yes"
    assert "Random pixels" in Reader(render(page)).text
    assert (
        "Random pixels"
        not in Reader(render(with_evidence({"all": orders([LESS] * 5, [MORE] * 5), "without_grade_0": None}))).text
    )


@pytest.mark.parametrize("missing", matter.DECIDING)
def test_an_order_that_was_not_measured_leaves_the_answer_open(missing):
    """Where one of the deciding orders is not there (an only photograph has no other one's map), no yes is said."""
    found = {name: entry for name, entry in orders([LESS] * 5, [MORE] * 5).items() if name != missing}
    assert len(found) == 5
    claim = matter.matter_answer(with_evidence({"all": found, "without_grade_0": None}))
    assert (claim.answer, matter.DECIDING[missing] in claim.sentences[0]) == ("Inconclusive", True)


def test_probabilities_speak_beside_kappa_and_leave_the_answer_to_it():
    """Ranked probability score and log-loss stand in figures with their words; the answer stays kappa's."""
    scores = {"ranked_probability_score": paired(-0.02, -0.01, n_used=20), "log_loss": paired(-0.01, 0.2, n_used=20)}
    page = content(paired={"kappa": SAME, "enrichment": SAME, **scores})
    assert verdict.grading_answer(page).state == "equivalent"
    text = Reader(render(page)).text
    assert (
        "Ranked probability score (0 is perfect): difference \N{MINUS SIGN}0.0150 (95 % interval "
        "\N{MINUS SIGN}0.0200 to \N{MINUS SIGN}0.0100), over 20 photographs. Lower is better: improved." in text
    )
    assert "Log-loss (0 is perfect): difference +0.095" in text
    assert "Lower is better: inconclusive." in text


def test_healthy_photographs_do_not_speak_where_grades_are_known():
    """The answer rests on the photographs without grade 0, the others stand beside it."""
    found = {"all": orders([LESS] * 5, [MORE] * 5), "without_grade_0": orders([OPEN] * 5, [OPEN] * 5)}
    answer = matter.matter_answer(with_evidence(found))
    assert answer.answer == "Inconclusive"
    assert "Over 20 photographs; healthy ones are left out." in answer.sentences


def test_few_photographs_and_missing_orders_give_no_answer():
    """Below ten photographs nothing is claimed; without orders to compare with, and without curves, it says so."""
    few = matter.matter_answer(with_evidence({"all": orders([LESS] * 5, [MORE] * 5, n=9), "without_grade_0": None}))
    assert (few.answer, few.sure) == ("Inconclusive", "")
    alone = {"fused": orders([LESS] * 5, [MORE] * 5)["fused"]}
    bare = with_evidence({"all": alone, "without_grade_0": None})
    assert matter.matter_answer(bare).answer == "Not measured"
    text = Reader(render(bare)).text
    assert "the same for reference rankings (--reference-rankings 24)" in text
    nothing = Reader(render(content())).text
    assert "Whether what it looks at matters to its grade was not measured." in nothing
    assert "Not measured: --faithfulness 24" in nothing
    assert "no photograph of this part has known lesions" in nothing


def test_differences_are_counted_at_every_depth():
    """The reader learns how many intervals the page rests on."""
    page = with_evidence(
        {"all": orders([LESS] * 5, [MORE] * 5), "without_grade_0": None},
        paired={"kappa": BETTER, "without_grade_0": {"deletion": SAME, "insertion": SAME}},
    )
    assert "23 differences were given such an interval" in Reader(render(page)).text
