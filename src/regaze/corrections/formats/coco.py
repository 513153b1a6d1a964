"""COCO: one JSON file with `images`, `categories` and `annotations` (https://cocodataset.org/#format-data).

Written are the categories `look` and `avoid`; polygons and boxes as polygons, anything else as compressed run lengths;
and in each entry of `images`, beside its usual keys, `reviewed`: true, `mode`, `author`, `time` and `remark`.
Lost: that a mask was drawn by strokes.

Read are compressed and uncompressed run lengths, polygons, and boxes (`bbox` without a `segmentation`, or with one that
is the four corners of a box). The order of `annotations` is the order of drawing. The photograph's corner is at 0, as
here. Polygons become pixels by our rule (see `corrections.shapes`), which differs from the COCO API's at the border
of a polygon by up to a pixel.

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
    box_shape,
    check_size,
    mask_shape,
    meaning,
    polygon_shape,
    sheets,
    simple_shapes,
)
from regaze.corrections.formats.folders import check_free
from regaze.corrections.formats.json_paths import Finite, Key, read_json, write_lines
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.runs import crop_of_runs
from regaze.corrections.formats.source import Source, shown
from regaze.files import write_text
from regaze.records import MAX_PIXELS, Correction, Shape

_CATEGORIES = {1: True, 2: False}


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
    id: Key
    image_id: Key
    category_id: Key
    segmentation: _Rle | list[list[Finite]] | None = None
    bbox: list[Finite] | None = None


class _Document(Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] | None = None


_Item = TypeVar("_Item", _Image, _Category, _Annotation)


def read_coco(path: Path, album: Album) -> list[Drawn]:
    """Read a COCO file.

    Args:
        path: The JSON file.
        album: The photographs it may name by `file_name`.

    Returns:
        What was drawn, in the order of `images`; see the module for images without annotations.

    Raises:
        CorrectionError: Something in the file is wrong; names its path.
    """
    document: _Document = read_json(path, _Document)
    looks = {category.id: meaning(category.name) for _, category in _by_id(path, "categories", document.categories)}
    images: dict[Key, tuple[_Image, Photograph, Source]] = {}
    samples = set[str]()
    for source, image in _by_id(path, "images", document.images):
        photograph = album.find(image.file_name, source)
        if photograph.sample in samples:
            raise source.refuse(f"{photograph.sample} again", "each photograph once")
        samples.add(photograph.sample)
        check_size(image.width, image.height, photograph, source)
        images[image.id] = image, photograph, source
    shapes: dict[Key, list[Shape]] = {key: [] for key in images}
    for source, annotation in _by_id(path, "annotations", document.annotations or []):
        if annotation.image_id not in images:
            raise source.refuse(f"image_id {shown(annotation.image_id)}", "the id of one of the images")
        if annotation.category_id not in looks:
            raise source.refuse(f"category_id {shown(annotation.category_id)}", "the id of one of the categories")
        photograph = images[annotation.image_id][1]
        shapes[annotation.image_id] += _shapes(annotation, looks[annotation.category_id], photograph, source)
    return [
        image.drawn(photograph.sample, shapes[key], source)
        for key, (image, photograph, source) in images.items()
        if shapes[key] or image.reviewed
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
        size = {"width": photograph.width, "height": photograph.height}
        images.append(image | size | {"reviewed": True} | drawn.notes)
        for shape in simple_shapes(drawn, photograph):
            annotation = {"id": len(annotations) + 1, "image_id": len(images)}
            annotations.append(annotation | _annotation(shape, photograph))
    categories = [{"id": key, "name": LABELS[look], "supercategory": "correction"} for key, look in _CATEGORIES.items()]
    info = {"description": "Where a model should look", "version": "1"}
    document = {"info": info, "images": images, "categories": categories, "annotations": annotations}
    write_text(path, write_lines(document))


def _annotation(shape: Shape, photograph: Photograph) -> dict[str, Any]:
    category = next(key for key, look in _CATEGORIES.items() if look == shape.look)
    if shape.kind == "mask":
        height, width = photograph.height, photograph.width
        crop, top, left = crop_of_runs(shape.runs, width)
        segmentation: Any = {"size": [height, width], "counts": encode_counts(shape.runs, height, width)}
        box: list[float] = [left, top, crop.shape[1], crop.shape[0]]
        area = float(crop.sum())
    else:
        xs, ys = zip(*shape.points, strict=True)
        x0, y0, x1, y1 = min(xs), min(ys), max(xs), max(ys)
        box = [x0, y0, x1 - x0, y1 - y0]
        points = ((x0, y0), (x1, y0), (x1, y1), (x0, y1)) if shape.kind == "box" else shape.points
        segmentation = [[value for point in points for value in point]]
        area = _area(points)
    return {"category_id": category, "segmentation": segmentation, "area": area, "bbox": box, "iscrowd": 0}


def _area(points: tuple[tuple[float, float], ...]) -> float:
    """A polygon's area by the shoelace formula, square pixels."""
    following = points[1:] + points[:1]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, following, strict=True))) / 2


def _by_id(path: Path, key: str, items: list[_Item]) -> Iterator[tuple[Source, _Item]]:
    """Each item and where it stands; an id that came before is refused."""
    seen = set()
    for index, item in enumerate(items):
        source = Source(path, f"$.{key}[{index}]")
        if item.id in seen:
            raise source.refuse(f"the id {shown(item.id)} again", "each id once")
        seen.add(item.id)
        yield source, item


def _shapes(annotation: _Annotation, look: bool | None, photograph: Photograph, source: Source) -> tuple[Shape, ...]:
    segmentation = annotation.segmentation
    if isinstance(segmentation, _Rle):
        return _mask(segmentation, look, photograph, source)
    if segmentation:
        return _polygons(segmentation, look, photograph, source)
    if annotation.bbox is None or len(annotation.bbox) != 4:
        raise source.refuse(f"no segmentation and the bbox {shown(annotation.bbox)}", "4 numbers")
    x, y, width, height = annotation.bbox
    return box_shape((x, y, x + width, y + height), look, photograph, source)


def _mask(rle: _Rle, look: bool | None, photograph: Photograph, source: Source) -> tuple[Shape, ...]:
    height, width = photograph.height, photograph.width
    if rle.size != (height, width):
        raise source.refuse(f"an RLE of size {shown(list(rle.size))}", f"[{height}, {width}], height first")
    try:
        runs = decode_counts(rle.counts, height, width)
    except ValueError as error:
        raise source.refuse(f"an RLE with {error}", "run lengths that fill the photograph") from error
    return mask_shape(runs, look, source)


def _polygons(parts: list[list[float]], look: bool | None, photograph: Photograph, source: Source) -> tuple[Shape, ...]:
    shapes: list[Shape] = []
    for values in parts:
        if len(values) < 6 or len(values) % 2:
            raise source.refuse(f"a polygon of {len(values)} numbers", "x and y of three points or more")
        shapes += polygon_shape(zip(values[::2], values[1::2], strict=True), look, photograph, source)
    if len(shapes) == 1 and len(shapes[0].points) == 4:
        corners = shapes[0].points
        (x0, y0), (x1, y1) = corners[0], corners[2]
        if corners == ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
            return (Shape("box", shapes[0].look, (corners[0], corners[2])),)
    return tuple(shapes)
