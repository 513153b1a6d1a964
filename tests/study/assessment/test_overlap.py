"""No model is judged on photographs that it learned from, however they come back; who insists is told everywhere."""

import json
import re
import shutil

import pytest
from PIL import Image


@pytest.fixture
def evaluate(regaze, tiny):
    """A function: study, further words -> what `regaze evaluate --json` gave."""

    def call(folder, *words):
        return regaze("evaluate", folder, *tiny["evaluation"], *tiny["machine"], *words, "--json")

    return call


@pytest.fixture
def learned(finished, open_quietly):
    """Six photographs that the finished study's models learned from."""
    return [sample for sample in open_quietly(finished).training(0) if sample.label is not None][:6]


@pytest.fixture
def judged_table(finished, open_quietly, tmp_path):
    """A function: files -> a table of them beside the study's own test photographs, in a folder of their own."""
    test = open_quietly(finished).test()

    def make(files):
        folder = tmp_path / "other"
        folder.mkdir(exist_ok=True)
        rows = ["image,label,patient"]
        for index, (file, label) in enumerate([*files, *((sample.image, sample.label) for sample in test)]):
            name = f"photo{index}{file.suffix}"
            shutil.copyfile(file, folder / name)
            rows.append(f"{name},{label},q{index}")
        (folder / "labels.csv").write_text("\n".join(rows) + "\n")
        return f"csv:{folder / 'labels.csv'}"

    return make


def brighter(sample, folder):
    """The photograph under another exposure, stored anew."""
    file = folder / f"bright-{sample.image.stem}.png"
    Image.open(sample.image).convert("RGB").point(lambda value: min(255, round(value * 1.15))).save(file)
    return file


def stored_anew(sample, folder):
    """The same JPEG with a comment in it: other bytes, the same pixels."""
    file, data, remark = folder / f"anew-{sample.image.stem}.jpg", sample.image.read_bytes(), b"exported again"
    file.write_bytes(data[:2] + b"\xff\xfe" + (len(remark) + 2).to_bytes(2, "big") + remark + data[2:])
    return file


def test_learned_files_are_refused_with_their_list(study_copy, evaluate, learned, judged_table):
    """Under other names and labels: exit code 1, each named, nothing judged; those never learned from are not named."""
    spec = judged_table([(sample.image, sample.label) for sample in learned[:3]])
    refused = evaluate(study_copy, "--data", spec)
    assert refused.code == 1
    assert "3 of the 9 photographs were learned from" in refused.err
    for name in ("photo0", "photo1", "photo2"):
        assert f"{name} (the same file)" in refused.err
    assert "photo3" not in refused.err
    assert "--allow-overlap" in refused.err
    assert not list((study_copy / "evaluation").glob("data-*/multi-scale*.json"))


def test_who_insists_is_told_everywhere(study_copy, regaze, tiny, learned, judged_table):
    """--allow-overlap: the count stands in the JSON, in a note, and at every table."""
    spec = judged_table([(sample.image, sample.label) for sample in learned[:3]])
    words = ["evaluate", study_copy, "--data", spec, "--allow-overlap", *tiny["evaluation"], *tiny["machine"]]
    result = regaze(*words, "--json").json
    assert result["overlap"]["n"] == 3
    assert {item["sample"] for item in result["overlap"]["photographs"]} == {"photo0", "photo1", "photo2"}
    assert set(result["overlap"]["photographs"][0]["models"]) == set(result["models"])
    assert any(note.startswith("3 of the 9 photographs were learned from") for note in result["notes"])
    shown = regaze(*words).out
    tables = " ".join(shown.split())
    assert "9 graded photographs; 3 of the 9 photographs were learned from" in tables
    assert tables.count("3 of the 9 photographs were learned from") >= 4, "several tables, and the note"


def test_copies_are_found_too(study_copy, evaluate, learned, judged_table, tmp_path):
    """The same pixels in another file, and one photograph under another exposure, are what was learned."""
    spec = judged_table([(stored_anew(learned[0], tmp_path), 0), (brighter(learned[1], tmp_path), 1)])
    refused = evaluate(study_copy, "--data", spec)
    assert refused.code == 1
    assert "photo0 (the same picture)" in refused.err
    assert f"photo1 (a near-copy of {learned[1].id})" in refused.err
    assert "2 of the 8 photographs" in refused.err


def test_the_second_call_reads_no_photograph_for_it(study_copy, evaluate, learned, judged_table, monkeypatch):
    """What was found is kept beside the other data's records; a damaged file is made again."""
    from regaze.study.assessment import overlap

    spec = judged_table([(learned[0].image, learned[0].label)])
    first = evaluate(study_copy, "--data", spec).err
    asked = []
    original = overlap.near_copies
    monkeypatch.setattr(overlap, "near_copies", lambda *given: (asked.append(1), original(*given))[1])
    assert evaluate(study_copy, "--data", spec).err == first
    assert asked == []
    (file,) = (study_copy / "evaluation").glob("data-*/near_copies.json")
    file.write_text(file.read_text()[:20])
    assert evaluate(study_copy, "--data", spec).err == first
    assert asked == [1]


def test_own_parts_are_judged_as_before(finished, evaluate):
    """Out of fold and on the study's own test part nothing overlaps, and nothing is said."""
    result = evaluate(finished).json
    assert result["overlap"] == {"n": 0, "words": "", "photographs": [], "unknown": []}
    assert not any("learned from" in note for note in result["notes"])


