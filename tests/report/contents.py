"""Small contents of a report's page, and a reader of the page that they make."""

import copy
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np

from regaze.report.data import Case, ReportContent, View

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
        "ranked_probability_score": {"mean": 0.0912, "interval": [0.08, 0.1]},
        "log_loss": {"mean": 0.9, "interval": [0.8, 1.0]},
        "accuracy": 0.75,
        "recall": [0.8, None, 0.7],
        "confusion": [[8, 2, 0], [0, 0, 0], [1, 2, 7]],
        "referable": {"auroc": 0.91, "sensitivity": 0.9, "specificity": 0.8, "sensitivity_at_90": 0.85},
        "calibration_error": 0.08,
        "reliability": [
            {"confidence": 0.5, "accuracy": 0.4, "n": 10},
            {"confidence": 0.9, "accuracy": 1.0, "n": 10},
        ],
        "precision": "fp32",
        "training_loss": {"first": 1.2, "last": 0.7, "chance": 1.1, "least": 0.3, "epochs": 10},
        "deletion": 0.31,
        "insertion": 0.71,
        "relative_deletion": 0.41,
        "relative_insertion": 0.92,
        "n_faithfulness": 0,
        "maps": {"fused": maps | {"healthy_squared_error": 0.01, "dead": 0}, "scale1": maps | {"dead": 0}},
        "faithfulness": None,
        "lesion_recall": {"budget": 0.05, "chance": None, "masks": NO_LESIONS, "boxes": NO_LESIONS},
        "sanity": None,
    }


NO_LESIONS = {"all": {"n_lesions": 0, "n_used": 0, "n_skipped": 10, "recall": {}}, "types": {}, "sizes": {}}
AREAS = ("deletion", "insertion", "relative_deletion", "relative_insertion")
SCORES = ("ranked_probability_score", "log_loss")
PAIRS = ("kappa", *SCORES, "enrichment", "squared_error", *AREAS, "without_grade_0", "iou", "lesion_recall")
RANKINGS = ("another", "turned", "mirrored", "blurred-random", "centre")


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
            "overlap": {"n": 0, "words": "", "photographs": [], "unknown": []},
            "models": {"phase1": figures(0.61), "tuned": figures(0.74), "longer": figures(0.65)},
            "baselines": {},
            "warnings": [],
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


def orders(deletion, insertion, n=20, random=None):
    """Deletion and insertion of the fused map and of the deciding reference rankings, each given as [low, high].

    `random` is the random order's on both; where it is not given there is none.
    """

    def entry(**more):
        means = {"mean": 0.4, "interval": [0.3, 0.5]}
        return {**dict.fromkeys(AREAS, means), "n_used": n, "n_skipped": 0, **more}

    def against(less, more):
        pairs = (paired(*less, n_used=n, probability_greater=0.02), paired(*more, n_used=n, probability_greater=0.97))
        return dict(zip(AREAS, (*pairs, *pairs), strict=True))

    given = dict(zip(RANKINGS, zip(deletion, insertion, strict=True), strict=True))
    if random is not None:
        given["random"] = random
    return {"fused": entry()} | {name: entry(against=against(*pair)) for name, pair in given.items()}


LESS, MORE, OPEN = (-0.2, -0.1), (0.1, 0.2), (-0.1, 0.1)


def with_evidence(faithfulness=None, sanity=None, recall=None, **changes):
    """A page whose new model has more measured; the others have not."""
    base = content(**changes)
    results = copy.deepcopy(base.results)
    more = {"faithfulness": faithfulness, "sanity": sanity, "n_faithfulness": 20 if faithfulness else 0}
    results["models"][base.after] |= more | ({"lesion_recall": recall} if recall else {})
    return dataclasses.replace(base, results=results)
