"""Valid input of every reader of foreign files, small, and how each is read; for `fuzz`."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from safetensors.torch import save_file

from regaze.console import Voice
from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.shape_checks import shapes_from_json, shapes_to_json
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.corrections.store import Store
from regaze.data.boxes import with_boxes
from regaze.data.images import acquisition, jpeg_comment, pages, photo_orientation, read_photo
from regaze.data.inspection import look_at
from regaze.data.mask_file import named_values, read_marks, read_regions
from regaze.data.sources import list_photographs, load_dataset
from regaze.models.backbones import timm_backbone
from regaze.models.build import build_network
from regaze.models.card import ModelCard, read_card
from regaze.models.convert import convert
from regaze.models.folder import load_network, save_model
from regaze.models.options import NetworkOptions
from regaze.models.weights import load_weights
from regaze.records import Correction, Sample, Shape
from regaze.study.folder import create_study, open_study
from regaze.study.options import StudyOptions

WIDTH, HEIGHT = 24, 18
ALBUM = Album(
    Photograph(f"eye{number}", (f"images/eye{number}.jpg",), WIDTH, HEIGHT, number) for number in (1, 2, 3, 6)
)
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[4:9, 5:12] = True
SHAPES = (
    Shape("mask", "look", runs=mask_to_runs(MASK)),
    Shape("box", "look", ((1.0, 1.0), (3.5, 2.0))),
    Shape("polygon", "avoid", ((0.0, 0.0), (5.0, 0.0), (5.0, 3.0))),
)


@dataclass(frozen=True)
class Target:
    """A reader, and a folder that it can read.

    Attributes:
        name: Of the reader.
        folder: Valid input.
        read: Reads a copy of it.
        may_damage: Which of its files.
        by_name: Its files' names are input too.
        seldom: Read in every so many cases alone, being slow; 0: in all.
    """

    name: str
    folder: Path
    read: Callable[[Path], Any]
    may_damage: Callable[[Path], bool] = field(default=lambda _: True)
    by_name: bool = False
    seldom: int = 0


def targets(root: Path) -> list[Target]:
    """Write valid input of all readers below a folder."""
    return [
        *_annotations(root),
        *_tables(root),
        *_pictures(root),
        *_weights(root),
        *_own(root),
    ]


def _annotations(root: Path) -> list[Target]:
    found = []
    for name, form in FORMATS.items():
        notes = ("ada", "why", "edit", "2024-05-31T12:00:00Z")
        (root / name).mkdir()
        items = [Drawn(f"eye{number}", SHAPES, *notes) for number in (1, 2, 6)]
        form.write(items, ALBUM, root / name / "in")
        found.append(Target(name, root / name, _reads(name), by_name=name in ("png", "yolo")))
    for name, text in _OTHERS.items():
        (root / name).mkdir()
        (root / name / "in").write_text(text, encoding="utf-8")
        found.append(Target(name, root / name, _reads(name.partition(" ")[0])))
    yolo = {"eye1.txt": "0 0.5 0.5 0.2 0.1 0.9\n1 .1 .1 .3 .1 .3 .3\n", "eye2.txt": "0 .1 .1 .3 .1 .3 .3 .1 .3\n"}
    names = {"data.yaml": "names: [haemorrhages, optic disc]\nnc: 2\n"}
    folder = _folder(root / "yolo by Roboflow" / "in", yolo | names)
    found.append(Target("yolo by Roboflow", folder.parent, _reads("yolo"), by_name=True))
    samples = [Sample(f"eye{number}", Path(f"eye{number}.jpg"), 0) for number in (1, 2)]
    found.append(
        Target("boxes", _folder(root / "boxes", yolo | names), lambda at: with_boxes(samples, at), by_name=True)
    )
    shapes = [*SHAPES, *(Shape("stroke", mark, ((1.0, 2.0), (3.0, 4.0)), 2.0) for mark in ("look", "erase"))]
    found.append(Target("shapes", _folder(root / "shapes", {"a.json": shapes_to_json(shapes)}), _read_shapes))
    return found


def _reads(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> None:
        intake = Intake(skip_unknown=False)
        for drawn in FORMATS[name].read(folder / "in", ALBUM, intake):
            photograph = ALBUM.photograph(drawn.sample)
            rasterise(drawn.shapes, photograph.height, photograph.width)

    return read


def _read_shapes(folder: Path) -> None:
    rasterise(shapes_from_json((folder / "a.json").read_bytes().decode("utf-8", "surrogateescape")), HEIGHT, WIDTH)


def _bit_mask() -> str:
    buffer = io.BytesIO()
    Image.fromarray(MASK).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


_SIZE = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "to_name": "image"}
_RESULTS = [
    {
        "type": "ellipselabels",
        "value": {"x": 50, "y": 50, "radiusX": 9, "radiusY": 5, "rotation": 30, "ellipselabels": ["HE"]},
    },
    {
        "type": "rectanglelabels",
        "value": {"x": 30, "y": 30, "width": -9, "height": 5, "rotation": 3, "rectanglelabels": ["OD"]},
    },
    {"type": "bitmask", "value": {"imageDataURL": _bit_mask(), "bitmask": ["MA"]}},
    {"type": "keypointlabels", "value": {"x": 5, "y": 5, "keypointlabels": ["fovea"]}},
]
_OTHERS = {
    "label-studio of others": json.dumps(
        [
            {
                "id": 7,
                "data": {"image": "/data/upload/3/0a1b2c3d-eye1.jpg", "other": "http://x/eye2.jpg?y=1"},
                "annotations": [{"id": 1, "completed_by": 3, "result": [_SIZE | item for item in _RESULTS]}],
                "predictions": [{"result": []}],
            }
        ]
    ),
    "coco of others": json.dumps(
        {
            "images": [
                {"id": "a", "file_name": "eye1_jpg.rf.0123456789abcdef.jpg", "width": 2 * WIDTH, "height": 2 * HEIGHT},
                {"id": 2, "file_name": "eye6.jpg", "width": HEIGHT, "height": WIDTH},
            ],
            "categories": [{"id": 1, "name": "MA"}, {"id": 2, "name": "optic disc"}],
            "annotations": [
                {"id": 1, "image_id": 2, "category_id": 1, "segmentation": {"size": [24, 18], "counts": [9, 20, 403]}},
                {"id": 2, "image_id": "a", "category_id": 1, "bbox": [1, 1, 9, 9], "attributes": {"rotation": 30}},
                {"id": 3, "image_id": "a", "category_id": 2, "segmentation": [[1, 1, 5, 5]]},
            ],
        }
    ),
    "cvat of others": f"""<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
