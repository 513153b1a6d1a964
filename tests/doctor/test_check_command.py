"""`regaze check`: what it prints, its page, its exit code, and that it goes on where it was."""

import base64
import io
import os
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from regaze import files as files_module
from regaze.doctor import looks as looks_module
from regaze.doctor.look import look_at
from regaze.records import Sample
from regaze.report.check_page import _picture
from tests.doctor.conftest import eye
from tests.report.contents import Reader

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What a check keeps lies in the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_exit_code_and_json(table, regaze):
    """0 and no finding for sound data; 1 where something would corrupt a result, with everything in one object."""
    outcome = regaze("check", table.write(), "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["findings"] == []
    assert outcome.json["classes"]["0"] == {"photographs": 6, "groups": 6}
    table.add("copy.png", "2", eye(1))
    outcome = regaze("check", table.write(), "--json")
    assert outcome.code == 1
    assert outcome.json["corrupts"]
    [finding] = outcome.json["findings"]
    assert (finding["kind"], finding["harm"], finding["count"]) == ("contradictory-copies", "corrupts", 1)
    assert finding["items"] == [{"text": "eye01 (1) = copy (2)", "photographs": ["eye01", "copy"]}]
    words = regaze("check", table.write())
    assert words.code == 1
    assert words.out.index("would corrupt a result:") < words.out.index("eye01 (1) = copy (2)")


def test_the_page_shows_and_escapes(table, regaze, tmp_path):
    """Each finding stands on the page with its pictures; no name becomes markup, and nothing is loaded."""
    table.save("copy.png", eye(1))
    for row in table.rows:
        row["label"] = HOSTILE if row["label"] == "2" else row["label"]
    table.rows.append({"image": "copy.png", "label": HOSTILE, "patient": "<b>p</b>"})
    outcome = regaze("check", table.write(), "--html", tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert outcome.code == 1
    assert "1 finding would corrupt a result" in page
    assert page.count("<img ") == 2
    assert page.count('src="data:image/webp;base64,') == 2
    assert HOSTILE not in page
    reader = Reader(page)
    assert HOSTILE in reader.text
    assert "<script" not in page


def test_data_that_are_refused_still_name_their_broken_files(table, regaze):
    """Where the table as a whole cannot be read, that is a finding beside the broken files; no photograph is lost."""
    for row in table.rows:
        row["label"] = "0"
    table.photo(3).write_bytes(b"")
    outcome = regaze("check", table.write(), "--json")
    assert outcome.code == 1
    texts = {finding["kind"]: finding["text"] for finding in outcome.json["findings"]}
    assert set(texts) == {"refused", "unreadable"}
    assert "one class" in texts["refused"]
    assert "eye03.png: empty" in texts["unreadable"]


@pytest.mark.parametrize("what", ["nowhere", "synthetic:20", "csv:nowhere.csv", "folder:"])
def test_nothing_to_check_is_one_line(regaze, what):
    """A path or spelling that is none is a mistake of the user, no finding."""
    outcome = regaze("check", what)
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1


def test_a_check_goes_on_where_it_was(table, regaze, tmp_path, monkeypatch):
    """A check that was killed keeps its looks: only what is new or changed is looked at again; a torn line is none."""
    seen = []

    def count(sample):
        seen.append(sample.id)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return look_at(sample)

    monkeypatch.setattr(looks_module, "look_at", count)
    monkeypatch.setattr(files_module, "_TICK", 0)  # the photographs are new
    assert regaze("check", table.write()).code == 130
    [kept] = (tmp_path / "cache" / "regaze" / "check").glob("*.jsonl")
    assert len(kept.read_text().splitlines()) == 5
    kept.write_text(kept.read_text()[:-40])
    seen[:] = ["none"] * 10  # no interruption any more
    assert regaze("check", table.write()).code == 0
    assert len(seen) - 10 == 12  # five were kept, one of them torn
    table.save("eye02.png", eye(77))
    assert regaze("check", table.write()).code == 0
    assert seen[22:] == ["eye02"]


def test_a_file_of_the_same_size_and_time_is_looked_at_again(table, regaze):
    """A photograph exchanged for another of its size, its time set back, gives no finding of what it was before."""
    black = np.zeros((120, 160, 3), np.uint8)
    table.save("eye00.bmp", black)
    file = table.root / "eye00.bmp"
    table.rows[0]["image"] = file.name
    time.sleep(0.2)  # at rest, so that it is kept
    kinds = [finding["kind"] for finding in regaze("check", table.write(), "--json").json["findings"]]
    assert "black" in kinds
    before = file.stat()
    Image.fromarray(eye(0)).save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    kinds = [finding["kind"] for finding in regaze("check", table.write(), "--json").json["findings"]]
    assert "black" not in kinds


def test_what_was_written_just_now_is_not_kept(tmp_path, monkeypatch):
    """Two writes within one tick of the clock look alike, so that a look at such a file is made again."""
    Image.fromarray(eye(1)).save(tmp_path / "a.png")
    sample = Sample("a", tmp_path / "a.png", 0)
    monkeypatch.setattr(files_module, "_TICK", 10**12)
    looks_module.Looks(tmp_path / "kept").at([sample])
    assert (tmp_path / "kept").read_text() == ""
    monkeypatch.setattr(files_module, "_TICK", 0)
    looks_module.Looks(tmp_path / "kept").at([sample])
    assert (tmp_path / "kept").read_text().count("key") == 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_of_the_page_are_upright(tmp_path, orientation):
    """A photograph that EXIF turns is shown as its viewer shows it, with what is marked in it."""
    stored = np.zeros((60, 100, 3), np.uint8)
    stored[:20, :30] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    address, _ = _picture(Sample("a", tmp_path / "a.png", 0), with_masks=False)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("L"))
    upright = np.asarray(
        ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))
        .convert("L")
        .resize((77, 128) if orientation in (6, 8) else (128, 77))
    )
    top, left = (128 - upright.shape[0]) // 2, (128 - upright.shape[1]) // 2
    inner = shown[top : top + upright.shape[0], left : left + upright.shape[1]]
    assert np.abs(inner.astype(int) - upright).mean() < 12


