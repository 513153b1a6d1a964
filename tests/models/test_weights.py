"""Pretrained weights: what is taken, what is refused, and no network that hangs."""

import pickle
import socket
import time

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from regaze.errors import ModelError
from regaze.models.backbones import timm_backbone, torchvision_backbone
from regaze.models.weights import LoadReport, load_weights


@pytest.fixture(scope="module")
def resnet18():
    """A whole torchvision ResNet18 state, as a weights file holds it."""
    torch.manual_seed(3)
    return torchvision.models.resnet18().state_dict()


def saved(folder, state):
    """The path of a safetensors file with these tensors, as a user would type it."""
    save_file(state, folder / "file.safetensors")
    return str(folder / "file.safetensors")


def test_none_loads_nothing():
    """`none` leaves the fresh weights and gives no report."""
    backbone = torchvision_backbone("resnet18")
    before = {name: item.clone() for name, item in backbone.whole.state_dict().items()}
    assert load_weights(backbone, "none", 64) is None
    assert all(torch.equal(before[name], item) for name, item in backbone.whole.state_dict().items())


def test_a_whole_file_is_taken_but_for_its_classifier(tmp_path, resnet18):
    """All 120 tensors of the backbone are copied; the 1000-class layer is unused and reported as such."""
    backbone = torchvision_backbone("resnet18")
    report = load_weights(backbone, saved(tmp_path, resnet18), 64)
    assert report == LoadReport("file.safetensors", 120, (), ("fc.bias", "fc.weight"))
    state = backbone.whole.state_dict()
    assert len(state) == 120
    assert all(torch.equal(item, resnet18[name]) for name, item in state.items())
    assert report.line() == "weights file.safetensors: 120 tensors taken; 2 unused (fc.bias, fc.weight)"


def test_missing_and_unused_names_are_reported(tmp_path, resnet18):
    """What the file lacks keeps its fresh value, what it has too much is ignored, and both are said."""
    state = {name: item for name, item in resnet18.items() if not name.startswith("fc.")}
    gone = ["conv1.weight", "layer1.0.bn1.weight", "layer4.1.conv2.weight", "layer4.1.bn2.running_mean"]
    for name in gone:
        del state[name]
    state["projection.weight"] = torch.zeros(2)
    backbone = torchvision_backbone("resnet18")
    fresh = backbone.whole.conv1.weight.detach().clone()
    report = load_weights(backbone, saved(tmp_path, state), 64)
    assert report == LoadReport("file.safetensors", 116, tuple(gone), ("projection.weight",))
    assert torch.equal(backbone.whole.conv1.weight, fresh)
    assert "4 missing (conv1.weight, layer1.0.bn1.weight, layer4.1.conv2.weight, …)" in report.line()


def test_a_file_without_batch_norm_counters_is_complete(tmp_path, resnet18):
    """`num_batches_tracked` is no weight: older files lack it and are whole."""
    state = {name: item for name, item in resnet18.items() if "num_batches" not in name}
    report = load_weights(torchvision_backbone("resnet18"), saved(tmp_path, state), 64)
    assert (report.taken, report.missing) == (100, ())


def test_half_precision_files_are_widened(tmp_path, resnet18):
    """fp16 weights arrive as fp32 of the same values."""
    state = {name: item.half() if item.is_floating_point() else item for name, item in resnet18.items()}
    backbone = torchvision_backbone("resnet18")
    load_weights(backbone, saved(tmp_path, state), 64)
    assert backbone.whole.conv1.weight.dtype == torch.float32
    assert torch.equal(backbone.whole.conv1.weight, resnet18["conv1.weight"].half().float())


@pytest.mark.parametrize("classes", [7, 1000])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_timms_files_fit_whatever_their_classifier(tmp_path, images, name, classes):
    """Weights saved from the whole classifier fit the feature model, and give the classifier's features."""
    torch.manual_seed(1)
    shape = {"img_size": 64} if name == "test_vit" else {}
    whole = timm.create_model(name, num_classes=classes, **shape).eval()
    backbone = timm_backbone(name, 64)
    report = load_weights(backbone, saved(tmp_path, whole.state_dict()), 64)
    assert report.missing == ()
    assert report.taken == len(backbone.whole.state_dict())
    heads = ("fc.", "head.", "norm.", "fc_norm.")
    assert report.unused
    assert all(item.startswith(heads) for item in report.unused), report.unused
    levels = whole.forward_intermediates(images, intermediates_only=True)
    levels = [levels[index] for index in (0, 2, 3, 5)] if name == "test_vit" else levels[-4:]
    for level, wanted in zip(backbone.whole.eval()(images)[-4:], levels, strict=True):
        torch.testing.assert_close(level, wanted)


