"""The mean of several models."""

import numpy as np

from regaze.models.build import build_network
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor
from regaze.study.assessment.ensemble import Ensemble


def test_evidence_of_several_models_is_their_mean():
    """It makes up the mean of their logits; without being asked nobody hands it out."""
    half = (0.5, 0.5, 0.5)
    networks = [build_network(NetworkOptions(backbone="test_resnet"), 3, 64, seed).network for seed in (0, 1)]
    members = tuple(Predictor(item, half, half, "argmax", MachineOptions("fp32", "cpu")) for item in networks)
    photographs = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert Ensemble(members).predict(photographs).evidence is None
    found = Ensemble(members).predict(photographs, evidence=True).evidence
    alone = [member.predict(photographs, evidence=True).evidence for member in members]
    logits = [item.bias + item.sums.sum(axis=1) for item in alone]
    assert not np.allclose(*logits)
    np.testing.assert_allclose(found.bias + found.sums.sum(axis=1), np.mean(logits, axis=0), atol=1e-6)
    for mean, first, second in zip(found.scales, alone[0].scales, alone[1].scales, strict=True):
        assert mean.dtype == np.float16
        np.testing.assert_allclose(mean, (first.astype(np.float32) + second) / 2, atol=1e-4)
