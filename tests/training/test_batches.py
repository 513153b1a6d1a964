"""The batches of an epoch."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regaze.models.cells import find_picture
from regaze.training.batches import Feed, TrainingSet

CPU = torch.device("cpu")


def numbered(labels, side=1):
    """A training set whose photograph n is of the constant grey n."""
    count = len(labels)
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, side, side, 3).contiguous()
    return TrainingSet(images, torch.tensor(labels))


def feed_of(data, **changes):
    """A feed without augmentation or normalisation."""
    plain = Feed(data, 3, 4, 0, "natural", "none", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return replace(plain, **changes)


def order_of(feed, epoch):
    """Numbers of the photographs in the order they come."""
    return [round(float(item) * 255) for batch in feed.epoch(epoch, CPU) for item in batch.inputs[:, 0, 0, 0]]


def bytes_of(feed, epoch):
    """Everything of an epoch that a network sees."""
    batches = list(feed.epoch(epoch, CPU))
    return [tensor for batch in batches for tensor in (batch.inputs, batch.labels, batch.look, batch.avoid)]


def blob_set(side=24, count=4):
    """Black photographs with one bright disc each, and its mask."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    centres = torch.randint(side // 4, side - side // 4, (count, 2), generator=generator)
    disc = torch.stack([(rows - y) ** 2 + (columns - x) ** 2 <= 9 for y, x in centres.tolist()])
    images = (disc.unsqueeze(3) * 200).to(torch.uint8).expand(-1, -1, -1, 3).contiguous()
    return TrainingSet(images, torch.arange(count) % 3, disc, torch.tensor([True, False] * (count // 2)), ~disc)


@pytest.mark.parametrize("sampling", ["natural", "square-root", "balanced"])
def test_order_and_augmentation_depend_on_seed_and_epoch_only(sampling):
    """The same epoch gives the same bytes whatever came before it; another epoch or seed gives others."""
    feed = feed_of(blob_set(), augment="free", sampling=sampling, batch=2, seed=5)
    third = bytes_of(feed, 2)
    torch.manual_seed(99)
    for epoch in (0, 1):
        bytes_of(feed, epoch)
    again = bytes_of(feed_of(blob_set(), augment="free", sampling=sampling, batch=2, seed=5), 2)
    assert all(torch.equal(a, b) for a, b in zip(third, again, strict=True))
    for other in (bytes_of(feed, 3), bytes_of(replace(feed, seed=6), 2)):
        assert not torch.equal(third[0], other[0])


def test_batches_leave_the_global_random_state():
    """Training does not touch the caller's generator."""
    before = torch.get_rng_state()
    bytes_of(feed_of(blob_set(), augment="free", sampling="balanced"), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_natural_order_shows_every_photograph_once():
    """A shuffle: each photograph once per epoch where the batch divides, in another order each time."""
    feed = feed_of(numbered([0, 1, 2] * 4))
    assert sorted(order_of(feed, 0)) == sorted(order_of(feed, 1)) == list(range(12))
    assert order_of(feed, 0) != order_of(feed, 1)


@pytest.mark.parametrize(("count", "batch", "steps"), [(12, 4, 3), (13, 4, 3), (15, 4, 4), (3, 4, 1), (1, 16, 1)])
def test_every_batch_is_full(count, batch, steps):
    """The number of steps is rounded; a batch that has no photographs left starts over, so none is short."""
    feed = feed_of(numbered([0] * count), batch=batch)
    assert feed.steps() == steps
    assert [len(item.labels) for item in feed.epoch(0, CPU)] == [batch] * steps
    seen = order_of(feed, 0)
    assert max(seen.count(item) for item in seen) - min(seen.count(item) for item in seen) <= 1


@pytest.mark.parametrize(
    ("sampling", "shares"),
    [
        ("square-root", (8 / 14, 4 / 14, 2 / 14)),
        ("balanced", (1 / 3, 1 / 3, 1 / 3)),
        ("natural", (64 / 84, 16 / 84, 4 / 84)),
    ],
)
def test_classes_are_drawn_as_the_option_says(sampling, shares):
    """Classes of 64, 16 and 4: by the square root 8 : 4 : 2, balanced 1 : 1 : 1, natural as they come."""
    feed = feed_of(numbered([0] * 64 + [1] * 16 + [2] * 4), sampling=sampling, batch=84)
    labels = torch.cat([batch.labels for epoch in range(120) for batch in feed.epoch(epoch, CPU)])
    found = torch.bincount(labels, minlength=3) / len(labels)
    for share, wanted in zip(found.tolist(), shares, strict=True):
        assert share == pytest.approx(wanted, abs=5 * (wanted * (1 - wanted) / len(labels)) ** 0.5)


def test_photographs_without_a_grade_come_as_often_as_the_average():
    """Drawn by class weight, the ungraded keep their share of the photographs, and a class may be empty."""
    feed = feed_of(numbered([0] * 32 + [2] * 8 + [-1] * 10), sampling="square-root", batch=50)
    labels = torch.cat([batch.labels for epoch in range(200) for batch in feed.epoch(epoch, CPU)])
    assert float((labels == -1).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float((labels == 0).float().mean()) == pytest.approx(0.8 * 2 / 3, abs=0.025)
    nothing = feed_of(numbered([-1] * 8), sampling="balanced")
    assert {int(item) for batch in nothing.epoch(0, CPU) for item in batch.labels} == {-1}


@pytest.mark.parametrize("count", [16, 18, 17])
def test_two_processes_share_one_epoch(count):
    """Together they see the order that one process sees, each photograph in one of them only."""
    data = numbered([0] * count)
    alone = order_of(feed_of(data, batch=count), 3)
    ranks = [feed_of(data, batch=4, rank=rank, world=2) for rank in (0, 1)]
    assert ranks[0].steps() == ranks[1].steps() == 2
    first, second = (order_of(feed, 3) for feed in ranks)
    assert set(first).isdisjoint(second)
    assert [item for pair in zip(first, second, strict=True) for item in pair] == alone[:16]


def test_a_batch_by_hand():
    """Normalised in fp32, channels first; masks are 0 and 1; what the set lacks is None."""
    data = blob_set(side=8, count=2)
    batch = next(iter(feed_of(data, batch=2, mean=(0.5, 0.0, 0.25), std=(0.5, 1.0, 0.25)).epoch(0, CPU)))
    place = batch.corrected.tolist().index(True)
    assert batch.labels[place] == data.labels[0]
    assert torch.equal(batch.look[place, 0].bool(), data.look[0])
    assert torch.equal(batch.avoid, 1 - batch.look)
    assert (batch.doubt, batch.edited) == (None, None)
    bright = 200 / 255
    wanted = torch.tensor([(bright - 0.5) / 0.5, bright, (bright - 0.25) / 0.25])
    row, column = (int(item) for item in data.look[0].nonzero()[0])
    torch.testing.assert_close(batch.inputs[place, :, row, column], wanted)
    bare = next(iter(feed_of(numbered([0, 1])).epoch(0, CPU)))
    assert (bare.look, bare.avoid, bare.corrected) == (None, None, None)
    silent = next(iter(feed_of(replace(data, avoid=None)).epoch(0, CPU)))
    assert silent.avoid is None
    assert silent.look is not None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_mask_and_photograph_move_together(seed):
    """Under every augmentation the disc's mask lies on the disc: all bright pixels in it, and little more."""
    for batch in feed_of(blob_set(), augment="free", seed=seed, batch=4).epoch(0, CPU):
        for image, look in zip(batch.inputs, batch.look[:, 0].bool(), strict=True):
            bright = image.mean(0) > 0.45 * image.mean(0).max()
            assert bright.sum() > 15
            assert not (bright & ~look).any()
            # At most the ring of pixels around the disc more.
            grown = torch.nn.functional.max_pool2d(bright[None, None].float(), 3, 1, 1)[0, 0].bool()
            assert not (look & ~grown).any()


def test_colour_jitter_reaches_the_batches():
    """Strong changes of colour are those of phase 1's free augmentation, and of nothing else."""
    data = TrainingSet(torch.randint(40, 200, (4, 8, 8, 3), dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    mild, strong = (feed_of(data, augment="free", colour_jitter=strength) for strength in ("mild", "strong"))
    first, second = (next(iter(feed.epoch(0, CPU))).inputs for feed in (mild, strong))
    assert not torch.equal(first, second)
    still = feed_of(data, colour_jitter="strong")
    assert torch.equal(next(iter(still.epoch(0, CPU))).inputs, next(iter(feed_of(data).epoch(0, CPU))).inputs)


def test_the_picture_moves_with_the_photograph():
    """Free augmentation turns bars that could not be found afterwards: it says what is picture in a fourth channel."""
    images = torch.zeros(8, 64, 64, 3, dtype=torch.uint8)
    images[:, 16:48] = 120
    data = TrainingSet(images, torch.zeros(8, dtype=torch.int64))
    masked, seen = (feed_of(data, augment="free", batch=8, bars_masked=choice) for choice in (True, False))
    (batch,), (other,) = (list(feed.epoch(0, CPU)) for feed in (masked, seen))
    assert torch.equal(batch.inputs[:, :3], other.inputs)
    picture = batch.inputs[:, 3:]
    shown = batch.inputs[:, :1] / batch.inputs[:, :1].amax((2, 3), keepdim=True)
    torch.testing.assert_close(picture, shown, atol=0.1, rtol=0)  # colour jitter bends the edge
    assert picture.mean() == pytest.approx(0.5, abs=0.06)  # scales of .9 to 1.1, corners turned out of the frame
    assert find_picture(other.inputs).mean() > 0.6
    for how in ("turns", "none"):
        assert next(iter(replace(masked, augment=how).epoch(0, CPU))).inputs.shape[1] == 3
