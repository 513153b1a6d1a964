"""CVAT: "CVAT for images 1.1", one XML file (https://docs.cvat.ai/docs/other/xml_format).

Written are an `image` for each photograph; in it a `tag` `reviewed` with the attributes `mode`, `author`, `time` and
`remark`, and a `box`, `polygon` or `mask` for each shape, labelled `look` or `avoid`, each above the one before
(`z_order`). The labels and their attributes are declared in `meta`. Lost: that a mask was drawn by strokes; what was
drawn before something was erased but for its pixels (see `drawn.simple_shapes`); control characters in a text.

A `mask` holds run lengths row by row of the rectangle `left`, `top`, `width`, `height`, the first outside. Rotated
boxes and ellipses are read as polygons. Other shapes (polyline, points, cuboid, skeleton) mark no area: they are left
out and counted; tags of other names are passed over. Shapes are read from the lowest `z_order` to the highest.

A project's export may hold a picture in several tasks (`task_id`): several people's word on it, told apart by who the
task is assigned to, else by the task's number. CVAT calls the second of one name `eye_1.jpg`.

An image without shapes is *not corrected*, for CVAT lists all images of a task; it means "nothing here deserves
attention" only where it has the tag `reviewed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

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
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.runs import crop_of_runs, runs_of_crop
from regaze.corrections.formats.sheet import Sheet, rotated_box, sheet_of, slight
from regaze.corrections.formats.source import Source, number, shown
from regaze.corrections.formats.xml_lines import Node, attribute_of, read_xml, text_of
from regaze.corrections.shapes import mask_to_runs
from regaze.files import write_text
from regaze.records import Correction, Mark, Shape

_REVIEWED = "reviewed"


def read_cvat(path: Path, album: Album, intake: Intake) -> list[Drawn]:
    """Read "CVAT for images 1.1".

    Args:
        path: The XML file.
        album: The photographs it may name.
        intake: How it is taken.

    Returns:
        What was drawn, in the file's order; see the module for images without shapes.

    Raises:
        CorrectionError: Something in the file is wrong; names its line.
    """
    root = read_xml(path)
    _check_root(root)
    images = root.named("image")
    tasks = {image.attributes["task_id"] for image in images if "task_id" in image.attributes}
    names = _task_authors(root) if len(tasks) > 1 else {}
    result: list[Drawn] = []
    seen, ids = set[tuple[str, str]](), set[int]()
    for image in images:
        task, key = image.attributes.get("task_id", ""), image.whole("id")
        if key in ids:
            raise image.source.refuse(f"the id {key} again", "each id once")
        ids.add(key)
        photograph = _photograph(image, album, intake, seen, tasks - {task})
        if photograph is None:
            continue
        if (photograph.sample, task) in seen:
            raise image.source.refuse(f"{photograph.sample} again", "each image once in its task")
        seen.add((photograph.sample, task))
        before = intake.shapes_left_out
        sheet = sheet_of(photograph, (image.whole("width"), image.whole("height")), intake, image.source)
        shapes = _shapes(image, sheet)
        author = names.get(task, f"task {task}") if len(tasks) > 1 and task else ""
        reviewed = [tag for tag in image.named("tag") if tag.attribute("label") == _REVIEWED]
        # Where all that was drawn is left out, nobody said that there is nothing to see.
        if reviewed and (shapes or intake.shapes_left_out == before):
            drawn = _notes(reviewed[-1]).drawn(photograph.sample, shapes, reviewed[-1].source)
            result.append(replace(drawn, author=drawn.author or author))
        elif shapes:
            result.append(Drawn(photograph.sample, shapes, author))
    return result


def write_cvat(items: Iterable[Drawn | Correction], album: Album, path: Path) -> None:
    """Write "CVAT for images 1.1", whole or not at all.

    Args:
        items: At most one for each photograph.
        album: The photographs.
        path: The XML file; absent.

    Raises:
        CorrectionError: A photograph is unknown or comes twice, or `path` is taken.
    """
    check_free(path)
    images = [_image(key, *sheet, album) for key, sheet in enumerate(sheets(items, album))]
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", *_meta(len(images))]
    write_text(path, "\n".join([*lines, *chain.from_iterable(images), "</annotations>", ""]))


def _meta(count: int) -> list[str]:
    labels = [f"      <label><name>{label}</name><attributes></attributes></label>" for label in LABELS]
    notes = "".join(
        f"<attribute><name>{name}</name><mutable>False</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for name in Notes.__struct_fields__
    )
    labels.append(f"      <label><name>{_REVIEWED}</name><type>tag</type><attributes>{notes}</attributes></label>")
    head = ["  <meta><task>", f"    <size>{count}</size><mode>annotation</mode>", "    <labels>"]
    return [*head, *labels, "    </labels>", "  </task></meta>"]


def _image(key: int, photograph: Photograph, drawn: Drawn, album: Album) -> list[str]:
    name, upright = attribute_of(album.name(photograph)), photograph.upright
    lines = [f'  <image id="{key}" name={name} width="{upright.width}" height="{upright.height}">']
    lines.append(f'    <tag label="{_REVIEWED}" source="manual">')
    lines += [f'      <attribute name="{note}">{text_of(text)}</attribute>' for note, text in drawn.notes.items()]
    lines.append("    </tag>")
    for z_order, shape in enumerate(simple_shapes(drawn, photograph)):
        values = {"label": shape.mark, "source": "manual", "occluded": 0, **_geometry(shape, upright)}
        attributes = " ".join(f"{name}={attribute_of(value)}" for name, value in values.items())
        lines.append(f'    <{shape.kind} {attributes} z_order="{z_order}"></{shape.kind}>')
    return [*lines, "  </image>"]


def _geometry(shape: Shape, photograph: Photograph) -> dict[str, object]:
    if shape.kind == "polygon":
        return {"points": ";".join(f"{x!r},{y!r}" for x, y in shape.points)}
    if shape.kind == "box":
        (x0, y0), (x1, y1) = shape.points
        return {"xtl": min(x0, x1), "ytl": min(y0, y1), "xbr": max(x0, x1), "ybr": max(y0, y1)}
    crop, top, left = crop_of_runs(shape.runs, photograph.width)
    runs = ", ".join(map(str, mask_to_runs(crop)))
    return {"rle": runs, "left": left, "top": top, "width": crop.shape[1], "height": crop.shape[0]}


def _check_root(root: Node) -> None:
    if root.tag != "annotations":
        raise root.source.refuse(f"<{root.tag}>", "<annotations> of CVAT for images 1.1")
    for version in root.named("version"):
        if version.text.strip() != "1.1":
            raise version.source.refuse(f"version {shown(version.text.strip())}", "1.1")
    for track in root.named("track"):
        raise track.source.refuse("a <track>", "an export as CVAT for images, not for video")
    if not root.named("image"):
        raise root.source.refuse("no <image>", "one for each photograph")


def _notes(tag: Node) -> Notes:
    texts = {child.attribute("name"): child.text for child in tag.named("attribute")}
    mode, time = (texts.get(name, "").strip() for name in ("mode", "time"))
    return Notes(mode=mode, author=texts.get("author"), time=time, remark=texts.get("remark"))


def _task_authors(root: Node) -> dict[str, str]:
    """The user that each task is assigned to, by the task's id, as far as `meta` says."""
    found, nodes = dict[str, str](), [meta for meta in root.named("meta")]
    while nodes:
        node = nodes.pop()
        nodes += node.children
        texts = {child.tag: child.text.strip() for child in node.children}
        users = [user.text.strip() for one in node.named("assignee") for user in one.named("username")]
        if node.tag == "task" and "id" in texts and any(users):
            found[texts["id"]] = users[0]
    return found