def test_a_shape_that_does_not_fit_is_an_error_with_both_shapes(tmp_path, resnet18):
    """A half-loaded backbone trains without complaint, so one wrong convolution stops it, before any copy."""
    state = dict(resnet18) | {"layer2.0.conv1.weight": torch.zeros(128, 64, 5, 5)}
    backbone = torchvision_backbone("resnet18")
    fresh = backbone.whole.conv1.weight.detach().clone()
    with pytest.raises(ModelError, match=r"layer2\.0\.conv1\.weight .*\(128, 64, 5, 5\).*\(128, 64, 3, 3\)"):
        load_weights(backbone, saved(tmp_path, state), 64)
    assert torch.equal(backbone.whole.conv1.weight, fresh)


@pytest.mark.parametrize("name", ["resnet50", "alexnet"])
def test_weights_of_another_backbone_are_refused(tmp_path, name):
    """Weights of another family or depth do not fit, and the message says what did not."""
    state = getattr(torchvision.models, name)().state_dict()
    state = {key: item for key, item in state.items() if not key.startswith("classifier.")}
    with pytest.raises(ModelError, match=r"file\.safetensors do not fit resnet18"):
        load_weights(torchvision_backbone("resnet18"), saved(tmp_path, state), 64)


def test_an_empty_file_is_refused(tmp_path):
    """A file without one fitting tensor is no weights file of this backbone."""
    with pytest.raises(ModelError, match="0 of its tensors are in the file"):
        load_weights(torchvision_backbone("resnet18"), saved(tmp_path, {"a": torch.zeros(1)}), 64)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickles_are_refused_unread(tmp_path):
    """A pickled file is named as such, and nothing in it runs."""
    bad = tmp_path / "resnet18.pth"
    bad.write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    with pytest.raises(ModelError, match="pickled weights are not read"):
        load_weights(torchvision_backbone("resnet18"), str(bad), 64)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64])
def test_damaged_files_are_refused(tmp_path, content):
    """Empty, cut and overwritten files raise our error."""
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="is not a safetensors file"):
        load_weights(torchvision_backbone("resnet18"), str(tmp_path / "w.safetensors"), 64)


def test_a_missing_file_is_named(tmp_path):
    """The message repeats the path and lists what --weights takes; a folder is no file."""
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ModelError, match=rf"No weights file {path}: give a \.safetensors file, hub, or none"):
            load_weights(torchvision_backbone("resnet18"), str(path), 64)


