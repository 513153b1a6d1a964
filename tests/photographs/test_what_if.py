"""`regaze what-if`: the map that is given, what is said of it, the panel, and one line for each mistake."""

import dataclasses
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from regaze.commands.base import OutputOptions
from regaze.commands.photographs import WhatIf
from regaze.data.geometry import Geometry
from regaze.drawing.panel import WIDTH
from regaze.errors import CorrectionError, DataError, ModelError, OptionError
from regaze.models.build import build_network
from regaze.models.card import ModelCard
from regaze.models.folder import load_model, save_model
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.photographs.pictures import load_model as load_for_pictures
from regaze.photographs.what_if import maps_of_correction, maps_of_picture
from regaze.records import Correction

CLASSES = ("R0", "R1", "R2")
SIDE = 64


def make_model(folder, kind="multi-scale"):
    """A model folder with a tiny network from scratch."""
    options = NetworkOptions(network=kind, backbone="test_resnet")
    built = build_network(options, len(CLASSES), SIDE)
    card = ModelCard("tiny", options, CLASSES, True, "argmax", SIDE, True, built.mean, built.std, {})
    save_model(folder, built.network, card)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def photo(tmp_path):
    """A photograph that EXIF turns by a quarter: 160 x 120 pixels, shown as 120 x 160."""
    picture = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(picture, (80, 60), 55, (170, 80, 40), -1)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "eye.jpg"
    Image.fromarray(picture).save(path, exif=exif, quality=95)
    return path


@pytest.fixture
def drawn(tmp_path):
    """A map over the upright photograph: white in its upper half."""
    levels = np.zeros((160, 120), np.uint8)
    levels[:80] = 255
    path = tmp_path / "map.png"
    Image.fromarray(levels).save(path)
    return path


@pytest.fixture
def call(model, photo, drawn, tmp_path):
    """A function that runs the command, with other options where given."""
    command = WhatIf(
        model=model,
        photo=photo,
        map=drawn,
        to=tmp_path / "panel.png",
        machine=MachineOptions(precision="fp32", workers=1),
        output=OutputOptions(quiet=True),
    )
    return lambda **options: dataclasses.replace(command, **options).run()


def correction_of(look, avoid=None, mode="replace"):
    """A correction in original pixels, stored order."""
    return Correction(3, "eye", "m", "expert", mode, look, avoid, "anna", "2026-01-01T00:00:00Z")


def test_what_is_said(call, model, photo, tmp_path, capsys):
    """The figures are `Predictor.what_if`'s with the picture's map; the table has a block for each branch, too."""
    result, code = call()
    assert code == 0
    predictor, card = load_for_pictures(model, MachineOptions(precision="fp32"))
    own = predictor.predict(photo)
    geometry = Geometry.fit(160, 120, (25, 5, 136, 116), SIDE)
    grids = [item.shape[1:] for item in own.maps]
    maps = maps_of_picture(tmp_path / "map.png", photo, geometry, grids)
    left, right = np.split(
        np.concatenate([item.ravel() for item in maps if len(item) == 16]).reshape(16, 16), 2, axis=1
    )
    assert (left.min(), right.max()) == (1, 0)  # shown upright, the stored left half lies above
    found = predictor.what_if(photo, maps)
    for moment in ("before", "now", "same_amount"):
        wanted, said = getattr(found, moment), result[moment]
        np.testing.assert_allclose(list(said["probabilities"].values()), wanted.fused, atol=0.01)
        assert said["class"] == card.classes[wanted.fused.argmax()]
        assert len(said["branches"]) == 3
    moved = np.abs(found.now.fused - found.before.fused).sum() / 2
    assert result["moved"]["now"] == pytest.approx(moved, abs=0.01)
    assert result["listens"] == found.listens
    printed = capsys.readouterr().out
    for words in ("fused", "scale 1", "scale 3", "its own, as much", f"{result['before']['probabilities']['R1']:.3f}"):
        assert words in printed
    assert "of the probability moves" in printed
    panel = Image.open(tmp_path / "panel.png")
    assert panel.width == WIDTH
    assert np.asarray(panel).std() > 10


