"""Grades and maps together from the first step, teacher maps, and an extractor that moves in part."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from regaze.errors import ModelError, OptionError
from regaze.models.features import FeatureCache
from regaze.training.batches import Feed
from regaze.training.options import SupervisionOptions
from regaze.training.recipes import train_phase1
from regaze.training.targets import target_maps
from tests.training.runs import (
    CLASSES,
    COMMON,
    FINETUNE,
    PHASE1,
    Setup,
    Stop,
    moved,
    network_of,
    photographs,
    run,
    same,
)
from tests.training.test_finetuning import map_error, raw

LESSON = SupervisionOptions(map_weight=5.0)


def learn(folder, supervision, data=None, options=PHASE1, network=None, progress=None):
    """Phase 1 with corrections; returns the network and its history."""
    network = network_of(weighting="gate") if network is None else network
    setup = Setup(**COMMON | {"checkpoint": folder / "phase1.safetensors", "progress": progress})
    data = photographs() if data is None else data
    return network, train_phase1(network, data, options, setup, supervision)


def test_maps_are_learned_from_the_first_step(tmp_path):
    """The first epoch already has a map loss, the extractor moves, and maps come nearer to the lesions than without."""
    data = photographs()
    options = replace(PHASE1, epochs=12, augment=False, averaging=0.0, lr_heads=1e-2)
    taught, history = learn(tmp_path / "a", LESSON, data, options)
    alone, silent = learn(tmp_path / "b", None, data, options)
    assert [set(losses) for losses in history] == [{"grade", "map"}] * 12
    assert [set(losses) for losses in silent] == [{"grade"}] * 12
    assert raw(taught.extractor) != raw(network_of(weighting="gate").extractor)
    for near, far in zip(map_error(taught, data), map_error(alone, data), strict=True):
        assert near < 0.8 * far


def test_without_weight_and_teacher_it_is_phase_1(tmp_path):
    """The control of a model that learns both from the first step is phase 1 itself, byte for byte."""
    control, _ = learn(tmp_path / "a", replace(LESSON, map_weight=0.0))
    phase1, _ = learn(tmp_path / "b", None)
    assert same(control, phase1)


@pytest.mark.parametrize("augment", ["free", "turns", "none"])
def test_teacher_maps_are_the_experts(augment):
    """About the asked share of the corrected photographs has them, from the asked epoch on; others keep their own."""
    data = photographs(16)
    feed = Feed(data, CLASSES, 4, 0, "natural", augment, *COMMON["normalisation"])
    taught = replace(feed, teacher=0.5, teacher_from=1, grids=[(16, 16), (8, 8)])
    assert all(batch.maps is None for batch in taught.epoch(0, torch.device("cpu")))
    n_given = n_corrected = 0
    for epoch in range(1, 9):
        for batch in taught.epoch(epoch, torch.device("cpu")):
            given = ~batch.maps[0].isnan().flatten(1).all(1)
            assert torch.equal(given, ~batch.maps[1].isnan().flatten(1).all(1)), "all scales or none"
            assert not (given & (batch.corrected == 0)).any()
            n_given += int(given.sum())
            n_corrected += int((batch.corrected > 0).sum())
            for look, fine in zip(batch.look[given, 0], batch.maps[0][given, 0], strict=True):
                cells = torch.nn.functional.max_pool2d(look[None], look.shape[-1] // 16)[0] > 0
                assert float(fine.max()) == 1
                assert (fine[cells] > 0.3).all()
    assert n_corrected == 8 * 8
    assert 0.3 < n_given / n_corrected < 0.7


def test_teacher_maps_keep_what_an_edit_did_not_touch():
    """Cells that an edit does not claim are NaN: the model's own."""
    feed = Feed(photographs(edited=True), CLASSES, 8, 0, "natural", "none", *COMMON["normalisation"])
    feed = replace(feed, teacher=1.0, grids=[(64, 64)])
    (batch,) = feed.epoch(0, torch.device("cpu"))
    corrected = batch.corrected > 0
    touched = (batch.look + batch.avoid) > 0
    assert touched[corrected].any()
    assert not touched[corrected].all()
    assert torch.equal(~batch.maps[0][corrected].isnan(), touched[corrected])
    assert batch.maps[0][~corrected].isnan().all()


def test_the_branches_learn_from_teacher_maps_and_the_attention_from_its_own(tmp_path):
    """Teacher maps change what is learned; with them alone, and no map loss, the attention branches get no map."""
    plain, _ = learn(tmp_path / "a", LESSON)
    taught, _ = learn(tmp_path / "b", replace(LESSON, teacher_maps=1.0))
    assert not same(plain, taught)
    again, _ = learn(tmp_path / "c", replace(LESSON, teacher_maps=1.0))
    assert same(taught, again)
    elsewhere, _ = learn(tmp_path / "d", replace(LESSON, teacher_maps=1.0), moved(photographs()))
    assert not same(taught, elsewhere)


@pytest.mark.parametrize("recipe", ["phase1", "finetune"])
def test_teacher_maps_resume_to_the_same_bytes(tmp_path, recipe, monkeypatch):
    """Who gets a teacher map is drawn from seed and epoch, so a stopped run ends as an undisturbed one."""
    monkeypatch.setattr("regaze.training.loop._CHECKPOINT_SECONDS", 0.0)

    def go(folder, progress=None, network=None):
        if recipe == "phase1":
            return learn(folder, replace(LESSON, teacher_maps=0.5), progress=progress, network=network)[0]
        options = replace(FINETUNE, teacher_maps=0.5, unfreeze=1)
        return run("finetune", folder, network, options=options, progress=progress)[0]

    whole = go(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "b", Stop(2))
    assert same(whole, go(tmp_path / "b"))


