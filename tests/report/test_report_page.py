"""The page: what it says, what it never loads, and what it does with missing figures."""

import copy
import dataclasses
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from regaze.drawing.canvas import BEFORE
from regaze.errors import StudyError
from regaze.evaluation import verdicts
from regaze.report import matter, verdict
from regaze.report.data import Case, ReportContent, View
from regaze.report.page import render, write_report
from regaze.report.tables import provenance_sections, right_of

CLASSES = ("none", "mild", "moderate")
VOID = {"meta", "img", "br", "input", "circle", "line", "rect", "path", "polyline", "link", "hr"}


class Reader(HTMLParser):
    """Reads a page as a browser's tokenizer does; keeps tags, texts, ids, and complains of crossed tags."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words, self.faults = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Open a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Note a tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Close a tag, or note that it crosses another."""
        if not self.open or self.open[-1] != tag:
            self.faults.append((tag, list(self.open)))
        else:
            self.open.pop()

    def handle_data(self, data):
        """Keep what a reader sees."""
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        """The visible words, single-spaced."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag, kind=None):
        """Attributes of all tags of a name (and class)."""
        return [a for t, a in self.tags if t == tag and (kind is None or kind in (a.get("class") or "").split())]


def view(grade=1, **changes):
    """One model's view; the map rises towards the lower right."""
    return View(
        grade=grade,
        confidence=0.5,
        probabilities=[0.3, 0.5, 0.2],
        fused=np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32),
        scales=[np.ones((8, 8), np.float32), np.zeros((4, 4), np.float32)],
        **changes,
    )


def case(sample="training/a", label=1, lesions=True, **changes):
    """One photograph with one square lesion."""
    mask = np.zeros((32, 32), bool)
    mask[4:8, 5:9] = bool(lesions)
    found = {
        "photo": np.full((32, 32, 3), 90, np.uint8),
        "lesions": mask,
        "origin": "masks",
        "before": view(0, enrichment=1.25),
        "after": view(1, enrichment=3.5),
        **changes,
    }
    return Case(sample=sample, label=label, **found)


def figures(kappa=0.7):
    """A model's figures, none missing but the recall of an absent class."""
    maps = {"squared_error": 0.06, "zero_map_squared_error": 0.085, "mean_map_squared_error": 0.08}
    maps |= {
        "lesion_enrichment": 2.5,
        "relevance_rank": 0.3,
        "pointing_game": 0.5,
        "n_used": 9,
        "n_skipped": 2,
    }
    return {
        "quadratic_weighted_kappa": kappa,
        "interval": [0.6, 0.8],
        "accuracy": 0.75,
        "recall": [0.8, None, 0.7],
        "confusion": [[8, 2, 0], [0, 0, 0], [1, 2, 7]],
        "referable": {"auroc": 0.91, "sensitivity": 0.9, "specificity": 0.8},
        "calibration_error": 0.08,
        "reliability": [
            {"confidence": 0.5, "accuracy": 0.4, "n": 10},
            {"confidence": 0.9, "accuracy": 1.0, "n": 10},
        ],
        "deletion": 0.31,
        "insertion": 0.71,
        "n_faithfulness": 0,
        "maps": {"fused": maps | {"healthy_squared_error": 0.01, "dead": 0}, "scale1": maps | {"dead": 0}},
        "faithfulness": None,
        "lesion_recall": {"budget": 0.05, "chance": None, "masks": NO_LESIONS, "boxes": NO_LESIONS},
        "sanity": None,
    }


NO_LESIONS = {"all": {"n_lesions": 0, "n_used": 0, "n_skipped": 10, "recall": {}}, "types": {}, "sizes": {}}
PAIRS = ("kappa", "enrichment", "squared_error", "deletion", "insertion", "without_grade_0", "iou", "lesion_recall")


def all_pairs(**known):
    """The paired differences as a study gives them: every key there, None where nothing could be compared."""
    return dict.fromkeys([f"{name}{ending}" for ending in ("", "_against_control") for name in PAIRS]) | known


