"""What the tests of the explainers share: two tiny networks and four photographs."""

import numpy as np
import pytest

from tests.explanation.networks import built, predictor_of


@pytest.fixture(scope="module")
def plain():
    """A plain network."""
    return predictor_of(built("plain"))


@pytest.fixture(scope="module")
def abn():
    """A multi-scale attention network."""
    return predictor_of(built("multi-scale"))


@pytest.fixture(scope="module")
def images():
    """(4, 64, 64, 3) uint8, soft blobs so that neighbouring pixels are alike."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)
