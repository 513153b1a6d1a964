"""Label Studio: its JSON export, a list of tasks with annotations (https://labelstud.io/guide/task_format).

Written are a task for each photograph with an annotation for each correction, in which `completed_by` and `created_at`
hold author and time, and one result for each shape: `brushlabels` (see `brush_rle`; not COCO's RLE), `polygonlabels`
or `rectanglelabels`, in percent of the photograph; besides a `choices` named `mode` and a `textarea` named `remark`.
Label Studio keeps these when the project's labelling interface has controls of these names:

    <BrushLabels name="brush" toName="image">, <PolygonLabels name="polygon" toName="image"> and
    <RectangleLabels name="box" toName="image">, each with the labels `look` and `avoid`;
    <Choices name="mode" toName="image"> with `replace` and `edit`; <TextArea name="remark" toName="image"> and
    <TextArea name="author" toName="image">

Lost: that a mask was drawn by strokes, and what was drawn before something was erased but for its pixels (see
`drawn.simple_shapes`). Coordinates are read to a millionth of a pixel. `completed_by` is written for
e-mail addresses alone, since Label Studio refuses what is no member's; the author stands in a `textarea` named
`author` too, which counts when it is read.

Read are also rotated rectangles and ellipses (as polygons), bit masks, and `<Labels>` with `<Brush>`, `<Polygon>`,
`<Rectangle>` or `<Ellipse>`; keypoints and other drawn results are left out and counted. Predictions, drafts that were
never submitted and skipped annotations (`was_cancelled`) are passed over and counted. Exports before version 1.0 call
annotations `completions`. `image_rotation` says how the editor's view was turned; marks are written on the picture as
it is (`serialize` of the editor's regions). The photograph is named by `data.image`, or by the task's other texts where
that fits none (`regaze.tool_names`).

A task may show several photographs, each by an `<Image>` of its own or all by one with a list. The export does not say
which `<Image>` shows which key of `data`: results are told apart where their `to_name` is that key, or by
`item_index`, and a task is refused where neither tells.

An annotation without drawn results is *not corrected*, and counted; it means "nothing here deserves attention" only
where it has a `mode`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from regaze.corrections.formats.brush_rle import encode_brush
from regaze.corrections.formats.drawn import Drawn, Notes, as_drawn, simple_shapes
from regaze.corrections.formats.folders import check_free
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.json_paths import Key, converted, read_json, write_lines
from regaze.corrections.formats.label_studio_results import UNDRAWN, Result, shapes_of
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.source import Source, shown
from regaze.errors import CorrectionError
from regaze.files import write_text
from regaze.records import Correction, Shape


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
    data: dict[str, Any] | None = None
    id: Key | None = None
    file_upload: str | None = None
    annotations: list[_Annotation] | None = None
    completions: list[_Annotation] | None = None
    predictions: Any = None
    drafts: Any = None

    @property
    def said(self) -> list[tuple[str, _Annotation]]:
        """The annotations, each with its step from the task."""
        named = (("annotations", self.annotations), ("completions", self.completions))
        return [(f".{key}[{number}]", one) for key, items in named for number, one in enumerate(items or [])]


def read_label_studio(path: Path, album: Album, intake: Intake) -> list[Drawn]:
    """Read Label Studio's JSON.

    Args:
        path: The JSON file (not "JSON-MIN").
        album: The photographs it may name.
        intake: How it is taken.

    Returns:
        What was drawn, in the order of tasks and their annotations; several for one photograph where several people
        annotated it. See the module for annotations without drawn results.

    Raises:
        CorrectionError: Something in the file is wrong; names its path.
    """
    document: list[_Task] | _Task = read_json(path, list[_Task] | _Task, "label-studio")
    tasks = document if isinstance(document, list) else [document]
    result, seen = [], set[tuple[str, Key]]()
    for index, task in enumerate(tasks):
        source = Source(path, f"$[{index}]" if isinstance(document, list) else "$")
        _check_new("task", task.id, seen, source)
        if task.data is None:
            raise source.refuse("no `data`, as in JSON-MIN", "Label Studio's export called JSON")
        for key, items, what in (
            ("predictions", task.predictions, "Predictions, which are no corrections, passed over"),
            ("drafts", task.drafts, "Drafts, which were never submitted, passed over"),
        ):
            for number in range(len(items) if isinstance(items, list) else 0):
                intake.count(what, str(source.inner(f".{key}[{number}]")))
        pictures = _Pictures(task, task.data, album, intake, source.inner(".data"))
        for step, annotation in task.said:
            inner = source.inner(step)
            _check_new("annotation", annotation.id, seen, inner)
            if not annotation.was_cancelled:
                result += _annotation(annotation, pictures, intake, inner)
            elif annotation.result:
                intake.count("Skipped annotations with marks, passed over", str(inner))
    return result


class _Pictures:
    """The photographs that a task shows: under each key of its data the texts, and what these name in the study.

    Attributes:
        drawn_on: Every `to_name` that something was drawn on.
        samples: The photographs of the study among them, by `Sample.id`.
    """

    def __init__(self, task: _Task, data: dict[str, Any], album: Album, intake: Intake, source: Source):
        """Raises CorrectionError where none is known and strangers refuse the file, or a name fits several."""
        self._album, self._intake, self._source = album, intake, source
        self._texts = {
            key: [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
            for key, value in sorted(data.items(), key=lambda item: item[0] != "image")
        }
        self._known = {key: [self._match(text) for text in texts] for key, texts in self._texts.items()}
        if not any(map(any, self._known.values())):
            texts = [*(text for texts in self._texts.values() for text in texts), ""]
            uploaded = self._match(task.file_upload or "")
            self._known = {"image": [uploaded or intake.find(album, texts[0], source)]}
        results = [
            one
            for _, annotation in task.said
            if not annotation.was_cancelled and isinstance(annotation.result, list)
            for one in annotation.result
            if isinstance(one, dict) and str(one.get("type")) not in UNDRAWN
        ]
        self.drawn_on = {str(one["to_name"]) for one in results if one.get("to_name") is not None}
        self.samples = {item.sample: item for items in self._known.values() for item in items if item is not None}

    def of(self, result: Result, source: Source) -> Photograph | None:
        """The photograph that a result lies on, None for one to be passed over.

        Args:
            result: Drawn, or said of a picture that was drawn on.
            source: Where it stands.

        Raises:
            CorrectionError: Nothing tells which photograph it is.
        """
        if not self.samples:
            return None
        key = str(result.to_name)
        items = self._known.get(key, [])
        if not any(items) and (key not in self._known or key == "image") and len(self.drawn_on) < 2:
            # One <Image> of another name, or an address that names no file: what the only photograph goes by.
            keys = [other for other, known in self._known.items() if any(known)]
            strangers = [
                other for other in self._texts if other not in (*keys, key) and any(map(_is_file, self._texts[other]))
            ]
            if 1 in (len(keys), len(self.samples)) and not strangers:
                key = keys[0]
                items = self._known[key]
        index = 0 if len(items) == 1 else result.item_index
        if index is not None and 0 <= index < len(items):
            return items[index] or self._intake.find(self._album, self._texts[key][index], self._source)
        names = " or ".join(map(shown, list(self._texts)[:4]))
        raise source.refuse(
            f"a task of several pictures whose to_name {shown(result.to_name)} does not say which",
            f"the name of an <Image> to be the key that it shows ({names}), or one picture a task",
        )

    def _match(self, text: str) -> Photograph | None:
        """The photograph that a text names; the address of a picture must name one alone."""
        try:
            return self._album.match(text, self._source)
        except CorrectionError:
            if _is_file(text):
                raise
            return None


def _is_file(text: str) -> bool:
    """Whether a text looks like the address of a picture."""
    return bool(re.search(r"\.(jpe?g|png|tiff?|bmp|webp|gif)\b", text, re.IGNORECASE))


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


def _written(drawn: Drawn, stored: Photograph, key: int) -> dict[str, Any]:
    photograph = stored.upright
    frame = {"to_name": "image", "original_width": photograph.width, "original_height": photograph.height}
    results: list[dict[str, Any]] = [
        {"id": f"{key}-{number}", "image_rotation": 0, **frame, **_result(shape, photograph)}
        for number, shape in enumerate(simple_shapes(drawn, stored), start=1)
    ]
    controls: list[tuple[str, str, dict[str, Any]]] = [("mode", "choices", {"choices": [drawn.mode]})]
    controls += [
        (name, "textarea", {"text": [text]})
        for name, text in (("remark", drawn.remark), ("author", drawn.author))
        if text
    ]
    for name, kind, value in controls:
        results.append({"id": f"{key}-{name}", "type": kind, "from_name": name, "to_name": "image", "value": value})
    annotation: dict[str, Any] = {"id": key, "was_cancelled": False}
    if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", drawn.author):
        annotation["completed_by"] = {"email": drawn.author}
    if drawn.time:
        annotation["created_at"] = drawn.time
    return annotation | {"result": results}


def _result(shape: Shape, photograph: Photograph) -> dict[str, Any]:
    labels = [shape.mark]
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


def _annotation(annotation: _Annotation, pictures: _Pictures, intake: Intake, source: Source) -> list[Drawn]:
    results: list[Result] = converted(annotation.result, list[Result] | None, source.inner(".result")) or []
    located = [(source.inner(f".result[{index}]"), result) for index, result in enumerate(results)]
    if pictures.samples and all(result.type in UNDRAWN for _, result in located) and not _mode(located):
        intake.count(
            "Annotations without a mark, taken as not corrected (a choice named mode would say that nothing deserves "
            "attention)",
            str(source),
        )
    by_sample: dict[str, list[tuple[Source, Result]]] = {}
    for inner, result in located:
        if result.type in UNDRAWN and len(pictures.samples) < 2:
            photograph = next(iter(pictures.samples.values()), None)
        elif result.type in UNDRAWN and str(result.to_name) not in pictures.drawn_on:
            continue  # of none of the pictures that were drawn on
        else:
            photograph = pictures.of(result, inner)
        if photograph is not None:
            by_sample.setdefault(photograph.sample, []).append((inner, result))
    return [
        drawn
        for sample, found in by_sample.items()
        for drawn in _drawn(annotation, found, pictures.samples[sample], intake, source)
    ]


def _drawn(
    annotation: _Annotation,
    located: list[tuple[Source, Result]],
    photograph: Photograph,
    intake: Intake,
    source: Source,
) -> list[Drawn]:
    """What an annotation says of one photograph: one or none."""
    before = intake.shapes_left_out
    shapes = shapes_of(located, photograph, intake)
    mode, remark = _mode(located), _control(located, "textarea", "remark", "text")
    # Where all that was drawn is left out, nobody said that there is nothing to see.
    if not shapes and (not mode or intake.shapes_left_out > before):
        return []
    author = _control(located, "textarea", "author", "text") or _author(annotation.completed_by)
    notes = Notes(mode=mode, author=author, time=annotation.created_at, remark=remark)
    return [notes.drawn(photograph.sample, shapes, source)]


def _mode(located: list[tuple[Source, Result]]) -> str:
    return _control(located, "choices", "mode", "choices")


def _control(located: list[tuple[Source, Result]], kind: str, name: str, key: str) -> str:
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
