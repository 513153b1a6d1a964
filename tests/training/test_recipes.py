"""The two recipes and the loop that both call."""

import inspect
import math
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regaze.errors import ModelError, OptionError
from regaze.models.build import build_network
from regaze.models.features import FeatureCache
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.training import loop, recipes
from regaze.training.batches import Feed, TrainingSet
from regaze.training.losses import classification_loss, soft_labels
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import Setup, finetune, train_phase1
from regaze.training.targets import target_maps

SIDE, CLASSES = 64, 3
FP32 = MachineOptions(precision="fp32", device="cpu")
COMMON = {
    "classes": CLASSES,
    "ordinal": True,
    "normalisation": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "seed": 3,
    "machine": FP32,
}
# Every option is stated, so that these tests do not follow the defaults.
PHASE1 = TrainingOptions(
    epochs=4,
    batch=4,
    loss="ordinal",
    smoothing=0.1,
    sampling="square-root",
    lr_extractor=3e-4,
    lr_branches=5e-4,
    lr_heads=1e-3,
    weight_decay=1e-2,
    averaging=0.97,
    augment=True,
)
FINETUNE = FinetuneOptions(
    epochs=4,
    batch=4,
    map_weight=5.0,
    lr_branches=3e-4,
    lr_maps=3e-3,
    weight_decay=1e-2,
    averaging=0.97,
    replay=1.0,
    augment="free",
)
RECIPES = ("phase1", "finetune")


