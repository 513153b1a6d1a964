"""Moving average of a network's weights: the model that is kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average over steps of every floating-point tensor of a network's state.

    Early steps use a smaller decay ((1 + n) / (10 + n)), so that the start does not linger in a short run. Batch-norm
    statistics are averaged too; counters are copied.

    Args:
        network: The network to follow.
        decay: Weight of the past per step, 0..1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, weights = [], []
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self.state[name])
                weights.append(tensor)
            else:
                self.state[name].copy_(tensor)
        torch._foreach_lerp_(averages, weights, 1 - decay)

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Put the average into the network.

        Tensors that never changed (a frozen extractor) keep their bytes: lerp between equal values is exact but for
        -0.0, which it makes 0.0, so tensors that compare equal are not written.
        """
        for name, tensor in network.state_dict().items():
            if not torch.equal(tensor, self.state[name]):
                tensor.copy_(self.state[name])

    def load(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Take up an average that a checkpoint kept."""
        for name, tensor in state.items():
            self.state[name].copy_(tensor)
        self.updates = updates
