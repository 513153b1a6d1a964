"""Pictures are matched by what they show, never by their names."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regaze import files as files_module
from regaze.data import match
from regaze.data.match import SAME_EYE, TWIN, groups, with_contents, with_twins
from regaze.errors import DataError
from regaze.records import Sample

SHARED = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
GRADED = SHARED / "idrid" / "B. Disease Grading" / "1. Original Images" / "a. Training Set"
SEGMENTED = SHARED / "idrid" / "A. Segmentation" / "1. Original Images" / "a. Training Set"
NATIVE = SHARED / "idrid_native_sample"
needs_idrid = pytest.mark.skipif(not GRADED.is_dir(), reason=f"IDRiD is not at {SHARED / 'idrid'}")
needs_native = pytest.mark.skipif(not NATIVE.is_dir(), reason=f"the native sample is not at {NATIVE}")


def eye(seed: int, shift: int = 0) -> Image.Image:
    """A round field of view (480 x 320) with seeded structure; `shift` moves the structure, not the rim."""
    noise = np.random.default_rng(seed).normal(size=(360, 520, 3)).astype(np.float32)
    structure = cv2.GaussianBlur(noise, (0, 0), 6.0)
    structure = 110 + 35 * structure / structure.std()
    picture = structure[20:340, 20 + shift : 500 + shift].clip(40, 255)
    rows, columns = np.mgrid[:320, :480]
    picture[(rows - 160) ** 2 + (columns - 240) ** 2 > 155**2] = 0
    return Image.fromarray(picture.astype(np.uint8))


def likenesses(paths, progress=None, cache=None):
    """Pairs among files."""
    samples = [Sample(path.name, path, 0, content=path.name) for path in paths]
    return match.likenesses(samples, progress, cache)


class Signatures(np.ndarray):
    """An array as `kept_rows.Rows` hands rows out."""

    def block(self, start, stop):
        """Rows start..stop."""
        return np.asarray(self[start:stop])


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    """Save a picture and return its path."""
    image.save(path, **options)
    return path


def test_copies_are_found_and_strangers_are_not(tmp_path):
    """A picture matches its re-encoded, shrunk and squeezed copies.

    Another eye with the same rim does not.
    """
    original = eye(1)
    paths = [
        saved(original, tmp_path / "original.png"),
        saved(eye(2), tmp_path / "stranger.png"),
        saved(original, tmp_path / "encoded.jpg", quality=60),
        saved(original.resize((240, 160), Image.Resampling.BOX), tmp_path / "half.jpg", quality=90),
        saved(original.resize((256, 256), Image.Resampling.BOX), tmp_path / "square.png"),
        saved(eye(3), tmp_path / "another.png"),
    ]
    assert twin_groups(paths) == [(0, 2, 3, 4)]


def twin_groups(paths):
    """Groups of two and more that show the same picture."""
    samples = [Sample(str(place), path, 0) for place, path in enumerate(paths)]
    names = [sample.twin for sample in with_twins(samples)]
    twins = {name: tuple(i for i, other in enumerate(names) if other == name) for name in names if name is not None}
    return list(twins.values())


def test_a_second_shot_is_no_twin(tmp_path):
    """Structure moved by a hundredth of the width is a second shot, not the same picture."""
    paths = [saved(eye(1), tmp_path / "first.png"), saved(eye(1, shift=5), tmp_path / "second.png")]
    assert twin_groups(paths) == []
    assert all(like.correlation < TWIN for like in likenesses(paths))


def test_pictures_without_detail_never_match_by_their_looks(tmp_path):
    """Flat pictures have nothing to compare, and give neither a match nor a warning."""
    paths = [
        saved(Image.new("RGB", (90, 60), color), tmp_path / f"{color}.png")
        for color in ("black", "white", "gray", "red")
    ]
    assert twin_groups(paths) == []


def test_correlation_is_that_of_numpy(tmp_path):
    """The correlation is Pearson's over the common field of view, as numpy.corrcoef has it."""
    from regaze.data.match import _correlation, _fine

    a, b = (_fine(saved(eye(seed), tmp_path / f"{seed}.png")) for seed in (1, 2))
    shared = a.inside & b.inside
    assert 0.3 < shared.mean() < 0.6  # the round field without its rim: pi/4 * (310/320 - rim)^2 * 320/480
    assert _correlation(a, b) == pytest.approx(np.corrcoef(a.detail[shared], b.detail[shared])[0, 1], abs=1e-6)
    assert _correlation(a, a) == pytest.approx(1)