def paired(low, high, **more):
    """A paired difference in the middle of its interval."""
    return {"difference": (low + high) / 2, "interval": [low, high], **more}


BETTER, SAME, UNKNOWN, WORSE = paired(0.3, 0.5), paired(-0.01, 0.02), paired(-0.3, 0.4), paired(-0.5, -0.3)


def content(kappa=BETTER, enrichment=BETTER, **changes):
    """A page's content, complete and small."""
    found = {
        "title": "A study",
        "classes": CLASSES,
        "results": {
            "part": "test",
            "n": 20,
            "models": {"phase1": figures(0.61), "tuned": figures(0.74), "longer": figures(0.65)},
            "notes": ["A note from the study."],
        },
        "before": "phase1",
        "after": "tuned",
        "control": None,
        "paired": {"kappa": kappa, "enrichment": enrichment},
        "cases": [case("training/a", 1), case("training/b", 2), case("training/c", None)],
        "worse_graded": [case("training/d", 0)],
        "worse_maps": [case("training/e", 2)],
        "n_better_graded": 5,
        "n_better_maps": 7,
        "provenance": {"seed": 7, "options": {"epochs": 3, "inner": {"rate": 1e-3}}},
        "commands": ["regaze report study"],
        **changes,
    }
    return ReportContent(**found | {"paired": all_pairs(**found["paired"])})


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


def test_missing_figures_are_dashes_with_a_note_never_zeros():
    """A model without any figure still makes a page; a gap is a dash, and the page says what a dash is."""
    bare = content(kappa=None, enrichment=None)
    results = copy.deepcopy(bare.results)
    measured_nothing = {"lesion_recall", "n_faithfulness", "maps"}
    for name in ("phase1", "tuned"):
        model = results["models"][name]
        model |= dict.fromkeys(set(model) - measured_nothing)
        model["maps"] = {scale: dict.fromkeys(entry) for scale, entry in model["maps"].items()}
    results["models"]["tuned"]["quadratic_weighted_kappa"] = math.nan
    reader = Reader(render(dataclasses.replace(bare, results=results, provenance={})))
    cells = reader.all("span", "none")
    assert len(cells) > 2 * 11
    assert f"{verdicts.DASH} : not measured or not defined here" in reader.text
    assert "0.00" not in reader.text
    assert "No confusion matrix was measured." in reader.text
    assert "No paired comparison of the grades is given." in reader.text
    full = Reader(render(content()))
    assert len(full.all("span", "none")) < len(cells)


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


HOSTILE = '"><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>'


def test_hostile_names_stay_text():
    """No sample id, class, title, note, option or command can become markup."""
    base = content()
    results = copy.deepcopy(base.results)
    results["notes"] = [HOSTILE]
    results["models"][HOSTILE] = results["models"].pop("tuned")
    page = render(
        dataclasses.replace(
            base,
            title=HOSTILE,
            classes=(HOSTILE, "mild", "moderate"),
            results=results,
            after=HOSTILE,
            cases=[case(HOSTILE, 0)],
            provenance={HOSTILE: {HOSTILE: HOSTILE}},
            commands=[HOSTILE],
        )
    )
    reader = Reader(page)
    assert len(reader.all("script")) == 1
    assert not [a for _, a in reader.tags if any(name.startswith("on") for name in a)]
    assert all(a["src"].startswith("data:image/") for a in reader.all("img"))
    assert reader.text.count("<script>alert(1)</script>") >= 6


