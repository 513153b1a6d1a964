"""The page: sound, safe, whole without a network or scripts; and the photographs it shows."""

import base64
import copy
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from regaze.errors import StudyError
from regaze.report.data import Case, View
from regaze.report.page import render, write_report
from tests.report.contents import WORSE, Reader, case, content, view

SIGNED = np.where(np.arange(32) < 16, -1, 1).astype(np.float32) * np.ones((32, 1), np.float32)
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


def test_evidence_stands_beside_the_attention():
    """For the class that the new model gave, and the expert's where that is another; with a legend in words."""
    after = view(1, evidence={1: SIGNED, 2: -SIGNED / 4})
    agreed = dataclasses.replace(after, evidence={1: SIGNED})
    cases = [case("wrong", 2, after=after), case("right", 1, after=agreed), case("ungraded", None, after=agreed)]
    page = render(content(cases=cases, worse_graded=[], worse_maps=[]))
    reader = Reader(page)
    assert reader.faults == []
    said = re.findall(
        r"Evidence after : for (\w+) (the class that it gave|the class that both gave|the expert's)", reader.text
    )
    assert said == [
        ("mild", "the class that both gave"),
        ("mild", "the class that it gave"),
        ("moderate", "the expert's"),
        ("mild", "the class that it gave"),
    ]
    assert len(reader.all("article", "with-evidence")) == 3
    assert len(reader.all("img")) == 3 * (1 + 2 + 4) + 4
    assert "blue speaks for the class, orange against it, grey is neither" in reader.text
    assert "evidence against a class for it" in reader.text


def test_evidence_is_blue_for_and_orange_against_on_one_scale():
    """The picture of a case: right half for the class, left half against it; the expert's class a quarter as strong."""
    after = view(1, evidence={1: SIGNED, 2: -SIGNED / 4})
    page = render(content(cases=[case("wrong", 2, after=after)], worse_graded=[], worse_maps=[]))
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(a["src"].partition(",")[2]))).convert("RGB")).astype(int)
        for a in Reader(page).all("img")
        if a["alt"].startswith("Evidence for")
    ]
    own, experts = ((picture[..., 2] - picture[..., 0]) for picture in pictures)
    assert own[:, 20:].min() > 15 > -40 > own[:, :12].max()
    assert experts[:, :12].min() > 0 > experts[:, 20:].max()
    assert abs(experts).max() < abs(own).max()


def test_without_evidence_the_page_does_not_speak_of_it():
    """Maps that an earlier version kept have none: no picture, no legend, no words."""
    reader = Reader(render(content()))
    assert "vidence after" not in reader.text
    assert "evidence against" not in reader.text
    assert not reader.all("article", "with-evidence")


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
    with pytest.raises(ValueError, match="evidence of 2 of training/a"):
        case(after=view(1, evidence={2: np.zeros((16, 16), np.float32)}))


def test_thirty_cases_stay_below_six_megabytes():
    """Even noise, which compresses worst of all, keeps the page small enough to mail."""
    rng = np.random.default_rng(0)
    photo = np.clip(rng.normal(120, 18, (512, 512, 3)), 0, 255).astype(np.uint8)
    fused = rng.random((512, 512)).astype(np.float32)
    scales = [rng.random((s, s)).astype(np.float32) for s in (128, 64, 32)]
    seen = View(1, 0.5, [0.3, 0.5, 0.2], fused, scales, evidence={1: rng.normal(size=(512, 512)).astype(np.float32)})
    one = Case("training/a", 1, photo, None, "none", seen, seen)
    page = render(content(cases=[one], worse_graded=[], worse_maps=[]))
    base = len(render(content(cases=[], worse_graded=[], worse_maps=[])))
    assert base + 30 * (len(page) - base) < 6e6


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
