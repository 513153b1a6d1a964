"""Moving average of the weights."""

import pytest
import torch
from torch import nn

from regaze.training.average import WeightAverage


def ones(value=1.0):
    """A layer with one weight of the given value, and a batch norm."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(network[0].weight, value)
    return network


def test_the_average_by_hand():
    """Decay min(d, (1 + n) / (10 + n)): 2/11 after the first step, 3/12 after the second."""
    network = ones(0.0)
    average = WeightAverage(network, 0.9)
    nn.init.constant_(network[0].weight, 1.0)
    average.update(network)
    assert average.state["0.weight"].item() == pytest.approx(9 / 11)
    average.update(network)
    assert average.state["0.weight"].item() == pytest.approx(9 / 11 * 3 / 12 + 9 / 12)
    assert average.updates == 2


def test_the_decay_is_reached():
    """After many steps the option's decay holds: .5 halves the distance with each step."""
    network = ones(0.0)
    average = WeightAverage(network, 0.5)
    average.updates = 100
    nn.init.constant_(network[0].weight, 1.0)
    for wanted in (0.5, 0.75, 0.875):
        average.update(network)
        assert average.state["0.weight"].item() == pytest.approx(wanted)


def test_batch_norm_statistics_are_averaged_and_counters_copied():
    """The kept model's statistics fit its averaged weights; integers cannot be averaged."""
    network = ones()
    average = WeightAverage(network, 0.9)
    network.train()(torch.tensor([[3.0], [5.0]]))
    average.update(network)
    assert average.state["1.running_mean"].item() == pytest.approx(9 / 11 * 0.4)
    assert average.state["1.num_batches_tracked"] == 1


def test_the_average_is_put_into_the_network():
    """copy_to writes every tensor; the average itself is not tied to the network."""
    network = ones(0.0)
    average = WeightAverage(network, 0.9)
    nn.init.constant_(network[0].weight, 1.0)
    average.update(network)
    average.copy_to(network)
    assert network[0].weight.item() == pytest.approx(9 / 11)
    assert network[0].weight.requires_grad
    nn.init.constant_(network[0].weight, 5.0)
    assert average.state["0.weight"].item() == pytest.approx(9 / 11)


@pytest.mark.parametrize("steps", [1, 40])
def test_frozen_tensors_keep_their_bytes(steps):
    """Negative zeros, tiny and huge numbers that never change come out as the same bytes."""
    values = torch.cat([torch.tensor([-0.0, 0.0, 1e-45, -3e38, 0.1]), torch.randn(100)])
    network = nn.ParameterDict({"frozen": values.clone(), "free": torch.zeros(1)})
    average = WeightAverage(network, 0.97)
    for _ in range(steps):
        network["free"].data.add_(1)
        average.update(network)
    average.copy_to(network)
    assert torch.equal(network["frozen"].data.view(torch.int32), values.view(torch.int32))
    assert 0 < network["free"].item() < steps


def test_an_average_goes_on_from_where_it_was():
    """Loaded from a checkpoint it continues as if it had never stopped."""
    network = ones(0.0)
    whole = WeightAverage(network, 0.9)
    nn.init.constant_(network[0].weight, 1.0)
    whole.update(network)
    resumed = WeightAverage(ones(7.0), 0.9)
    resumed.load({name: item.clone() for name, item in whole.state.items()}, whole.updates)
    for average in (whole, resumed):
        average.update(network)
    assert torch.equal(whole.state["0.weight"], resumed.state["0.weight"])
