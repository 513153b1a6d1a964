"""Batched inference."""

import numpy as np
import pytest
import torch

from regaze.errors import ModelError
from regaze.models.build import build_network
from regaze.models.features import FeatureCache, FrozenFeatures
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor, decode, evaluating

HALF = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))


def predictor_of(kind="multi-scale", precision="fp32", batch=32, decoding="expected"):
    """A tiny network and its predictor."""
    network = build_network(NetworkOptions(network=kind, backbone="test_resnet"), 5).network
    return Predictor(network, *HALF, decoding, MachineOptions(precision, "cpu"), batch)


@pytest.fixture
def photographs():
    """(5, 64, 64, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["plain", "single-scale", "multi-scale"])
def test_predictions_are_what_the_network_says(photographs, kind):
    """Shapes, types and ranges as promised; the numbers are those of one plain forward pass."""
    predictor = predictor_of(kind)
    found = predictor.predict(photographs)
    scaled = (photographs / 255 - np.array(HALF[0])) / np.array(HALF[1])
    with torch.no_grad():
        output = predictor.network.eval()(torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32))
    wanted = torch.softmax(output.logits, 1).numpy()
    np.testing.assert_allclose(found.probabilities, wanted, atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.grades, decode(wanted, "expected"))
    assert len(found.maps) == predictor.network.scales
    for item, own in zip(found.maps, output.maps, strict=True):
        np.testing.assert_allclose(item, own[:, 0].numpy(), atol=1e-4)
        assert item.dtype == np.float32
    side = found.maps[0].shape[1]
    large = [torch.nn.functional.interpolate(item, size=(side, side), mode="bilinear") for item in output.maps]
    np.testing.assert_allclose(found.fused, torch.stack(large).mean(0)[:, 0].numpy(), atol=1e-4)
    assert (found.probabilities.dtype, found.grades.dtype, found.fused.dtype) == (np.float32, np.int64, np.float32)


@pytest.mark.parametrize("kind", ["plain", "single-scale", "multi-scale"])
@pytest.mark.parametrize("batch", [2, 5])
def test_evidence_is_handed_out_when_asked_for(photographs, kind, batch):
    """Signed, by class and scale; bias and sums are the logits, and nothing else of the answer changes."""
    predictor = predictor_of(kind, batch=batch)
    plainly, found = predictor.predict(photographs), predictor.predict(photographs, evidence=True)
    assert plainly.evidence is None
    np.testing.assert_array_equal(found.probabilities, plainly.probabilities)
    evidence = found.evidence
    assert [item.shape[:2] for item in evidence.scales] == [(5, 5)] * predictor.network.scales
    assert all(item.dtype == np.float16 for item in evidence.scales)
    logits = evidence.bias + evidence.sums.sum(axis=1)
    shares = torch.softmax(torch.from_numpy(logits), 1).numpy()
    np.testing.assert_allclose(shares, found.probabilities, atol=1e-5)
    sums = np.stack([item.sum(axis=(2, 3), dtype=np.float64) for item in evidence.scales], axis=1)
    np.testing.assert_allclose(sums, evidence.sums, atol=2e-3)
    assert evidence.sums.min() < 0 < evidence.sums.max()
    classes = np.array([0, 3, 1, 4, 4])
    chosen = evidence.of(classes)
    assert chosen.shape == (5, *evidence.scales[0].shape[2:])
    np.testing.assert_allclose(chosen.sum(axis=(1, 2)), evidence.sums.sum(axis=1)[range(5), classes], atol=2e-3)


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_the_batch_size_changes_nothing(photographs, batch):
    """Batches of any size, dividing or not, give the same results in fp32."""
    whole, parts = predictor_of(batch=5).predict(photographs), predictor_of(batch=batch).predict(photographs)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-5)
    np.testing.assert_array_equal(parts.grades, whole.grades)
    np.testing.assert_allclose(parts.fused, whole.fused, atol=1e-5)
    for part, wanted in zip(parts.maps, whole.maps, strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-5)


def test_prediction_takes_the_features_that_fine_tuning_kept(photographs, tmp_path):
    """A photograph as it is has one entry in the cache, whoever asked first."""
    predictor = predictor_of()
    extractor, images, device = predictor.network.extractor, torch.from_numpy(photographs), torch.device("cpu")
    frozen = FrozenFeatures(extractor, images, *HALF, device, bf16=False, cache=FeatureCache(tmp_path, 10**9))
    frozen(torch.arange(5), [0] * 5)
    entries = sorted(tmp_path.glob("*/*"))
    assert len(entries) == 5
    predictor.predict(photographs, cache=FeatureCache(tmp_path, 10**9))
    assert sorted(tmp_path.glob("*/*")) == entries


@pytest.mark.parametrize("batch", [2, 5])
def test_given_maps_stand_in_for_the_models_own(photographs, batch):
    """Row by row, NaN keeps the own value; a plain network, or a map of another grid, is refused."""
    predictor = predictor_of(batch=batch)
    own = predictor.predict(photographs)
    given = [np.full_like(item, np.nan) for item in own.maps]
    np.testing.assert_allclose(predictor.predict(photographs, maps=given).probabilities, own.probabilities, atol=1e-6)
    given[0][3] = 1.0
    found = predictor.predict(photographs, maps=given)
    np.testing.assert_array_equal(found.maps[0][3], np.ones_like(found.maps[0][3]))
    moved = np.abs(found.probabilities - own.probabilities).max(axis=1)
    assert moved[3] > 1e-5
    assert np.delete(moved, 3).max() < 1e-6
    with pytest.raises(ModelError, match="map given for scale 1 has shape"):
        predictor.predict(photographs, maps=[item[:, 1:] for item in given])
    with pytest.raises(ModelError, match="plain network has no attention maps"):
        predictor_of("plain").predict(photographs, maps=given[:1])


def test_a_model_that_gives_no_number_is_an_error(photographs):
    """NaN never becomes a grade: the median would call it healthy."""
    predictor = predictor_of()
    with torch.no_grad():
        predictor.network.fusion.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"no number for 5 of 5 photographs \(NaN\)"):
        predictor.predict(photographs)


def test_predicting_twice_gives_the_same_bytes(photographs):
    """Inference is deterministic and does not change the network."""
    predictor = predictor_of()
    state = {name: item.clone() for name, item in predictor.network.state_dict().items()}
    first, second = predictor.predict(photographs), predictor.predict(photographs)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.fused, second.fused)
    assert all(torch.equal(state[name], item) for name, item in predictor.network.state_dict().items())


def test_modes_come_back_also_after_an_exception(photographs):
    """A half-frozen network in training stays just that, even when a progress callback raises."""
    predictor = predictor_of(batch=2)
    predictor.network.train()
    predictor.network.extractor.eval()
    modes = [module.training for module in predictor.network.modules()]
    assert len(set(modes)) == 2

    def interrupt(done, total):
        raise KeyboardInterrupt

    predictor.predict(photographs)
    assert [module.training for module in predictor.network.modules()] == modes
    with pytest.raises(KeyboardInterrupt):
        predictor.predict(photographs, interrupt)
    assert [module.training for module in predictor.network.modules()] == modes
    with evaluating(predictor.network):
        assert not any(module.training for module in predictor.network.modules())
        assert torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()


def test_progress_counts_photographs(photographs):
    """Progress ends with all photographs done, whatever the last batch holds."""
    calls = []
    predictor_of(batch=2).predict(photographs, lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("kind", ["plain", "multi-scale"])
def test_bf16_is_close_to_fp32(photographs, kind):
    """Half the bits change probabilities and maps by little, and never their type."""
    exact, rough = predictor_of(kind).predict(photographs), predictor_of(kind, "bf16").predict(photographs)
    assert not np.array_equal(exact.probabilities, rough.probabilities)  # bf16 was at work
    np.testing.assert_allclose(rough.probabilities, exact.probabilities, atol=0.03)
    np.testing.assert_allclose(rough.fused, exact.fused, atol=0.05)
    assert rough.fused.dtype == np.float32
    np.testing.assert_allclose(rough.probabilities.sum(1), 1, atol=1e-6)


def test_scores_are_the_probabilities(photographs):
    """`scores` on normalised images is what `predict` reports, and leaves the modes alone."""
    predictor = predictor_of()
    predictor.network.train()
    scores = predictor.scores(predictor.normalise(photographs))
    np.testing.assert_allclose(scores.numpy(), predictor.predict(photographs).probabilities, atol=1e-6)
    assert predictor.network.training


def test_normalisation_by_hand():
    """(v / 255 - mean) / std per channel, channels first; views with odd strides are read right."""
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[0, 0, 1] = (255, 51, 0)
    found = predictor_of().normalise(pixels[:, ::-1])
    wanted = torch.tensor([(1 - 0.5) / 0.2, (0.2 - 0.4) / 0.25, (0 - 0.3) / 0.5])
    torch.testing.assert_close(found[0, :, 1, 1], wanted)
    assert found.shape == (1, 3, 2, 2)


def test_decoding_by_hand():
    """`expected` rounds Σ k p_k, halves up; `argmax` takes the likeliest, the lower one of equals."""
    probabilities = np.array(
        [[1, 0, 0], [0, 0, 1], [0.5, 0, 0.5], [0.4, 0.3, 0.3], [0.5, 0.5, 0], [0.51, 0.49, 0], [0, 0.5, 0.5]],
        np.float32,
    )
    np.testing.assert_array_equal(decode(probabilities, "expected"), [0, 2, 1, 1, 1, 0, 2])
    np.testing.assert_array_equal(decode(probabilities, "argmax"), [0, 2, 0, 0, 0, 0, 1])
    # The first class at which the cumulative probability reaches one half.
    assert decode(np.array([[0.3, 0.1, 0.6]], dtype=np.float32), "median")[0] == 2
    assert decode(np.array([[0.3, 0.3, 0.4]], dtype=np.float32), "median")[0] == 1
    assert decode(np.array([[0.5, 0.0, 0.5]], dtype=np.float32), "median")[0] == 0
    assert decode(np.array([[0.0, 0.0, 1.0]], dtype=np.float32), "median")[0] == 2
    halves = np.array([[49, 101, 150], [148, 2, 150], [7, 143, 150]]) / 300  # trees of 300: rounded up, down or not
    for kind in (np.float32, np.float64):
        np.testing.assert_array_equal(decode(halves.astype(kind), "median"), [1, 1, 1])
    assert decode(probabilities, "expected").dtype == decode(probabilities, "argmax").dtype == np.int64
