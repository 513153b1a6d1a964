"""What a command puts on the terminal: lines, tables, progress and remarks.

Names, labels, authors, remarks and messages come from other people's files. Invariant: whatever reaches the terminal
goes through `line` (a table's cells through `Sheet`), so that no foreign text changes colours, moves the cursor, forges
a line of its own or fills the screen. Remarks and progress go to stderr; stdout is the result's.
"""

from __future__ import annotations

import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_LINE_SECONDS = 30.0
_WORD, _LINE, _CELL = 200, 2000, 60  # characters that are shown; a part of a path counts as a word
_LONG_WORD = re.compile(rf"[^\s/\\]{{{_WORD + 1},}}")


def line(text: object, most: int = _LINE) -> str:
    """A text as one line for the terminal: what cannot be printed is escaped, what is too long is cut in the middle.

    Args:
        text: From anywhere.
        most: Characters of the line; of one word 200.
    """
    short = _cut(_LONG_WORD.sub(lambda word: _cut(word[0], _WORD), str(text)), most)
    return _cut("".join(map(_printable, short)), most)


def _printable(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":  # other spaces are harmless
        return character
    return character.encode("unicode_escape").decode()


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    left_out = f" ... ({len(text)} characters) ... " if most > _CELL else "..."
    tail = (most - len(left_out)) // 3
    return text[: most - len(left_out) - tail] + left_out + text[-tail:]


def show(*texts: object) -> None:
    """Print lines of a result on stdout."""
    print("\n".join(map(line, texts)))  # noqa: T201 - the result


def complain(text: object) -> None:
    """Print the one line of a command that failed on stderr; line breaks in the message become spaces."""
    print(f"regaze: {line(' '.join(str(text).split()))}", file=sys.stderr)  # noqa: T201 - the one place that speaks of errors


def tolerate_any_text() -> None:
    """Let stdout and stderr escape what their encoding lacks (an ASCII terminal, names that are no UTF-8)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Sheet(Table):
    """A table whose title, headings and cells are plain text; a heading may have several lines, a cell has one."""

    def __init__(self, title: str, **style: Any) -> None:
        super().__init__(title=Text(line(title)), **style)

    def add_row(self, *cells: Any, **style: Any) -> None:
        """Add a row of texts."""
        super().add_row(*(Text(line(cell, _CELL)) for cell in cells), **style)


def page(width: int) -> Console:
    """Stdout for tables and plain lines; a pipe has no width, and rich's 80 would cut the models' names."""
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    console = Console(**plain)
    return console if console.is_terminal else Console(**plain, width=width)


class Voice:
    """Progress and remarks for a person; where `quiet`, warnings only."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def say(self, text: str) -> None:
        """Print a remark."""
        if not self.quiet:
            self.console.print(line(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a remark in a quiet run too."""
        self.console.print(line(f"warning: {text}"), soft_wrap=True)

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A bar that is fed with (done, total); where stderr is no terminal (a log), a line every half minute."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        silent = self.quiet or not self.console.is_terminal
        with Progress(*columns, console=self.console, disable=silent, transient=True) as bar:
            task = bar.add_task(line(label, _CELL), total=None)
            last = time.monotonic()

            def feed(done: int, total: int) -> None:
                nonlocal last
                bar.update(task, completed=done, total=total)
                if silent and time.monotonic() - last >= _LINE_SECONDS:
                    last = time.monotonic()
                    self.say(f"{label}: {done} of {total}")

            yield feed
