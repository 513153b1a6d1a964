"""The contact sheet of `collect --html`: all photographs or what was left out, the worst first, nothing foreign raw."""

import re

import pytest

from regaze.report import contact_page
from regaze.report.templates import filled


@pytest.fixture
def sheet(study_copy, regaze, tiny, tmp_path):
    """A function that writes the sheet and reads it; a part of its text."""

    def write(name="looked.html"):
        done = regaze("collect", study_copy, *tiny["machine"], "--html", tmp_path / name, "--json")
        assert done.code == 0, done.err
        assert done.json["page"] == str(tmp_path / name)
        return (tmp_path / name).read_text(encoding="utf-8"), done.json["diagnosis"]

    return write


def test_every_photograph_is_there_with_both_grades_the_worst_first(sheet, study_copy, open_quietly):
    """One article for each training photograph, groups in the order of harm, pictures inline and described."""
    page, diagnosis = sheet()
    ids = [sample.id for sample in open_quietly(study_copy).training(0)]
    assert sorted(re.findall(r'<article tabindex="0" aria-label="([^"]+)"', page)) == sorted(ids)
    groups = [key for key in ("misgraded", "elsewhere", "unknown", "fine") if diagnosis[key]]
    assert re.findall(r'<section id="(\w+)" tabindex', page) == groups
    assert re.findall(r'<a href="#(\w+)"', page) == groups
    assert page.count('src="data:image/webp;base64,') == page.count("<img") == page.count("alt=") == 2 * len(ids)
    assert len(re.findall(r"Given: <strong>[^<]+</strong>. Predicted: <strong>[^<]+</strong>", page)) == len(ids)
    assert page.count("✗ wrong") == diagnosis["misgraded"] > 0
    assert f"All {len(ids)} are shown." in page
    assert not re.search(r"https?:|<script|@import|url\(", page)


def test_wrong_grades_stand_by_how_far_they_are_off(study_copy, open_quietly):
    """Of two the further one first, of equals the surer one; then the maps, the furthest off first."""
    study = open_quietly(study_copy)
    items = [item for _, item in contact_page._ranked(study, "multi-scale")]
    wrong = [(-abs(item.grade - item.label), -item.confidence) for item in items if item.diagnosis == "misgraded"]
    maps = [item.enrichment for item in items if item.diagnosis == "elsewhere"]
    assert len(wrong) > 1
    assert wrong == sorted(wrong)
    assert maps == sorted(maps)


def test_the_sheet_is_bounded_and_says_what_it_left_out(sheet, monkeypatch):
    """At most so many photographs; the rest is counted by what is the matter with it."""
    monkeypatch.setattr(contact_page, "MOST", 3)
    page, diagnosis = sheet()
    total = sum(diagnosis.values())
    assert page.count("<article") == 3
    assert f"The first 3 of {total} photographs are shown; left out: " in page
    left = re.search(r"left out: ([^.]+)\.", page)[1]
    assert sum(map(int, re.findall(r"\d+", left))) == total - 3


def test_hostile_names_stay_text():
    """A photograph, class or model named like a tag is shown as it is spelled."""
    bad = '<script>alert("1")</script>'
    card = dict.fromkeys(("sample", "expert", "model", "sure", "where"), bad)
    page = filled(
        "contact.html.j2",
        model=bad,
        photographs=1,
        shown=1,
        counts=[("graded wrong", 1)],
        left=[],
        sections=[("misgraded", "Graded wrong", [card | {"right": False, "photo": "data:,", "map": "data:,"}])],
        ramp=["rgb(0 0 0)"],
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8


@pytest.mark.parametrize(("command", "option"), [("collect", "--html"), ("check", "--html"), ("report", "--to")])
def test_a_folder_is_no_page(study_copy, regaze, tmp_path, command, option):
    """A path where a folder is: one line with the cure, before anything is measured."""
    refused = regaze(command, study_copy, option, tmp_path)
    assert (refused.code, refused.out) == (1, "")
    assert re.fullmatch(r"regaze: [^\n]+ is a folder: give the page's file, e\.g\. [^\n]+\.html\.\n", refused.err)
