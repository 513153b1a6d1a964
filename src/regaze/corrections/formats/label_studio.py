"""Label Studio: its JSON export, a list of tasks with annotations (https://labelstud.io/guide/task_format).

Written are a task for each photograph with an annotation for each correction, in which `completed_by` and `created_at`
hold author and time, and one result for each shape: `brushlabels` (see `brush_rle`; not COCO's RLE), `polygonlabels`
or `rectanglelabels`, in percent of the photograph; besides a `choices` named `mode` and a `textarea` named `remark`.
Label Studio keeps these when the project's labelling interface has controls of these names:

    <BrushLabels name="brush" toName="image">, <PolygonLabels name="polygon" toName="image"> and
    <RectangleLabels name="box" toName="image">, each with the labels `look` and `avoid`;
    <Choices name="mode" toName="image"> with `replace` and `edit`; <TextArea name="remark" toName="image">

Lost: that a mask was drawn by strokes. Coordinates are read to a millionth of a pixel.

Read are also rotated rectangles (as polygons) and `<Labels>` with `<Brush>`, `<Polygon>` or `<Rectangle>`; other drawn
results are refused rather than dropped. Predictions and skipped annotations (`was_cancelled`) are passed over. The
photograph is named by `data.image`, or by the task's other texts where that fits none; what Label Studio puts before
the name of an uploaded file is ignored, and so is the address before it.

An annotation without drawn results is *not corrected*; it means "nothing here deserves attention" only where it has a
`mode`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from regaze.corrections.formats.brush_rle import decode_brush, encode_brush
from regaze.corrections.formats.drawn import (
    LABELS,
    Album,
    Drawn,
    Photograph,
    as_drawn,
    check_box,
    check_free,
    check_points,
    check_size,
    mask_shapes,
    meaning,
    read_mode,
    read_time,
    simple_shapes,
)
from regaze.corrections.formats.json_lines import Element, elements, finite, read_lines, write_lines
from regaze.corrections.formats.source import Place, shown
from regaze.files import write_text
from regaze.records import Correction, Shape

# Results that say something of the whole picture and draw nothing.
_UNDRAWN = frozenset({"choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "relation"})
# The type of a result without its label -> what it draws.
_DRAWN = {
    "brushlabels": "brush",
    "polygonlabels": "polygon",
    "rectanglelabels": "rectangle",
    "labels": "",
    "brush": "brush",
    "polygon": "polygon",
    "rectangle": "rectangle",
}
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
_DIGITS = 6


def read_label_studio(path: Path, album: Album) -> list[Drawn]:
    """Read Label Studio's JSON.

    Args:
        path: The JSON file (not "JSON-MIN").
        album: The photographs it may name.

    Returns:
        What was drawn, in the order of tasks and their annotations; several for one photograph where several people
        annotated it. See the module for annotations without drawn results.

    Raises:
        CorrectionError: Something in the file is wrong; names its line.
    """
    result = []
    tasks, annotations = set[int | str](), set[int | str]()
    for task in elements(read_lines(path), "the file", Place(path, 1)):
        _check_new(task, tasks, "task")
        photograph = _photograph(task, album)
        for annotation in task.elements("annotations", absent=True):
            _check_new(annotation, annotations, "annotation")
            if annotation.get("was_cancelled") is not True:
                result += _annotation(annotation, photograph)
    return result


def write_label_studio(items: Iterable[Drawn | Correction], album: Album, path: Path) -> None:
    """Write Label Studio's JSON, whole or not at all.

    Args:
        items: Any number for each photograph.
        album: The photographs.
        path: The JSON file; absent.

    Raises:
        CorrectionError: A photograph is unknown, or `path` is taken.
    """
    check_free(path)
    tasks: dict[str, dict[str, Any]] = {}
    count = 0
    for count, drawn in enumerate(map(as_drawn, items), start=1):
        photograph = album.photograph(drawn.sample)
        new = {"id": len(tasks) + 1, "data": {"image": album.name(photograph)}, "annotations": []}
        task = tasks.setdefault(drawn.sample, new)
        task["annotations"].append(_written(drawn, photograph, count))
    write_text(path, write_lines(list(tasks.values())))


def _check_new(element: Element, seen: set[int | str], what: str) -> None:
    """Refuse an id that came before; one need not be there."""
    if "id" in element:
        key = element.key("id")
        if key in seen:
            raise element.place.refuse(f"the {what} id {shown(key)} again", "each id once")
        seen.add(key)


def _written(drawn: Drawn, photograph: Photograph, key: int) -> dict[str, Any]:
    frame = {"to_name": "image", "original_width": photograph.width, "original_height": photograph.height}
    results: list[dict[str, Any]] = [
        {"id": f"{key}-{number}", "image_rotation": 0, **frame, **_result(shape, photograph)}
        for number, shape in enumerate(simple_shapes(drawn, photograph), start=1)
    ]
    choice = {"choices": [drawn.mode]}
    results.append({"id": f"{key}-mode", "type": "choices", "from_name": "mode", "to_name": "image", "value": choice})
    if drawn.remark:
        text = {"text": [drawn.remark]}
        results.append(
            {"id": f"{key}-remark", "type": "textarea", "from_name": "remark", "to_name": "image", "value": text}
        )
    annotation: dict[str, Any] = {"id": key, "was_cancelled": False}
    if drawn.author:
        annotation["completed_by"] = {"email": drawn.author}
    if drawn.time:
        annotation["created_at"] = drawn.time
    return annotation | {"result": results}


def _result(shape: Shape, photograph: Photograph) -> dict[str, Any]:
    labels = [LABELS[shape.look]]
    if shape.kind == "mask":
        value: dict[str, Any] = {"format": "rle", "rle": encode_brush(shape.runs), "brushlabels": labels}
        return {"type": "brushlabels", "from_name": "brush", "value": value}
    points = [[100 * x / photograph.width, 100 * y / photograph.height] for x, y in shape.points]
    if shape.kind == "polygon":
        value = {"points": points, "closed": True, "polygonlabels": labels}
        return {"type": "polygonlabels", "from_name": "polygon", "value": value}
    (x0, y0), (x1, y1) = points
    value = {"x": min(x0, x1), "y": min(y0, y1), "width": abs(x1 - x0), "height": abs(y1 - y0), "rotation": 0}
    return {"type": "rectanglelabels", "from_name": "box", "value": value | {"rectanglelabels": labels}}


def _photograph(task: Element, album: Album) -> Photograph:
    data = task.element("data")
    texts = [data.get("image"), *data.values(), task.get("file_upload")]
    names = [name for text in texts if isinstance(text, str) for name in _names(text)]
    for name in names:
        found = album.match(name, data.place)
        if found is not None:
            return found
    return album.find(names[0] if names else "", data.place)


def _names(text: str) -> list[str]:
    """What an address, a path or a name may call the photograph; likeliest first."""
    names = [text]
    try:
        address = urlsplit(text)
        # Label Studio serves local files as /data/local-files/?d=folder/name.
        names += [*parse_qs(address.query).get("d", []), unquote(address.path)]
    except ValueError:  # no address
        pass
    for name in tuple(names):
        folder, slash, base = name.rpartition("/")
        uploaded = _UPLOADED.fullmatch(base)
        if uploaded:
            names.append(folder + slash + uploaded[1])
    return names


def _annotation(annotation: Element, photograph: Photograph) -> list[Drawn]:
    results = annotation.elements("result")
    shapes: list[Shape] = []
    for _, group in groupby(results, key=_region):
        shapes += _region_shapes(list(group), photograph)
    mode = _said(results, "choices", "mode", "choices")
    if not shapes and not mode:
        return []
    return [
        Drawn(
            photograph.sample,
            tuple(shapes),
            author=_author(annotation),
            remark=_said(results, "textarea", "remark", "text"),
            mode=read_mode(mode, annotation.place),
            time=read_time(annotation.text("created_at", ""), annotation.place),
        )
    ]


def _region(result: Element) -> object:
    """Results of one region follow each other and share its id."""
    return result.get("id") if isinstance(result.get("id"), str) else id(result)


def _region_shapes(results: list[Element], photograph: Photograph) -> tuple[Shape, ...]:
    shapes: tuple[Shape, ...] = ()
    is_labelled = any(result.get("type") == "labels" for result in results)
    for result in results:
        kind = result.text("type")
        if kind in _UNDRAWN or (is_labelled and kind != "labels"):
            continue
        if kind not in _DRAWN:
            raise result.place.refuse(f"a result of type {shown(kind)}", "brush, polygon or rectangle labels")
        shapes += _shapes(result, _DRAWN[kind], photograph)
    return shapes


def _shapes(result: Element, kind: str, photograph: Photograph) -> tuple[Shape, ...]:
    place, value = result.place, result.element("value")
    check_size(result.get("original_width"), result.get("original_height"), photograph, place)
    if result.get("image_rotation", 0) != 0:
        raise place.refuse(f"a picture turned by {shown(result['image_rotation'])} degrees", "the picture as it is")
    look = _look(result, value)
    kind = kind or ("brush" if "rle" in value else "polygon" if "points" in value else "rectangle")
    draw = {"brush": _brush, "polygon": _polygon, "rectangle": _rectangle}[kind]
    shapes = draw(value, bool(look), photograph)
    return shapes if look is not None else ()


def _look(result: Element, value: Element) -> bool | None:
    labels = value.get(result["type"])
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise value.place.refuse(f"the labels {shown(labels)}", "a list with a label")
    looks = {meaning(label) for label in labels} - {None}
    if len(looks) > 1:
        raise value.place.refuse(f"the labels {shown(labels)}", "look here or not here, not both")
    return looks.pop() if looks else None


def _brush(value: Element, look: bool, photograph: Photograph) -> tuple[Shape, ...]:
    rle = value.get("rle")
    if value.get("format") != "rle" or not isinstance(rle, list):
        raise value.place.refuse(f"a brush of format {shown(value.get('format'))}", "format 'rle' with a list 'rle'")
    try:
        runs = decode_brush(rle, photograph.height, photograph.width)
    except ValueError as error:
        raise value.place.refuse(f"a brush RLE with {error}", "an RGBA picture of the photograph's size") from error
    return mask_shapes(runs, look, value.place)


def _polygon(value: Element, look: bool, photograph: Photograph) -> tuple[Shape, ...]:
    pairs = value.get("points")
    if not isinstance(pairs, list) or len(pairs) < 3:
        raise value.place.refuse(f"the points {shown(pairs)}", "a list of three or more")
    return _corners([finite(pair, "a point", value.place, 2) for pair in pairs], look, photograph, value.place)


def _rectangle(value: Element, look: bool, photograph: Photograph) -> tuple[Shape, ...]:
    x, y, width, height = (value.number(key) for key in ("x", "y", "width", "height"))
    angle = value.number("rotation") if "rotation" in value else 0.0
    if angle % 360:
        # Around the top left corner, clockwise, in pixels: percent are not square.
        wide, high = width * photograph.width, height * photograph.height
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        sides = ((0.0, 0.0), (wide, 0.0), (wide, high), (0.0, high))
        offsets = [(a * cosine - b * sine, a * sine + b * cosine) for a, b in sides]
        pairs = [[x + dx / photograph.width, y + dy / photograph.height] for dx, dy in offsets]
        return _corners(pairs, look, photograph, value.place)
    (x0, y0), (x1, y1) = (_pixels(pair, photograph) for pair in ((x, y), (x + width, y + height)))
    check_box(x0, y0, x1, y1, photograph, value.place)
    return (Shape("box", look, ((x0, y0), (x1, y1))),)


def _corners(pairs: list[list[float]], look: bool, photograph: Photograph, place: Place) -> tuple[Shape, ...]:
    points = tuple(_pixels(pair, photograph) for pair in pairs)
    check_points(points, photograph, place)
    return (Shape("polygon", look, points),)


def _pixels(pair: Iterable[float], photograph: Photograph) -> tuple[float, float]:
    # Rounded so that a border in the middle of a pixel comes back there.
    x, y = pair
    return round(x * photograph.width / 100, _DIGITS), round(y * photograph.height / 100, _DIGITS)


def _said(results: list[Element], kind: str, name: str, key: str) -> str:
    """What a control of the whole picture says; empty where it is not there. Several texts: a line each."""
    for result in results:
        if result.get("type") == kind and result.get("from_name") == name:
            said = result.element("value").get(key)
            said = [said] if isinstance(said, str) else said
            if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
                raise result.place.refuse(f"{key!r} is {shown(said)}", "a list of texts")
            return "\n".join(said)
    return ""


def _author(annotation: Element) -> str:
    """Who annotated: the e-mail address, or the number that Label Studio gave them."""
    author = annotation.get("completed_by")
    if isinstance(author, Element):
        email = author.text("email", "")
        return email or (f"user {author.key('id')}" if "id" in author else "")
    if author is None or isinstance(author, str):
        return author or ""
    return f"user {annotation.key('completed_by')}"
