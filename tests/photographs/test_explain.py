"""`regaze explain`: the panel, what is said of each photograph, and one line for each mistake."""

import dataclasses
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from regaze.commands.base import OutputOptions
from regaze.commands.photographs import Explain
from regaze.data.pixels import load_pixels
from regaze.drawing.panel import WIDTH, Row, Tile, draw_panel, strength
from regaze.errors import DataError, ModelError, OptionError, RegazeError
from regaze.explanation.explainers import explain
from regaze.models.build import build_network
from regaze.models.card import ModelCard
from regaze.models.folder import load_model, save_model
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.records import Sample

CLASSES = ("R0", "R1", "R2")
SIDE = 64


def make_model(folder, kind, name="tiny", seed=0, crop=True):
    """A model folder with a tiny network from scratch."""
    options = NetworkOptions(network=kind, backbone="test_resnet")
    built = build_network(options, len(CLASSES), SIDE, seed)
    card = ModelCard(name, options, CLASSES, True, "argmax", SIDE, crop, built.mean, built.std, {})
    save_model(folder, built.network, card)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model folders by kind of network."""
    place = tmp_path_factory.mktemp("models")
    return {kind: make_model(place / kind, kind) for kind in ("plain", "multi-scale")}


@pytest.fixture
def photo(tmp_path):
    """A photograph: a reddish disc on black with a bright spot."""
    picture = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(picture, (80, 60), 55, (170, 80, 40), -1)
    cv2.circle(picture, (95, 50), 6, (250, 230, 120), -1)
    path = tmp_path / "eye.png"
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def call(models, photo, tmp_path):
    """A function that runs the command on the photograph, with other options where given."""
    command = Explain(
        model=models["multi-scale"],
        images=(photo,),
        to=tmp_path / "panel.png",
        machine=MachineOptions(precision="fp32", workers=1),
        output=OutputOptions(quiet=True),
    )

    def run(**options):
        return dataclasses.replace(command, **options).run()

    return run


def test_panel_and_result(call, photo, models, tmp_path, capsys):
    """A picture 1200 px wide; by default every quick explainer; the result says what was explained."""
    result, code = call()
    assert code == 0
    maps = ["attention", "scale1", "scale2", "scale3", "evidence"]
    assert result["explainers"] == [*maps, "grad-cam", "grad-cam++", "layer-cam"]
    (said,) = result["photographs"]
    assert said["file"] == str(photo)
    assert list(said["probabilities"]) == list(CLASSES)
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert said["explained"] == max(said["probabilities"], key=said["probabilities"].get)
    assert said["class"] == CLASSES[said["grade"]]
    with Image.open(tmp_path / "panel.png") as panel:
        assert panel.width == WIDTH
        assert panel.format == "PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eye.png", "panel.png"]
    assert "attention, scale1" in capsys.readouterr().out
    plain, _ = call(model=models["plain"])
    assert plain["explainers"] == ["cam", "grad-cam", "grad-cam++", "layer-cam"]


def test_explainers_class_and_several_photographs(call, photo, tmp_path):
    """Explainers in the order given, each once; the class by name; a row for each photograph."""
    second = shutil.copy(photo, tmp_path / "other.png")
    result, _ = call(images=(photo, second), by="grad-cam, attention,grad-cam", class_name="R1")
    assert result["explainers"] == ["grad-cam", "attention"]
    assert [item["explained"] for item in result["photographs"]] == ["R1", "R1"]
    with Image.open(tmp_path / "panel.png") as panel:
        height = panel.height
    alone, _ = call(by="attention,scale2", to=tmp_path / "one.webp")
    assert alone["photographs"][0]["explained"] is None  # attention maps belong to no class
    with Image.open(tmp_path / "one.webp") as panel:
        assert panel.format == "WEBP"
        assert panel.height < height


def test_models_stand_side_by_side(call, photo, models, tmp_path, capsys):
    """`--beside`: the first model's picture where it always stands, the next one's right of it, the same as alone."""
    other = make_model(tmp_path / "other", "multi-scale", name="other", seed=1)
    both, code = call(by="attention", beside=(other,), to=tmp_path / "both.png")
    assert code == 0
    (beside,) = both["beside"]
    assert (both["model"], beside["model"]) == (str(models["multi-scale"]), str(other))
    assert beside["explainers"] == ["attention"]
    printed = capsys.readouterr().out
    alone, _ = call(model=other, by="scale1,attention", to=tmp_path / "alone.png")  # three pictures, too
    assert alone["beside"] == []
    assert beside["photographs"] == alone["photographs"]
    assert sum(str(photo) in line for line in printed.splitlines()) == 2
    pixels = {}
    for name in ("both.png", "alone.png"):
        with Image.open(tmp_path / name) as panel:
            pixels[name] = np.array(panel)
    first, second, third = (np.s_[102:474, 28 + place * 386 : 400 + place * 386] for place in range(3))
    assert (pixels["both.png"][first] == pixels["alone.png"][first]).all()  # the bare photograph
    assert (pixels["both.png"][third] == pixels["alone.png"][third]).all()
    assert (pixels["both.png"][second] != pixels["both.png"][third]).any()


def test_masks_are_outlined(call, tmp_path):
    """A lesion in either mask gets a white line, in the frame of the photograph."""
    for name, place in (("a.png", (95, 50)), ("b.png", (60, 70))):
        mask = np.zeros((120, 160), np.uint8)
        cv2.circle(mask, place, 6, 255, -1)
        Image.fromarray(mask).save(tmp_path / name)
    call(by="attention", mask=(tmp_path / "a.png", tmp_path / "b.png"), to=tmp_path / "with.png")
    call(by="attention", to=tmp_path / "without.png")
    panels = []
    for name in ("with.png", "without.png"):
        with Image.open(tmp_path / name) as panel:
            panels.append(np.array(panel).astype(int))
    photograph = np.s_[110:430, 30:390]
    changed = np.abs(panels[0] - panels[1]).sum(axis=2)[photograph] > 60
    parts, _ = cv2.connectedComponents(changed.astype(np.uint8))
    assert parts - 1 >= 2
    assert changed.mean() < 0.2


def test_a_study_stands_for_its_active_model(regaze, finished, photo, tmp_path):
    """As `predict` takes it."""
    from regaze.study.active_model import model_folder

    command = Explain(
        model=finished,
        images=(photo,),
        by="attention",
        to=tmp_path / "panel.png",
        machine=MachineOptions(precision="fp32", workers=1),
        output=OutputOptions(json=True, quiet=True),
    )
    result, code = command.run()
    assert code == 0
    assert result["model"] == str(model_folder(finished))


def mistakes(photo, models, tmp_path):
    """Options, the error, and what its message must say."""
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    whole = make_model(tmp_path / "whole", "multi-scale", crop=False)
    wide = tmp_path / "wide.png"
    Image.fromarray(np.zeros((10, 90), np.uint8)).save(wide)
    return [
        ({"by": "gradcam"}, OptionError, "no explainer 'gradcam'.*takes attention"),
        ({"by": ","}, OptionError, "names no explainer.*takes attention"),
        ({"by": "cam"}, ModelError, "cam does not fit.*takes attention"),
        ({"by": "attention", "model": models["plain"]}, ModelError, "attention does not fit a plain network"),
        ({"model": tmp_path}, ModelError, "no model folder.*regaze train"),
        ({"images": ()}, OptionError, "give one or more files"),
        ({"images": (tmp_path / "none.jpg",)}, DataError, "none.jpg: check the path"),
        ({"images": (text,)}, DataError, "text.jpg cannot be read as a picture.*replace the file or leave it out"),
        ({"images": (tmp_path,)}, DataError, "is a folder: give the photographs in it"),
        ({"to": tmp_path / "panel.gif"}, OptionError, "ends in .png, .webp"),
        ({"to": photo}, OptionError, "the photograph or mask itself; give another name"),
        ({"class_name": "R9"}, OptionError, "no such class, it has R0, R1, R2"),
        ({"images": (photo, photo), "mask": (wide,)}, OptionError, "one photograph, not with 2"),
        ({"mask": (wide,)}, DataError, "90 x 10 pixels.*160 x 120"),
        ({"mask": (tmp_path / "none.png",)}, DataError, "none.png: check the path"),
        ({"beside": (models["plain"],), "by": "attention"}, ModelError, "attention does not fit a plain network"),
        ({"beside": (whole,)}, OptionError, "--beside: .*some crop .* and others do not"),
        ({"batch": 0}, OptionError, "--batch 0: expected 1 or more"),
    ]


def test_mistakes_give_one_line_with_the_cure(call, photo, models, tmp_path):
    """Each raises an error for users, of one line, and writes no panel."""
    for options, kind, message in mistakes(photo, models, tmp_path):
        with pytest.raises(kind, match=message) as caught:
            call(**options)
        assert isinstance(caught.value, RegazeError)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "panel.png").exists()


def test_the_module_imports_no_torch():
    """`regaze --help` stays quick."""
    code = "import sys; import regaze.commands.photographs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_strength_knows_only_the_shape():
    """Nothing below the median, full at the peak; scale and offset of the map do not matter; a flat map stays bare."""
    values = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    painted = strength(values)
    assert painted.min() == 0
    assert painted.max() == 1
    assert (painted == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert np.allclose(strength(values * 7 - 100), painted, atol=1e-4)
    assert not strength(np.full((4, 4), 3.0, np.float32)).any()
    single = np.zeros((40, 40), np.float32)
    single[3, 5] = 2.0
    assert strength(single)[3, 5] == 1
    assert strength(single).sum() == 1


def test_sheet_paints_what_the_map_says():
    """The bare photograph stays as it is; where the strength is 1 the ramp's bright end shows, cut names get a mark."""
    photo = np.full((64, 64, 3), (160, 60, 30), np.uint8)
    painted = np.zeros((64, 64), np.float32)
    painted[:32] = 1
    rows = [Row("name " * 60, "text", photo, (Tile("Photograph", "bare"), Tile("Map", "half", painted)))] * 2
    sheet = np.array(draw_panel(rows))
    assert sheet.shape[1] == WIDTH
    assert (sheet[200, 100] == (160, 60, 30)).all()
    assert sheet[150, 600, 2] > 180
    assert sheet[450, 600, 2] < 120
    assert (sheet[:, -20:] == 255).all()


