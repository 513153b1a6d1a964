"""Ophthalmic photographs in DICOM, and HEIC: by extras, refused with the cure without them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from regaze.data import dicom, signatures
from regaze.data.images import acquisition, is_picture, photo_size, read_photo
from regaze.data.sources import load_dataset
from regaze.errors import DataError

JPEG, JPEG_2000, PLAIN = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.1"


def picture(seed=0):
    """(40, 60, 3) uint8, smooth."""
    rows, columns = np.mgrid[:40, :60]
    shift = np.random.default_rng(seed).integers(0, 60, 3)
    return np.stack([rows * 3 + shift[0], columns * 2 + shift[1], (rows + columns) + shift[2]], -1).astype(np.uint8)


def write(path, pixels=None, syntax=JPEG, photometric="YBR_FULL_422", frame=None, **tags):
    """Write a DICOM file with one frame; tags by keyword, None: leave it out."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.encaps import encapsulate

    pixels = picture() if pixels is None else pixels
    grey = pixels.ndim == 2
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = (1, "MONOCHROME2") if grey else (3, photometric)
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored, data.PixelRepresentation, data.PlanarConfiguration = data.BitsAllocated, 0, 0
    own = {"PatientID": "SECRET-7", "PatientName": "Doe^Jane", "ImageLaterality": "R"}
    for name, value in (own | tags).items():
        if value is not None:
            setattr(data, name, value)
    if syntax == PLAIN:
        data.PixelData = pixels.tobytes()
    else:
        buffer = io.BytesIO()
        kind, options = ("JPEG", {"quality": 98, "subsampling": 0}) if syntax == JPEG else ("JPEG2000", {})
        Image.fromarray(pixels).save(buffer, format=kind, **options)
        data.PixelData = encapsulate([frame or buffer.getvalue()])
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("name", ["a.dcm", "a.DCM", "1.2.840.113", "plain"])
def test_a_jpeg_frame_is_the_photograph(tmp_path, name):
    """The frame is decoded like any JPEG, whatever the file is called, at a reduced scale where that is enough."""
    file = write(tmp_path / name)
    assert is_picture(file)
    assert photo_size(file) == (60, 40)
    assert np.abs(read_photo(file).astype(int) - picture()).max() <= 4
    assert read_photo(file, at_least=20).shape == (20, 30, 3)


def test_other_packings(tmp_path):
    """JPEG 2000 and plain pixels come back exactly; greys of 12 stored bits keep their light."""
    np.testing.assert_array_equal(
        read_photo(write(tmp_path / "a.dcm", syntax=JPEG_2000, photometric="YBR_RCT")), picture()
    )
    np.testing.assert_array_equal(read_photo(write(tmp_path / "b.dcm", syntax=PLAIN, photometric="RGB")), picture())
    deep = picture()[..., 0].astype(np.uint16) * 16
    grey = read_photo(write(tmp_path / "c.dcm", deep, PLAIN, BitsStored=12))
    np.testing.assert_array_equal(grey, np.repeat(picture()[..., :1], 3, axis=2))


def test_colours_of_a_frame_without_marks_are_the_tags(tmp_path):
    """A JPEG without JFIF or Adobe marks holds RGB where the tag says so."""
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, format="JPEG", quality=98, subsampling=0, keep_rgb=True)
    with Image.open(buffer) as image:
        assert "jfif" not in image.info
    data = buffer.getvalue()
    at = data.find(b"\xff\xee")  # the Adobe mark
    if at > 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    file = write(tmp_path / "a.dcm", photometric="RGB", frame=data)
    assert np.abs(read_photo(file).astype(int) - picture()).max() <= 4


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"NumberOfFrames": 3}, "holds 3 frames, expected one photograph"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "photometric interpretation MONOCHROME1, expected"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "photometric interpretation PALETTE COLOR, expected"),
        ({"PixelRepresentation": 1}, "of signed numbers, expected"),
    ],
)
def test_what_is_no_single_photograph_is_refused(tmp_path, tags, words):
    """Several frames and odd photometrics are one line, which repeats nothing of the patient."""
    file = write(tmp_path / "a.dcm", **tags)
    with pytest.raises(DataError, match=words) as caught:
        read_photo(file)
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused(tmp_path):
    """A file cut off in its tags or its pixels is one line."""
    data = write(tmp_path / "a.dcm").read_bytes()
    for share in (0.2, 0.5, 0.9):
        (tmp_path / "cut.dcm").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=r"cut\.dcm") as caught:
            read_photo(tmp_path / "cut.dcm")
        assert "\n" not in str(caught.value)


def test_patients_by_the_tags_and_identifiers_nowhere(tmp_path):
    """Both eyes of a patient are one patient, hashed; name and number appear in nothing that the reader gives."""
    for number, (who, side) in enumerate([("SECRET-7", "R"), ("SECRET-7", "L"), ("SECRET-8", "R"), (None, None)]):
        write(
            tmp_path / "set" / "AB"[number % 2] / f"{number}.dcm", picture(number), PatientID=who, ImageLaterality=side
        )
    dataset = load_dataset(f"folder:{tmp_path / 'set'}")
    patients = {sample.image.stem: sample.patient for sample in dataset.samples}
    assert patients["0"] == patients["1"] != patients["2"]
    assert patients["3"] is None
    assert dataset.named_by == "the tags of DICOM"
    assert not any("No patient is known" in note for note in dataset.notes)
    assert any(
        "4 photographs of 2 patients" in note and "(2 of right eyes, 1 of left ones" in note for note in dataset.notes
    )
    said = json.dumps([str(item) for item in (*dataset.samples, *dataset.notes)])
    assert "SECRET" not in said
    assert "Doe" not in said
    table = tmp_path / "set" / "t.csv"
    table.write_text("image,label,patient\nA/0.dcm,0,own\nB/1.dcm,1,\n")
    listed = load_dataset(f"csv:{table}")
    assert [sample.patient for sample in listed.samples] == ["own", patients["1"]]
    assert listed.named_by == "column patient and the tags of DICOM"


def test_day_and_camera_come_from_the_tags(tmp_path):
    """A split by period knows DICOM's own dates."""
    file = write(
        tmp_path / "a.dcm", AcquisitionDateTime="20200314101112", Manufacturer="Topcon", ManufacturerModelName="NW400"
    )
    assert acquisition(file) == ("2020-03-14", "Topcon NW400")


def test_without_the_extras_the_cure_is_named(tmp_path, monkeypatch):
    """DICOM and HEIC are recognised without their libraries, and say what to install."""
    monkeypatch.setattr(dicom, "find_spec", lambda _: None)
    monkeypatch.setattr(signatures, "find_spec", lambda _: None)
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(40))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    for name, extra in (("a.dcm", "dicom"), ("a.heic", "heic")):
        with pytest.raises(DataError, match=rf"pip install 'regaze\[{extra}\]'"):
            read_photo(tmp_path / name)


def test_heic_is_read(tmp_path):
    """A HEIC file is a photograph where the extra is installed."""
    heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    heif.from_pillow(Image.fromarray(picture())).save(tmp_path / "a.heic", quality=100, chroma=444)
    assert photo_size(tmp_path / "a.heic") == (60, 40)
    assert np.abs(read_photo(tmp_path / "a.heic").astype(int) - picture()).max() <= 8