@pytest.fixture
def unplugged(monkeypatch, tmp_path):
    """A machine whose name look-ups fail, with empty caches; fails the test if a connection is tried."""

    def no_name(*args, **kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("touched the network"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(huggingface_hub.constants, name, str(tmp_path / "hub"), raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(("name", "weights"), [("resnet18", "hub"), ("test_resnet", "hub:r160_in1k")])
def test_without_a_network_the_hub_fails_fast_in_one_line(unplugged, capfd, name, weights):
    """No retries for a minute, no traceback, no noise: one line that says what to do instead."""
    backbone = torchvision_backbone(name) if name == "resnet18" else timm_backbone(name, 64)
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    start = time.monotonic()
    with pytest.raises(ModelError, match=rf"Hub weights for {name} could not be had \(.+\): connect") as caught:
        load_weights(backbone, weights, 64)
    assert time.monotonic() - start < 20
    assert "\n" not in str(caught.value)
    assert "--weights FILE.safetensors or --weights none" in str(caught.value)
    assert huggingface_hub.constants.HF_HUB_OFFLINE is before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("name", "match"), [("resnet18", "IMAGENET1K_V1"), ("test_resnet", "nonsense")])
def test_unknown_hub_tags_are_named(unplugged, name, match):
    """A misspelt tag is an error before anything is downloaded."""
    backbone = torchvision_backbone(name) if name == "resnet18" else timm_backbone(name, 64)
    with pytest.raises(ModelError, match=match):
        load_weights(backbone, "hub:nonsense", 64)


def test_hub_weights_are_copied(monkeypatch):
    """What the hub gives ends up in the backbone (the download itself is replaced)."""
    torch.manual_seed(9)
    state = torchvision.models.resnet18().state_dict()
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(type(entry), "get_state_dict", lambda *_, **__: state)
    backbone = torchvision_backbone("resnet18")
    for weights in ("hub", "hub:IMAGENET1K_V1"):
        report = load_weights(backbone, weights, 64)
        assert (report.source, report.taken, report.missing) == (weights, 120, ())
    assert torch.equal(backbone.whole.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.encoder_q."])
def test_what_a_training_script_put_before_the_names_is_left_out(tmp_path, resnet18, prefix):
    """Weights saved from inside another module are taken whole, and the line says which prefix was left out."""
    backbone = torchvision_backbone("resnet18")
    state = {prefix + name: item for name, item in resnet18.items()} | {"epoch.number": torch.zeros(1)}
    report = load_weights(backbone, saved(tmp_path, state), 64)
    assert (report.taken, report.missing, report.prefix) == (120, (), prefix)
    assert f"the prefix {prefix} of their names left out" in report.line()
    assert torch.equal(backbone.whole.conv1.weight, resnet18["conv1.weight"])


def test_position_tables_are_resampled_as_timm_does(tmp_path):
    """A vision transformer's file of 160 pixels at 64: the class token as it is, cells by timm's own function."""
    name = "test_vit"
    torch.manual_seed(0)
    state = timm.create_model(name, img_size=160).state_dict()
    backbone = timm_backbone(name, 64)
    report = load_weights(backbone, saved(tmp_path, state), 64)
    assert report.resampled == "pos_embed"
    inside = timm.create_model(name, img_size=64)
    expected = timm.models.vision_transformer.checkpoint_filter_fn(dict(state), inside)["pos_embed"]
    found = next(item for key, item in backbone.whole.state_dict().items() if key.endswith("pos_embed"))
    assert found.shape != state["pos_embed"].shape
    assert torch.equal(found, expected)


def test_pickled_weights_come_with_their_cure_and_are_converted(tmp_path, resnet18, regaze):
    """The refusal names `regaze convert`; what that writes loads as the file itself would; a trap is refused unrun."""
    file = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": item for name, item in resnet18.items()}}, file)
    with pytest.raises(ModelError, match=r"regaze convert checkpoint\.pth\.tar.*save_file\(torch\.load\("):
        load_weights(torchvision_backbone("resnet18"), str(file), 64)
    made = tmp_path / "made.safetensors"
    outcome = regaze("convert", file, "--to", made, "--json")
    assert (outcome.code, outcome.json) == (0, {"file": str(made)}), outcome.err
    backbone = torchvision_backbone("resnet18")
    assert load_weights(backbone, str(made), 64).taken == 120
    assert torch.equal(backbone.whole.conv1.weight, resnet18["conv1.weight"])
    assert "is there already" in regaze("convert", file, "--to", made).err
    trap = tmp_path / "trap.pth"
    trap.write_bytes(pickle.dumps({"a": Trap(tmp_path / "trapped")}))
    refused = regaze("convert", trap)
    assert refused.code == 1
    assert "trap.pth cannot be converted" in refused.err
    assert not (tmp_path / "trapped").exists()
    assert not (tmp_path / "trap.safetensors").exists()


@pytest.mark.parametrize("average", ["state_dict_ema", "model_ema", "ema"])
def test_of_two_copies_the_moving_average_is_taken_and_said(tmp_path, resnet18, regaze, average):
    """As timm does; in a checkpoint that is converted, and in a file of both under prefixes."""
    other = {name: item + 1 for name, item in resnet18.items()}
    file, made = tmp_path / "c.pth", tmp_path / "made.safetensors"
    moments = {number: {"exp_avg": torch.zeros(1)} for number in range(3)}
    torch.save({"state_dict": resnet18, average: {**other, "n": torch.zeros(1)}, "optimizer": {"state": moments}}, file)
    outcome = regaze("convert", file, "--to", made)
    assert outcome.code == 0, outcome.err
    assert f"{average} of the file is taken, state_dict left out" in outcome.out
    backbone = torchvision_backbone("resnet18")
    assert load_weights(backbone, str(made), 64).taken == 120
    assert torch.equal(backbone.whole.conv1.weight, other["conv1.weight"])
    both = {f"model.{name}": item for name, item in resnet18.items()}
    both |= {f"{average}.{name}": item for name, item in other.items()}
    report = load_weights(torchvision_backbone("resnet18"), saved(tmp_path, both), 64)
    assert report.prefix == f"{average}."


@pytest.mark.parametrize("name", ["hf-hub:timm/test_resnet.r160_in1k", "timm/test_resnet", "hf_hub:timm/test_resnet"])
def test_hub_spellings_of_a_backbone(name):
    """Names of timm's as the hub spells them are the same backbone."""
    assert timm_backbone(name, 64).channels == timm_backbone("test_resnet", 64).channels


def test_old_names_of_timm_are_mapped():
    """A name of an earlier timm is the model that timm now calls otherwise."""
    assert timm_backbone("tf_efficientnet_b0_ns", 64).channels == timm_backbone("tf_efficientnet_b0", 64).channels


def test_weights_of_a_training_that_diverged_are_refused(tmp_path, resnet18):
    """NaN in a file would make every later number NaN."""
    state = {name: tensor.clone() for name, tensor in resnet18.items()}
    state["conv1.weight"][0] = float("nan")
    with pytest.raises(ModelError, match=r"conv1.weight holds NaN or infinity"):
        load_weights(torchvision_backbone("resnet18"), saved(tmp_path, state), 64)
