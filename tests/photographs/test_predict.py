"""`regaze predict`: what is written for each photograph, and what happens to files that are none."""

import dataclasses
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from regaze.models.build import build_network
from regaze.models.card import ModelCard
from regaze.models.folder import save_model
from regaze.models.options import NetworkOptions
from regaze.models.predictor import Predictor


@pytest.fixture(scope="module")
def model(finished):
    """A model folder by itself, far from its study."""
    return finished / "models" / "multi-scale-finetuned" / "fold0"


@pytest.fixture
def predict(regaze, model, tiny, tmp_path):
    """A function that calls `regaze predict` into `out`."""

    def call(*images, out="out", more=()):
        return regaze("predict", model, *images, "--out", tmp_path / out, *tiny["machine"], *more, "--json")

    return call


def fundus(path, width, height, centre, radius, dot=None):
    """Write a photograph: a reddish disc on black, and a green dot where asked for."""
    rng = np.random.default_rng(0)
    picture = np.zeros((height, width, 3), np.uint8)
    cv2.circle(picture, centre, radius, (170, 80, 40), -1)
    noise = rng.integers(-8, 8, picture.shape)
    picture = np.where(picture > 0, np.clip(picture + noise, 1, 255), picture).astype(np.uint8)
    if dot is not None:
        cv2.circle(picture, dot, radius // 12, (20, 250, 20), -1)
    Image.fromarray(picture).save(path, quality=95)
    return path


def test_files_of_a_photograph(predict, tmp_path, finished_run):
    """Maps in map cells and in original pixels, an overlay of the photograph's size, and what was said of it."""
    photo = fundus(tmp_path / "eye.png", 300, 200, (150, 100), 90)
    result = predict(photo).json
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "eye.maps.npz",
        "eye.overlay.png",
        "predictions.json",
    ]
    with np.load(tmp_path / "out" / "eye.maps.npz") as maps:
        assert {key: value.shape for key, value in maps.items()} == {
            "scale1": (16, 16),
            "scale2": (8, 8),
            "scale3": (4, 4),
            "fused": (16, 16),
            "original": (200, 300),
            "evidence1": (5, 8, 8),
            "evidence2": (5, 4, 4),
            "evidence3": (5, 2, 2),
        }
        assert maps["original"].dtype == maps["evidence1"].dtype == np.float16
        for name, value in maps.items():
            assert value.max() > 0
            if not name.startswith("evidence"):
                assert value.min() >= 0
                assert value.max() <= 1
    with Image.open(tmp_path / "out" / "eye.overlay.png") as overlay:
        assert (overlay.size, overlay.mode) == ((300, 200), "RGB")
    stored = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert stored == result
    assert result["failed"] == []
    said = result["predictions"][0]
    assert said["file"] == str(photo)
    assert list(said["probabilities"]) == ["0", "1", "2", "3", "4"]
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert said["class"] == str(said["grade"])
    assert said["confidence"] == said["probabilities"][said["class"]]


@pytest.mark.parametrize("network", [{"network": "plain"}, {}, {"weighting": "evidence"}])
def test_a_reader_can_add_up_the_evidence(regaze, tmp_path, network):
    """Bias and sums per scale give the probabilities, and the cells of the npz give the sums, signed, by class."""
    options = NetworkOptions(backbone="test_resnet", **network)
    made = build_network(options, 3, 64, 0)
    card = ModelCard("tiny", options, ("R0", "R1", "R2"), True, "argmax", 64, True, made.mean, made.std, {})
    save_model(tmp_path / "model", made.network, card)
    photo = fundus(tmp_path / "eye.png", 200, 200, (100, 100), 90)
    machine = ("--precision", "fp32", "--workers", "1", "--quiet")
    result = regaze("predict", tmp_path / "model", photo, "--out", tmp_path / "out", *machine, "--json").json
    (said,) = result["predictions"]
    assert list(result["bias"]) == list(said["evidence"]) == ["R0", "R1", "R2"]
    logits = np.array([result["bias"][name] + sum(said["evidence"][name]) for name in card.classes])
    shares = np.exp(logits) / np.exp(logits).sum()
    assert shares == pytest.approx(list(said["probabilities"].values()), abs=1e-5)
    with np.load(tmp_path / "out" / "eye.maps.npz") as maps:
        cells = [maps[f"evidence{scale + 1}"].astype(np.float64) for scale in range(made.network.scales)]
        if network.get("weighting") == "evidence":
            assert [item.shape[1:] for item in cells] == [maps[f"scale{scale + 1}"].shape for scale in range(3)]
    sums = np.array([item.sum(axis=(1, 2)) for item in cells]).T
    np.testing.assert_allclose(sums, list(said["evidence"].values()), atol=2e-3)
    assert min(item.min() for item in cells) < 0 < max(item.max() for item in cells)


