"""What reaches the terminal: foreign text is one line, plain, and no longer than a person can read."""

import csv
import json
import os
import shutil
import sys
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from regaze.console import Sheet, line, page
from regaze.records import Correction

HOSTILE = "[/red]\x1b[31m\x9b2J\nwarning: forged\u202e\r[link=x]:smile:" + "a" * 1_000_000


def plain(text):
    """No character that a terminal acts on, no line that is too long to read."""
    assert text
    for shown in text.split("\n"):
        assert len(shown) < 2500
        assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs") for character in shown), shown[:200]
        assert not shown.startswith("warning: forged")
    return True


@pytest.mark.parametrize("text", [HOSTILE, "\x07" * 5000, "\udcff.jpg", "a b " * 10_000, "\u2028\u0085x", ""])
def test_a_line_is_one_line_and_short(text):
    """Escaped and cut, whatever comes; what is harmless stays as it is."""
    shown = line(f"file {text}: grade 2")
    assert plain(shown)
    assert shown.startswith("file ")
    assert shown.endswith(": grade 2")


def test_ordinary_names_stay_as_they_are():
    """Letters of any script, brackets, and paths as long as paths get."""
    for name in ("Müller [R2] 视网膜 \u00a0é", "/".join(["folder name"] * 60), "C:\\photos\\eye.jpg", "x" * 200):
        assert line(name) == name


def test_a_table_prints_markup_as_text(capsys):
    """Cells, headings and titles are text, and a long cell is cut."""
    sheet = Sheet("[/b] title")
    sheet.add_column("[/i]")
    sheet.add_row("[/red] \x1b[31m:smile:")
    sheet.add_row("n" * 1_000_000)
    page(120).print(sheet)
    shown = capsys.readouterr().out
    assert "[/b] title" in shown
    assert "[/i]" in shown
    assert "[/red] \\x1b[31m:smile:" in shown
    assert plain(shown)
    assert len(shown) < 2000


@pytest.fixture
def hostile_study(study_copy, open_quietly):
    """A finished study with corrections by two experts of hostile names."""
    store = open_quietly(study_copy).store
    entry = store.correction(store.correction_index()[0].id)
    first = Correction(**{**vars(entry), "id": 0, "author": "[/red]\x1b[31m\u202e"})
    second = replace(first, author="[bold]" + "b" * 150, remark="[/x]\x1b]0;title\x07")
    store.add_corrections([first, second])
    return study_copy


@pytest.mark.parametrize("command", ["agree", "verify", "rounds", "export", "finetune"])
def test_authors_of_corrections_reach_the_terminal_as_text(hostile_study, regaze, command, tmp_path):
    """Markup in an author's name crashes nothing, and its escape codes do not pass."""
    more = {
        "export": ["--to", tmp_path / "out.json", "--format", "coco"],
        "finetune": ["--name", "again", "--epochs", "1", "--batch", "8", "--precision", "fp32", "--workers", "1"],
        "rounds": ["--resamples", "5", "--precision", "fp32", "--workers", "1"],
    }
    outcome = regaze(command, hostile_study, *more.get(command, []))
    assert outcome.code == 0, outcome.err
    assert plain(outcome.out)
    if command == "agree":
        assert "[/red]" in outcome.out
        assert "[bold]" in outcome.out
        assert "b" * 100 not in outcome.out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_labels_and_names_of_a_table_reach_the_terminal_as_text(regaze, table_of, tmp_path, options):
    """`init` on a table whose labels are hostile: notes, counts and JSON hold no escape code."""
    words = {"0": "[/red]\x1b[2J", "1": "\u202eevil\x9b1m", "2": "l" * 100_000}
    table = table_of(tmp_path / "t.csv", lambda row: row | {"label": words.get(row["label"], "other")})
    outcome = regaze("init", tmp_path / "study", "--data", f"csv:{table}", "--size", "64", *options)
    assert outcome.code == 0, outcome.err
    if options:
        assert "[/red]\x1b[2J" in json.loads(outcome.out)["grades"]
        assert outcome.out.isascii()
        assert outcome.out.strip().isprintable()
    else:
        assert plain(outcome.out)
        assert "[/red]\\x1b[2J" in outcome.out


def test_a_message_about_a_hostile_value_is_one_line(regaze, finished, tmp_path):
    """An error names the value, escaped and cut."""
    table = tmp_path / "t.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["image", "label"], [HOSTILE, "1"]])
    for words in (
        ("init", tmp_path / "new", "--data", f"csv:{table}"),
        ("use", finished, HOSTILE),
        ("train", finished, "--name", HOSTILE),
        ("collect", finished, "--model", HOSTILE),
        ("evaluate", finished, "--data", HOSTILE),
        ("init", tmp_path / "new", "--data", "folder:" + HOSTILE),
    ):
        outcome = regaze(*words)
        assert outcome.code == 1, words[0]
        assert outcome.err.count("\n") == 1, outcome.err[:500]
        assert plain(outcome.err)
        assert outcome.err.startswith("regaze: ")


needs_bytes = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode there")


@needs_bytes
def test_names_that_are_no_utf8_are_one_line(regaze, painted, tmp_path, finished):
    """`init` refuses them, `predict` and `explain` take them; a study below such a folder works."""
    photo = next(painted.rglob("*.jpg"))
    odd = os.fsdecode(b"eye\xff.jpg")
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(np.full((40, 40, 3), 30 * number + ord(name), np.uint8)).save(
                tmp_path / "set" / name / f"{number}.png"
            )
    good = regaze("init", tmp_path / "first", "--data", f"folder:{tmp_path / 'set'}", "--size", "32")
    assert good.code == 0, good.err
    shutil.copy(photo, tmp_path / "set" / "a" / odd)
    bad = regaze("init", tmp_path / "second", "--data", f"folder:{tmp_path / 'set'}")
    assert (bad.code, bad.err.count("\n")) == (1, 1)
    assert "no UTF-8: rename it" in bad.err
    model = finished / "models" / "multi-scale" / "fold0"
    for words in (("predict", "--out", tmp_path / "out"), ("explain", "--by", "attention", "--to", tmp_path / "p.png")):
        outcome = regaze(words[0], model, tmp_path / "set" / "a" / odd, *words[1:], "--precision", "fp32")
        assert outcome.code == 0, outcome.err
        assert plain(outcome.out)
    written = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert written["predictions"][0]["file"].endswith(odd)
    home = tmp_path / os.fsdecode(b"f\xfe")
    home.mkdir()
    table = shutil.copytree(tmp_path / "set", home / "set")
    (table / "a" / odd).unlink()
    outcome = regaze("init", home / "study", "--data", f"folder:{table}", "--size", "32")
    assert outcome.code == 0, outcome.err
    assert plain(outcome.out)
    assert regaze("verify", home / "study").code == 0