def test_page_loads_nothing():
    """One file: every picture is inside, nothing points outside, and the page's policy forbids it too."""
    page = render(content(control="longer"))
    reader = Reader(page)
    assert len(reader.all("img")) == 5 * (1 + 2 + 4)
    for tag, attributes in reader.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "xlink:href", "srcset", "poster", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert "://" not in page
    assert "@import" not in page
    assert not re.search(r"url\((?!data:)", page)
    policy = next(a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_page_is_sound_and_accessible():
    """Tags nest, ids are unique, every picture and chart has words, every header cell says what it heads."""
    page = render(content(control="longer"))
    reader = Reader(page)
    assert page.lstrip().startswith("<!doctype html>")
    assert reader.faults == []
    assert reader.open == []
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids)) > 5
    assert all(len(a.get("alt", "")) > 10 for a in reader.all("img"))
    charts = reader.all("svg", "chart")
    assert charts
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)
    assert all(a.get("scope") for a in reader.all("th"))
    assert len(reader.all("h1")) == 1


def test_page_works_without_script():
    """Without scripts nothing is missing: the only scripted control is hidden until the script shows it."""
    reader = Reader(render(content()))
    buttons = reader.all("button")
    assert len(buttons) == len(reader.all("article", "case")) == 5
    assert all("hidden" in a for a in buttons)


def test_cases_are_grouped_by_the_experts_grade_and_none_is_lost():
    """Every case is shown once, under its grade; ungraded ones under a heading of their own."""
    reader = Reader(render(content(cases=[case("x", 2), case("y", None), case("z", 1), case("w", 9)])))
    text = reader.text
    order = [text.index(f"Expert: {name}") for name in ("mild", "moderate", "class 9", "No grade by an expert")]
    assert order == sorted(order)
    names = [a["aria-label"] for a in reader.all("article", "case")]
    assert names == ["z", "x", "w", "y", "training/d", "training/e"]


def test_knowledge_about_lesions_is_told_apart():
    """Drawn, boxed, known to be absent and unknown are four different things."""
    cases = [
        case("drawn"),
        case("boxed", origin="boxes"),
        case("clean", lesions=False),
        case("unknown", lesions=False, origin="none"),
    ]
    cases.append(dataclasses.replace(cases[0], sample="without", lesions=None, origin="none"))
    reader = Reader(render(content(cases=cases, worse_graded=[], worse_maps=[])))
    told = (
        "Lesions as drawn by an expert",
        "Lesions within a clinician's boxes",
        "Known to be free of lesions",
    )
    assert [reader.text.count(words) for words in (*told, "Lesions unknown")] == [1, 1, 1, 2]
    assert len(reader.all("svg", "outline")) == 2 * 3
    assert len(reader.all("svg", "boxes")) == 3


def test_right_and_wrong_are_words_not_only_colours():
    """A grade is marked right or wrong against the expert's, and not at all where there is none."""
    reader = Reader(render(content(cases=[case("x", 1), case("y", None)], worse_graded=[], worse_maps=[])))
    assert len(reader.all("span", "wrong")) == 1
    assert len(reader.all("span", "right")) == 1
    assert "Before : mild" not in reader.text
    assert re.search(r"After : mild ✓ right", reader.text)


def test_nothing_got_worse_is_said_in_words():
    """An empty list is a statement, not an empty space."""
    page = content(worse_graded=[], worse_maps=[])
    text = Reader(render(page)).text
    assert "None: every photograph that was graded right before is still graded right." in text
    assert "None: no map lies less on the lesions than before." in text


def test_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    """The file is the page; a failure leaves the old file as it was and no rest behind."""
    place = tmp_path / "made" / "report.html"
    assert write_report(content(), place) == place
    first = place.read_text(encoding="utf-8")
    assert first == render(content())
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(content(WORSE, WORSE), place)
    assert place.read_text(encoding="utf-8") == first
    assert [p.name for p in place.parent.iterdir()] == ["report.html"]


def test_mistakes_of_the_caller_are_named(tmp_path):
    """A missing model is said in one line with its cure; pictures of other frames are refused."""
    with pytest.raises(StudyError, match=r"no figures for the model 'gone' \(after\).*regaze evaluate"):
        write_report(content(after="gone"), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="lesions of training/a"):
        case(lesions=True, photo=np.zeros((16, 16, 3), np.uint8))


