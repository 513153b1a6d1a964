"""The frozen extractor's features and their cache."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from regaze.errors import OptionError
from regaze.models import features as module
from regaze.models.features import FeatureCache, FrozenFeatures, parse_size, turn

SIDE = 16
BIG = 10**9
EIGHT = list(range(8))


class Extractor(nn.Module):
    """Two blocks with a batch norm, and a count of what went through."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        self.seen = 0

    def forward(self, images):
        """Two blocks, fine and coarse."""
        self.seen += len(images)
        block = self.norm(self.first(images)).relu()
        return [block, self.second(block)]


def photographs(count=10, seed=1):
    """Noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)


def frozen_of(cache=None, extractor=None, images=None, bf16=False):
    """Frozen features of ten photographs, all the same unless something is handed in."""
    images = photographs() if images is None else images
    extractor = extractor or Extractor()
    return FrozenFeatures(extractor, images, (0.5,) * 3, (0.25,) * 3, torch.device("cpu"), bf16=bf16, cache=cache)


def entries(folder):
    """Files of a cache."""
    return sorted(folder.glob("*/*.safetensors"))


def same(first, second):
    """Whether two lists of tensors are equal bit for bit."""
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_eight_turns_are_the_square_s_symmetries():
    """All different, 0 is the identity, a quarter turn is counter-clockwise, and nothing is lost."""
    plane = torch.arange(9).view(3, 3)
    found = {tuple(turn(plane, how).flatten().tolist()) for how in EIGHT}
    assert len(found) == 8
    assert torch.equal(turn(plane, 0), plane)
    assert turn(plane, 1).tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]
    assert turn(plane, 4).tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]
    assert all(sorted(item) == list(range(9)) for item in found)


@pytest.mark.parametrize("bf16", [False, True])
def test_features_are_the_extractor_s(bf16):
    """Each row is what the extractor says of the turned, normalised photograph, in evaluation mode."""
    frozen = frozen_of(bf16=bf16)
    found = frozen(torch.arange(8), EIGHT)
    for place, how in enumerate(EIGHT):
        picture = turn(frozen.images[place].permute(2, 0, 1), how).float() / 255
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            wanted = frozen.extractor(((picture - 0.5) / 0.25).unsqueeze(0))
        for block, one in zip(found, wanted, strict=True):
            torch.testing.assert_close(block[place : place + 1], one, atol=1e-5 if not bf16 else 0.05, rtol=0.02)
            assert block.dtype == (torch.bfloat16 if bf16 else torch.float32)
            assert block.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("bf16", [False, True])
def test_the_cache_changes_nothing(tmp_path, bf16):
    """Bit for bit: computed alone, computed with others, just stored, read again in another order."""
    plain = frozen_of(bf16=bf16)
    cached = frozen_of(FeatureCache(tmp_path, BIG), bf16=bf16)
    index, turns = torch.tensor([3, 1, 4, 1, 5]), [0, 7, 2, 7, 5]
    wanted = plain(index, turns)
    assert same(wanted, cached(index, turns))
    assert same(wanted, cached(index, turns))
    again = frozen_of(FeatureCache(tmp_path, BIG), bf16=bf16)
    reordered = again(index.flip(0), turns[::-1])
    assert same(wanted, [block.flip(0) for block in reordered])
    assert again.extractor.seen == 0
    alone = plain(torch.tensor([4]), [2])
    assert same(alone, [block[2:3] for block in wanted])


def test_each_photograph_and_turn_is_computed_once(tmp_path):
    """A second epoch reaches the extractor no more; a photograph drawn twice in a batch is one entry."""
    cached = frozen_of(FeatureCache(tmp_path, BIG))
    cached(torch.tensor([0, 0, 1]), [2, 2, 2])
    assert len(entries(tmp_path)) == 2
    seen = cached.extractor.seen
    cached(torch.tensor([1, 0]), [2, 2])
    assert cached.extractor.seen == seen


def test_prepared_photographs_are_not_computed_again(tmp_path):
    """In full batches, once, the same numbers; asked for later, nothing goes through the extractor."""
    cache = FeatureCache(tmp_path, BIG)
    frozen = frozen_of(cache)
    frozen.prepare()
    assert frozen.extractor.seen == 16
    found = frozen(torch.arange(10), [0] * 10)
    frozen.prepare()
    assert frozen.extractor.seen == 16
    assert len(entries(tmp_path)) == 10
    alone = frozen_of()
    alone.prepare()
    assert alone.extractor.seen == 0, "without a cache nothing could be kept"
    assert same(found, alone(torch.arange(10), [0] * 10))


@pytest.mark.parametrize("change", ["weights", "statistics", "picture", "precision", "normalisation"])
def test_whatever_decides_the_features_is_in_the_key(tmp_path, change):
    """Another extractor, batch-norm statistic, photograph, precision or normalisation never takes these entries."""
    frozen_of(FeatureCache(tmp_path, BIG))(torch.tensor([0]), [0])
    extractor, images = Extractor(), photographs()
    if change == "weights":
        extractor.first.weight.data[0, 0, 0, 0] += 1e-3
    if change == "statistics":
        extractor.norm.running_mean[0] += 1e-3
    if change == "picture":
        images[0, 0, 0, 0] ^= 1
    other = frozen_of(FeatureCache(tmp_path, BIG), extractor, images, bf16=change == "precision")
    if change == "normalisation":
        cache = FeatureCache(tmp_path, BIG)
        other = FrozenFeatures(
            extractor, images, (0.5, 0.5, 0.4), (0.25,) * 3, torch.device("cpu"), bf16=False, cache=cache
        )
    other(torch.tensor([0]), [0])
    assert other.extractor.seen > 0
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "text", "gone"])
def test_damaged_entries_are_rebuilt(tmp_path, damage):
    """One flipped bit is enough; the features are right, and the entry is whole again."""
    wanted = frozen_of(FeatureCache(tmp_path, BIG))(torch.tensor([2]), [3])
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    content = {"bit": bytes(flipped), "cut": whole[:-7], "empty": b"", "text": b"no features at all"}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[damage])
    again = frozen_of(FeatureCache(tmp_path, BIG))
    assert same(wanted, again(torch.tensor([2]), [3]))
    assert again.extractor.seen > 0
    assert path.read_bytes() == whole


def test_over_budget_features_are_computed_on_the_fly(tmp_path):
    """What does not fit is not kept, the folder stays within the budget, and the features are the same."""
    index = torch.arange(8)
    wanted = frozen_of()(index, EIGHT)
    frozen_of(FeatureCache(tmp_path / "one", BIG))(torch.tensor([0]), [0])
    size = entries(tmp_path / "one")[0].stat().st_size
    small = frozen_of(FeatureCache(tmp_path / "few", 3 * size + 10))
    for _ in range(2):
        assert same(wanted, small(index, EIGHT))
    kept = entries(tmp_path / "few")
    assert 1 <= len(kept) <= 3
    nothing = frozen_of(FeatureCache(tmp_path / "none", 0))
    assert same(wanted, nothing(index, EIGHT))
    assert not (tmp_path / "none").exists()


def test_least_recently_used_goes_first(tmp_path):
    """A later run throws out what was not used for longest, and keeps what it uses itself."""
    frozen_of(FeatureCache(tmp_path, BIG))(torch.arange(6), [0] * 6)
    paths = entries(tmp_path)
    size = paths[0].stat().st_size
    for age, path in enumerate(paths):
        os.utime(path, ns=(10**18 + age, 10**18 + age))
    budget = int(6.5 * size)
    cache = FeatureCache(tmp_path, budget)
    oldest = paths[0].stem
    assert cache.get(oldest) is not None  # used just now: the second oldest is the next to go
    images = photographs(seed=9)
    frozen_of(cache, images=images)(torch.tensor([0]), [0])
    left = {path.stem for path in entries(tmp_path)}
    assert oldest in left
    assert paths[1].stem not in left
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= budget


def test_an_unwritable_folder_is_no_error(tmp_path, monkeypatch):
    """A full disk costs time, not the run."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    assert same(frozen_of()(torch.tensor([1]), [0]), frozen_of(FeatureCache(tmp_path, BIG))(torch.tensor([1]), [0]))


