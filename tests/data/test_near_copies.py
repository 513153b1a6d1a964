"""One part under several exposures, shifted or cut out anew, is one; two parts on one fixture are two."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regaze import files as files_module
from regaze.data import near_copies as near_module
from regaze.data.match import groups
from regaze.data.near_copies import near_copies
from regaze.data.near_groups import grouped_by_near_copies, near_groups
from regaze.records import Sample

SHARED = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
GRADED = SHARED / "idrid" / "B. Disease Grading" / "1. Original Images" / "a. Training Set"
EXPOSURES = ((0.35, 1.0), (0.6, 1.0), (1.0, 1.0), (1.6, 1.0), (1.0, 0.6), (1.0, 1.6))  # gain, gamma


def part(seed, exposure=(1.0, 1.0), shift=(0, 0), crop=0):
    """A scratched grey part (240 x 200) on a fixture that all parts share."""
    rows, columns = np.mgrid[:260, :220].astype(np.float32)
    fixture = 0.35 + 0.2 * np.sin(columns / 30) + 0.15 * (rows > 215)
    noise = np.random.default_rng(seed).normal(size=(260, 220)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 3.0)
    light = np.clip(fixture + 0.08 * texture / texture.std(), 0.02, 1)
    down, across = shift
    light = light[10 + down : 250 + down - crop, 10 + across : 210 + across - crop]
    gain, gamma = exposure
    grey = np.clip(gain * light**gamma, 0, 1)
    return Image.fromarray((255 * grey).astype(np.uint8))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Samples of ten parts, each under six exposures, shifted by up to eight pixels or cut tighter."""
    root, samples = tmp_path_factory.mktemp("parts"), []
    for seed in range(10):
        for number, exposure in enumerate(EXPOSURES):
            path = root / f"{seed * 7919 % 1000}{number}.jpg"
            crop = 12 if number == 5 else 0
            part(seed, exposure, (number - 3, 2 * (number - 2)), crop).save(path, quality=85)
            samples.append(Sample(f"{seed}-{number}", path, seed % 2))
    return samples


def test_one_part_under_six_exposures_is_one(parts):
    """Every exposure is linked with its part's others, and with no other part's."""
    alike = near_copies([sample.image for sample in parts])
    found = groups(len(parts), [(like.first, like.second) for like in alike])
    assert found == [tuple(range(start, start + 6)) for start in range(0, len(parts), 6)]


def test_pictures_without_detail_and_few_pictures(tmp_path):
    """Flat pictures are like none; one picture, and none, give no pair."""
    paths = []
    for grey in (0, 90, 90, 255):
        paths.append(tmp_path / f"{len(paths)}.png")
        Image.new("RGB", (90, 7), (grey,) * 3).save(paths[-1])
    assert near_copies(paths) == []
    assert near_copies(paths[:1]) == near_copies([]) == []


def test_grouping_joins_what_is_known(parts):
    """Near-copies of two patients make one of them, with all of their photographs; others keep theirs."""
    names = [f"p{index // 3}" if index < 9 else None for index in range(12)]  # parts of 6, patients of 3
    known = [Sample(sample.id, sample.image, 0, patient=name) for sample, name in zip(parts[:12], names, strict=True)]
    near = near_groups(known, near_copies([sample.image for sample in known]))
    assert near == [tuple(f"0-{n}" for n in range(6)), tuple(f"1-{n}" for n in range(6))]
    grouped = [sample.patient for sample in grouped_by_near_copies(known, near[:1])]
    assert grouped[:6] == ["near-copies of 0-0"] * 6
    assert grouped[6:] == names[6:]


def test_each_block_of_products_serves_rows_and_columns(monkeypatch):
    """In blocks of seven each photograph's four nearest are those that all products at once name."""
    values = np.random.default_rng(2).normal(size=(60, 8)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    monkeypatch.setattr(near_module, "_BLOCK", 7)
    heard = []
    found = {tuple(map(int, pair)) for pair in near_module._nearest(values, heard.append)}
    likeness = values @ values.T
    np.fill_diagonal(likeness, -1)
    expected = {
        (min(a, int(b)), max(a, int(b)))
        for a in range(60)
        for b in np.argsort(-likeness[a])[:4]
        if likeness[a, b] >= 0.3
    }
    assert found == expected
    assert heard[-1] == 60


def test_a_call_that_was_ended_goes_on(parts, tmp_path, monkeypatch):
    """What was read and compared stays; who calls again compares the rest, and a third call nothing."""
    monkeypatch.setattr(files_module, "_TICK", 0)  # the photographs are new
    paths = [sample.image for sample in parts]
    expected = near_copies(paths)
    read, compared = [], []
    read_thumbnail, correlation = near_module.read_thumbnail, near_module._correlation
    monkeypatch.setattr(near_module, "read_thumbnail", lambda path: (read.append(path), read_thumbnail(path))[1])
    monkeypatch.setattr(near_module, "_correlation", lambda *given: (compared.append(1), correlation(*given))[1])

    def end(done, total):
        if read and compared and done > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        near_copies(paths, end, tmp_path / "near")
    assert len(read) == len(paths)
    pairs = len(near_module.np.memmap(tmp_path / "near.pairs", near_module._PAIR, "r", offset=16))
    read.clear()
    compared.clear()
    assert near_copies(paths, None, tmp_path / "near") == expected
    assert read == []
    assert 0 < len(compared) < pairs
    assert not (tmp_path / "near.thumbnails").exists()
    compared.clear()
    assert near_copies(paths, None, tmp_path / "near") == expected
    assert compared == []
    (tmp_path / "near.pairs").write_bytes((tmp_path / "near.pairs").read_bytes()[:-3])
    assert near_copies(paths, None, tmp_path / "near") == expected
    assert len(compared) == pairs


@pytest.mark.skipif(not GRADED.is_dir(), reason=f"IDRiD is not at {SHARED / 'idrid'}")
def test_idrid_has_six_pairs():
    """Five copies and one shot under two exposures, and no pair of two eyes, among a third of the training part."""
    pairs = {("021", "391"), ("028", "327"), ("045", "333"), ("073", "375"), ("079", "279"), ("013", "397")}
    named = {name for pair in pairs for name in pair}
    files = [file for n, file in enumerate(sorted(GRADED.glob("*.jpg"))) if n % 3 == 0 or file.stem[-3:] in named]
    assert len(files) > 130
    found = near_copies(files)
    assert {(files[like.first].stem[-3:], files[like.second].stem[-3:]) for like in found} == pairs