def test_thirty_cases_stay_below_six_megabytes():
    """Even noise, which compresses worst of all, keeps the page small enough to mail."""
    rng = np.random.default_rng(0)
    photo = np.clip(rng.normal(120, 18, (512, 512, 3)), 0, 255).astype(np.uint8)
    fused = rng.random((512, 512)).astype(np.float32)
    seen = View(1, 0.5, [0.3, 0.5, 0.2], fused, [rng.random((s, s)).astype(np.float32) for s in (128, 64, 32)])
    one = Case("training/a", 1, photo, None, "none", seen, seen)
    page = render(content(cases=[one], worse_graded=[], worse_maps=[]))
    base = len(render(content(cases=[], worse_graded=[], worse_maps=[])))
    assert base + 30 * (len(page) - base) < 6e6


def test_figure_and_counts():
    """Numbers are written with a true minus, without a negative zero, and a dash where there is none."""
    minus = verdicts.MINUS
    written = [verdicts.figure(v, 2, sign=True) for v in (0.066, -0.15, -0.001, None, math.inf, True)]
    assert written == ["+0.07", f"{minus}0.15", "0.00", *[verdicts.DASH] * 3]
    assert right_of([[3, 1], [2, 4]]) == (7, 10)
    assert right_of(None) is None


def test_provenance_is_flattened_for_reading():
    """Nothing of the provenance is lost, whatever its depth."""
    nested = {"seed": 7, "options": {"epochs": 3, "inner": {"rate": 0.001, "on": True}}, "none": None}
    assert provenance_sections(nested) == [
        ("general", [("seed", "7"), ("none", verdicts.DASH)]),
        ("options", [("epochs", "3"), ("inner.rate", "0.001"), ("inner.on", "yes")]),
    ]


def orders(deletion, insertion, n=20):
    """Deletion and insertion of the fused map and of the reference rankings, each given as [low, high]."""

    def entry(**more):
        means = {"mean": 0.4, "interval": [0.3, 0.5]}
        return {"deletion": means, "insertion": means, "n_used": n, "n_skipped": 0, **more}

    def against(place):
        return {
            "deletion": paired(*deletion[place], n_used=n, probability_greater=0.02),
            "insertion": paired(*insertion[place], n_used=n, probability_greater=0.97),
        }

    names = ("random", "centre", "blurred-random")
    return {"fused": entry()} | {name: entry(against=against(place)) for place, name in enumerate(names)}


LESS, MORE, OPEN = (-0.2, -0.1), (0.1, 0.2), (-0.1, 0.1)


def with_evidence(faithfulness=None, sanity=None, recall=None, **changes):
    """A page whose new model has more measured; the others have not."""
    base = content(**changes)
    results = copy.deepcopy(base.results)
    more = {"faithfulness": faithfulness, "sanity": sanity, "n_faithfulness": 20 if faithfulness else 0}
    results["models"][base.after] |= more | ({"lesion_recall": recall} if recall else {})
    return dataclasses.replace(base, results=results)


@pytest.mark.parametrize(
    ("deletion", "insertion", "answer", "words"),
    [
        ([LESS] * 3, [MORE] * 3, "Yes", "takes its certainty away sooner"),
        ([LESS, LESS, OPEN], [MORE] * 3, "Inconclusive", "(smooth noise)"),
        ([LESS, MORE, LESS], [MORE, LESS, MORE], "No", "(the centre first) finds the pixels"),
        ([MORE, LESS, LESS], [MORE, LESS, MORE], "Inconclusive", "(a random order and the centre first)"),
    ],
)
def test_the_place_matters_only_where_the_map_beats_every_order_without_knowledge(deletion, insertion, answer, words):
    """Yes needs all comparisons, no needs one order that is better on both; one lucky comparison decides nothing."""
    page = with_evidence({"all": orders(deletion, insertion), "without_grade_0": None})
    claim = matter.matter_answer(page)
    assert (claim.answer, words in claim.sentences[0]) == (answer, True)
    text = Reader(render(page)).text
    assert matter.matter_line(claim) in text
    assert "in the hardest of 6 comparisons the map won in 97 of 100" in text


