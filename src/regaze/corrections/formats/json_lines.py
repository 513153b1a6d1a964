"""JSON whose objects know their line, and JSON written so that a line is one thing.

Python's own parser forgets where a value stood. Here objects, and lists of objects or lists, are walked; what lies
below (numbers, texts, lists of numbers) is read by `json.JSONDecoder.raw_decode` from its offset, at its full speed.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from regaze.corrections.formats.source import Place, read_text, shown

MAX_DEPTH = 32
"""Objects and lists within each other; the formats need 8."""

_SPACE = re.compile(r"[ \t\n\r]*")


class Element(dict[str, Any]):
    """A JSON object and where it begins.

    Each getter refuses a value of another kind with a CorrectionError that names the line.
    """

    def __init__(self, place: Place):
        super().__init__()
        self.place = place

    def text(self, key: str, default: str | None = None) -> str:
        """A text; `default` where the key is absent or null, refused if that is None."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            self._refuse(key, "a text")
        return value

    def numbers(self, key: str, count: int | None = None) -> list[float]:
        """A list of finite numbers, of that length where `count` is given."""
        return finite(self.get(key), f"{key!r}", self.place, count)

    def number(self, key: str) -> float:
        """A finite number."""
        return finite([self.get(key)], f"{key!r}", self.place)[0]

    def key(self, key: str) -> int | str:
        """An id: a whole number or a text."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self._refuse(key, "a whole number")
        return value

    def elements(self, key: str, *, absent: bool = False) -> list[Element]:
        """A list of objects; an empty one where the key is missing and may be `absent`."""
        if absent and self.get(key) is None:
            return []
        if key not in self:
            self._refuse(key, "a list of objects")
        return elements(self.get(key), f"{key!r}", self.place)

    def element(self, key: str) -> Element:
        """An object."""
        value = self.get(key)
        if not isinstance(value, Element):
            self._refuse(key, "an object")
        return value

    def _refuse(self, key: str, expected: str) -> NoReturn:
        raise self.place.refuse(f"{key!r} is {shown(self[key])}" if key in self else f"no {key!r}", expected)


def finite(values: object, what: str, place: Place, count: int | None = None) -> list[float]:
    """Check a list of numbers.

    Args:
        values: What was read.
        what: Names it in the message.
        place: Where it was read.
        count: How many are expected; None: any.

    Returns:
        The numbers.

    Raises:
        CorrectionError: It is no list of that many finite numbers.
    """
    expected = "a list of numbers" if count is None else f"{count} numbers"
    if not isinstance(values, list) or (count is not None and len(values) != count):
        raise place.refuse(f"{what} is {shown(values)}", expected)
    for value in values:
        # Refuses NaN and infinity too, and whole numbers that no float can hold.
        if type(value) not in (int, float) or not abs(value) <= 1e300:
            raise place.refuse(f"{shown(value)} in {what}", "finite numbers")
    return [float(value) for value in values]


def elements(values: object, what: str, place: Place) -> list[Element]:
    """Check a list of objects.

    Returns:
        The objects.

    Raises:
        CorrectionError: It is something else.
    """
    if not isinstance(values, list):
        raise place.refuse(f"{what} is {shown(values)}", "a list of objects")
    for value in values:
        if not isinstance(value, Element):
            raise place.refuse(f"{shown(value)} in {what}", "an object")
    return values


def read_lines(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        Its value, every object in it an `Element` (but those in a list that begins with a number or text).

    Raises:
        CorrectionError: It is no JSON, is nested too deeply, or an object has a key twice.
    """
    return _Reader(read_text(path), path).document()


def write_lines(value: Any) -> str:
    """JSON in which every object without objects in it has a line of its own.

    Args:
        value: Dicts, lists, texts and finite numbers.

    Returns:
        The text.
    """
    return _written(value, "\n") + "\n"


class _Reader:
    def __init__(self, text: str, path: Path) -> None:
        self._text = text
        self._path = path
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def document(self) -> Any:
        value, at = self._value(self._skip(0), 0)
        at = self._skip(at)
        if at < len(self._text):
            self._fail(at, "the end of the file")
        return value

    def _value(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise self._place(at).refuse(f"more than {MAX_DEPTH} lists and objects in each other", "fewer")
        first = self._text[at : at + 1]
        if first == "{":
            return self._object(at, depth)
        if first == "[" and self._text[self._skip(at + 1) :][:1] in ("{", "["):
            return self._list(at, depth)
        return self._plain(at)

    def _object(self, at: int, depth: int) -> tuple[Element, int]:
        element = Element(self._place(at))
        at = self._skip(at + 1)
        while not self._is(at, "}"):
            if element:
                at = self._expect(at, ",")
            start = at
            if not self._is(at, '"'):
                self._fail(at, "a key in quotes")
            key, at = self._plain(at)
            if key in element:
                raise self._place(start).refuse(f"the key {shown(key)} twice", "each key once")
            element[key], at = self._value(self._expect(self._skip(at), ":"), depth + 1)
            at = self._skip(at)
        return element, at + 1

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        at = self._skip(at + 1)
        while not self._is(at, "]"):
            if values:
                at = self._expect(at, ",")
            value, at = self._value(at, depth + 1)
            values.append(value)
            at = self._skip(at)
        return values, at + 1

    def _plain(self, at: int) -> tuple[Any, int]:
        try:
            return self._decoder.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            self._fail(error.pos, "JSON")
        except RecursionError:
            raise self._place(at).refuse("lists too deep in each other", f"at most {MAX_DEPTH}") from None
        except ValueError as error:  # a constant such as NaN, or a number of thousands of digits
            raise self._place(at).refuse(f"no JSON ({error})", "a finite number") from None

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        assert match is not None
        return match.end()

    def _is(self, at: int, mark: str) -> bool:
        return self._text.startswith(mark, at)

    def _expect(self, at: int, mark: str) -> int:
        if not self._is(at, mark):
            self._fail(at, f"{mark!r}")
        return self._skip(at + 1)

    def _place(self, at: int) -> Place:
        return Place(self._path, bisect_right(self._ends, at - 1) + 1)

    def _fail(self, at: int, expected: str) -> NoReturn:
        found = shown(self._text[at : at + 20]) if at < len(self._text) else "the file ends"
        raise self._place(at).refuse(found, expected) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _written(value: Any, newline: str) -> str:
    inner = newline + " "
    if isinstance(value, dict) and any(map(_holds_objects, value.values())):
        lines = [f"{json.dumps(key, ensure_ascii=False)}: {_written(one, inner)}" for key, one in value.items()]
        return "{" + inner + f",{inner}".join(lines) + newline + "}"
    if isinstance(value, list) and value and _holds_objects(value):
        return "[" + inner + f",{inner}".join(_written(one, inner) for one in value) + newline + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _holds_objects(value: Any) -> bool:
    items: Sequence[Any] = value if isinstance(value, list) else ()
    return isinstance(value, dict) or any(isinstance(item, dict) for item in items)
