"""Foreign folders (PNG masks, YOLO boxes) with mistakes are refused as a whole."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.errors import CorrectionError

ALBUM = Album([Photograph("eye", ("eye.jpg",), 5, 3), Photograph("fundus", (), 4, 4)])


def replaced(text, old, new):
    """Exactly one change."""
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no .txt file, expected one for each photograph"),
        ({"eye.txt": ""}, "no classes.txt, expected the names of the classes"),
        ({"eye.txt": "", "classes.txt": "\n"}, "classes.txt, line 1: no name"),
        ({"eye.txt": "", "data.yaml": "nc: 3\n"}, "data.yaml, line 1: no list of names"),
        ({"ear.txt": "", "classes.txt": "look"}, "ear.txt: the image 'ear.txt', expected one of the 2 photographs"),
        ({"eye.txt": "", "a/eye.txt": "", "classes.txt": "look"}, "a second text of eye"),
        ({"eye.txt": "", "reviewed.list": "eye\near\n", "classes.txt": "a"}, "reviewed.list, line 2: the image 'ear'"),
        ({"eye.txt": "", "reviewed.list": "\nfundus", "classes.txt": "a"}, "reviewed.list, line 2: fundus without a"),
    ],
)
def test_a_yolo_folder_that_does_not_fit_is_refused(tmp_path, files, message):
    """Every text belongs to one photograph, and every class has a name."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(CorrectionError, match=message):
        FORMATS["yolo"].read(tmp_path, ALBUM)


def png(array, mode=None):
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(buffer, format="PNG")
    return buffer.getvalue()


def bomb(width, height):
    """A PNG of a few hundred bytes that claims many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


GOOD = png(np.zeros((3, 5), np.uint8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (b"GIF89a" + b"\0" * 40, "no PNG"),
        (GOOD[:20], "no PNG"),
        (GOOD[:45], "a damaged PNG"),
        (GOOD[:-16] + b"x" * 16, "a damaged PNG"),
        (bomb(100_000, 100_000), "width 100000 and height 100000, expected 5 and 3"),
        (png(np.zeros((5, 3), np.uint8)), "width 3 and height 5, expected 5 and 3, the size of eye"),
        (png(np.full((3, 5), 7, np.uint8)), "the value 7, expected 0, 255 .or 1. for look here, 128 for not here"),
        (png(np.zeros((3, 5), np.uint8), "RGB"), "a picture of mode RGB, expected grey with 8 bits or 1 bit"),
        (png(np.zeros((3, 5), np.uint8), "P"), "a picture of mode P"),
        (png(np.zeros((3, 5), np.uint16)), "a picture of mode I;16"),
    ],
)
def test_a_damaged_or_foreign_picture_is_refused_by_name(tmp_path, data, message):
    """Its size is compared before anything is decoded."""
    (tmp_path / "fundus.png").write_bytes(png(np.zeros((4, 4), np.uint8)))
    path = tmp_path / "eye.png"
    path.write_bytes(data)
    with pytest.raises(CorrectionError, match=message) as error:
        FORMATS["png"].read(tmp_path, ALBUM)
    assert str(error.value).startswith(f"{path}: ")


SIDECAR = """{
 "format": "regaze corrections", "version": 1,
 "corrections": [
  {"sample": "eye", "file": "eye.png", "mode": "edit", "width": 5, "height": 3}
 ]
}"""


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ('"regaze corrections"', '"other"', "", "another kind of file"),
        ('"version": 1', '"version": 2', "", "another kind of file"),
        ('"sample": "eye"', '"sample": "ear"', ", $.corrections[0]", "the image 'ear'"),
        ('"width": 5', '"width": 6', ", $.corrections[0]", "width 6"),
        ('"mode": "edit", ', "", ", $.corrections[0]", "no `mode`"),
        ('"edit"', '"none"', ", $.corrections[0]", "mode 'none'"),
        ("eye.png", "../eye.png", ", $.corrections[0]", "no picture ../eye.png"),
        ("eye.png", "/etc/passwd", ", $.corrections[0]", "no picture /etc/passwd"),
        ('"sample": "eye", "file": "eye.png", ', '"sample": "eye", ', ", $.corrections[0]", "no `file`"),
        (
            '  {"sample"',
            '{"sample": "eye", "file": "eye.png", "mode": "edit", "width": 5, "height": 3},\n  {"sample"',
            ", $.corrections[1]",
            "eye.png' aga",
        ),
        ("]\n}", "]", ", line 5, column 3", "the file ends"),
    ],
)
def test_mistakes_in_the_notes_beside_pictures_are_refused_with_their_path(tmp_path, old, new, at, message):
    """The pictures are those in the folder; a path in the notes is compared and never opened."""
    (tmp_path / "eye.png").write_bytes(GOOD)
    path = tmp_path / "corrections.json"
    path.write_text(SIDECAR)
    assert FORMATS["png"].read(tmp_path, ALBUM) == [Drawn("eye", (), mode="edit")]
    path.write_text(replaced(SIDECAR, old, new))
    with pytest.raises(CorrectionError, match=re.escape(f"{path}{at}: ")) as error:
        FORMATS["png"].read(tmp_path, ALBUM)
    assert re.search(message, str(error.value)), error.value


def test_pictures_and_notes_must_fit_each_other(tmp_path):
    """A picture without an entry, and two pictures of one photograph, are refused."""
    (tmp_path / "corrections.json").write_text(SIDECAR)
    (tmp_path / "eye.png").write_bytes(GOOD)
    (tmp_path / "fundus.png").write_bytes(GOOD)
    with pytest.raises(CorrectionError, match=r"corrections\.json: no entry for the picture fundus\.png"):
        FORMATS["png"].read(tmp_path, ALBUM)
    (tmp_path / "corrections.json").unlink()
    (tmp_path / "fundus.png").unlink()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "eye.png").write_bytes(GOOD)
    with pytest.raises(CorrectionError, match="a second picture of eye"):
        FORMATS["png"].read(tmp_path, ALBUM)


@pytest.mark.parametrize(("name", "file"), [("png", "eye.png"), ("yolo", "eye.txt")])
def test_a_link_in_a_foreign_folder_is_not_followed(tmp_path, name, file):
    """It could lead anywhere."""
    (tmp_path / "elsewhere").write_bytes(GOOD)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "classes.txt").write_text("look")
    (folder / file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorrectionError, match="a link, expected"):
        FORMATS[name].read(folder, ALBUM)