def test_a_test_photograph_that_is_a_training_photograph(regaze, tiny, table_of, evaluate, tmp_path):
    """A table with one file in both parts: the models are not judged on it."""
    seen = []

    def row_of(row):
        if row["split"] == "test" and not seen:
            seen.append(row["image"])
        return row

    table = table_of(tmp_path / "t.csv", row_of)
    text = table.read_text().splitlines()
    header = text[0].split(",")
    again = next(line.split(",") for line in text[1:] if seen[0] in line)
    file = table.parent / again[header.index("image")]
    copy = tmp_path / "again.jpg"
    shutil.copyfile(file, copy)
    again[header.index("image")] = str(copy)
    again[header.index("split")] = "training"
    table.write_text("\n".join([*text, ",".join(again)]) + "\n")
    folder = tmp_path / "study"
    assert regaze("init", folder, "--data", f"csv:{table}", "--size", "64").code == 0
    assert regaze("train", folder, *tiny["network"], *tiny["training"], *tiny["machine"]).code == 0
    refused = evaluate(folder)
    assert refused.code == 1
    assert "1 of the 6 photographs were learned from" in refused.err
    assert evaluate(folder, "--allow-overlap").json["overlap"]["n"] == 1


def test_a_model_of_another_study(finished, regaze, tiny, evaluate, learned, table_of, tmp_path):
    """A model that was put into a study is known by what it learned from, and so is what is fine-tuned from it."""
    mine = {sample.image.name for sample in learned}

    def row_of(row):
        name = row["image"].rpartition("/")[2]
        return row | {"split": "test" if name in mine else "training", "patient": f"p{name}"}

    folder, machine = tmp_path / "study", tiny["machine"]
    table = table_of(tmp_path / "t.csv", row_of)
    assert regaze("init", folder, "--data", f"csv:{table}", "--size", "64").code == 0
    shutil.copytree(finished / "models" / "multi-scale", folder / "models" / "multi-scale")
    refused = evaluate(folder)
    assert refused.code == 1
    assert f"{len(mine)} of the {len(mine)} photographs were learned from (by multi-scale)" in refused.err
    for words in (["collect"], ["select", "--everything"], ["correct"], ["finetune", "--epochs", "1", "--batch", "8"]):
        done = regaze(words[0], folder, *words[1:], *(machine if words[0] in ("collect", "finetune") else []))
        assert done.code == 0, done.err
    shutil.rmtree(folder / "models" / "multi-scale")
    refused = evaluate(folder)
    assert refused.code == 1
    assert "were learned from (by multi-scale-finetuned)" in refused.err


def test_what_an_earlier_version_made(study_copy, evaluate, learned, judged_table):
    """Without learned.json the study's own split says what was learned; of another study's model nobody can tell."""
    for card in study_copy.glob("models/*/fold0/model.json"):
        values = json.loads(card.read_text())
        del values["data"]["learned"]
        card.write_text(json.dumps(values))
        (card.parent / "learned.json").unlink()
    spec = judged_table([(learned[0].image, learned[0].label)])
    refused = evaluate(study_copy, "--data", spec)
    assert refused.code == 1
    assert "photo0 (the same file)" in refused.err
    card = study_copy / "models" / "multi-scale" / "fold0" / "model.json"
    values = json.loads(card.read_text())
    values["data"]["fingerprint"] = "0" * 16
    card.write_text(json.dumps(values))
    result = evaluate(study_copy).json
    assert result["overlap"]["unknown"] == ["multi-scale"]
    assert any(note.startswith("multi-scale does not say what it learned from") for note in result["notes"])


@pytest.mark.parametrize(
    "change", [lambda text: text[:-40], lambda text: re.sub('"[0-9a-f]{32}"', f'"{"0" * 32}"', text, count=1), None]
)
def test_a_damaged_list_is_no_free_pass(study_copy, evaluate, regaze, change):
    """A list that is cut, changed or gone is refused by its name, by `evaluate` and by `verify`."""
    file = study_copy / "models" / "multi-scale" / "fold0" / "learned.json"
    if change is None:
        file.unlink()
    else:
        file.write_text(change(file.read_text()))
    refused = evaluate(study_copy)
    assert refused.code == 1
    assert "learned.json is missing or damaged" in refused.err
    assert any("learned.json" in problem for problem in regaze("verify", study_copy, "--json").json["problems"])


def test_a_fine_tuned_model_is_not_held_to_its_lessons(study_copy, regaze, tiny):
    """`agree` refuses corrections that the model learned from, unless told to, and then says so."""
    name = "multi-scale-finetuned"
    assert regaze("collect", study_copy, "--model", name, *tiny["machine"]).code == 0
    refused = regaze("agree", study_copy, "--model", name)
    assert refused.code == 1
    assert "the model learned these very corrections" in refused.err
    assert "--allow-overlap" in refused.err
    found = regaze("agree", study_copy, "--model", name, "--allow-overlap", "--json").json
    assert found["n"] == len(found["learned"]) > 0
    shown = " ".join(regaze("agree", study_copy, "--model", name, "--allow-overlap").out.split())
    assert f"of {found['n']} of the {found['n']} photographs the model learned" in shown
    assert regaze("agree", study_copy, "--json").json["learned"] == []
