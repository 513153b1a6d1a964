"""A pipe or device where a file is expected is refused at once: opening it would wait for ever."""

import os
import shutil
import signal

import pytest

from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.store import Store
from regaze.data.boxes import with_boxes
from regaze.data.dicom import is_dicom
from regaze.data.images import acquisition, content_hash, jpeg_comment, pages, photo_orientation, photo_size, read_photo
from regaze.data.mask_file import read_mask, read_regions
from regaze.data.sources import list_photographs
from regaze.errors import RegazeError
from regaze.models.backbones import timm_backbone
from regaze.models.convert import convert
from regaze.models.weights import load_weights
from regaze.records import Sample

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")

ALBUM = Album([Photograph("eye", ("eye.jpg",), 5, 3)])
READERS = {
    **{f"annotations {name}": lambda at, name=name: FORMATS[name].read(at, ALBUM) for name in FORMATS},
    "table": lambda at: list_photographs(f"csv:{at}"),
    "folder": lambda at: list_photographs(f"folder:{at}"),
    "boxes": lambda at: with_boxes([Sample("eye", at, 0)], at),
    "content": content_hash,
    "photograph": read_photo,
    "size": photo_size,
    "pages": pages,
    "comment": jpeg_comment,
    "date": acquisition,
    "orientation": photo_orientation,
    "mask": read_mask,
    "classes of a mask": lambda at: read_regions(at, {"1": "lesion"}),
    "weights": lambda at: load_weights(timm_backbone("test_resnet", 64), str(at), 64),
    "pickled weights": lambda at: convert(at, at.with_name("new")),
    "store": Store,
}


@pytest.fixture
def at_once():
    """Ends a reader that waits."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for ever", pytrace=False))
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["pipe", "link", "device"])
@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits(name, kind, tmp_path, at_once):
    """A named pipe, a link to one and a device that never ends are refused in one line that names the file."""
    path = tmp_path / "x.png"
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe.png")
        path = tmp_path / "pipe.png" if kind == "pipe" else path
        if kind == "link":
            path.symlink_to("pipe.png")
    assert not is_dicom(path)
    with pytest.raises(RegazeError) as error:
        READERS[name](path)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["png", "yolo"])
def test_no_reader_waits_for_a_file_of_its_folder(name, tmp_path, at_once):
    """Whatever file of a folder is a pipe: it is refused, or no file that counts."""
    FORMATS[name].write([], ALBUM, tmp_path / "good")
    for file in ["corrections.json"] if name == "png" else ["classes.txt", "reviewed.list", "eye.txt"]:
        folder = tmp_path / file
        shutil.copytree(tmp_path / "good", folder)
        (folder / file).unlink(missing_ok=True)
        os.mkfifo(folder / file)
        try:
            assert FORMATS[name].read(folder, ALBUM) == []
        except RegazeError as error:
            assert str(folder) in str(error)