def test_processes_see_the_same(table, monkeypatch):
    """What several processes see is what one sees, in the same order."""
    monkeypatch.setattr(looks_module, "_POOL_PAYS", 2)
    monkeypatch.setattr(looks_module.os, "cpu_count", lambda: 2)
    from regaze.data.sources import list_photographs

    samples = list_photographs(table.write()).samples[:6]
    shown = []
    found = looks_module.Looks(None).at(samples, lambda done, total: shown.append((done, total)))
    assert found == [look_at(sample) for sample in samples]
    assert shown[-1] == (6, 6)


def test_a_study_is_checked_as_it_was_made(new_study, tiny, regaze):
    """A study needs no options, and is refused any; what is kept lies in its own cache."""
    study = new_study()
    assert regaze("init", study, "--data", tiny["data"], "--size", "64").code == 0
    outcome = regaze("check", study, "--json")
    assert outcome.json["photographs"] == 30
    assert outcome.code == int(outcome.json["corrupts"])
    assert (study / "cache" / "check.jsonl").is_file()
    refused = regaze("check", study, "--patient", "x")
    assert refused.code == 1
    assert "--patient" in refused.err
    next((study / "data").rglob("*.jpg")).write_bytes(b"")
    outcome = regaze("check", study, "--json")
    assert outcome.code == 1
    assert "unreadable" in [finding["kind"] for finding in outcome.json["findings"]]


def test_near_copies_are_grouped_as_init_groups_them(table, regaze):
    """`check --group-near-copies` says of data what a study made with it would say: two exposures are one group."""
    table.add("exposed.png", "1", np.roll(eye(1, light=0.6), (3, -4), axis=(0, 1)))
    data = table.write()
    alone, together = (regaze("check", data, *options, "--json").json for options in ([], ["--group-near-copies"]))
    kinds = [[finding["kind"] for finding in found["findings"]] for found in (alone, together)]
    assert ["near-copies" in each for each in kinds] == [True, False]
    assert alone["classes"]["1"]["groups"] == together["classes"]["1"]["groups"] + 1


def test_init_names_what_would_corrupt(table, regaze, tmp_path):
    """`init` says by itself what it can see without looking at pictures, and names the command for the rest."""
    for number, row in enumerate(table.rows):
        row["split"] = "test" if number > 12 else "train"
    table.rows[15]["patient"] = "p0"
    outcome = regaze("init", tmp_path / "study", "--data", table.write(), "--size", "64")
    assert outcome.code == 0, outcome.err
    assert "would corrupt a result: 1 patient is on both sides of a split (p0: 1 in training, 1 in test)" in outcome.out
    assert "regaze check" in outcome.err
