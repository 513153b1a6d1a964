"""The loop from Python: the same as the commands, with typed results, and a model that takes pictures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regaze
from regaze.errors import DataError, OptionError, RegazeError, StudyError

NOTEBOOK = Path(__file__).parent.parent / "docs" / "loop.ipynb"
MACHINE = {"precision": "fp32", "workers": 1}


def test_importing_regaze_stays_cheap():
    """All public names are there, and none loads torch before it is asked for."""
    program = "import sys, regaze; dir(regaze); assert not {'torch', 'PIL', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    names = ("open_study", "create_study", "train", "collect", "select", "correct", "finetune", "evaluate", "predict")
    assert set(names) <= set(regaze.__all__)
    assert all(callable(getattr(regaze, name)) for name in regaze.__all__ if name != "__version__")


def test_the_notebook_runs(tmp_path, monkeypatch, capsys, painted):
    """Its code cells run in order, as a reader runs them; it keeps no output."""
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(painted, tmp_path / "loop-study" / "data")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 4
    scope = {"__name__": "notebook"}
    for cell in cells:
        assert cell["outputs"] == []
        exec("".join(cell["source"]), scope)  # noqa: S102 - our own page
    assert "multi-scale-finetuned" in capsys.readouterr().out
    assert scope["collected"].diagnoses
    assert sum(scope["collected"].diagnoses.values()) == len(scope["collected"].photographs)
    assert (tmp_path / "loop-study" / "models" / "multi-scale-control" / "fold0" / "model.json").is_file()


def test_functions_find_what_the_commands_made(study_copy, finished_run):
    """Nothing is trained, selected or corrected twice, and the figures are those of the command."""
    study = regaze.open_study(study_copy)
    options = {"epochs": 2, "batch": 8, **MACHINE}
    before = {path: path.stat().st_mtime_ns for path in study_copy.rglob("model.safetensors")}
    model = regaze.train(study, backbone="test_resnet", **options)
    assert (model.name, model.corrections) == ("multi-scale", 0)
    assert regaze.finetune(study_copy, "multi-scale", **options).corrections > 0
    assert {path: path.stat().st_mtime_ns for path in study_copy.rglob("model.safetensors")} == before
    assert regaze.correct(study, "multi-scale", healthy=True).written == 0
    figures = regaze.evaluate(str(study_copy), faithfulness=2, steps=4, resamples=50, **MACHINE).figures
    told = finished_run[1].json
    assert figures["models"].keys() == told["models"].keys()
    assert figures["models"]["multi-scale"]["confusion"] == told["models"]["multi-scale"]["confusion"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda study: regaze.train(study, epoch=3), "train has no option 'epoch': did you mean epochs"),
        (lambda study: regaze.select(study, by="mood"), "by is 'mood': expected one of map-error, "),
        (lambda study: regaze.train(study, epochs=10**23), "expected 1 to 100000"),
        (lambda study: regaze.predict(study, []), "No picture to predict"),
        (lambda study: regaze.open_study(study.path / "models"), "is no study"),
    ],
)
def test_a_mistake_is_an_error_of_regaze(finished, call, message):
    """Unknown options and values are named, with what is known."""
    with pytest.raises((OptionError, DataError, StudyError), match=message) as caught:
        call(regaze.open_study(finished))
    assert isinstance(caught.value, RegazeError)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def loaded(finished):
    """The finished study's model and its card."""
    from regaze.models.options import MachineOptions

    return regaze.load_model(finished / "models" / "multi-scale" / "fold0", MachineOptions(precision="fp32", workers=1))


def test_a_loaded_model_takes_pictures_of_every_kind(loaded, painted, tmp_path):
    """A path, a Pillow picture and an array of one photograph, of any size, get one answer; so do squares."""
    from regaze.photographs.pictures import squares

    predictor, card = loaded
    photo = np.asarray(Image.open(next(painted.rglob("*.jpg"))))[:, 40:-70]
    path = tmp_path / "p.png"
    Image.fromarray(photo).save(path)
    several = [path, str(path), Image.open(path), photo, Image.fromarray(photo).convert("RGBA")]
    found = predictor.predict(several)
    assert found.probabilities.shape == (5, len(card.classes))
    for other in (predictor.predict(path), predictor.predict(photo), predictor.predict(squares([photo], card))):
        np.testing.assert_allclose(other.probabilities, found.probabilities[:1], atol=1e-6)
    np.testing.assert_allclose(found.probabilities, found.probabilities[:1].repeat(5, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((2, 64, 64, 3), np.float32), r"\(2, 64, 64, 3\) float32: expected squares"),
        (np.zeros((2, 64, 60, 3), np.uint8), r"expected squares \(N, 64, 64, 3\) uint8"),
        (np.zeros((2, 32, 32, 3), np.uint8), r"expected squares \(N, 64, 64, 3\) uint8"),
        (np.zeros((0, 64, 64, 3), np.uint8), "expected squares"),
        (np.zeros((64, 64), np.uint8), r"\(64, 64\) uint8"),
        ([np.zeros((64, 80, 3))], r"float64: expected \(height, width, 3\) uint8, RGB: multiply by 255"),
        ([np.zeros((64, 80, 4), np.uint8)], r"\(64, 80, 4\) uint8: expected \(height, width, 3\)"),
        ([np.zeros((3, 64, 80), np.uint8)], r"\(3, 64, 80\) uint8"),
        ([Image.new("F", (64, 64))], "floating-point"),
        ([7], "A picture is a int"),
        (["nowhere.jpg"], "nowhere.jpg"),
    ],
)
def test_what_is_no_picture_is_refused_with_one_line(loaded, picture, message):
    """Floats, wrong shapes and squares of another size are never graded."""
    with pytest.raises(DataError, match=message) as caught:
        loaded[0].predict(picture)
    assert "\n" not in str(caught.value)