def photographs(count=8, edited=False):
    """Noise with one bright square each; the square is the lesion; every other photograph is corrected."""
    generator = torch.Generator().manual_seed(11)
    images = torch.randint(0, 120, (count, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    look = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for number in range(count):
        row, column = torch.randint(8, SIDE - 24, (2,), generator=generator).tolist()
        look[number, row : row + 12, column : column + 12] = True
    images[look] += 120
    data = TrainingSet(images, torch.arange(count) % CLASSES, look, torch.arange(count) % 2 == 0)
    if not edited:
        return data
    avoid = ~look
    avoid[:, SIDE // 2 :] = False
    return replace(data, avoid=avoid, edited=torch.ones(count, dtype=torch.bool))


def network_of(backbone="test_resnet", seed=0, **options):
    """A fresh two-scale network; the same bytes for the same seed."""
    return build_network(NetworkOptions(backbone=backbone, scales=2, **options), CLASSES, SIDE, seed).network


def run(recipe, folder, network=None, data=None, options=None, progress=None, **changes):
    """Run a recipe; returns the network and its history."""
    network = network if network is not None else network_of()
    data = data if data is not None else photographs()
    cache = {"cache": changes.pop("cache")} if "cache" in changes else {}
    setup = Setup(**COMMON | {"checkpoint": folder / f"{recipe}.safetensors", "progress": progress} | changes)
    if recipe == "phase1":
        return network, train_phase1(network, data, options or PHASE1, setup)
    return network, finetune(network, data, options or FINETUNE, PHASE1, setup, **cache)


def same(first, second):
    """True where two networks hold the same bytes."""
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


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


class Stop:
    """A progress callback that interrupts after an epoch, as a user's Ctrl-C would."""

    def __init__(self, after):
        self.after = after

    def __call__(self, done, total, _):
        """Called after every epoch."""
        assert total == 4
        if done == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("recipe", RECIPES)
def test_resuming_equals_not_stopping(tmp_path, recipe):
    """Interrupted after epochs 1 and 2 of 4 and called again: bitwise the weights of an undisturbed run."""
    whole, history = run(recipe, tmp_path / "whole")
    for after in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "parts", progress=Stop(after))
    calls = []
    resumed, again = run(recipe, tmp_path / "parts", progress=lambda done, *_: calls.append(done))
    assert calls == [3, 4]
    assert same(whole, resumed)
    assert again == history
    assert not any(module.training for module in resumed.modules())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_finished_run_is_not_repeated(tmp_path, recipe):
    """Calling again after the end gives the same model without one more step."""
    first, history = run(recipe, tmp_path)
    second, again = run(recipe, tmp_path, progress=lambda *_: pytest.fail("trained again"))
    assert same(first, second)
    assert again == history


def test_resuming_without_averaging(tmp_path):
    """The same with the moving average off."""
    options = replace(PHASE1, averaging=0.0)
    whole, _ = run("phase1", tmp_path / "whole", options=options)
    with pytest.raises(KeyboardInterrupt):
        run("phase1", tmp_path / "parts", options=options, progress=Stop(2))
    assert same(whole, run("phase1", tmp_path / "parts", options=options)[0])


class Counter:
    """A progress callback that notes the epochs done and interrupts after the first call."""

    def __init__(self):
        self.calls = []

    def __call__(self, done, *_):
        """Called after every epoch."""
        self.calls.append(done)
        raise KeyboardInterrupt


def first_epoch(folder, **changes):
    """Number of the first epoch that a fine-tuning run does; None where it finds itself finished."""
    counter = Counter()
    with suppress(KeyboardInterrupt):
        run("finetune", folder, progress=counter, **changes)
    return counter.calls[0] if counter.calls else None


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """A folder with the checkpoint of a fine-tuning run that was interrupted after epoch 2 of 4."""
    folder = tmp_path_factory.mktemp("half")
    with pytest.raises(KeyboardInterrupt):
        run("finetune", folder, progress=Stop(2))
    return folder


@pytest.fixture
def checkpoint(half_done, tmp_path):
    """A copy of it in the test's own folder."""
    return Path(shutil.copy(half_done / "finetune.safetensors", tmp_path))


@pytest.mark.parametrize("damage", ["none", "empty", "cut", "overwritten"])
def test_a_damaged_checkpoint_is_ignored(checkpoint, damage):
    """Training starts over; with the undamaged file it goes on at epoch 3."""
    content = checkpoint.read_bytes()
    damaged = {"none": content, "empty": b"", "cut": content[: len(content) // 2], "overwritten": b"\xff" * 100}
    checkpoint.write_bytes(damaged[damage])
    assert first_epoch(checkpoint.parent) == (3 if damage == "none" else 1)


def test_checkpoints_are_written_when_they_fall_due(tmp_path, monkeypatch):
    """Epochs of 9 seconds: a checkpoint after the third, and none that costs a short round its time."""
    monkeypatch.setattr("regaze.training.loop._CHECKPOINT_SECONDS", 20.0)
    now = [0.0]
    monkeypatch.setattr("regaze.training.loop.time.monotonic", lambda: now[0])
    there = []

    def progress(done, *_):
        there.append((tmp_path / "finetune.safetensors").exists())
        now[0] += 9.0

    run("finetune", tmp_path, progress=progress)
    assert there == [False, False, False, True]


def moved(data):
    """The same corrections, of the same area, elsewhere."""
    return replace(data, look=data.look.roll(5, dims=1))


def swapped(data):
    """The same grades, two of them swapped."""
    return replace(data, labels=data.labels[[1, 0, *range(2, len(data.labels))]])


def others(data):
    """As many corrected photographs, but others."""
    return replace(data, corrected=~data.corrected)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"ordinal": False},
        {"normalisation": ((0.4, 0.5, 0.5), (0.25, 0.25, 0.25))},
        {"options": replace(FINETUNE, lr_maps=1e-3)},
        {"network": 1},
        {"data": moved},
        {"data": swapped},
        {"data": others},
    ],
    ids=["seed", "loss", "mean", "options", "weights", "moved-corrections", "swapped-grades", "other-corrections"],
)
def test_a_foreign_checkpoint_is_ignored(checkpoint, changes):
    """A checkpoint of a run that differs in anything that decides the result is not taken up."""
    changes = dict(changes)
    if "network" in changes:
        changes["network"] = network_of(seed=changes["network"])
    if "data" in changes:
        changes["data"] = changes["data"](photographs())
    assert first_epoch(checkpoint.parent, **changes) == 1


def test_a_checkpoint_of_the_other_recipe_is_ignored(tmp_path):
    """Phase 1 and fine-tuning never go on from each other's checkpoint, even under one name."""
    with pytest.raises(KeyboardInterrupt):
        run("phase1", tmp_path, progress=Stop(2))
    (tmp_path / "phase1.safetensors").rename(tmp_path / "finetune.safetensors")
    assert first_epoch(tmp_path) == 1


def raw(module):
    """Every parameter and buffer of a module as bytes."""
    return {name: item.contiguous().numpy().tobytes() for name, item in module.state_dict().items()}


def test_fine_tuning_leaves_the_extractor_untouched(tmp_path):
    """Every parameter and buffer of the extractor keeps its bytes; branches, heads and map convolutions change."""
    network = network_of()
    with torch.no_grad():
        next(network.extractor.parameters()).view(-1)[:3] = -0.0  # equal to 0.0, other bytes
    before, rest = raw(network.extractor), {name: item.clone() for name, item in network.state_dict().items()}
    run("finetune", tmp_path, network)
    assert raw(network.extractor) == before
    assert any("running_mean" in name for name in before)
    for name, item in network.state_dict().items():
        if not name.startswith("extractor."):
            assert not torch.equal(item, rest[name]), name
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("augment", "edited"), [("none", False), ("none", True), ("turns", True)])
def test_cached_and_uncached_training_are_the_same(tmp_path, augment, edited):
    """In fp32 the losses agree to 1e-5 and every weight is the same, cold and warm, with edits and turned pictures."""
    options = replace(FINETUNE, augment=augment)
    data = photographs(edited=edited)
    plain, history = run("finetune", tmp_path / "a", data=data, options=options)
    for name in ("cold", "warm"):
        cache = FeatureCache(tmp_path / "cache", 10**9)
        cached, again = run("finetune", tmp_path / name, data=data, options=options, cache=cache)
        for one, other in zip(history, again, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
        assert same(plain, cached)
    assert len(list((tmp_path / "cache").glob("*/*.safetensors"))) >= len(data)


def test_cached_training_is_what_training_the_whole_network_would_be(tmp_path):
    """Training on frozen features is one loop over the whole network with the extractor frozen, written out plainly."""
    options = replace(FINETUNE, augment="none", epochs=2, averaging=0.0, map_weight=0.0)
    data = photographs()
    ours, _ = run("finetune", tmp_path, data=data, options=options)
    network = network_of()
    network.extractor.requires_grad_(requires_grad=False)
    groups = recipes._groups(
        network, {"branches": options.lr_branches, "heads": options.lr_branches, "maps": options.lr_maps}
    )
    plan = loop.Plan(options, groups, None, "")
    optimizer = torch.optim.AdamW(loop._decayed(plan))
    feed = Feed(data, CLASSES, options.batch, 3, PHASE1.sampling, "none", *COMMON["normalisation"])
    for epoch in range(options.epochs):
        for step, batch in enumerate(feed.epoch(epoch, torch.device("cpu"))):
            network.train()
            network.extractor.eval()
            loop._set_rates(optimizer, (epoch * feed.steps() + step) / (options.epochs * feed.steps()))
            target = soft_labels(batch.labels, CLASSES, PHASE1.loss, PHASE1.smoothing)
            optimizer.zero_grad()
            classification_loss(network(batch.inputs), target).backward()
            optimizer.step()
    for (name, one), other in zip(ours.state_dict().items(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("replay", [0.5, 0.25])
def test_replay_draws_all_corrected_and_a_share_of_the_rest(replay):
    """An epoch is as long as the corrected photographs and the share; each kind comes as often as it should."""
    data = photographs(16)
    feed = Feed(data, CLASSES, 2, 0, "natural", "none", *COMMON["normalisation"], replay=replay)
    wanted = 8 + round(8 * replay)
    assert feed.steps() == wanted // 2
    drawn = torch.cat([batch.corrected for batch in feed.epoch(0, torch.device("cpu"))])
    assert len(drawn) == wanted
    assert int((drawn > 0).sum()) == 8


def test_the_extractor_is_free_again_after_an_interruption(tmp_path):
    """Freezing is undone when fine-tuning is stopped or cannot begin."""
    network = network_of()
    with pytest.raises(KeyboardInterrupt):
        run("finetune", tmp_path, network, progress=Stop(1))
    with pytest.raises(OptionError, match="--device gpu"):
        run("finetune", tmp_path, network, machine=MachineOptions(device="gpu"))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_phase1_changes_everything(tmp_path):
    """No parameter is left out of the optimiser, no batch-norm statistic stands still."""
    network = network_of()
    before = {name: item.clone() for name, item in network.state_dict().items()}
    run("phase1", tmp_path, network)
    same_as_before = [name for name, item in network.state_dict().items() if torch.equal(item, before[name])]
    assert same_as_before == []


def map_error(network, data):
    """Mean squared difference between maps and targets over the corrected photographs."""
    pixels = (data.images[data.corrected].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        maps = network.eval()(pixels).maps
    targets = target_maps(data.look[data.corrected], [tuple(item.shape[2:]) for item in maps])
    return [float((a - b).square().mean()) for a, b in zip(maps, targets, strict=True)]


def test_the_map_loss_moves_the_maps_to_the_lesions(tmp_path):
    """With λ the maps of every scale come nearer to their targets than before and than in the control without it."""
    data = photographs()
    options = replace(FINETUNE, epochs=12, augment="none", averaging=0.0, lr_maps=3e-2)
    before = map_error(network_of(), data)
    with_maps = map_error(run("finetune", tmp_path / "a", data=data, options=options)[0], data)
    control = map_error(run("finetune", tmp_path / "b", data=data, options=replace(options, map_weight=0.0))[0], data)
    for start, moved_map, untouched in zip(before, with_maps, control, strict=True):
        assert moved_map < 0.8 * start
        assert moved_map < 0.8 * untouched


def test_weight_zero_means_no_map_term(tmp_path):
    """The control reports the grade's loss alone, and corrections then change nothing."""
    options = replace(FINETUNE, map_weight=0.0, epochs=1)
    first, history = run("finetune", tmp_path / "a", options=options)
    assert set(history[0]) == {"grade"}
    second, _ = run("finetune", tmp_path / "b", data=moved(photographs()), options=options)
    assert same(first, second)
    _, history = run("finetune", tmp_path / "c", options=replace(options, map_weight=1.0))
    assert set(history[0]) == {"grade", "map"}


def test_photographs_without_a_correction_get_no_map_loss(tmp_path):
    """Whatever the mask of an uncorrected photograph holds, the weights come out the same; a corrected one counts."""
    options = replace(FINETUNE, epochs=1)
    data = photographs()
    first, _ = run("finetune", tmp_path / "a", data=data, options=options)
    for name, chosen, unchanged in (("b", ~data.corrected, True), ("c", data.corrected, False)):
        look = torch.where(chosen.view(-1, 1, 1), ~data.look, data.look)
        other, _ = run("finetune", tmp_path / name, data=replace(data, look=look), options=options)
        assert same(first, other) is unchanged


def test_without_any_correction_fine_tuning_is_the_control(tmp_path):
    """No corrected photograph: the map term is exactly zero and the weights are those of λ = 0."""
    options = replace(FINETUNE, epochs=1)
    data = replace(photographs(), corrected=torch.zeros(8, dtype=torch.bool))
    first, history = run("finetune", tmp_path / "a", data=data, options=options)
    assert history[0]["map"] == 0
    second, _ = run("finetune", tmp_path / "b", data=data, options=replace(options, map_weight=0.0))
    assert same(first, second)


def test_an_edit_that_touches_nothing_is_no_correction(tmp_path):
    """Neither "look here" nor "not here": the weights are those of a run without a correction."""
    options = replace(FINETUNE, epochs=1)
    data = photographs(edited=True)
    untouched = replace(data, look=torch.zeros_like(data.look), avoid=None)
    none = replace(data, corrected=torch.zeros(8, dtype=torch.bool))
    first, _ = run("finetune", tmp_path / "a", data=untouched, options=options)
    second, _ = run("finetune", tmp_path / "b", data=none, options=options)
    assert same(first, second)
    third, _ = run("finetune", tmp_path / "c", data=data, options=options)
    assert not same(first, third)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, recipe):
    """NaN is an error that names the loss and the epoch; the broken state is not written as a checkpoint."""
    network = network_of()
    with torch.no_grad():
        network.fusion.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"loss grade became nan in epoch 1: lower the learning rates"):
        run(recipe, tmp_path, network)
    assert list(tmp_path.iterdir()) == []


def test_a_plain_network_cannot_be_fine_tuned(tmp_path):
    """It has no attention map to correct, and says so before anything changes."""
    network = build_network(NetworkOptions(network="plain", backbone="test_resnet"), CLASSES).network
    before = raw(network)
    with pytest.raises(ModelError, match="no attention map to correct"):
        run("finetune", tmp_path, network)
    assert raw(network) == before


@pytest.mark.parametrize("kind", ["plain", "single-scale"])
def test_phase1_trains_any_network(tmp_path, kind):
    """Plain and single-scale networks learn by the same recipe: the loss falls on eight photographs."""
    network = build_network(NetworkOptions(network=kind, backbone="test_resnet"), CLASSES).network
    rates = {"lr_extractor": 3e-3, "lr_branches": 3e-3, "lr_heads": 3e-3}
    options = replace(PHASE1, epochs=8, augment=False, smoothing=0.0, **rates)
    _, history = run("phase1", tmp_path, network, options=options)
    assert history[-1]["grade"] < 0.9 * history[0]["grade"]


def test_photographs_without_a_grade_may_be_there(tmp_path):
    """Ungraded photographs supervise maps alone; with no grade at all the grade's loss is zero."""
    data = replace(photographs(), labels=torch.full((8,), -1))
    _, history = run("finetune", tmp_path, data=data, options=replace(FINETUNE, epochs=1))
    assert history[0]["grade"] == 0
    assert history[0]["map"] > 0


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