def test_twin_is_the_smallest_id_and_unique_pictures_have_none(tmp_path):
    """`Sample.twin` is the same readable value for all copies, whatever the order, and None otherwise."""
    saved(eye(1), tmp_path / "x.png")
    saved(eye(1), tmp_path / "y.jpg", quality=80)
    saved(eye(2), tmp_path / "z.png")
    samples = [
        Sample(id="c", image=tmp_path / "x.png", label=0),
        Sample(id="b", image=tmp_path / "z.png", label=0),
        Sample(id="a", image=tmp_path / "y.jpg", label=1),
    ]
    assert [sample.twin for sample in with_twins(with_contents(samples))] == ["a", None, "a"]
    assert [sample.twin for sample in with_twins(with_contents(samples[::-1]))] == ["a", None, "a"]


def test_equal_bytes_are_twins_even_without_detail(tmp_path):
    """Two flat files with the same bytes are one picture; their content is the hash of those bytes."""
    import hashlib

    first = saved(Image.new("RGB", (60, 40), "gray"), tmp_path / "a.png")
    second = tmp_path / "b.png"
    second.write_bytes(first.read_bytes())
    marked = with_twins(with_contents([Sample("a", first, 0), Sample("b", second, 0)]))
    assert [sample.twin for sample in marked] == ["a", "a"]
    assert marked[0].content == hashlib.blake2b(first.read_bytes(), digest_size=16).hexdigest()


def test_progress_counts_every_photograph(tmp_path):
    """The caller hears of every photograph once, in order."""
    paths = [saved(eye(seed), tmp_path / f"{seed}.png") for seed in range(3)]
    heard = []
    likenesses(paths, lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_nothing_to_compare():
    """No photographs give no groups."""
    assert likenesses([]) == []
    assert with_twins([]) == []


def test_broken_picture_is_named(tmp_path):
    """A file that is no picture is an error that names it."""
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        likenesses([tmp_path / "broken.jpg"])


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.lists(st.tuples(*[st.integers(0, max(0, n - 1))] * 2), max_size=15) if n else st.just([]),
        )
    )
)
def test_groups_are_the_connected_components(case):
    """Groups partition the indices into connected components (reference: repeated spreading of labels)."""
    count, pairs = case
    label = list(range(count))
    for _ in range(count):
        for a, b in pairs:
            label[a] = label[b] = min(label[a], label[b])
    expected = {tuple(i for i in range(count) if label[i] == value) for value in label}
    found = groups(count, pairs)
    assert set(found) == expected
    assert found == sorted(found)
    assert sorted(index for group in found for index in group) == list(range(count))


@needs_idrid
@pytest.mark.slow
def test_margin_on_idrid():
    """On IDRiD's training half, no pair lies between .945 and .999: the threshold is nowhere near a pair."""
    paths = sorted(GRADED.glob("*.jpg")) + sorted(SEGMENTED.glob("*.jpg"))
    assert len(paths) == 467
    values = sorted(like.correlation for like in likenesses(paths))
    assert sum(value >= TWIN for value in values) == 47
    assert min(value for value in values if value >= TWIN) > 0.999
    assert SAME_EYE <= max(value for value in values if value < TWIN) < 0.945


@needs_idrid
@needs_native
def test_native_photograph_matches_its_small_copy():
    """A native 4288 x 2848 photograph matches its quarter-size copy and its segmented copy."""
    native = NATIVE / "B. Disease Grading" / "1. Original Images" / "a. Training Set" / "IDRiD_053.jpg"
    paths = [native, *(GRADED / f"IDRiD_{n:03}.jpg" for n in range(45, 60)), SEGMENTED / "IDRiD_48.jpg"]
    assert twin_groups(paths) == [(0, 9, 16)]  # 9: IDRiD_053