def test_evidence_of_a_class_is_painted_for_and_against_it(call, models, photo, tmp_path):
    """`--by evidence` is of a class, and the picture says which places speak for it and which against it."""
    predictor, card = load_model(models["multi-scale"], MachineOptions(precision="fp32", workers=1))
    pixels = load_pixels([Sample("eye", photo, None)], card.size, None, 1, crop=card.crop)
    signs = []
    for index, name in enumerate(CLASSES):
        result, _ = call(by="evidence", class_name=name, to=tmp_path / f"{name}.png")
        assert result["photographs"][0]["explained"] == name
        with Image.open(tmp_path / f"{name}.png") as panel:
            assert panel.width == WIDTH
            tile = np.asarray(panel)[102:476, 416:790].astype(float)
        (values,) = explain(predictor, pixels.images, "evidence", np.array([index]))
        values = cv2.resize(values, tile.shape[:2])
        blueness = tile[..., 2] - tile[..., 0]
        peak = np.percentile(np.abs(values), 99)
        for sign in (1, -1):
            strong = sign * values > 0.5 * peak
            assert (sign * blueness[strong] > 0).all()
            signs.append(sign * strong.any())
    assert {1, -1} <= set(signs), "both occurred"


def test_legend_of_evidence_is_there_where_evidence_is():
    """A sheet with a signed picture has one line of legend more; another has not."""
    photo = np.full((64, 64, 3), (160, 60, 30), np.uint8)
    signed = np.zeros((64, 64), np.float32)
    signed[:32], signed[32:] = 1, -1
    sheets = []
    for is_signed in (False, True):
        tiles = (
            Tile("Photograph", "bare"),
            Tile("Map", "half", np.abs(signed) if not is_signed else signed, is_signed),
        )
        sheets.append(np.array(draw_panel([Row("name", "text", photo, tiles)])))
    without, with_it = sheets
    assert with_it.shape[0] == without.shape[0] + 26
    above, below = with_it[150, 600].astype(int), with_it[450, 600].astype(int)
    assert above[2] > 180 > below[2]
    assert below[0] - below[2] > 50


@pytest.mark.parametrize(("tiles", "lines"), [(4, 1), (5, 2), (6, 2), (9, 3)])
def test_lines_of_a_sheet_are_filled_evenly(tiles, lines):
    """Five pictures stand three and two, not four and one."""
    row = Row("name", "text", np.zeros((64, 64, 3), np.uint8), (Tile("Photograph", "bare"),) * tiles)
    sheet = np.array(draw_panel([row]))
    dark = (sheet == 0).all(axis=2)
    starts = np.flatnonzero(np.diff(dark[:, 100].astype(int)) == 1)
    assert len(starts) == lines
    first = dark[starts[0] + 5]
    assert np.count_nonzero(np.diff(first.astype(int)) == 1) == -(-tiles // lines)


def test_maps_of_a_seeded_model_come_again(call, tmp_path):
    """The same call writes the same picture, and leaves the caller's random state alone."""
    before = torch.get_rng_state()
    call(by="occlusion,grad-cam++", to=tmp_path / "one.png")
    call(by="occlusion,grad-cam++", to=tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert torch.equal(torch.get_rng_state(), before)
