"""Model folders."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import regaze
from regaze.errors import ModelError
from regaze.models import folder as folder_module
from regaze.models.build import build_network
from regaze.models.card import SCHEMA_VERSION, ModelCard, read_card
from regaze.models.folder import load_model, load_network, save_model
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor

FP32 = MachineOptions(precision="fp32", device="cpu")


def card_of(**changes):
    """A card with something in every field."""
    card = ModelCard(
        name="second",
        network=NetworkOptions(backbone="test_resnet", scales=2, weights="hub:r160_in1k"),
        classes=("none", "mild", "größer"),
        ordinal=True,
        decoding="expected",
        size=64,
        crop=True,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        recipe={"recipe": "finetune", "map_weight": 5.0},
        lineage=({"name": "first", "key": "ab"},),
        data={"spec": "folder:x", "fingerprint": "cd", "fold": 1},
        corrections={"count": 3, "fingerprint": "ef"},
        history=({"grade": 1.5}, {"grade": 1.25, "map": 0.1}),
        key="12",
        details={"seed": 0},
    )
    return replace(card, **changes)


@pytest.fixture
def network():
    """A tiny network whose batch-norm statistics are not the initial ones."""
    network = build_network(replace(card_of().network, weights="none"), 3, seed=4).network
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.add_(0.1)
    return network


@pytest.fixture
def folder(tmp_path, network):
    """A saved model."""
    save_model(tmp_path / "models" / "second", network, card_of())
    return tmp_path / "models" / "second"


def test_a_model_comes_back_with_the_same_predictions(folder, network):
    """Saved and loaded, it predicts the same bytes, without reaching for the hub that its weights came from."""
    photographs = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    before = Predictor(network, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "expected", FP32).predict(photographs)
    predictor, card = load_model(folder, FP32, batch=32)
    after = predictor.predict(photographs)
    assert card.weights
    assert card == card_of(created=card.created, weights=card.weights)
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    np.testing.assert_array_equal(after.grades, before.grades)
    np.testing.assert_array_equal(after.fused, before.fused)
    for found, wanted in zip(after.maps, before.maps, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert not any(module.training for module in load_network(folder, card).modules())
    assert callable(regaze.load_model)


def test_plain_networks_come_back_too(tmp_path):
    """Any kind of network can be kept."""
    options = NetworkOptions(network="plain", backbone="test_vit")
    network = build_network(options, 3, size=64, seed=9).network
    save_model(tmp_path, network, card_of(network=options))
    loaded = load_network(tmp_path, read_card(tmp_path)).state_dict()
    assert all((loaded[name] == item).all() for name, item in network.state_dict().items())


def test_the_card_says_everything(folder):
    """Options, classes, normalisation, lineage, fingerprints, versions and schema lie beside the weights, as JSON."""
    values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert values["network"] == asdict(card_of().network)
    assert values["classes"] == ["none", "mild", "größer"]
    assert (values["mean"], values["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert values["lineage"] == [{"name": "first", "key": "ab"}]
    assert values["data"]["fingerprint"] == "cd"
    assert values["corrections"] == {"count": 3, "fingerprint": "ef"}
    assert values["history"][1] == {"grade": 1.25, "map": 0.1}
    assert values["schema_version"] == SCHEMA_VERSION == 1
    assert values["versions"]["regaze"] == regaze.__version__
    assert {"python", "torch", "torchvision", "timm", "numpy"} <= set(values["versions"])
    assert values["created"].endswith("Z")
    assert len(values["created"]) == 20


def test_there_is_no_pickle_and_no_leftover(folder):
    """The folder holds two files: safetensors and JSON."""
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert len(load_file(folder / "model.safetensors")) > 20


def test_the_card_is_written_last(tmp_path, network, monkeypatch):
    """A folder that has a card is complete: a full disk leaves neither a card nor half of the weights."""

    def full_disk(state, path):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(folder_module, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(tmp_path / "m", network, card_of())
    assert list((tmp_path / "m").iterdir()) == []


def test_unknown_keys_of_the_card_are_ignored(folder):
    """A key that a later version of the same schema added does no harm."""
    values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(values | {"flavour": "red"}), encoding="utf-8")
    assert read_card(folder).name == "second"


def change(folder, **changes):
    """Overwrite keys of the card; a value of None removes the key."""
    values = json.loads((folder / "model.json").read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(kept), encoding="utf-8")


def test_a_newer_schema_is_refused(folder):
    """A model of a later regaze is not half understood: the message says to update."""
    change(folder, schema_version=2)
    with pytest.raises(ModelError, match="has schema 2, this regaze reads up to 1: update regaze"):
        load_model(folder, FP32)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": None},
        {"schema_version": "new"},
        {"network": {"depth": 3}},
        {"network": 5},
        {"classes": 3},
        {"size": None},
        {"created": None},
    ],
)
def test_damaged_cards_are_named(folder, changes):
    """Missing and impossible values raise our error with the file's name."""
    change(folder, **changes)
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        load_model(folder, FP32)


