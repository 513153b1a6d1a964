"""Tiny networks to explain."""

import torch
from torch import nn

from regaze.explanation.job import Settings
from regaze.models.build import build_network
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor

SIDE = 64
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
FEW = Settings(masks=12, gradient_steps=4, window=0.5)


def predictor_of(network, batch=3, **machine):
    """A predictor in fp32, unless told otherwise, three photographs at a time."""
    return Predictor(network.eval(), MEAN, STD, "argmax", MachineOptions(**({"precision": "fp32"} | machine)), batch)


def lively(network):
    """Batch norms of a network from scratch pass on means of 0; give them something to say."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
    return network


def built(kind, **more):
    """A tiny network of four classes."""
    return lively(build_network(NetworkOptions(network=kind, backbone="test_resnet", **more), 4, SIDE).network)