def _photograph(
    image: Node, album: Album, intake: Intake, seen: set[tuple[str, str]], others: set[str]
) -> Photograph | None:
    """The photograph of an image, None where it is to be passed over; `seen` are samples with their tasks so far."""
    name = image.attribute("name")
    second = re.fullmatch(r"(.+)_[0-9]+(\.\w+)?", name)
    if second and "task_id" in image.attributes and album.match(name, image.source) is None:
        first = album.match(second[1] + (second[2] or ""), image.source)
        if first is not None and any((first.sample, other) in seen for other in others):
            return first
    return intake.find(album, name, image.source)


def _shapes(image: Node, sheet: Sheet) -> tuple[Shape, ...]:
    layers: list[tuple[int, tuple[Shape, ...]]] = []
    for node in image.children:
        if node.tag == "tag":
            continue
        label = node.attribute("label") if node.tag in _READERS else node.attributes.get("label", "")
        mark = meaning(label)
        if mark is None:
            sheet.intake.landmark(label)
        elif node.tag not in _READERS:
            sheet.intake.leave_out(f"<{shown(node.tag)[1:-1]}>", node.source)
        else:
            layers.append((_z_order(node), _READERS[node.tag](node, mark, sheet)))
    layers.sort(key=lambda layer: layer[0])
    return tuple(shape for _, shapes in layers for shape in shapes)


