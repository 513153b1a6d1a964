"""XML whose elements know their line.

Invariant: a document type is refused where it begins, so that no entity is ever declared, expanded or fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from regaze.corrections.formats.source import Source, decode_text, number, read_bytes, shown

MAX_DEPTH = 32
"""Elements within each other; CVAT needs 6."""

# What XML 1.0 cannot hold in any spelling.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass
class Node:
    """An element, where it begins, and what is in it."""

    tag: str
    source: Source
    attributes: dict[str, str]
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def attribute(self, name: str) -> str:
        """An attribute's text.

        Raises:
            CorrectionError: It is missing.
        """
        if name not in self.attributes:
            raise self.source.refuse(f"<{self.tag}> without {name!r}", "that attribute")
        return self.attributes[name]

    def whole(self, name: str) -> int:
        """An attribute that is a whole number of 0 or more.

        Raises:
            CorrectionError: It is missing or something else.
        """
        text = self.attribute(name)
        if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
            raise self.source.refuse(f"{name}={shown(text)}", "a whole number")
        return int(text)

    def number(self, name: str) -> float:
        """An attribute that is a finite number.

        Raises:
            CorrectionError: It is missing or something else.
        """
        return number(self.attribute(name), name, self.source)

    def named(self, tag: str) -> list[Node]:
        """The children with that tag."""
        return [child for child in self.children if child.tag == tag]


def read_xml(path: Path) -> Node:
    """The root of an XML file in UTF-8.

    Raises:
        CorrectionError: It is not well formed, not UTF-8, declares a document type, or is nested too deeply.
    """
    data = read_bytes(path)
    decode_text(data, path)
    builder = _Builder(path)
    try:
        builder.parser.Parse(data, True)
    except expat.ExpatError as error:
        problem = f"no XML ({expat.errors.messages[error.code]})"
        raise Source(path, error.lineno).refuse(problem, "a well-formed document") from error
    return builder.top.children[0]


def text_of(text: str) -> str:
    """Text to stand between tags, escaped; characters that XML cannot hold become `?`."""
    return escape(_FORBIDDEN.sub("?", text), {"\r": "&#13;"})


def attribute_of(value: object) -> str:
    """An attribute's value, escaped and in quotes; characters that XML cannot hold become `?`."""
    # The parser would turn line ends and tabs of an attribute into spaces.
    return quoteattr(_FORBIDDEN.sub("?", str(value)), {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


class _Builder:
    """Collects elements while the parser walks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.top = Node("", Source(path), {})
        self._open = [self.top]
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _here(self) -> Source:
        return Source(self._path, self.parser.CurrentLineNumber)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) > MAX_DEPTH:
            raise self._here().refuse(f"more than {MAX_DEPTH} elements in each other", "fewer")
        node = Node(tag, self._here(), attributes)
        self._open[-1].children.append(node)
        self._open.append(node)

    def _end(self, _tag: str) -> None:
        self._open.pop()

    def _characters(self, text: str) -> None:
        self._open[-1].text += text

    def _doctype(self, name: str, *_: object) -> None:
        raise self._here().refuse(f"the document type {shown(name)}", "none: entities are not read")