def test_healthy_photographs_do_not_speak_where_grades_are_known():
    """The answer rests on the photographs without grade 0, the others stand beside it."""
    found = {"all": orders([LESS] * 3, [MORE] * 3), "without_grade_0": orders([OPEN] * 3, [OPEN] * 3)}
    assert matter.matter_answer(with_evidence(found)).answer == "Inconclusive"


def test_few_photographs_and_missing_orders_give_no_answer():
    """Below ten photographs nothing is claimed; without orders to compare with, and without curves, it says so."""
    few = matter.matter_answer(with_evidence({"all": orders([LESS] * 3, [MORE] * 3, n=9), "without_grade_0": None}))
    assert (few.answer, few.sure) == ("Inconclusive", "")
    alone = {"fused": orders([LESS] * 3, [MORE] * 3)["fused"]}
    bare = with_evidence({"all": alone, "without_grade_0": None})
    assert matter.matter_answer(bare).answer == "Not measured"
    text = Reader(render(bare)).text
    assert "the same for reference rankings (--reference-rankings 24)" in text
    nothing = Reader(render(content())).text
    assert "Whether what it looks at matters to its grade was not measured." in nothing
    assert "Not measured: --faithfulness 24" in nothing
    assert "no photograph of this part has known lesions" in nothing


def test_curves_are_drawn_and_said():
    """Each curve is a line, and its figures stand in the chart's words; a missing point is no zero."""
    lines = {"before": {"deletion": [0.9, None, 0.1], "insertion": [0.2, 0.5, 0.9]}}
    lines |= {"after": {"deletion": [0.8, 0.3, 0.1], "insertion": [0.2, 0.6, 0.8]}}
    shares = [0.0, 0.25, 1.0]
    kinds = {
        "fused": {"deletion": [0.8, 0.2, 0.1], "insertion": [0.1, 0.2, 0.8]},
        "random": {"deletion": [0.8, 0.4, 0.1], "insertion": [0.1, 0.3, 0.8]},
    }
    page = with_evidence(
        {"all": orders([LESS] * 3, [MORE] * 3), "without_grade_0": None},
        curves={
            "models": {"n": 7, "shares": shares, "lines": lines},
            "orders": {"n": 5, "shares": shares, "lines": kinds},
        },
    )
    reader = Reader(render(page))
    drawn = [a for a in reader.all("polyline") if (a["stroke"], a["stroke-width"]) == (BEFORE, "2.4")]
    swatch = 1
    assert [len(a["points"].split()) for a in drawn][: 2 + swatch] == [2, 3, 2], "a gap is left out; then the key"
    spoken = [a["aria-label"] for a in reader.all("svg", "chart") if a["aria-label"].startswith("Deletion: ")]
    assert spoken[0] == "Deletion: Random order 0.80 at 0%, 0.40 at 25%, 0.10 at 100%; " + (
        "Where it looks 0.80 at 0%, 0.20 at 25%, 0.10 at 100%"
    )
    assert "means over the same 5 photographs" in reader.text
    assert "means over the same 7 photographs" in reader.text


def recall(share, low, high, n=40, origin="masks"):
    """Share of lesions lit on one scale and fused."""
    shares = {"share": share, "interval": [low, high]}
    entry = {"n_lesions": n, "n_used": 9, "n_skipped": 1, "recall": {"scale1": shares, "fused": shares}}
    some = {"all": entry, "types": {"microaneurysms": entry, "haemorrhages": entry}, "sizes": {"below 1 %": entry}}
    return {"budget": 0.05, "chance": 0.05, "masks": NO_LESIONS, "boxes": NO_LESIONS, origin: some}


