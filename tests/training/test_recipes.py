"""What the two recipes share: their numbers, their rates, their precision, and the loop that both call."""

import inspect
import math
from dataclasses import replace

import pytest
import torch

from regaze.errors import ModelError
from regaze.models.build import build_network
from regaze.models.features import FeatureCache
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.training import loop, recipes
from tests.training.runs import CLASSES, FINETUNE, PHASE1, RECIPES, Stop, network_of, photographs, run, same

# Losses of the 5 steps below, fp32, one thread, where they are the same bytes every time. Two threads, which add in
# another order, differ by 4e-6 at most. (A batch without a corrected photograph has a map loss of exactly 0.)
PINNED = {
    "phase1": {
        "grade": [5.540524959564209, 5.422971725463867, 6.022200107574463, 5.341456890106201, 6.073005676269531]
    },
    "finetune": {
        "grade": [5.478487491607666, 5.295912742614746, 5.891049861907959, 5.282911777496338, 6.078514099121094],
        "map": [4.318973541259766, 4.232460975646973, 4.142521381378174, 0.0, 3.9356260299682617],
    },
}

PINNED_MASKED = {
    "phase1": {"grade": [5.505352020263672, 5.230877876281738, 5.88386344909668, 5.278171539306641, 5.851611137390137]},
    "finetune": {
        "grade": [5.848634719848633, 5.073807716369629, 6.22004508972168, 5.1028900146484375, 6.095749855041504],
        "map": [3.8078930377960205, 3.785922050476074, 3.619886875152588, 0.0, 3.7742676734924316],
    },
}


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_pinned_run(tmp_path, recipe, threads):
    """Five steps of each recipe give the recorded losses to 1e-4: a change of any number in a recipe shows here."""
    options = replace(PHASE1 if recipe == "phase1" else FINETUNE, epochs=5)
    torch.set_num_threads(threads)
    try:
        _, history = run(recipe, tmp_path, data=photographs(4), options=options)
    finally:
        torch.set_num_threads(1)
    wanted = PINNED[recipe]
    assert len(history) == 5
    for name, losses in wanted.items():
        assert [epoch[name] for epoch in history] == pytest.approx(losses, rel=1e-4), name
    assert set(history[0]) == set(wanted)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_pinned_run_with_masked_bars(tmp_path, recipe):
    """The same steps on photographs with bars, which the network masks."""
    data = photographs(4)
    data.images[:, :, :16] = data.images[:, :, -16:] = 0
    options = replace(PHASE1 if recipe == "phase1" else FINETUNE, epochs=5)
    _, history = run(recipe, tmp_path, network_of(bars="masked"), data, options)
    for name, losses in PINNED_MASKED[recipe].items():
        assert [epoch[name] for epoch in history] == pytest.approx(losses, rel=1e-4), name
    assert set(history[0]) == set(PINNED_MASKED[recipe])


def test_phase1_changes_everything(tmp_path):
    """No parameter is left out of the optimiser, no batch-norm statistic stands still."""
    network = network_of()
    before = {name: item.clone() for name, item in network.state_dict().items()}
    run("phase1", tmp_path, network)
    same_as_before = [name for name, item in network.state_dict().items() if torch.equal(item, before[name])]
    assert same_as_before == []


def test_a_frozen_extractor_keeps_every_byte(tmp_path):
    """At a rate of 0 phase 1 trains all but the extractor, from features that a cache may hold; resumed it is equal."""
    options = replace(PHASE1, lr_extractor=0.0)
    start = {name: item.clone() for name, item in network_of().state_dict().items()}
    network, history = run("phase1", tmp_path / "a", options=options)
    still = {name for name, item in network.state_dict().items() if torch.equal(item, start[name])}
    assert still == {name for name in start if name.startswith("extractor.")}
    assert history[-1]["grade"] < history[0]["grade"]
    cached, _ = run("phase1", tmp_path / "b", options=options, cache=FeatureCache(tmp_path / "cache", 10**9))
    assert same(network, cached)
    assert list((tmp_path / "cache").glob("*/*.safetensors"))
    with pytest.raises(KeyboardInterrupt):
        run("phase1", tmp_path / "c", options=options, progress=Stop(2))
    resumed, _ = run("phase1", tmp_path / "c", options=options)
    assert same(network, resumed)
    plain = build_network(NetworkOptions(network="plain", backbone="test_resnet"), CLASSES).network
    with pytest.raises(ModelError, match="linear probe"):
        run("phase1", tmp_path / "d", plain, options=options)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, recipe):
    """NaN is an error that names the loss and the epoch; the broken state is not written as a checkpoint."""
    network = network_of()
    with torch.no_grad():
        network.fusion.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"loss grade became nan in epoch 1: lower the learning rates"):
        run(recipe, tmp_path, network)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["plain", "single-scale"])
