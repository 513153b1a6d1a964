"""Several processes share one list of work: each takes what no other is at, and all end when everything is done.

Invariant: whoever works on an entry holds its lock, which the system takes back however the process ends; an entry
left half done by a process that was killed is taken up by another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from regaze.files import held

_PAUSE_SECONDS = 1.0


def shared_out(
    names: Sequence[str], folder: Path, done: Callable[[str], bool], say: Callable[[str], None]
) -> Generator[str, None, None]:
    """Hand out entries in order, each while its lock is held, until all are done, by whichever process.

    Args:
        names: Of the entries, fit for a file's name.
        folder: Where the locks lie; the same for all processes.
        done: Whether an entry is done; asked with its lock held.
        say: Called once when nothing is left but what other processes are at.
    """
    waiting, announced = list(names), False
    while waiting:
        busy = []
        for name in waiting:
            with held(folder / name) as mine:
                if not mine:
                    busy.append(name)
                elif not done(name):
                    yield name
        if len(busy) == len(waiting):
            if not announced:
                say(f"waiting for other processes, which are at the rest ({len(busy)})")
            announced = True
            time.sleep(_PAUSE_SECONDS)
        waiting = busy
