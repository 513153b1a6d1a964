"""JSON of other tools, decoded into typed structs, and JSON written with one object in a line.

Every mistake is refused with the path of the value, such as `$.annotations[150].image_id`: many tools write one line.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec

from regaze.corrections.formats.source import Source, decode_text, read_bytes, shown

Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""A number that is no infinity, also where it was written as a whole number."""

Key = int | str
"""An id."""


def read_json(path: Path, kind: Any, own: str = "") -> Any:
    """Read a JSON file into a value of a kind.

    Args:
        path: The file.
        kind: A `msgspec.Struct`, or a list of them; keys that it does not name are passed over.
        own: The format that is read; a file of another tool's is refused by its name.

    Raises:
        CorrectionError: It is no JSON, holds NaN, is nested too deeply, an object has a key twice, or something in it
            is of another kind.
    """
    try:
        value = json.loads(decode_text(read_bytes(path), path), object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        problem = shown(error.doc[error.pos : error.pos + 20]) if error.pos < len(error.doc) else "the file ends"
        source = Source(path, f"line {error.lineno}, column {error.colno}")
        raise source.refuse(f"{problem} ({error.msg})", "JSON") from error
    except RecursionError:
        raise Source(path).refuse("lists and objects too deep in each other", "at most some hundred") from None
    except ValueError as error:
        raise Source(path).refuse(str(error), "finite numbers, and each key once in its object") from None
    found, cure = _recognised(value) if own else ("", "")
    if cure and own not in cure:
        raise Source(path).refuse(found, cure)
    return converted(value, kind, Source(path, "$"))


def _recognised(value: Any) -> tuple[str, str]:
    """What tool a document is of, and how it can be read; empty for unknown ones."""
    convert = "an export as COCO"
    head = value[0] if isinstance(value, list) and value else value
    if not isinstance(head, dict):
        return "", ""
    keys = head.keys()
    if "data" in keys and keys & {"annotations", "completions", "predictions"}:
        return "Label Studio's JSON", "--format label-studio"
    if isinstance(value, list):
        return "", ""
    if {"images", "annotations"} <= keys:
        return "COCO", "--format coco"
    if {"shapes", "imagePath"} <= keys:
        return "a file of LabelMe", convert
    regions = keys & {"_via_img_metadata"} or any(
        isinstance(item, dict) and "regions" in item for item in head.values()
    )
    if regions:
        return "a file of VIA (VGG)", convert
    if head.get("type") == "FeatureCollection":
        return "GeoJSON", convert
    if {"objects", "size"} <= keys:
        return "a file of Supervisely", convert
    return "", ""


def converted(value: Any, kind: Any, source: Source) -> Any:
    """Turn decoded JSON into a value of a kind.

    Args:
        value: Dicts, lists, texts and numbers.
        kind: See `read_json`.
        source: Where it was read.

    Raises:
        CorrectionError: It is of another kind; names the path.
    """
    try:
        return msgspec.convert(value, kind)
    except UnicodeEncodeError:
        raise source.refuse("a text with half a character (a lone surrogate)", "whole characters") from None
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        path = path.removesuffix("`")
        missing = re.search("missing required field (`.*`)", text)
        if missing:
            raise source.inner(path).refuse(f"no {missing[1]}", "one") from None
        for key, index in re.findall(r"\.(\w+)|\[([0-9]+)\]", path):
            value = value[key or int(index)]
        expected = re.sub("^Expected |, got .*$", "", text).replace("Number out of range", "a finite number")
        raise source.inner(path).refuse(shown(value), expected) from None


def write_lines(value: Any) -> str:
    """The JSON text of dicts, lists, texts and finite numbers; an object without objects in it is one line."""
    return _written(value, "\n") + "\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} twice")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name}")


def _written(value: Any, newline: str) -> str:
    inner = newline + " "
    if isinstance(value, dict) and any(map(_holds_objects, value.values())):
        lines = [f"{json.dumps(key, ensure_ascii=False)}: {_written(item, inner)}" for key, item in value.items()]
        return "{" + inner + f",{inner}".join(lines) + newline + "}"
    if isinstance(value, list) and value and _holds_objects(value):
        return "[" + inner + f",{inner}".join(_written(item, inner) for item in value) + newline + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _holds_objects(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