def test_phase1_trains_any_network(tmp_path, kind):
    """Plain and single-scale networks learn by the same recipe: the loss falls on eight photographs."""
    network = build_network(NetworkOptions(network=kind, backbone="test_resnet"), CLASSES).network
    rates = {"lr_extractor": 3e-3, "lr_branches": 3e-3, "lr_heads": 3e-3}
    options = replace(PHASE1, epochs=8, augment=False, smoothing=0.0, **rates)
    _, history = run("phase1", tmp_path, network, options=options)
    assert history[-1]["grade"] < 0.9 * history[0]["grade"]


def test_classes_without_an_order_take_cross_entropy(tmp_path):
    """`ordinal=False` and `loss="cross-entropy"` are the same run."""
    first, _ = run("phase1", tmp_path / "a", options=replace(PHASE1, epochs=1), ordinal=False)
    second, _ = run("phase1", tmp_path / "b", options=replace(PHASE1, epochs=1, loss="cross-entropy"))
    third, _ = run("phase1", tmp_path / "c", options=replace(PHASE1, epochs=1))
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.parametrize("recipe", RECIPES)
def test_bf16_is_close_to_fp32(tmp_path, recipe):
    """Training in bf16 gives fp32 weights and nearly the same losses."""
    options = replace(PHASE1 if recipe == "phase1" else FINETUNE, epochs=1)
    network, rough = run(recipe, tmp_path / "a", options=options, machine=MachineOptions("bf16", "cpu"))
    _, exact = run(recipe, tmp_path / "b", options=options)
    assert rough[0] != exact[0]
    assert rough[0] == pytest.approx(exact[0], rel=0.05)
    assert all(item.dtype in (torch.float32, torch.int64) for item in network.state_dict().values())


def test_training_leaves_the_global_random_state(tmp_path):
    """Neither the caller's generator nor its state before the call matters."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, _ = run("phase1", tmp_path / "a", options=replace(PHASE1, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(first, run("phase1", tmp_path / "b", options=replace(PHASE1, epochs=1))[0])


def test_the_learning_rate_by_hand():
    """Linear warm-up over the first twentieth, then a cosine: half in its middle, a hundredth at the ends."""
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "peak": 2.0}, {"params": [torch.zeros(1)], "peak": 4.0}])
    for done, share in (
        (0, 0.01),
        (0.025, 0.5),
        (0.05, 1),
        (0.525, 0.5),
        (0.2875, (1 + math.sqrt(0.5)) / 2),
        (1, 0.01),
    ):
        loop._set_rates(optimizer, done)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([2 * share, 4 * share])


def test_groups_take_their_rates_and_vectors_do_not_decay(tmp_path, monkeypatch):
    """AdamW gets every parameter once, with its group's peak rate; biases and norms have no weight decay."""
    seen = []
    real = torch.optim.AdamW

    def spy(groups, **options):
        seen.append(groups)
        return real(groups, **options)

    monkeypatch.setattr(torch.optim, "AdamW", spy)
    network = network_of()
    options = replace(PHASE1, epochs=1, lr_extractor=1e-4, lr_branches=2e-4, lr_heads=3e-4, weight_decay=0.5)
    run("phase1", tmp_path, network, options=options)
    run("finetune", tmp_path, network, options=replace(FINETUNE, epochs=1, lr_branches=4e-4, lr_maps=5e-4))
    rates = [
        {"extractor": 1e-4, "branches": 2e-4, "heads": 3e-4, "maps": 3e-4},
        {"branches": 4e-4, "heads": 4e-4, "maps": 5e-4},
    ]
    decays = [0.5, FINETUNE.weight_decay]
    for groups, rate, decay in zip(seen, rates, decays, strict=True):
        found = {id(item): group for group in groups for item in group["params"]}
        assert sum(len(group["params"]) for group in groups) == len(found)
        for name, parameter in network.named_parameters():
            if network.group_of(name) not in rate:
                assert id(parameter) not in found
                continue
            group = found[id(parameter)]
            assert group["peak"] == rate[network.group_of(name)], name
            assert group["weight_decay"] == (decay if parameter.ndim > 1 else 0.0), name


def test_only_the_loop_calls_backward():
    """One training loop: phase 1 and fine-tuning differ by what they hand in."""
    assert inspect.getsource(loop).count(".backward(") == 1
    assert ".backward(" not in inspect.getsource(recipes)