def test_unfreeze_moves_the_deepest_blocks_alone(tmp_path):
    """Of three blocks the last N move, weights and statistics; the others keep their bytes; with N = 0 all do."""
    for moving in (0, 1, 2):
        network = network_of()
        before = [raw(segment) for segment in network.extractor.segments]
        assert len(before) == 3
        run("finetune", tmp_path / str(moving), network, options=replace(FINETUNE, unfreeze=moving, lr_extractor=1e-4))
        changed = [raw(segment) != old for segment, old in zip(network.extractor.segments, before, strict=True)]
        assert changed == [False] * (3 - moving) + [True] * moving
        assert all(parameter.requires_grad for parameter in network.parameters())


def test_unfreeze_takes_cached_features_of_what_is_frozen(tmp_path):
    """The cache changes nothing: features of the frozen blocks are kept, and go on through those that move."""
    options = replace(FINETUNE, unfreeze=1, augment="turns")
    plain, _ = run("finetune", tmp_path / "a", options=options)
    cache = FeatureCache(tmp_path / "cache", 10**9)
    cached, _ = run("finetune", tmp_path / "b", options=options, cache=cache)
    assert same(plain, cached)
    assert list((tmp_path / "cache").glob("*/*.safetensors"))


def test_unfreeze_has_a_limit(tmp_path):
    """One block at least stays frozen; a backbone of one piece says that it cannot be cut."""
    with pytest.raises(OptionError, match=r"--unfreeze 3: the extractor has 3 blocks, so expected 0 to 2"):
        run("finetune", tmp_path, options=replace(FINETUNE, unfreeze=3))
    network = network_of()
    network.extractor = torch.nn.Sequential(network.extractor)
    with pytest.raises(ModelError, match="cannot be cut"):
        run("finetune", tmp_path, network, options=replace(FINETUNE, unfreeze=1))


def test_a_plain_network_learns_no_maps(tmp_path):
    """Corrections for a network without attention are refused before a step."""
    with pytest.raises(ModelError, match="plain network"):
        learn(tmp_path, LESSON, network=network_of(network="plain"))


def pooled_of(network, data, maps=None):
    """(N, D) what the fusion sees of photographs as they are."""
    inputs = (data.images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        return network.eval()(inputs, maps).vector.double().numpy()


@pytest.mark.parametrize("lr_extractor", [0.0, 3e-4])
def test_refit_is_the_regression_on_own_and_experts_maps(tmp_path, lr_extractor):
    """The last layer gives scikit-learn's probabilities on standardised numbers; all other bytes stay."""
    data = photographs(12)
    options = replace(PHASE1, lr_extractor=lr_extractor)
    lesson = replace(LESSON, teacher_maps=0.5)
    before, _ = learn(tmp_path / "a", lesson, data, options)
    after, _ = learn(tmp_path / "b", lesson, data, replace(options, refit=0.1))
    changed = {name for name, item in after.state_dict().items() if not torch.equal(item, before.state_dict()[name])}
    assert changed == {"fusion.weight", "fusion.bias"}

    own, corrected = pooled_of(after, data), data.corrected.numpy()
    expert = pooled_of(after, data, target_maps(data.look, after.grids(data.images.shape[1])))[corrected]
    mean, spread = own.mean(0), np.where(own.std(0) == 0, 1.0, own.std(0))
    labels = data.labels.numpy()
    rows, grades = np.concatenate([own, expert]), np.concatenate([labels, labels[corrected]])
    weights = np.concatenate([np.ones(len(own)), np.full(len(expert), 0.5)])
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit((rows - mean) / spread, grades, sample_weight=weights)
    with torch.no_grad():
        logits = after.fusion(torch.from_numpy(own).float())
    wanted = fitted.predict_proba((own - mean) / spread)
    np.testing.assert_allclose(logits.softmax(1).numpy(), wanted, atol=2e-3)


def test_refit_knows_two_classes_absent_ones_and_what_it_cannot_fit(tmp_path):
    """Two classes of three: their order by probability is right, the third is all but impossible; one alone is left."""
    data = photographs(12)
    data = replace(data, labels=torch.tensor([0, 2]).repeat(6), corrected=None)
    options = replace(PHASE1, refit=10.0, lr_extractor=0.0)
    network, _ = run("phase1", tmp_path / "a", data=data, options=options)
    with torch.no_grad():
        shares = network.fusion(torch.from_numpy(pooled_of(network, data)).float()).softmax(1)
    assert shares[:, 1].max() < 1e-3
    assert (shares.argmax(1) == data.labels).double().mean() > 0.6
    alone = replace(data, labels=torch.zeros(12, dtype=torch.int64))
    first, _ = run("phase1", tmp_path / "b", data=alone, options=options)
    second, _ = run("phase1", tmp_path / "c", data=alone, options=replace(options, refit=0.0))
    assert same(first, second)
    with pytest.raises(ModelError, match="--fusion concat"):
        run("phase1", tmp_path / "d", network_of(fusion="mean"), options=options)
