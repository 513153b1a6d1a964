"""COCO: one JSON file with `images`, `categories` and `annotations` (https://cocodataset.org/#format-data).

Written are the categories `look` and `avoid`; polygons and boxes as polygons, anything else as compressed run lengths;
and in each entry of `images`, beside its usual keys, `reviewed`: true, `mode`, `author`, `time` and `remark`. Lost:
that a mask was drawn by strokes, and what was drawn before something was erased but for its pixels (see
`drawn.simple_shapes`).

Read are compressed and uncompressed run lengths, polygons (flat lists or lists of points), and boxes (`bbox` without a
`segmentation`, or with one that is the four corners of a box; turned clockwise around the middle by `rotation`, which
CVAT writes into `attributes`, where box and corners are the unturned one's). Polygons of fewer than three points,
keypoints without an area, and boxes of five numbers, whose angle tools count in different ways, are left out and
counted. The order of `annotations` is the
order of drawing. The photograph's corner is at 0, as here. Polygons become pixels by our rule (see
`corrections.shapes`), which differs from the COCO API's at the border of a polygon by up to a pixel.

An image without annotations is *not corrected*, for COCO lists all images of a data set; it means "nothing here
deserves attention" only where it says `reviewed`: true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from regaze.corrections.formats.coco_rle import decode_counts, encode_counts
from regaze.corrections.formats.drawn import (
    LABELS,
    Drawn,
    Notes,
    meaning,
    sheets,
    simple_shapes,
)
from regaze.corrections.formats.folders import check_free
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.json_paths import Finite, Key, converted, read_json, write_lines
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.runs import crop_of_runs
from regaze.corrections.formats.sheet import Sheet, area, rotated_box, sheet_of
from regaze.corrections.formats.source import Source, number, shown
from regaze.files import write_text
from regaze.records import MAX_PIXELS, Correction, Mark, Shape

_CATEGORIES = dict(enumerate(LABELS, start=1))

_Sides = tuple[tuple[float, float], tuple[float, float]]


class _Image(Notes, kw_only=True):
    id: Key
    file_name: str
    width: int
    height: int
    reviewed: bool | None = None


class _Category(Struct):
    id: Key
    name: str


class _Rle(Struct):
    size: tuple[int, int]
    counts: str | list[Annotated[int, Meta(ge=0, le=MAX_PIXELS)]]


class _Annotation(Struct):
    image_id: Key
    category_id: Key
    id: Key | None = None
    segmentation: Any = None  # in several spellings, see `_spelled`
    bbox: list[Finite] | None = None
    attributes: Any = None
    rotation: Any = None


class _Document(Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] | None = None
    info: Any = None


_Item = TypeVar("_Item", _Image, _Category, _Annotation)


def read_coco(path: Path, album: Album, intake: Intake) -> list[Drawn]:
    """Read a COCO file.

    Args:
        path: The JSON file.
        album: The photographs it may name by `file_name`.
        intake: How it is taken.

    Returns:
        What was drawn, in the order of `images`; see the module for images without annotations.

    Raises:
        CorrectionError: Something in the file is wrong; names its path.
    """
    document: _Document = read_json(path, _Document, "coco")
    labels = {category.id: category.name for _, category in _by_id(path, "categories", document.categories)}
    images: dict[Key, tuple[_Image, Sheet, Source] | None] = {}
    samples = set[str]()
    for source, image in _by_id(path, "images", document.images):
        photograph = intake.find(album, image.file_name, source)
        if photograph is None:
            images[image.id] = None
            continue
        if photograph.sample in samples:
            raise source.refuse(f"{photograph.sample} again", "each photograph once")
        samples.add(photograph.sample)
        size = _size(image, photograph, document.info)
        images[image.id] = image, sheet_of(photograph, size, intake, source), source
    shapes: dict[Key, list[Shape]] = {key: [] for key in images}
    incomplete = set[Key]()
    for source, annotation in _by_id(path, "annotations", document.annotations or []):
        if annotation.image_id not in images:
            raise source.refuse(f"image_id {shown(annotation.image_id)}", "the id of one of the images")
        if annotation.category_id not in labels:
            raise source.refuse(f"category_id {shown(annotation.category_id)}", "the id of one of the categories")
        image_of = images[annotation.image_id]
        if image_of is None:
            continue
        label, before = labels[annotation.category_id], intake.shapes_left_out
        mark = meaning(label)
        if mark is None:
            intake.landmark(label)
            continue
        shapes[annotation.image_id] += _shapes(annotation, mark, image_of[1], source)
        if intake.shapes_left_out > before:
            incomplete.add(annotation.image_id)
    return [
        known[0].drawn(known[1].photograph.sample, shapes[key], known[2])
        for key, known in images.items()
        # Where all that was drawn is left out, nobody said that there is nothing to see.
        if known is not None and (shapes[key] or (known[0].reviewed and key not in incomplete))
    ]


def write_coco(items: Iterable[Drawn | Correction], album: Album, path: Path) -> None:
    """Write a COCO file, whole or not at all.

    Args:
        items: At most one for each photograph.
        album: The photographs.
        path: The JSON file; absent.

    Raises:
        CorrectionError: A photograph is unknown or comes twice, or `path` is taken.
    """
    check_free(path)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for photograph, drawn in sheets(items, album):
        image = {"id": len(images) + 1, "file_name": album.name(photograph)}
        upright = photograph.upright
        size = {"width": upright.width, "height": upright.height}
        images.append(image | size | {"reviewed": True} | drawn.notes)
        for shape in simple_shapes(drawn, photograph):
            annotation = {"id": len(annotations) + 1, "image_id": len(images)}
            annotations.append(annotation | _annotation(shape, upright))
    categories = [{"id": key, "name": label, "supercategory": "correction"} for key, label in _CATEGORIES.items()]
    info = {"description": "Where a model should look", "version": "1"}
    document = {"info": info, "images": images, "categories": categories, "annotations": annotations}
    write_text(path, write_lines(document))


def _annotation(shape: Shape, photograph: Photograph) -> dict[str, Any]:
    """The entry of a shape that lies on an upright photograph."""
    category = next(key for key, label in _CATEGORIES.items() if label == shape.mark)
    if shape.kind == "mask":
        height, width = photograph.height, photograph.width
        crop, top, left = crop_of_runs(shape.runs, width)
        segmentation: Any = {"size": [height, width], "counts": encode_counts(shape.runs, height, width)}
        box: list[float] = [left, top, crop.shape[1], crop.shape[0]]
        size = float(crop.sum())
    else:
        xs, ys = zip(*shape.points, strict=True)
        x0, y0, x1, y1 = min(xs), min(ys), max(xs), max(ys)
        box = [x0, y0, x1 - x0, y1 - y0]
        points = ((x0, y0), (x1, y0), (x1, y1), (x0, y1)) if shape.kind == "box" else shape.points
        segmentation = [[value for point in points for value in point]]
        size = area(points)
    return {"category_id": category, "segmentation": segmentation, "area": size, "bbox": box, "iscrowd": 0}


def _size(image: _Image, photograph: Photograph, info: Any) -> tuple[int, int] | None:
    """The size of the picture that was drawn on; None where the file does not tell.

    Label Studio writes the stored picture's size, and marks on the upright one (HumanSignal/label-studio issue 6608).
    """
    size = image.width, image.height
    by_label_studio = isinstance(info, dict) and info.get("contributor") == "Label Studio"
    return None if by_label_studio and size == (photograph.width, photograph.height) else size


def _by_id(path: Path, key: str, items: list[_Item]) -> Iterator[tuple[Source, _Item]]:
    """Each item and where it stands; an id that came before is refused."""
    seen = set()
    for index, item in enumerate(items):
        source = Source(path, f"$.{key}[{index}]")
        if item.id is not None:
            if item.id in seen:
                raise source.refuse(f"the id {shown(item.id)} again", "each id once")
            seen.add(item.id)
        yield source, item


def _shapes(annotation: _Annotation, mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    segmentation: _Rle | list[_Rle | list[float]] | None = converted(
        _spelled(annotation.segmentation), _Rle | list[_Rle | list[Finite]] | None, source.inner(".segmentation")
    )
    if isinstance(segmentation, _Rle):
        return _mask(segmentation, mark, sheet, source)
    bbox = annotation.bbox or []
    if not segmentation and len(bbox) in (0, 5):
        what = f"a box of 5 numbers, {shown(bbox)}" if bbox else "neither a segmentation nor a bbox"
        sheet.intake.leave_out(what, source)
        return ()
    if not segmentation and len(bbox) != 4:
        raise source.refuse(f"no segmentation and the bbox {shown(bbox)}", "4 numbers")
    box = ((bbox[0], bbox[0] + bbox[2]), (bbox[1], bbox[1] + bbox[3])) if len(bbox) == 4 else None
    sides = _box_of(segmentation) if segmentation else box
    if segmentation and sides is None:
        return _parts(segmentation, mark, sheet, source)
    assert sides is not None  # either gave them
    angle = _angle(annotation, source)
    # Corners that are not the box's are turned already.
    if angle % 360 == 0 or (box is not None and not _alike(sides, box)):
        return sheet.box(*sides, mark, source)
    return sheet.turned(rotated_box(*sides, angle), mark, source)


def _spelled(value: Any) -> Any:
    """A segmentation as COCO spells it; None for an empty one.

    Tools write one polygon without the list around it, points as pairs, and nothing as an empty list, object or text.
    """
    if isinstance(value, list):
        if value and (isinstance(value[0], int | float) or _is_of_points(value)):
            value = [value]
        value = [
            [number for point in part for number in point] if _is_of_points(part) else part
            for part in value
            if part not in ([], {})
        ]
    return value or None


def _is_of_points(part: Any) -> bool:
    """Whether a polygon is written as pairs of numbers."""
    return (
        isinstance(part, list)
        and bool(part)
        and all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], int | float) for p in part)
    )


def _angle(annotation: _Annotation, source: Source) -> float:
    """By how many degrees the box is turned: in `attributes`, which may be a list of names and values, or beside it."""
    attributes = annotation.attributes
    if isinstance(attributes, list):
        attributes = {str(one.get("name")): one.get("value") for one in attributes if isinstance(one, dict)}
    named = {str(key).lower(): value for key, value in attributes.items()} if isinstance(attributes, dict) else {}
    value = named.get("rotation", annotation.rotation)
    return number(str(value), "rotation", source.inner(".attributes")) if value not in (None, "") else 0.0


def _box_of(segmentation: list[_Rle | list[float]]) -> _Sides | None:
    """The sides of a box that is written as its four corners, from any of them on and either way around."""
    values = segmentation[0]
    if len(segmentation) != 1 or isinstance(values, _Rle) or len(values) not in (8, 10):
        return None
    points = list(zip(values[::2], values[1::2], strict=True))
    if len(points) == 5 and points.pop() != points[0]:
        return None
    (x0, y0), (x1, y1) = points[0], points[2]
    if {points[1], points[3]} != {(x1, y0), (x0, y1)} or x0 == x1 or y0 == y1:
        return None
    return (min(x0, x1), max(x0, x1)), (min(y0, y1), max(y0, y1))


def _alike(one: _Sides, other: _Sides) -> bool:
    """Whether two boxes are one, up to rounding to a pixel."""
    pairs = zip([*sorted(one[0]), *sorted(one[1])], [*sorted(other[0]), *sorted(other[1])], strict=True)
    return all(abs(a - b) <= 1 for a, b in pairs)


def _mask(rle: _Rle, mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    height, width = sheet.height, sheet.width
    if rle.size != (height, width):
        raise source.refuse(f"an RLE of size {shown(list(rle.size))}", f"[{height}, {width}], height first")
    try:
        runs = decode_counts(rle.counts, height, width)
    except ValueError as error:
        raise source.refuse(f"an RLE with {error}", "run lengths that fill the photograph") from error
    return sheet.mask(runs, mark, source)


def _parts(parts: list[_Rle | list[float]], mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    shapes: list[Shape] = []
    for values in parts:
        if isinstance(values, _Rle):
            shapes += _mask(values, mark, sheet, source)
        elif len(values) % 2:
            raise source.refuse(f"a polygon of {len(values)} numbers", "x and y of three points or more")
        else:
            shapes += sheet.polygon(zip(values[::2], values[1::2], strict=True), mark, source)
    return tuple(shapes)
