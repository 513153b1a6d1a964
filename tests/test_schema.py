"""What this program wrote is checked at the door: a damaged file is named in one line, never taken and no traceback."""

import json

import pytest

from regaze.console import Voice
from regaze.errors import ModelError, StudyError
from regaze.files import read_json
from regaze.models.card import read_card
from regaze.study.folder import open_study

INFINITY, GIANT = "1e999", "7" * 5000
MODEL = "models/multi-scale/fold0/model.json"


@pytest.mark.parametrize("text", ["NaN", "Infinity", INFINITY, GIANT, "-" + GIANT, "9" * 40, "[" * 10**5 + "]" * 10**5])
def test_json_that_nobody_wrote_is_refused(tmp_path, text):
    """Numbers that are none, giant ones and bottomless nesting are a ValueError, as all damage is."""
    (tmp_path / "a.json").write_text(f'{{"a": {text}}}')
    with pytest.raises(ValueError, match=r"no number|no finite|digits|nested|limit"):
        read_json(tmp_path / "a.json")


OPTIONAL = [("network", "backbone"), *((key,) for key in ("lineage", "history", "data", "key", "details"))]
MAY_BE = [(("ordinal",), True), (("crop",), True), *((key, ...) for key in OPTIONAL)]
MAY_BE += [((key,), {"a": {}}) for key in ("data", "details", "recipe")]


def changed(file, keys, value):
    """Set a value inside a JSON file; `...` takes the key away."""
    values = json.loads(file.read_text())
    place = values
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    file.write_text(json.dumps(values))


PLACES = "name network classes ordinal decoding size crop mean std recipe lineage history data key created details"


@pytest.mark.parametrize("key", [("network", "backbone"), *((name,) for name in PLACES.split())])
@pytest.mark.parametrize("value", [..., [1], {"a": {}}, 1.5, True])
def test_damaged_cards(study_copy, key, value):
    """A value of another type, or none, in any place that decides something."""
    file = study_copy / MODEL
    if (key, value) in MAY_BE:
        pytest.skip("this is what a card may hold")
    changed(file, key, value)
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        read_card(file.parent)


STUDY_FAULTS = {
    "options": [[]],
    "options.size": ["224", 5],
    "options.folds": [1.5],
    "options.crop": [1],
    "options.data": [None],
    "options.extra": [1],
    "options.seed": [True],
    "options.split_by": [3],
    "split": [[], {}],
    "fingerprint": [5, ...],
    "near_copies": [[["a", 1]]],
    "schema_version": ["x"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in STUDY_FAULTS.items() for value in values])
def test_damaged_studies(study_copy, key, value):
    """study.json with a wrong type, range, or split is one StudyError that names it."""
    changed(study_copy / "study.json", key.split("."), value)
    with pytest.raises(StudyError, match=r"study\.json is damaged"):
        open_study(study_copy, Voice(quiet=True))


@pytest.mark.parametrize("value", [3, [], {"options": {}}, {"command": "x", "options": {"training": {"epochs": "9"}}}])
def test_damaged_runs(study_copy, regaze, value):
    """run.json that is none ends `regaze run` in one line."""
    (study_copy / "run.json").write_text(json.dumps(value))
    outcome = regaze("run", study_copy)
    assert outcome.code == 1
    assert "run.json is damaged" in outcome.err
    assert "Traceback" not in outcome.err