def test_lesions_lit_stand_by_type_and_scale_beside_chance():
    """One chart for each map with the line of chance; the table has counts, intervals and the paired change."""
    change = {"difference": 0.12, "interval": [0.02, 0.22], "n_lesions": 40}
    both = {"fused": {"microaneurysms": change, "haemorrhages": change | {"n_lesions": 3}}}
    page = with_evidence(recall=recall(0.31, 0.2, 0.4), paired={"kappa": BETTER, "lesion_recall": both})
    reader = Reader(render(page))
    charts = [a["aria-label"] for a in reader.all("svg", "chart") if "lesions lit" in a["aria-label"]]
    assert [words.split(":")[0] for words in charts] == [
        "Share of lesions lit, Scale 1 (finest)",
        "Share of lesions lit, All scales together",
    ]
    assert "Microaneurysms (40 in 9 photographs) before \N{EN DASH}, after 0.31" in charts[0]
    assert reader.text.count("chance 5 %") == 2
    assert "40 lesions, outlined by experts, in 9 photographs" in reader.text
    assert reader.text.count("+2 to +22") == 1, "a change over other lesions than those shown is left out"
    assert "31 % 20 to 40" in reader.text
    boxed = Reader(render(with_evidence(recall=recall(0.31, 0.2, 0.4, origin="boxes")))).text
    assert "40 boxes drawn by a clinician (a box may hold many lesions) in 9 photographs" in boxed


def test_sanity_checks_and_reliability_have_their_counts():
    """A likeness comes with its interval and number of photographs, a dot of the diagram with its photographs."""
    mean = {"mean": 0.97, "interval": [0.9, 0.99], "n_used": 4, "n_skipped": 0}
    stages = {name: {"spearman": mean, "ssim": mean} for name in ("heads", "attention", "block3")}
    checks = {"stability": {"flip": mean}, "randomisation": stages}
    reader = Reader(render(with_evidence(sanity=checks)))
    assert reader.text.count("0.97 0.90 to 0.99") == 4
    assert "Heads (a map lies below them)" in reader.text
    assert "50 % 40 % 10" in reader.text
    assert "sure right photographs" in reader.text


def test_changes_in_the_table_are_judged_by_their_own_intervals():
    """A paired interval that includes zero is no better and no worse; what was not compared only has a direction."""
    text = Reader(render(content(paired={"kappa": paired(-0.1, 0.36), "squared_error": paired(0.01, 0.02)}))).text
    row = text[text.index("Agreement with the expert (kappa, quadratic") :]
    assert row.index("+0.130 inconclusive \N{MINUS SIGN}0.100 to +0.360") < row.index("Graded exactly right")
    assert "+0.0150 worse +0.0100 to +0.0200" in text
    untested = Reader(render(content(paired={}))).text
    assert "+0.130 to the better 0.610" in untested


def test_everything_that_got_worse_has_a_picture():
    """The first of each list in full, all others small, none left out; what moved further off too."""
    many = [case(f"training/{place}", 0) for place in range(9)]
    page = content(worse_graded=many, further_off=[case("training/far", 2)], cases=[])
    reader = Reader(render(page))
    assert len(reader.all("article", "case")) == 4 + 1
    assert len(reader.all("figure", "tiny")) == 5 + 1
    assert "wrong after: 9 All shown, the largest mistakes first." in reader.text
    assert "5 more, wrong now" in reader.text
    assert "1 wrong before already, and further from the expert now" in reader.text
    for one in (*many, page.further_off[0]):
        assert any(one.sample in a["alt"] for a in reader.all("img"))


def test_differences_are_counted_at_every_depth():
    """The reader learns how many intervals the page rests on."""
    page = with_evidence(
        {"all": orders([LESS] * 3, [MORE] * 3), "without_grade_0": None},
        paired={"kappa": BETTER, "without_grade_0": {"deletion": SAME, "insertion": SAME}},
    )
    assert "9 differences were given such an interval" in Reader(render(page)).text
