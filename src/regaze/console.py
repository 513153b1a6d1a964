"""Progress and remarks of a command on stderr, so that stdout stays for the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_SECONDS = 30.0


class Voice:
    """Progress and remarks for a person; where `quiet`, warnings only."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """Print a remark."""
        if not self.quiet:
            self.console.print(text, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a remark in a quiet run too."""
        self.console.print(f"warning: {text}", markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A bar that is fed with (done, total); where stderr is no terminal (a log), a line every half minute."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        silent = self.quiet or not self.console.is_terminal
        with Progress(*columns, console=self.console, disable=silent, transient=True) as bar:
            task = bar.add_task(label, total=None)
            last = time.monotonic()

            def feed(done: int, total: int) -> None:
                nonlocal last
                bar.update(task, completed=done, total=total)
                if silent and time.monotonic() - last >= _LINE_SECONDS:
                    last = time.monotonic()
                    self.say(f"{label}: {done} of {total}")

            yield feed