def _z_order(node: Node) -> int:
    text = node.attributes.get("z_order", "0")
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise node.source.refuse(f"z_order={shown(text)}", "a whole number")
    return int(text)


def _box(node: Node, mark: Mark, sheet: Sheet) -> tuple[Shape, ...]:
    x0, y0, x1, y1 = (node.number(name) for name in ("xtl", "ytl", "xbr", "ybr"))
    angle = _angle(node)
    if angle % 360 == 0:
        return sheet.box((x0, x1), (y0, y1), mark, node.source)
    return sheet.turned(rotated_box((x0, x1), (y0, y1), angle), mark, node.source)


def _ellipse(node: Node, mark: Mark, sheet: Sheet) -> tuple[Shape, ...]:
    x, y, across, down = (node.number(name) for name in ("cx", "cy", "rx", "ry"))
    return sheet.ellipse((x, y), (across, down), _angle(node), mark, node.source)


def _angle(node: Node) -> float:
    return node.number("rotation") if "rotation" in node.attributes else 0.0


def _polygon(node: Node, mark: Mark, sheet: Sheet) -> tuple[Shape, ...]:
    return sheet.polygon(_points(node.attribute("points"), node.source), mark, node.source)


def _points(text: str, source: Source) -> Iterator[tuple[float, float]]:
    for pair in filter(str.strip, text.split(";")):
        x, comma, y = pair.partition(",")
        if not comma:
            raise source.refuse(f"the point {shown(pair)}", "x,y")
        yield number(x, "x", source), number(y, "y", source)


def _mask(node: Node, mark: Mark, sheet: Sheet) -> tuple[Shape, ...]:
    left, top, width, height = (node.whole(name) for name in ("left", "top", "width", "height"))
    if left + width > sheet.width + slight(sheet.width) or top + height > sheet.height + slight(sheet.height):
        raise node.source.refuse(
            f"a mask up to column {left + width} and row {top + height}",
            f"at most {sheet.width} and {sheet.height}, the photograph's size",
        )
    text = node.attribute("rle")
    if not re.fullmatch(r"\s*[0-9]{1,9}(\s*,\s*[0-9]{1,9})*\s*", text):
        raise node.source.refuse(f"rle={shown(text)}", "whole numbers with commas between them")
    runs = np.array(text.split(","), dtype=np.int64)
    if int(runs.sum()) != width * height:
        expected = f"{width} x {height} = {width * height}, those of its rectangle"
        raise node.source.refuse(f"an rle of {int(runs.sum())} pixels", expected)
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    crop = crop[: max(sheet.height - top, 0), : max(sheet.width - left, 0)]
    return sheet.mask(runs_of_crop(crop, top, left, sheet.height, sheet.width), mark, node.source)


_READERS = {"box": _box, "polygon": _polygon, "mask": _mask, "ellipse": _ellipse}
