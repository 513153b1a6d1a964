"""Studies that are split by something else than the patient say so wherever they speak of their split."""

import json
import re

import pytest

from regaze.commands.tables import describe
from regaze.console import Voice
from regaze.errors import DataError, StudyError
from regaze.evaluation import periods
from regaze.study.folder import create_study, open_study
from regaze.study.options import StudyOptions

QUIET = Voice(quiet=True)
SITES = ("north", "south", "east")


@pytest.fixture(scope="module")
def site_table(table_of, tmp_path_factory):
    """A table of 30 painted photographs without a test part, five patients from each of three sites."""

    def row_of_site(row):
        number = int(row["patient"].removeprefix("p"))
        return {key: value for key, value in row.items() if key != "split"} | {"site": SITES[number % 3]}

    return table_of(tmp_path_factory.mktemp("sites") / "table.csv", row_of_site)


def test_init_shows_what_lies_in_each_fold(site_table, tmp_path):
    """Kind of split, sites and patients, and a table of grades: every photograph is counted once, sites by name."""
    study = create_study(tmp_path / "s", StudyOptions(f"csv:{site_table}", size=64, folds=3, split_by="site"), QUIET)
    contents, lines = describe(study)
    split = contents["split"]
    assert (split["by"], split["periods"], split["groups"]) == ("column site", 3, "15 by column patient")
    assert (split["pieces"], split["without_period"]) == (3, 0)
    assert sorted(fold["periods"] for fold in split["folds"]) == [["east"], ["north"], ["south"]]
    for number, fold in enumerate(split["folds"]):
        held = study.validation(number)
        assert {sample.period for sample in held} == set(fold["periods"])
        assert fold["photographs"] == len(held) == sum(fold["grades"].values()) == 10
        for grade in study.classes:
            assert fold["grades"][grade] == sum(study.classes[sample.label] == grade for sample in held)
    assert {"groups: 15 by column patient", "split by column site: 3 periods"} <= set(lines)
    for fold in split["folds"]:
        counts = r"\s+".join(str(count) for grade, count in fold["grades"].items() if grade != "no grade")
        row = rf"\s+{fold['name']}\s+10\s+{counts}\s+{fold['periods'][0]}"
        assert any(re.fullmatch(row, line) for line in lines), row


def test_one_fixed_part_is_shown_as_two(site_table, tmp_path):
    """Without cross-validation the table has validation and training, and by patient no periods."""
    study = create_study(tmp_path / "s", StudyOptions(f"csv:{site_table}", size=64), QUIET)
    split = describe(study)[0]["split"]
    assert (split["by"], split["periods"]) == ("patient", None)
    assert [(fold["name"], fold["periods"]) for fold in split["folds"]] == [("validation", []), ("training", [])]
    assert [fold["photographs"] for fold in split["folds"]] == [len(study.validation(0)), len(study.training(0))]


def test_studies_by_patient_are_as_before(site_table, tmp_path):
    """A study.json that knows nothing of the option opens, with the same split; another split is another study."""
    options = StudyOptions(f"csv:{site_table}", size=64, folds=3)
    made = create_study(tmp_path / "s", options, QUIET)
    file = tmp_path / "s" / "study.json"
    values = json.loads(file.read_text())
    assert values["options"].pop("split_by") == "patient"
    file.write_text(json.dumps(values))
    assert open_study(tmp_path / "s", QUIET).split == made.split
    assert create_study(tmp_path / "s", options, QUIET).split == made.split
    with pytest.raises(StudyError, match="was made with --split-by patient: give the same options"):
        create_study(tmp_path / "s", StudyOptions(f"csv:{site_table}", size=64, folds=3, split_by="site"), QUIET)


def test_what_cannot_be_split_leaves_no_study(site_table, tmp_path):
    """No dates, too few sites for the folds or for one fifth: one error with the cure, and no folder."""
    for options, error, words in (
        ({"split_by": "period"}, DataError, "says when it was taken.*pass --split-by patient"),
        ({"split_by": "site", "folds": 4}, DataError, "30 training photographs form 3 groups.*ask for fewer"),
        ({"split_by": "site"}, StudyError, "at least 5 periods .*: pass --folds 2"),
    ):
        with pytest.raises(error, match=words):
            create_study(tmp_path / "s", StudyOptions(f"csv:{site_table}", size=64, **options), QUIET)
        assert not (tmp_path / "s").exists()


def test_the_whole_loop_by_site(site_table, tmp_path, regaze, tiny, monkeypatch, check_figures):
    """`run --split-by site`: notes, JSON, page and the stored run say the site; figures by site count every one."""
    monkeypatch.setattr(periods, "FEWEST_PHOTOGRAPHS", 5)
    options = [word for word in tiny["run"] if word not in (tiny["data"], "--data")]
    call = ("run", tmp_path / "s", "--data", f"csv:{site_table}", "--folds", "3", "--split-by", "site")
    outcome = regaze(*call, *options, "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    check_figures(result, more=("report", "before", "after", "control"))
    assert any("pooled over 3 folds, split by column site" in note for note in result["notes"])
    for name, figures in result["models"].items():
        by_site = figures["by_period"]
        assert {site: entry["n"] for site, entry in by_site["periods"].items()} == dict.fromkeys(sorted(SITES), 10)
        assert by_site["n_left_out"] == 0
        mean = sum(entry["accuracy"] for entry in by_site["periods"].values()) / 3
        assert mean == pytest.approx(figures["accuracy"])
        assert sum(entry["excess"]["mean"] for entry in by_site["periods"].values()) == pytest.approx(0)
        assert any(note.startswith(f"{name}: the error ") for note in result["notes"])
    page = (tmp_path / "s" / "report.html").read_text()
    assert "Does the error follow the period?" in page
    assert all(f"{site}<br>" in page for site in SITES)
    assert "column site, groups not divided, copies of one picture together" in page
    assert "--split-by site" in json.loads((tmp_path / "s" / "run.json").read_text())["command"]
    shown = regaze("evaluate", tmp_path / "s", *tiny["machine"], *tiny["evaluation"]).out
    assert "by period (camera and year, site)" in shown
    assert regaze("run", tmp_path / "s", "--json").json["models"] == result["models"]


def test_an_earlier_run_goes_on(study_copy, regaze):
    """A run.json that knows nothing of the option is taken up with a split by patient."""
    file = study_copy / "run.json"
    values = json.loads(file.read_text())
    assert values["options"].pop("split_by") == "patient"
    file.write_text(json.dumps(values))
    outcome = regaze("run", study_copy, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["after"] == "multi-scale-finetuned"
