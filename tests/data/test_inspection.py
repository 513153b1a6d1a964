"""What `init` says of photographs and masks before anything is trained."""

import numpy as np
import pytest
from PIL import Image

from regaze.data.classes import sound_class
from regaze.data.inspection import inspect
from regaze.data.mask_file import named_values
from regaze.data.near_copies import thumbnails
from regaze.errors import DataError
from regaze.records import Dataset, Sample

MASK = np.zeros((60, 80), bool)
MASK[10:20, 30:45] = True


def photograph(path, level=120, exif=None, size=(80, 60)):
    """Write a photograph of one level, `size` in stored pixels."""
    options = {}
    if exif is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = exif
    Image.new("RGB", size, (level, level // 2, 10)).save(path, **options)
    return path


def mask(path, pixels=MASK):
    """Write a mask of 0 and 255 (or of the numbers given)."""
    Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels).save(path)
    return path


def looked(*samples, classes=("0", "1"), ordinal=True):
    """The notes on some samples."""
    sound = sound_class(classes, ordinal)
    with thumbnails() as shown:
        return inspect(Dataset("folder:x", classes, ordinal, samples, "", sound=sound), shown)


def sample(tmp_path, *masks, label=1, **options):
    """A sample with a photograph and masks of no stated type."""
    photo = options.pop("photo", None) or photograph(tmp_path / "p.jpg")
    return Sample(
        f"s{len(masks)}-{label}", photo, label, masks={"lesion": masks} if masks else {}, origin="masks", **options
    )


def test_sound_data_give_no_note(tmp_path):
    """A photograph with a mask, one without, and an empty mask of the sound class are nothing to speak of."""
    empty = mask(tmp_path / "empty.png", ~MASK & MASK)
    found = looked(sample(tmp_path, mask(tmp_path / "m.png")), sample(tmp_path), sample(tmp_path, empty, label=0))
    assert found == ()


def test_inverted_masks_are_named(tmp_path):
    """More than half of a photograph is no lesion, as a rule: napari's inverted TIFF is named with its share."""
    (note,) = looked(sample(tmp_path, mask(tmp_path / "m.png"), mask(tmp_path / "inverted.png", ~MASK)))
    assert "1 mark more than half" in note
    assert f"{tmp_path / 'inverted.png'}: 100%" in note


@pytest.mark.parametrize(
    ("classes", "ordinal"), [(("0", "1"), True), (("good", "broken"), False), (("normal", "amd"), False)]
)
def test_empty_masks_where_something_is_graded_are_named(tmp_path, classes, ordinal):
    """An empty mask beside a grade above the sound one, or a defect, is named; where no class is sound, it is not."""
    empty = mask(tmp_path / "empty.png", ~MASK & MASK)
    (note,) = looked(sample(tmp_path, empty), classes=classes, ordinal=ordinal)
    assert "1 mark nothing, although the class says" in note
    assert str(empty) in note
    assert looked(sample(tmp_path, empty, label=0), classes=classes, ordinal=ordinal) == ()
    assert looked(sample(tmp_path, empty), classes=("amd", "dr"), ordinal=False) == ()


def test_masks_that_hold_classes_are_named_until_they_have_names(tmp_path):
    """Several values may be classes, the disc among them: said with the option that names them."""
    classes = (MASK.astype(np.uint8) * 3) + np.roll(MASK, 20, axis=0).astype(np.uint8) * 5
    file = mask(tmp_path / "m.png", classes)
    (note,) = looked(sample(tmp_path, file))
    assert f"{file}: 3, 5" in note
    assert "--mask-classes" in note
    assert looked(sample(tmp_path, file, mask_values=named_values("3=EX,5=OD"))) == ()
    with pytest.raises(
        DataError, match=r"s1-1: .*holds the value 5 \(150 pixels\), which --mask-classes does not name"
    ):
        looked(sample(tmp_path, file, mask_values=named_values("3=EX")))


def test_masks_of_another_size_are_said_and_of_another_shape_refused(tmp_path):
    """A mask of the photograph's aspect is brought to it and said; another aspect is one line with sample and files."""
    small = mask(tmp_path / "small.png", MASK[::2, ::2])
    (note,) = looked(sample(tmp_path, small))
    assert "1 have another size than their photograph" in note
    assert str(small) in note
    with pytest.raises(
        DataError, match=r"s1-1: The mask .*long\.png has 80 x 30 pixels, its photograph .*p\.jpg has 80 x 60"
    ):
        looked(sample(tmp_path, mask(tmp_path / "long.png", MASK[::2])))


@pytest.mark.parametrize("name", ["m.npy", "m.png", "m.tif"])
def test_unreadable_masks_are_refused_at_once(tmp_path, name):
    """What no step could read is refused with its sample, before anything is trained."""
    (tmp_path / name).write_bytes(b"\x93NUMPY" if name.endswith("npy") else b"no picture")
    with pytest.raises(DataError, match=rf"s1-1: .*{name} cannot be read as a picture"):
        looked(sample(tmp_path, tmp_path / name))


def test_black_photographs_and_those_of_several_pages_are_named(tmp_path):
    """A photograph that shows next to nothing, and a GIF of several frames, are named with what was seen."""
    black = photograph(tmp_path / "black.png", level=12)
    Image.new("L", (80, 60), 99).save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("L", (80, 60), 50)])
    dark, several = (Sample(file.name, file, 0) for file in (black, tmp_path / "a.gif"))
    notes = looked(dark, several)
    assert notes == (
        f"1 photographs are nearly black ({black}: 12 of 255): check how they were exported.",
        f"1 photographs hold several pictures ({tmp_path / 'a.gif'}: 2): the first is used.",
    )


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_masks_drawn_on_the_turned_photograph_are_turned_back(tmp_path, turn):
    """A mask of the size that viewers show lies where it was drawn, in stored pixels; the note says so."""
    from regaze.data.masks import lesion_union
    from regaze.orientation import upright_pixels

    photo = photograph(tmp_path / "turned.jpg", exif=turn)
    drawn = mask(tmp_path / "m.png", np.ascontiguousarray(upright_pixels(MASK, turn)))
    item = sample(tmp_path, drawn, photo=photo)
    np.testing.assert_array_equal(lesion_union(item), MASK)
    assert any("viewers turn (EXIF orientation" in note for note in looked(item))


def test_only_the_first_files_are_named(tmp_path):
    """A note stays one line however many files it is about."""
    files = [mask(tmp_path / f"{number}.png", ~MASK) for number in range(9)]
    samples = [
        Sample(str(number), photograph(tmp_path / "p.jpg"), 1, masks={"lesion": (file,)}, origin="masks")
        for number, file in enumerate(files)
    ]
    (note,) = looked(*samples)
    assert "Masks: 9 mark more than half" in note
    assert "and 6 more" in note