def test_a_card_knows_its_line():
    """Parent and root are names of its lineage; a phase-1 model is its own root; a plain network has no maps."""
    third = card_of(lineage=({"name": "first", "key": "ab"}, {"name": "second", "key": "cd"}))
    assert (third.root, third.parent) == ("first", "second")
    phase1 = card_of(name="first", lineage=())
    assert (phase1.root, phase1.parent) == ("first", None)
    kinds = [replace(phase1.network, network=kind) for kind in ("plain", "single-scale", "multi-scale")]
    assert [card_of(network=kind).has_maps for kind in kinds] == [False, True, True]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'"text"'])
def test_cards_that_are_no_json_object_are_named(folder, content):
    """Cut files and other JSON raise our error."""
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        read_card(folder)


def test_a_folder_without_a_card_is_no_model(folder, tmp_path):
    """Neither an empty folder nor one that is not there."""
    (folder / "model.json").unlink()
    for path in (folder, tmp_path / "nowhere"):
        with pytest.raises(ModelError, match=rf"{path} is no model folder"):
            load_model(path)


def test_damaged_or_missing_weights_are_named(folder):
    """A cut or missing weights file raises our error."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_model(folder, FP32)
    path.unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_model(folder, FP32)


def test_weights_of_another_network_are_named(folder):
    """Other shapes, missing and superfluous tensors beside an older card, which knows no hash of its weights."""
    change(folder, weights="")
    state = load_file(folder / "model.safetensors")
    name = "perception.0.classify.weight"
    for other in (
        state | {name: state[name][:2].contiguous()},
        {key: value for key, value in state.items() if key != name},
        state | {"more": state[name].clone()},
    ):
        save_file(other, folder / "model.safetensors")
        with pytest.raises(ModelError, match=r"does not fit its model\.json") as caught:
            load_model(folder, FP32)
        assert "\n" not in str(caught.value)


def test_weights_of_another_model_of_the_same_shape_are_named(folder, tmp_path, network):
    """A card never speaks for weights that it was not written with, even where they would fit."""
    network.fusion.weight.data.fill_(2.0)
    save_model(tmp_path / "other", network, card_of(name="other"))
    (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"holds other weights than its model\.json describes"):
        load_model(folder, FP32)


def test_saving_again_replaces_both_files(folder, network):
    """The same folder can be written again; it then holds the new model."""
    network.fusion.weight.data.fill_(2.0)
    save_model(folder, network, card_of(name="third"))
    predictor, card = load_model(folder, FP32)
    assert card.name == "third"
    assert (predictor.network.fusion.weight == 2).all()
    assert len(list(folder.iterdir())) == 2


def test_nan_in_a_card_is_refused(tmp_path, network):
    """NaN is no JSON: a card with it is not written."""
    with pytest.raises(ValueError, match="JSON"):
        save_model(tmp_path / "m", network, card_of(history=({"grade": float("nan")},)))
    assert not (tmp_path / "m" / "model.json").exists()


@pytest.mark.parametrize("load", [load_network, folder_module.check_fit])
@pytest.mark.parametrize("backbone", ["vit_gigantic_patch14_224", "timm/convnext_xxlarge", "regnety_2560"])
def test_a_card_that_names_a_giant_is_refused_before_it_is_built(folder, monkeypatch, load, backbone):
    """A backbone of gigabytes that a small file cannot fill takes no memory."""

    def build(*_, **__):
        raise AssertionError("built")

    monkeypatch.setattr(folder_module, "build_network", build)
    card = read_card(folder)
    card = replace(card, network=replace(card.network, backbone=backbone))
    message = rf"does not fit its model.json \({backbone} has \d\.\d GiB of weights, the file \d+ bytes\)"
    with pytest.raises(ModelError, match=message):
        load(folder, card)
