"""Networks that the tests of several files look at."""

import torch

from regaze.models.build import build_network
from regaze.models.options import NetworkOptions


def network_of(weighting, classes=4, seed=0, **options):
    """A three-block network in evaluation mode whose batch norms have seen photographs."""
    network = build_network(NetworkOptions(weighting=weighting, **options), classes, seed=seed).network
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    return network.eval()