def test_the_brightest_pixel_of_a_cell_counts(photo, tmp_path):
    """One pixel of a grey level is not averaged away, and levels stay levels; beyond the photograph all is dark."""
    levels = np.zeros((160, 120), np.uint8)
    levels[30, 50] = 102
    Image.fromarray(levels).save(tmp_path / "dot.png")
    geometry = Geometry.fit(160, 120, (0, 0, 160, 120), 64)
    coarse, one = maps_of_picture(tmp_path / "dot.png", photo, geometry, [(8, 8), (1, 1)])
    assert (coarse > 0).sum() == 1
    assert coarse.max() == one.max() == np.float32(102 / 255)
    # In stored order the dot lies in row 119 - 50 and column 30; the square begins 20 pixels above the photograph.
    assert np.argwhere(coarse).tolist() == [[(20 + 119 - 50) * 8 // 160, 30 * 8 // 160]]
    Image.fromarray(levels > 0).save(tmp_path / "bits.png")
    assert maps_of_picture(tmp_path / "bits.png", photo, geometry, [(8, 8)])[0].max() == 1


def test_a_corrections_map_is_what_it_teaches(photo):
    """Look is light with maximum 1, "not here" exactly 0; an edit leaves the rest to the model."""
    look, avoid = np.zeros((120, 160), bool), np.zeros((120, 160), bool)
    look[40:60, 40:60], avoid[80:100, 100:120] = True, True
    geometry = Geometry.fit(160, 120, (0, 0, 160, 120), 64)
    (edit,) = maps_of_correction(correction_of(look, avoid, "edit"), photo, geometry, [(16, 16)])
    (whole,) = maps_of_correction(correction_of(look, avoid), photo, geometry, [(16, 16)])
    assert np.nanmax(edit) == whole.max() == 1
    assert np.isnan(edit[0, 0])
    assert whole[0, 0] == 0
    assert edit[11, 11] == 0
    assert 0 < np.isfinite(edit).sum() < 40
    (nothing,) = maps_of_correction(correction_of(np.zeros_like(look)), photo, geometry, [(16, 16)])
    assert not nothing.any()
    with pytest.raises(CorrectionError, match=r"3 was drawn on 160 x 99 pixels, .* has 160 x 120: give the"):
        maps_of_correction(correction_of(look[:99]), photo, geometry, [(16, 16)])


def test_mistakes_are_one_line(call, model, photo, drawn, tmp_path):
    """Each names the thing, what was expected, and the cure; no panel is written."""
    colour, small = tmp_path / "colour.png", tmp_path / "small.png"
    Image.new("RGB", (120, 160)).save(colour)
    Image.new("L", (160, 120)).save(small)
    plain = make_model(tmp_path / "plain", "plain")
    rows = [
        ({"map": None}, OptionError, "one of --map FILE and --correction NUMBER"),
        ({"correction": 1}, OptionError, "one of --map FILE and --correction NUMBER"),
        ({"map": None, "correction": 1}, OptionError, "tiny is no study, pass --study STUDY"),
        ({"map": colour}, DataError, "colour.png has the mode RGB: expected grey"),
        (
            {"map": small},
            DataError,
            "small.png has 160 x 120 pixels: expected 120 x 160, those of .*eye.jpg as viewers",
        ),
        ({"map": tmp_path / "none.png"}, DataError, "There is no picture at"),
        ({"photo": tmp_path / "none.png"}, DataError, "none.png: There is no picture|no picture at"),
        ({"to": drawn}, OptionError, "this is the photograph or map itself"),
        ({"to": photo}, OptionError, "this is the photograph or map itself"),
        ({"to": tmp_path / "panel.gif"}, OptionError, "expected a name that ends in .png"),
        ({"model": plain}, ModelError, "plain network has no attention maps to replace"),
    ]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for options, kind, message in rows:
        with pytest.raises(kind, match=message):
            call(**options)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_models_folder_predictor_takes_squares_too(model, photo):
    """`models.folder.load_model` knows no picture files; its squares are (S, S, 3)."""
    predictor, _ = load_model(model)
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert len(predictor.hold(square).grids) == 3


def test_a_stored_correction_is_asked(regaze, finished, open_quietly, tmp_path):
    """By its number, for its own photograph and for nothing else; the model may be the study itself or its folder."""
    study = open_quietly(finished)
    correction = next(item for item in map(study.store.correction, (1, 2, 3, 4)) if item.look.any())
    own = {sample.id: sample.image for sample in study.dataset.samples}
    photo, panel = own.pop(correction.sample), tmp_path / "panel.png"
    shutil.copy(photo, tmp_path / "copy.png")
    options = ("--correction", correction.id, "--to", panel, "--json")
    found = regaze("what-if", finished, tmp_path / "copy.png", *options).json
    model = study.model_folder("multi-scale", 0)
    again = regaze("what-if", model, photo, "--study", finished, *options)
    assert again.code == 0, again.err
    assert panel.is_file()
    for result in (found, again.json):
        assert list(result["now"]["probabilities"]) == list(study.classes)
        assert sum(result["now"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert 0 < result["moved"]["now"] <= 1
        assert len(result["now"]["branches"]) == 3
    wrong = regaze("what-if", finished, next(iter(own.values())), *options)
    assert wrong.code == 1
    assert f"Correction {correction.id} is of {correction.sample}" in wrong.err
    absent = regaze("what-if", finished, photo, "--correction", 999, "--to", panel)
    assert absent.code == 1
    assert "no correction 999" in absent.err