def test_two_processes_share_one_folder(tmp_path):
    """Both write the same entries at once: every entry is whole, and a third reader computes nothing."""
    script = (
        "import runpy, torch; from pathlib import Path; torch.set_num_threads(1); "
        f"here = runpy.run_path({__file__!r}); cache = here['FeatureCache'](Path({str(tmp_path)!r}), 10**9); "
        "here['frozen_of'](cache)(torch.arange(10).roll({start}), [0] * 10)"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script.replace("{start}", start)]) for start in ("0", "5")]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert len(entries(tmp_path)) == 10
    assert not list(tmp_path.glob("*/.writing-*"))
    reader = frozen_of(FeatureCache(tmp_path, BIG))
    assert same(reader(torch.arange(10), [0] * 10), frozen_of()(torch.arange(10), [0] * 10))
    assert reader.extractor.seen == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("500 mb", 5 * 10**8), ("0", 0), ("1.5KB", 1500), ("7", 7), ("2 TB", 2 * 10**12)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    """Decimal units, with or without a space."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "4XB", "-1GB", "GB", "nan", "inf", "4 4GB"])
def test_what_is_no_size_is_refused(text):
    """The message names the option and a cure."""
    with pytest.raises(OptionError, match=r"--cache .*expected a size such as 4GB"):
        parse_size(text)
