"""Fine-tuning: the frozen extractor, its cached features, replay, and the loss of the maps."""

from dataclasses import replace

import pytest
import torch

from regaze.errors import ModelError, OptionError
from regaze.models.build import build_network
from regaze.models.features import FeatureCache
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.training import loop, recipes
from regaze.training.batches import Feed
from regaze.training.losses import classification_loss, soft_labels
from regaze.training.targets import target_maps
from tests.training.runs import CLASSES, COMMON, FINETUNE, PHASE1, Stop, moved, network_of, photographs, run, same


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


def test_a_plain_network_cannot_be_fine_tuned(tmp_path):
    """It has no attention map to correct, and says so before anything changes."""
    network = build_network(NetworkOptions(network="plain", backbone="test_resnet"), CLASSES).network
    before = raw(network)
    with pytest.raises(ModelError, match="no attention map to correct"):
        run("finetune", tmp_path, network)
    assert raw(network) == before


def test_photographs_without_a_grade_may_be_there(tmp_path):
    """Ungraded photographs supervise maps alone; with no grade at all the grade's loss is zero."""
    data = replace(photographs(), labels=torch.full((8,), -1))
    _, history = run("finetune", tmp_path, data=data, options=replace(FINETUNE, epochs=1))
    assert history[0]["grade"] == 0
    assert history[0]["map"] > 0
