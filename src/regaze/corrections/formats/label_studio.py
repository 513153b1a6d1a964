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

import re
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Meta, Struct

from regaze.corrections.formats.brush_rle import decode_brush, encode_brush
from regaze.corrections.formats.drawn import (
    LABELS,
    Drawn,
    Notes,
    as_drawn,
    box_shape,
    check_size,
    mask_shape,
    meaning,
    polygon_shape,
    rotated,
    simple_shapes,
)
from regaze.corrections.formats.folders import check_free
from regaze.corrections.formats.json_paths import Finite, Key, converted, read_json, write_lines
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.source import Source, shown
from regaze.files import write_text
from regaze.records import Correction, Shape

# Results that say something of the whole picture and draw nothing.
_UNDRAWN = frozenset({"choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "relation"})
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
_DIGITS = 6


class _User(Struct):
    id: Key | None = None
    email: str | None = None


class _Annotation(Struct):
    id: Key | None = None
    was_cancelled: bool | None = None
    completed_by: _User | int | str | None = None
    created_at: str | None = None
    result: Any = None  # read where it was not cancelled


class _Task(Struct):
    data: dict[str, Any]
    id: Key | None = None
    file_upload: str | None = None
    annotations: list[_Annotation] | None = None


class _Result(Struct):
    type: str
    id: Any = None
    from_name: Any = None
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: Finite | None = None
    value: Any = None  # of another kind for each type


class _Brush(Struct):
    format: str
    rle: list[Annotated[int, Meta(ge=0, le=255)]]


class _Polygon(Struct):
    points: Annotated[list[tuple[Finite, Finite]], Meta(min_length=3)]


class _Rectangle(Struct):
    x: Finite
    y: Finite
    width: Finite
    height: Finite
    rotation: Finite = 0.0


_Labels = Annotated[list[str], Meta(min_length=1)]


def read_label_studio(path: Path, album: Album) -> list[Drawn]:
    """Read Label Studio's JSON.

    Args:
        path: The JSON file (not "JSON-MIN").
        album: The photographs it may name.

    Returns:
        What was drawn, in the order of tasks and their annotations; several for one photograph where several people
        annotated it. See the module for annotations without drawn results.

    Raises:
        CorrectionError: Something in the file is wrong; names its path.
    """
    tasks: list[_Task] = read_json(path, list[_Task])
    result, seen = [], set[tuple[str, Key]]()
    for index, task in enumerate(tasks):
        source = Source(path, f"$[{index}]")
        _check_new("task", task.id, seen, source)
        photograph = _photograph(task, album, source)
        for number, annotation in enumerate(task.annotations or []):
            inner = source.inner(f".annotations[{number}]")
            _check_new("annotation", annotation.id, seen, inner)
            if not annotation.was_cancelled:
                result += _annotation(annotation, photograph, inner)
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
    for count, drawn in enumerate(map(as_drawn, items), start=1):
        photograph = album.photograph(drawn.sample)
        new = {"id": len(tasks) + 1, "data": {"image": album.name(photograph)}, "annotations": []}
        task = tasks.setdefault(drawn.sample, new)
        task["annotations"].append(_written(drawn, photograph, count))
    write_text(path, write_lines(list(tasks.values())))


def _check_new(what: str, key: Key | None, seen: set[tuple[str, Key]], source: Source) -> None:
    """Refuse an id that came before; one need not be there."""
    if key is not None:
        if (what, key) in seen:
            raise source.refuse(f"the {what} id {shown(key)} again", "each id once")
        seen.add((what, key))


def _written(drawn: Drawn, photograph: Photograph, key: int) -> dict[str, Any]:
    frame = {"to_name": "image", "original_width": photograph.width, "original_height": photograph.height}
    results: list[dict[str, Any]] = [
        {"id": f"{key}-{number}", "image_rotation": 0, **frame, **_result(shape, photograph)}
        for number, shape in enumerate(simple_shapes(drawn, photograph), start=1)
    ]
    controls: list[tuple[str, str, dict[str, Any]]] = [("mode", "choices", {"choices": [drawn.mode]})]
    if drawn.remark:
        controls.append(("remark", "textarea", {"text": [drawn.remark]}))
    for name, kind, value in controls:
        results.append({"id": f"{key}-{name}", "type": kind, "from_name": name, "to_name": "image", "value": value})
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


def _photograph(task: _Task, album: Album, source: Source) -> Photograph:
    texts = [task.data.get("image"), *task.data.values(), task.file_upload]
    names = [name for text in texts if isinstance(text, str) for name in _names(text)]
    for name in names:
        photograph = album.match(name, source.inner(".data"))
        if photograph is not None:
            return photograph
    return album.find(names[0] if names else "", source.inner(".data"))


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


def _annotation(annotation: _Annotation, photograph: Photograph, source: Source) -> list[Drawn]:
    results: list[_Result] = converted(annotation.result, list[_Result], source.inner(".result"))
    located = [(source.inner(f".result[{index}]"), result) for index, result in enumerate(results)]
    shapes: list[Shape] = []
    # Results of one region follow each other and share its id.
    for _, group in groupby(located, key=lambda item: item[1].id if isinstance(item[1].id, str) else str(item[0])):
        shapes += _region_shapes(list(group), photograph)
    mode, remark = _control(located, "choices", "mode", "choices"), _control(located, "textarea", "remark", "text")
    if not shapes and not mode:
        return []
    author = _author(annotation.completed_by)
    notes = Notes(mode=mode, author=author, time=annotation.created_at, remark=remark)
    return [notes.drawn(photograph.sample, shapes, source)]


def _region_shapes(located: list[tuple[Source, _Result]], photograph: Photograph) -> tuple[Shape, ...]:
    shapes: tuple[Shape, ...] = ()
    is_labelled = any(result.type == "labels" for _, result in located)
    for source, result in located:
        if result.type in _UNDRAWN or (is_labelled and result.type != "labels"):
            continue
        if result.type != "labels" and result.type.removesuffix("labels") not in _READERS:
            raise source.refuse(f"a result of type {shown(result.type)}", "brush, polygon or rectangle labels")
        shapes += _shapes(result, photograph, source)
    return shapes


def _shapes(result: _Result, photograph: Photograph, source: Source) -> tuple[Shape, ...]:
    check_size(result.original_width, result.original_height, photograph, source)
    if result.image_rotation:
        raise source.refuse(f"a picture turned by {shown(result.image_rotation)} degrees", "the picture as it is")
    inside = source.inner(".value")
    value: dict[str, Any] = converted(result.value, dict[str, Any], inside)
    # `labels` goes with any of the three.
    kind = result.type.removesuffix("labels")
    kind = kind or ("brush" if "rle" in value else "polygon" if "points" in value else "rectangle")
    look = _look(converted(value.get(result.type), _Labels, inside.inner(f".{result.type}")), source)
    struct, draw = _READERS[kind]
    return draw(converted(value, struct, inside), look, photograph, inside)


def _look(labels: list[str], source: Source) -> bool | None:
    looks = {meaning(label) for label in labels} - {None}
    if len(looks) > 1:
        raise source.refuse(f"the labels {shown(labels)}", "look here or not here, not both")
    return looks.pop() if looks else None


def _brush(value: _Brush, look: bool | None, photograph: Photograph, source: Source) -> tuple[Shape, ...]:
    if value.format != "rle":
        raise source.refuse(f"a brush of format {shown(value.format)}", "format 'rle'")
    try:
        runs = decode_brush(value.rle, photograph.height, photograph.width)
    except ValueError as error:
        raise source.refuse(f"a brush RLE with {error}", "an RGBA picture of the photograph's size") from error
    return mask_shape(runs, look, source)


def _polygon(value: _Polygon, look: bool | None, photograph: Photograph, source: Source) -> tuple[Shape, ...]:
    return polygon_shape((_pixels(point, photograph) for point in value.points), look, photograph, source)


def _rectangle(value: _Rectangle, look: bool | None, photograph: Photograph, source: Source) -> tuple[Shape, ...]:
    x, y, width, height = value.x, value.y, value.width, value.height
    if value.rotation % 360:
        # Around the top left corner, clockwise, in pixels: percent are not square.
        wide, high = width * photograph.width, height * photograph.height
        offsets = rotated(((0.0, 0.0), (wide, 0.0), (wide, high), (0.0, high)), value.rotation)
        corners = [(x + dx / photograph.width, y + dy / photograph.height) for dx, dy in offsets]
        return polygon_shape((_pixels(corner, photograph) for corner in corners), look, photograph, source)
    edges = (*_pixels((x, y), photograph), *_pixels((x + width, y + height), photograph))
    return box_shape(edges, look, photograph, source)


def _pixels(percent: tuple[float, float], photograph: Photograph) -> tuple[float, float]:
    # Rounded so that a border in the middle of a pixel comes back there.
    x, y = percent
    return round(x * photograph.width / 100, _DIGITS), round(y * photograph.height / 100, _DIGITS)


def _control(located: list[tuple[Source, _Result]], kind: str, name: str, key: str) -> str:
    """What a control of the whole picture says; empty where it is not there. Several texts: a line each."""
    for source, result in located:
        if result.type == kind and result.from_name == name:
            value: dict[str, Any] = converted(result.value, dict[str, Any], source.inner(".value"))
            text: str | list[str] = converted(value.get(key), str | list[str], source.inner(f".value.{key}"))
            return text if isinstance(text, str) else "\n".join(text)
    return ""


def _author(completed_by: _User | Key | None) -> str:
    """Who annotated: the e-mail address, or the number that Label Studio gave them."""
    if isinstance(completed_by, _User):
        return completed_by.email or ("" if completed_by.id is None else f"user {completed_by.id}")
    return f"user {completed_by}" if isinstance(completed_by, int) else completed_by or ""


_READERS: dict[str, tuple[type[Struct], Callable[[Any, bool | None, Photograph, Source], tuple[Shape, ...]]]] = {
    "brush": (_Brush, _brush),
    "polygon": (_Polygon, _polygon),
    "rectangle": (_Rectangle, _rectangle),
}
