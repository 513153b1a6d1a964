"""Work that several processes share, where threads would wait for each other."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from regaze.errors import DataError

Item = TypeVar("Item")
Done = TypeVar("Done")


def in_processes(
    work: Callable[[Item], Done], items: Iterable[Item], workers: int, chunk: int, what: str
) -> Generator[Done, None, None]:
    """Yield work(item) in the order of the items; leaves no process behind when it is closed or interrupted.

    Args:
        work: A function that can be pickled.
        items: What it is called with, one by one.
        workers: Processes.
        chunk: Items that a process takes at a time.
        what: What the processes do, for the message where one dies: `paints synthetic photographs`.

    Raises:
        DataError: A process died.
    """
    # Spawned, not forked: a fork copies locks that threads of OpenCV or torch may hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker)
    try:
        yield from pool.map(work, items, chunksize=chunk)
    except BrokenProcessPool:
        raise DataError(
            f"A process that {what} ended early: in a script, call from below `if __name__ == '__main__':`; if memory "
            "is short, close other programs."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    """Let the processes of the pool share the cores, and leave Ctrl-C to the process that started them."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