<meta><project><tasks><task><id>1</id><assignee><username>ada</username></assignee></task></tasks></project></meta>
<image id="0" name="eye1.jpg" task_id="1" width="{WIDTH}" height="{HEIGHT}"><ellipse label="HE" cx="5" cy="5" rx="2"
 ry="3" rotation="30" z_order="1"/>
<polyline label="HE" points="1,1;2,2"/><mask label="MA" rle="3, 6" left="2" top="2"
 width="3" height="3"/></image><image id="1" name="eye1_1.jpg" task_id="2" width="{WIDTH}" height="{HEIGHT}"><box
 label="look" xtl="1" ytl="1" xbr="4" ybr="4" rotation="10"/><points label="fovea"
 points="1,1"/></image></annotations>""",
}


def _folder(path: Path, texts: dict[str, str]) -> Path:
    path.mkdir(parents=True)
    for name, text in texts.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def _photo(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def _tables(root: Path) -> list[Target]:
    rows = [("image", "label", "patient", "split", "MA", "site")]
    rows += [
        (f"{n}.png", str(n % 3), f"p{n // 2}", "test" if n > 11 else "train", "m.png" if n % 3 else "none", "x")
        for n in range(14)
    ]
    text = "".join(",".join(row) + "\n" for row in rows)
    one_hot = "filename;A;B;C\n" + "".join(
        f"{n};{int(n % 3 == 0)};{int(n % 3 == 1)};{int(n % 3 == 2)}\n" for n in range(14)
    )
    lines = "".join(json.dumps(dict(zip(rows[0], row, strict=True)) | {"more": [1, {}]}) + "\n" for row in rows[1:])
    kinds = {
        "csv": text.encode(),
        "csv of Excel": b"\xef\xbb\xbfsep=;\r\n" + text.replace(",", ";").replace("\n", "\r\n").encode(),
        "csv in UTF-16": text.encode("utf-16"),
        "csv in cp1252": text.replace(",x", ",é").encode("cp1252"),
        "tsv": text.replace(",", "\t").encode(),
        "one-hot": one_hot.encode(),
        "jsonl": lines.encode(),
        "xlsx": b"PK\x03\x04" + bytes(40),
    }
    found = []
    for name, data in kinds.items():
        folder = root / f"table {name}"
        folder.mkdir()
        for n in range(14):
            _photo(n).save(folder / f"{n}.png")
        Image.fromarray(MASK).save(folder / "m.png")
        file = folder / ("t.jsonl" if name == "jsonl" else "t.csv")
        file.write_bytes(data)
        found.append(Target(f"table {name}", folder, _reads_table(file.name), lambda path: path.name.startswith("t.")))
    layout = root / "folder"
    for label in ("A", "B"):
        for name in (
            f"images/{label}/1.jpg",
            f"images/{label}/2.png",
            f"masks/{label}/1_EX.png",
            f"images/{label}/2_mask.gif",
        ):
            (layout / name).parent.mkdir(parents=True, exist_ok=True)
            (_photo(ord(label)) if "images" in name else Image.fromarray(MASK)).save(layout / name)
    quiet = Voice(quiet=True)
    found.append(Target("folder", layout, lambda at: look_at(load_dataset(f"folder:{at}"), quiet), by_name=True))
    return found


def _reads_table(name: str) -> Callable[[Path], Any]:
    return lambda folder: list_photographs(f"csv:{folder / name}", faults=[])


def _pictures(root: Path) -> list[Target]:
    photo, exif = _photo(), Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Model] = 6, "Camera"
    exif[ExifTags.Base.DateTime] = "2009:08:20 12:31:05"
    grey = Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 9)
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "a.jpg": (photo, {"exif": exif, "comment": b"010820171"}),
        "a.png": (photo, {"exif": exif}),
        "p.png": (photo.quantize(9), {"transparency": 0}),
        "g.png": (grey, {}),
        "m.png": (Image.fromarray(MASK), {}),
        "a.tif": (photo, {"compression": "tiff_lzw"}),
        "g.tif": (grey, {}),
        "f.tif": (Image.fromarray(np.linspace(0, 1, 432, dtype=np.float32).reshape(18, 24)), {}),
        "s.tif": (photo, {"save_all": True, "append_images": [photo]}),
        "a.bmp": (photo, {}),
        "a.gif": (photo, {"save_all": True, "append_images": [_photo(1)]}),
        "a.webp": (photo, {"exif": exif}),
        "a.ppm": (photo, {}),
        "a.jp2": (photo, {}),
        "a.avif": (photo, {}),
    }
    found = []
    for name, (image, how) in kinds.items():
        try:
            (root / name).mkdir()
            image.save(root / name / name, **how)
        except (KeyError, ValueError, OSError):  # this Pillow lacks the format
            continue
        found.append(Target(f"picture {name}", root / name, _read_picture))
    if find_spec("pydicom") is not None:
        found += [
            Target(f"picture {kind}", _dicom(root / kind, kind), _read_picture) for kind in ("jpeg.dcm", "plain.dcm")
        ]
    if find_spec("pillow_heif") is not None:
        from pillow_heif import from_pillow

        (root / "a.heic").mkdir()
        from_pillow(photo.resize((64, 64))).save(root / "a.heic" / "a.heic")
        found.append(Target("picture a.heic", root / "a.heic", _read_picture))
    return found


def _read_picture(folder: Path) -> None:
    """All that is asked of a picture; the first refusal does not keep the other readers from it."""
    from regaze.errors import RegazeError

    (file,) = folder.iterdir()
    values, refused = named_values("1=MA,2=OD,255=HE"), None
    for read in (
        *(read_photo, acquisition, jpeg_comment, pages, photo_orientation, read_marks),
        *(lambda path: read_regions(path, values), lambda path: read_photo(path, at_least=4)),
    ):
        try:
            read(file)
        except RegazeError as error:
            if len(str(error)) > 2000:
                raise
            refused = error
    if refused is not None:
        raise refused


def _dicom(folder: Path, kind: str) -> Path:
    import pydicom
    from pydicom.encaps import encapsulate

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50" if kind[0] == "j" else "1.2.840.10008.1.2.1"
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.Rows, data.Columns, data.SamplesPerPixel = HEIGHT, WIDTH, 3
    data.PhotometricInterpretation = "YBR_FULL_422" if kind[0] == "j" else "RGB"
    data.BitsAllocated = data.BitsStored = 8
    data.PixelRepresentation = data.PlanarConfiguration = 0
    data.PatientID, data.ImageLaterality, data.AcquisitionDate = "SECRET-7", "R", "20090820"
    buffer = io.BytesIO()
    _photo().save(buffer, "JPEG")
    data.PixelData = encapsulate([buffer.getvalue()]) if kind[0] == "j" else _photo().tobytes()
    folder.mkdir()
    data.save_as(folder / kind, enforce_file_format=True)
    return folder


def _weights(root: Path) -> list[Target]:
    torch.manual_seed(0)
    backbone = timm_backbone("test_resnet", 64)
    state = {f"module.{name}": tensor.clone() for name, tensor in backbone.whole.state_dict().items()}
    for name in ("weights", "convert"):
        (root / name).mkdir()
    save_file(state, root / "weights" / "a.safetensors")
    torch.save({"state_dict": {"a": torch.zeros(3)}, "epoch": 3}, root / "convert" / "a.pth")

    def weights(folder: Path) -> None:
        load_weights(backbone, str(folder / "a.safetensors"), 64)

    network = build_network(NetworkOptions(backbone="test_resnet", scales=2), 3, 64)
    card = ModelCard(
        name="a",
        network=NetworkOptions(backbone="test_resnet", scales=2),
        classes=("0", "1", "2"),
        ordinal=True,
        decoding="median",
        size=64,
        crop=True,
        mean=network.mean,
        std=network.std,
        recipe={"phase1": {}},
        history=({"loss": 1.0},),
    )
    save_model(root / "model", network.network, card)

    def model(folder: Path) -> None:
        load_network(folder, read_card(folder))

    return [
        Target("weights", root / "weights", weights),
        Target("convert", root / "convert", lambda at: convert(at / "a.pth"), seldom=200),
        Target("model", root / "model", model),
        Target("card", root / "model", read_card, lambda path: path.name == "model.json"),
    ]


def _own(root: Path) -> list[Target]:
    """A study of a table, and the store of corrections."""
    data = root / "table csv" / "t.csv"
    quiet = Voice(quiet=True)
    create_study(root / "study", StudyOptions(data=f"csv:{data}", size=32), quiet)
    (root / "store").mkdir()
    with Store(root / "store" / "records.sqlite") as store:
        drawn = Correction(0, "eye1", "m/fold0", "expert", "replace", MASK, None, "ada", "", "why", shapes=SHAPES[:1])
        store.add_corrections([drawn, replace(drawn, sample="eye2")])
        store.add_selection("m/fold0", "random", 1.0, 0, ["eye1"], ["why"], "ada")
    return [
        Target("study", root / "study", lambda at: open_study(at, quiet), lambda path: path.name == "study.json"),
        Target("store", root / "store", _read_store, lambda path: path.name == "records.sqlite"),
    ]


def _read_store(folder: Path) -> None:
    with Store(folder / "records.sqlite") as store:
        store.selections()
        store.chain()
        for entry in store.correction_index():
            store.correction(entry.id)
