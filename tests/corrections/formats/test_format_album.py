"""Which photograph a foreign name means."""

from pathlib import Path

import pytest

from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.source import Source
from regaze.errors import CorrectionError

PHOTOGRAPHS = [
    Photograph("training/eye_1", ("a. Training Set/eye_1.jpg",), 4, 3),
    Photograph("test/eye_1", ("b. Testing Set/eye_1.jpg",), 4, 3),
    Photograph("eye.2", ("eye.2.tif",), 4, 3),
    Photograph("caf\u00e9", (), 4, 3),
]
ALBUM = Album(PHOTOGRAPHS)
HERE = Source(Path("in.xml"), 12)


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("training/eye_1", "training/eye_1"),
        ("training/eye_1.png", "training/eye_1"),
        ("/data/out/test/eye_1.png", "test/eye_1"),
        ("b. Testing Set/eye_1.jpg", "test/eye_1"),
        ("b. Testing Set\\eye_1.jpeg", "test/eye_1"),
        ("eye.2", "eye.2"),
        ("eye.2.jpg", "eye.2"),
        ("elsewhere/eye.2.tif", "eye.2"),
        ("cafe\u0301.jpg", "caf\u00e9"),
    ],
)
def test_a_name_finds_its_photograph(name, sample):
    """By id, path, base name or stem, whatever the folders before it and the suffix."""
    assert ALBUM.find(name, HERE).sample == sample


@pytest.mark.parametrize("name", ["eye_1.jpg", "elsewhere/eye_1", "eye_1"])
def test_a_name_that_fits_two_photographs_is_refused(name):
    """No guess."""
    with pytest.raises(CorrectionError, match=r"^in\.xml, line 12: .* fits test/eye_1 and training/eye_1, expected"):
        ALBUM.find(name, HERE)


@pytest.mark.parametrize("name", ["", "eye_2.jpg", "eye.3", "eye.jpg", "training", "/", "..", "jpg"])
def test_an_unknown_name_is_refused(name):
    """And part of a name is no name."""
    with pytest.raises(CorrectionError, match=r"^in\.xml, line 12: .*expected one of the 4 photographs"):
        ALBUM.find(name, HERE)


def test_the_name_given_to_other_tools_leads_back():
    """The file's name where it is one photograph's alone, the id otherwise."""
    for photograph in PHOTOGRAPHS:
        assert ALBUM.find(ALBUM.name(photograph), HERE) == photograph
    twins = [Photograph("a", ("eye.jpg",), 1, 1), Photograph("b", ("eye.jpg",), 1, 1)]
    assert [Album(twins).name(photograph) for photograph in twins] == ["a", "b"]


@pytest.mark.parametrize(
    ("photographs", "message"),
    [
        ([Photograph("a", (), 1, 1), Photograph("a", (), 1, 1)], "two photographs have the id 'a'"),
        ([Photograph("a", (), 0, 5)], "0 x 5 pixels, expected 1 to 150000000"),
        ([Photograph("a", (), 10_000, 15_001)], "10000 x 15001 pixels"),
    ],
)
def test_impossible_photographs_are_refused(photographs, message):
    """Ids are unique, and no size can exhaust the memory."""
    with pytest.raises(CorrectionError, match=message):
        Album(photographs)
