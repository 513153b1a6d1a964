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

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regaze.corrections.formats.coco_rle import decode_counts, encode_counts
from regaze.corrections.formats.drawn import (
    LABELS,
    Album,
    Drawn,
    Photograph,
    check_box,
    check_free,
    check_points,
    check_size,
    mask_shapes,
    meaning,
    read_mode,
    read_time,
    sheets,
    simple_shapes,
)
from regaze.corrections.formats.json_lines import Element, finite, read_lines, write_lines
from regaze.corrections.formats.runs import crop_of_runs
from regaze.corrections.formats.source import Place, shown
from regaze.files import write_text
from regaze.records import MAX_PIXELS, Correction, Shape

_CATEGORIES = {1: True, 2: False}


def read_coco(path: Path, album: Album) -> list[Drawn]:
    """Read a COCO file.

    Args:
        path: The JSON file.
        album: The photographs it may name by `file_name`.

    Returns:
        What was drawn, in the order of `images`; see the module for images without annotations.

    Raises:
        CorrectionError: Something in the file is wrong; names its line.
    """
    root = read_lines(path)
    if not isinstance(root, Element):
        raise Place(path, 1).refuse("no object", "an object with images, categories and annotations")
    looks = {
        key: meaning(element.text("name")) for key, element in _by_id(root.elements("categories"), "category").items()
    }
    images = _images(root, album)
    shapes: dict[int | str, list[Shape]] = {key: [] for key in images}
    for annotation in _by_id(root.elements("annotations", absent=True), "annotation").values():
        image = annotation.key("image_id")
        if image not in images:
            raise annotation.place.refuse(f"image_id {shown(image)}", "the id of one of the images")
        category = annotation.key("category_id")
        if category not in looks:
            raise annotation.place.refuse(f"category_id {shown(category)}", "the id of one of the categories")
        look = looks[category]
        drawn = _shapes(annotation, bool(look), images[image][0])
        if look is not None:
            shapes[image] += drawn
    return [
        _drawn(element, photograph, shapes[key])
        for key, (photograph, element) in images.items()
        if shapes[key] or element.get("reviewed") is True
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
        images.append(_image(len(images) + 1, photograph, drawn, album))
        for shape in simple_shapes(drawn, photograph):
            annotation = {"id": len(annotations) + 1, "image_id": len(images)}
            annotations.append(annotation | _annotation(shape, photograph))
    categories = [{"id": key, "name": LABELS[look], "supercategory": "correction"} for key, look in _CATEGORIES.items()]
    info = {"description": "Where a model should look", "version": "1"}
    document = {"info": info, "images": images, "categories": categories, "annotations": annotations}
    write_text(path, write_lines(document))


def _image(key: int, photograph: Photograph, drawn: Drawn, album: Album) -> dict[str, Any]:
    return {
        "id": key,
        "file_name": album.name(photograph),
        "width": photograph.width,
        "height": photograph.height,
        "reviewed": True,
        "mode": drawn.mode,
        "author": drawn.author,
        "time": drawn.time,
        "remark": drawn.remark,
    }


def _annotation(shape: Shape, photograph: Photograph) -> dict[str, Any]:
    category = next(key for key, look in _CATEGORIES.items() if look == shape.look)
    if shape.kind == "mask":
        height, width = photograph.height, photograph.width
        crop, top, left = crop_of_runs(shape.runs, width)
        counts = encode_counts(shape.runs, height, width)
        segmentation: Any = {"size": [height, width], "counts": counts}
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


def _by_id(elements: list[Element], what: str) -> dict[int | str, Element]:
    found: dict[int | str, Element] = {}
    for element in elements:
        key = element.key("id")
        if key in found:
            raise element.place.refuse(f"the {what} id {shown(key)} again", "each id once")
        found[key] = element
    return found


def _images(root: Element, album: Album) -> dict[int | str, tuple[Photograph, Element]]:
    images: dict[int | str, tuple[Photograph, Element]] = {}
    seen = set()
    for key, element in _by_id(root.elements("images"), "image").items():
        photograph = album.find(element.text("file_name"), element.place)
        if photograph.sample in seen:
            raise element.place.refuse(f"{photograph.sample} again", "each photograph once")
        seen.add(photograph.sample)
        check_size(element.get("width"), element.get("height"), photograph, element.place)
        images[key] = photograph, element
    return images


def _drawn(image: Element, photograph: Photograph, shapes: list[Shape]) -> Drawn:
    return Drawn(
        photograph.sample,
        tuple(shapes),
        author=image.text("author", ""),
        remark=image.text("remark", ""),
        mode=read_mode(image.text("mode", ""), image.place),
        time=read_time(image.text("time", ""), image.place),
    )


def _shapes(annotation: Element, look: bool, photograph: Photograph) -> tuple[Shape, ...]:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, Element):
        return _mask(segmentation, look, photograph, annotation.place)
    if segmentation:
        return _polygons(annotation, look, photograph)
    return (Shape("box", look, _box(annotation, photograph)),)


def _mask(rle: Element, look: bool, photograph: Photograph, place: Place) -> tuple[Shape, ...]:
    height, width = photograph.height, photograph.width
    if rle.get("size") != [height, width]:
        raise place.refuse(f"an RLE of size {shown(rle.get('size'))}", f"[{height}, {width}], height first")
    counts = rle.get("counts")
    is_list = isinstance(counts, list) and all(type(count) is int and abs(count) <= MAX_PIXELS for count in counts)
    if counts is None or not (isinstance(counts, str) or is_list):
        raise place.refuse(f"RLE counts {shown(counts)}", "a text or a list of whole numbers")
    try:
        runs = decode_counts(counts, height, width)
    except ValueError as error:
        raise place.refuse(f"an RLE with {error}", "run lengths that fill the photograph") from error
    return mask_shapes(runs, look, place)


def _polygons(annotation: Element, look: bool, photograph: Photograph) -> tuple[Shape, ...]:
    parts, place = annotation["segmentation"], annotation.place
    if not isinstance(parts, list) or not all(isinstance(part, list) for part in parts):
        raise place.refuse(f"'segmentation' is {shown(parts)}", "a list of polygons, or an RLE")
    shapes = []
    for part in parts:
        values = finite(part, "a polygon", place)
        if len(values) < 6 or len(values) % 2:
            raise place.refuse(f"a polygon of {len(values)} numbers", "x and y of three points or more")
        points = tuple(zip(values[::2], values[1::2], strict=True))
        check_points(points, photograph, place)
        shapes.append(Shape("polygon", look, points))
    if len(shapes) == 1 and len(shapes[0].points) == 4:
        corners = shapes[0].points
        (x0, y0), (x1, y1) = corners[0], corners[2]
        if corners == ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
            return (Shape("box", look, (corners[0], corners[2])),)
    return tuple(shapes)


def _box(annotation: Element, photograph: Photograph) -> tuple[tuple[float, float], tuple[float, float]]:
    x, y, width, height = annotation.numbers("bbox", 4)
    check_box(x, y, x + width, y + height, photograph, annotation.place)
    return (x, y), (x + width, y + height)