@needs_idrid
def test_second_shots_and_fellow_eyes_on_idrid_are_no_twins():
    """Second shots (13 and 397, 271 and A 39, 299 and A 26) and fellow eyes (1, 2) are no twins."""
    paths = [GRADED / f"IDRiD_{n:03}.jpg" for n in (1, 2, 13, 397, 271, 299)]
    paths += [SEGMENTED / f"IDRiD_{n}.jpg" for n in (39, 26)]
    assert twin_groups(paths) == []
    assert {(like.first, like.second) for like in likenesses(paths)} == {(4, 6), (5, 7)}


def test_blocks_propose_what_all_at_once_would(monkeypatch):
    """Signatures compared in blocks of seven give each one's likest, as one product of all does."""
    values = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    monkeypatch.setattr(match, "_MOST", 4)
    whole = match._candidates(values.view(Signatures))
    monkeypatch.setattr(match, "_BLOCK", 7)
    assert match._candidates(values.view(Signatures)) == whole
    likeness = np.triu(values @ values.T, 1)
    expected = {(a, int(b)) for a in range(60) for b in np.argsort(-likeness[a])[:4] if likeness[a, b] >= 0.95}
    assert set(whole) == expected
    assert len(whole) > 20


def test_pairs_are_kept_for_the_same_contents(tmp_path, monkeypatch):
    """A second call of the same contents compares nothing; other contents, and a damaged file, are compared."""
    original = eye(1)
    paths = [
        saved(original, tmp_path / "a.png"),
        saved(original, tmp_path / "b.jpg"),
        saved(eye(2), tmp_path / "c.png"),
    ]
    found = likenesses(paths, cache=tmp_path / "cache")
    assert [(like.first, like.second) for like in found] == [(0, 1)]
    asked = []
    original_compared = match.compared
    monkeypatch.setattr(match, "compared", lambda *given: (asked.append(1), original_compared(*given))[1])
    assert likenesses(paths, cache=tmp_path / "cache") == found
    assert asked == []
    assert likenesses(paths[::-1], cache=tmp_path / "cache") != found
    [file] = [
        file for file in (tmp_path / "cache").glob("*.json") if '"pairs": [\n  [\n   0,\n   1,' in file.read_text()
    ]
    file.write_text(file.read_text().replace("0.9", "0.8"))
    assert likenesses(paths, cache=tmp_path / "cache") == found
    assert len(asked) == 2


def test_what_was_read_is_not_read_again(tmp_path, monkeypatch):
    """A call that is ended while it reads leaves what it read; the next one reads the rest, and clears up."""
    monkeypatch.setattr(files_module, "_TICK", 0)  # the photographs are new
    paths = [saved(eye(seed), tmp_path / f"{seed}.png") for seed in range(6)]
    read, original = [], match._coarse

    def coarse(path):
        read.append(path.name)
        return original(path)

    def end(done, total):
        if done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(match, "_coarse", coarse)
    with pytest.raises(KeyboardInterrupt):
        likenesses(paths, end, tmp_path / "cache")
    kept = tmp_path / "cache" / "likenesses.rows"
    with kept.open("ab") as file:
        file.write(b"half a row")
    read.clear()
    assert likenesses(paths, cache=tmp_path / "cache") == []
    assert sorted(read) == ["4.png", "5.png"]
    assert not kept.exists()


def test_pictures_that_are_all_alike_propose_few_pairs():
    """Of 500 like signatures each proposes a few; all are linked nevertheless, and a copy among strangers is found."""
    pairs = match._candidates(np.full((500, 4), 0.5, np.float32).view(Signatures))
    assert len(pairs) <= 500 * match._MOST
    assert groups(500, pairs) == [tuple(range(500))]
    signatures = np.random.default_rng(0).normal(size=(300, 50)).astype(np.float32)
    signatures[250] = signatures[5]
    signatures /= np.linalg.norm(signatures, axis=1, keepdims=True)
    assert match._candidates(signatures.view(Signatures)) == [(5, 250)]