def test_prediction_is_the_studys(predict, finished, open_quietly):
    """A photograph of the study gets the grade that evaluation gave it."""
    study = open_quietly(finished)
    samples = study.test()
    rows = json.loads((finished / "evaluation" / "test" / "multi-scale-finetuned.json").read_text())["photographs"]
    said = predict(*(sample.image for sample in samples), more=["--batch", "4"]).json["predictions"]
    assert [item["grade"] for item in said] == [row["grade"] for row in rows]
    for item, row in zip(said, rows, strict=True):
        assert list(item["probabilities"].values()) == pytest.approx(row["probabilities"], abs=1e-4)


@pytest.mark.parametrize(
    ("width", "height", "centre", "radius", "dot"),
    [
        (640, 400, (400, 190), 180, (470, 110)),
        (400, 640, (210, 250), 170, (120, 330)),
        (500, 500, (250, 250), 245, (90, 250)),
    ],
)
def test_map_lies_on_the_photograph(predict, tmp_path, monkeypatch, width, height, centre, radius, dot):
    """Where the model looked at a dot, `original` and the overlay are strongest at that very dot."""
    photo = fundus(tmp_path / "eye.png", width, height, centre, radius, dot)
    original = Predictor.predict

    def looks_at_green(self, images, **more):
        said = original(self, images, **more)
        green = np.clip(images[..., 1].astype(np.float32) - images[..., 0], 0, 255) / 255
        cells = green.reshape(len(images), 16, 4, 16, 4).mean(axis=(2, 4))
        return dataclasses.replace(said, fused=cells.astype(np.float32))

    monkeypatch.setattr(Predictor, "predict", looks_at_green)
    assert predict(photo).code == 0
    with np.load(tmp_path / "out" / "eye.maps.npz") as maps:
        laid = maps["original"].astype(np.float32)
    assert laid.shape == (height, width)
    rows, columns = np.nonzero(laid >= 0.8 * laid.max())
    cell = 2 * radius / 16
    assert np.hypot(columns.mean() + 0.5 - dot[0], rows.mean() + 0.5 - dot[1]) < cell
    far = np.hypot(*np.meshgrid(np.arange(width) - dot[0], np.arange(height) - dot[1])) > radius / 12 + 3 * cell
    assert laid[far].max() < 0.05 * laid.max()

    with Image.open(tmp_path / "out" / "eye.overlay.png") as picture:
        overlay = np.asarray(picture).astype(np.float32)
    blue = overlay[..., 2] - overlay[..., 0]  # the ramp is blue-green, the photograph is not
    rows, columns = np.nonzero(blue >= 0.8 * blue.max())
    assert np.hypot(columns.mean() - dot[0], rows.mean() - dot[1]) < cell


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1900, 600, (1600, 505)), (600, 1900, (505, 1600)), (1600, 40, (1600, 40)), (2900, 1700, (1600, 938))],
)
def test_overlay_is_at_most_1600_pixels(predict, tmp_path, width, height, expected):
    """Overlays have the photograph's size, larger ones 1600 pixels on the long side, JPEGs too."""
    photo = fundus(tmp_path / "wide.jpg", width, height, (width // 2, height // 2), min(width, height) // 2 - 2)
    assert predict(photo).code == 0
    with Image.open(tmp_path / "out" / "wide.overlay.png") as overlay:
        assert overlay.size == expected
    with np.load(tmp_path / "out" / "wide.maps.npz") as maps:
        assert maps["original"].shape == (height, width)


def test_broken_files_are_skipped(predict, tmp_path):
    """A broken file is reported and skipped, the others are graded, and the exit code is 1."""
    good = [fundus(tmp_path / f"{name}.png", 100, 100, (50, 50), 45) for name in ("one", "two")]
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    cut = tmp_path / "cut.png"
    cut.write_bytes(good[0].read_bytes()[:300])
    tiny_one = tmp_path / "tiny.png"
    Image.new("RGB", (2, 2), (90, 40, 20)).save(tiny_one)
    bad = [tmp_path / "broken.jpg", tmp_path / "notes.txt", cut, tmp_path / "missing.png"]
    outcome = predict(good[0], *bad, tiny_one, good[1], more=["--batch", "2"])
    assert outcome.code == 1
    result = outcome.json
    assert [item["file"] for item in result["predictions"]] == [str(good[0]), str(tiny_one), str(good[1])]
    assert [item["file"] for item in result["failed"]] == [str(path) for path in bad]
    assert result["failed"][3]["reason"] == "no such file"
    *warnings, model = outcome.err.splitlines()
    assert model.startswith("model: ")
    assert len(warnings) == len(bad)
    for line, path in zip(warnings, bad, strict=True):
        assert line.startswith(f"warning: {path} skipped: ")
    assert len(list((tmp_path / "out").glob("*.overlay.png"))) == 3


def test_nothing_but_broken_files(predict, tmp_path):
    """If every file is broken the result is empty and says why."""
    outcome = predict(tmp_path / "missing.png")
    assert outcome.code == 1
    assert outcome.json["predictions"] == []
    assert len(outcome.json["failed"]) == 1


def test_folders_and_names(predict, tmp_path):
    """A folder gives all photographs below it; no two photographs write to one name."""
    source = fundus(tmp_path / "source.png", 80, 80, (40, 40), 36)
    eyes = tmp_path / "eyes"
    for name in ("a/x.png", "b/x.png", "x.png", "deep/er/y.PNG", "x-2.png"):
        (eyes / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, eyes / name)
    (eyes / "readme.txt").write_text("not a photograph")
    (eyes / "no.png").mkdir()
    result = predict(eyes, eyes / "a" / "x.png", eyes / "b" / "x.png").json
    assert len(result["predictions"]) == 7
    written = sorted(path.name.removesuffix(".overlay.png") for path in (tmp_path / "out").glob("*.overlay.png"))
    assert written == ["a_x", "a_x-2", "b_x", "b_x-2", "deep_er_y", "eyes_x", "x-2"]
    assert len(list((tmp_path / "out").glob("*.maps.npz"))) == 7


def test_results_are_not_predicted_again(predict, tmp_path):
    """Results that lie in the folder of the photographs are not taken for photographs."""
    eyes = tmp_path / "eyes"
    eyes.mkdir()
    fundus(eyes / "x.png", 80, 80, (40, 40), 36)
    first = predict(eyes, out="eyes/results").json
    second = predict(eyes, out="eyes/results").json
    assert len(first["predictions"]) == len(second["predictions"]) == 1


def test_plain_words(regaze, model, tiny, tmp_path):
    """Without --json each photograph gets a line with its class and how sure the model is."""
    photo = fundus(tmp_path / "eye.png", 90, 90, (45, 45), 40)
    outcome = regaze("predict", model, photo, "--out", tmp_path / "out", *tiny["machine"], "--quiet")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.startswith(f"{photo}: ")
    assert f"model: {model}" in regaze("predict", model, photo, "--out", tmp_path / "out", *tiny["machine"]).err
    assert outcome.out.count("\n") == 1


def test_model_is_left_alone(predict, model, files_of, tmp_path):
    """Predicting changes nothing in the model's folder."""
    before = files_of(model)
    predict(fundus(tmp_path / "eye.png", 90, 90, (45, 45), 40))
    assert files_of(model) == before


def test_names_and_files_say_the_path(predict, tmp_path):
    """Photographs of one name in two folders are told apart by these, and predictions.json names what was written."""
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        fundus(tmp_path / side / "1.jpg", 80, 80, (40, 40), 36)
    fundus(tmp_path / "left" / "1.png", 80, 80, (40, 40), 36)
    photos = [tmp_path / "left" / "1.jpg", tmp_path / "right" / "1.jpg", tmp_path / "left" / "1.png"]
    said = predict(*photos).json["predictions"]
    assert [item["overlay"] for item in said] == ["1_jpg.overlay.png", "right_1.overlay.png", "1_png.overlay.png"]
    for item in said:
        assert (tmp_path / "out" / item["overlay"]).is_file()
        assert (tmp_path / "out" / item["maps"]).is_file()
    assert [item["overlay"] for item in predict(*photos[:2], out="two").json["predictions"]] == [
        "left_1.overlay.png",
        "right_1.overlay.png",
    ]


@pytest.mark.parametrize("turn", [3, 6])
def test_overlays_are_upright_and_maps_stored(predict, tmp_path, turn):
    """A photograph that EXIF turns is predicted and mapped as stored, and shown as viewers show it."""
    plain = fundus(tmp_path / "plain.png", 200, 120, (60, 60), 50, dot=(30, 50))
    exif = Image.Exif()
    exif[0x0112] = turn
    with Image.open(plain) as image:
        image.save(tmp_path / "turned.png", exif=exif)
    first, second = predict(plain, tmp_path / "turned.png").json["predictions"]
    assert first["probabilities"] == second["probabilities"]
    out = tmp_path / "out"
    with np.load(out / first["maps"]) as a, np.load(out / second["maps"]) as b:
        np.testing.assert_array_equal(a["original"], b["original"])
    with Image.open(out / first["overlay"]) as a, Image.open(out / second["overlay"]) as b:
        seen = a.transpose({3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}[turn])
        np.testing.assert_array_equal(np.asarray(seen), np.asarray(b))


def test_other_formats_are_predicted_and_several_frames_said(predict, tmp_path):
    """BMP, PPM and GIF are photographs; of a GIF's frames the first is graded, and that is said; a pipe is skipped."""
    source = fundus(tmp_path / "a.bmp", 80, 80, (40, 40), 36)
    with Image.open(source) as image:
        image.save(tmp_path / "b.ppm")
        image.save(tmp_path / "c.gif", save_all=True, append_images=[Image.new("RGB", (80, 80), (9, 200, 9))])
    os.mkfifo(tmp_path / "d.png")
    outcome = predict(*(tmp_path / name for name in ("a.bmp", "b.ppm", "c.gif", "d.png")))
    assert outcome.code == 1
    assert len(outcome.json["predictions"]) == 3
    assert outcome.json["predictions"][0]["probabilities"] == outcome.json["predictions"][1]["probabilities"]
    assert [item["file"] for item in outcome.json["failed"]] == [str(tmp_path / "d.png")]
    assert "c.gif holds 2 pictures: the first is graded" in outcome.err
