"""Looks at many photographs: by several processes, and only at those that were not looked at before.

Invariant: what is kept belongs to files that have not been written since: of that path, inode, size and times, as they
were *before* the look, and at rest for a while then, since a clock's ticks do not tell two writes at once apart
(`files.state`). A damaged line counts as none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from regaze.data.match import Progress
from regaze.doctor.look import Look, look_at
from regaze.files import at_rest, digest, state
from regaze.processes import in_processes
from regaze.records import Sample

_VERSION = 1  # of what a look holds
_POOL_PAYS = 48  # starting the processes takes about as long as looking at this many photographs
_CHUNK = 8


class Looks:
    """The looks at a data set's photographs.

    Attributes:
        file: Where they are kept, a line of JSON each; None: nowhere. Lines are added as photographs are looked at, so
            that a check which was ended goes on where it was.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._known: dict[str, Look] = {}
        if file is not None and file.is_file():
            with file.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    self._take(line)

    def at(self, samples: Sequence[Sample], progress: Progress | None = None) -> list[Look]:
        """Look at photographs and their masks.

        Args:
            samples: N photographs.
            progress: Called with (done, total).

        Returns:
            N looks.

        Raises:
            DataError: A process that looks at them died.
        """
        keys = [_key(sample) for sample in samples]
        todo = {key: sample for key, sample in zip(keys, samples, strict=True) if key not in self._known}
        done = len(samples) - len(todo)
        for key, look in zip(todo, self._new(todo), strict=True):
            self._known[key] = look
            done += 1
            if progress is not None:
                progress(done, len(samples))
        return [self._known[key] for key in keys]

    def _new(self, todo: Mapping[str, Sample]) -> Iterable[Look]:
        samples = list(todo.values())
        workers = min(8, os.cpu_count() or 1)
        looks: Iterable[Look] = map(look_at, samples)
        if workers > 1 and len(samples) >= _POOL_PAYS:
            looks = in_processes(look_at, samples, workers, _CHUNK, "looks at photographs")
        if self.file is None:
            yield from looks
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        still = {key for key, sample in todo.items() if at_rest(_files(sample))}
        with self.file.open("a", encoding="utf-8") as kept:
            for key, look in zip(todo, looks, strict=True):
                # What cannot be read may be mended without a change that is seen here (a disk, a right).
                if key in still and not look.error and not look.mask_error:
                    kept.write("\n" * (kept.tell() > 0) + json.dumps({"key": key} | asdict(look)))
                    kept.flush()
                yield look

    def _take(self, line: str) -> None:
        names = {item.name for item in fields(Look)}
        try:
            values = json.loads(line)
            key = values.pop("key")
            if set(values) == names and isinstance(key, str):
                tuples = {name: tuple(values[name]) for name in ("colour", "scaled")}
                self._known[key] = Look(**(values | tuples))
        except (ValueError, TypeError, KeyError, AttributeError):
            return


def _key(sample: Sample) -> str:
    """Changes whenever one of the files is written."""
    masks = sorted((kind, str(file)) for kind, files in sample.masks.items() for file in files)
    facts = [[kind, file, *state(Path(file))] for kind, file in [("", str(sample.image)), *masks]]
    return digest([_VERSION, sample.origin == "masks", facts, sorted(sample.mask_values.items())])


def _files(sample: Sample) -> list[Path]:
    return [sample.image, *(file for several in sample.masks.values() for file in several)]
