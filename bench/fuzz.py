"""Damage valid input of every reader of foreign files: each is read, or refused in one line. `make fuzz`.

    python bench/fuzz.py [--seconds 300 | --cases N] [--seed 0] [--only READER]

Each case takes the valid files of one reader (`fuzz_inputs`), damages one of them (bytes flipped, cut out, put in;
keys of JSON left out, renamed, doubled; values of another type, huge, NaN, nested deeply, of half characters, with
escape codes; words of a text exchanged likewise) and reads. A fault is any exception but a RegazeError, a message of
more than 2,000 characters, more than 10 s of computing, or more than 1 GB beyond what was in use. A fault's files are
kept in --keep, with the seed of the case, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz_inputs import Target, targets

from regaze.errors import RegazeError

SECONDS, MEGABYTES, LETTERS = 10, 1000, 2000
DEEP = "[" * 3000 + "]" * 3000
WORDS = (
    *("", "0", "-1", "1e400", "-1e308", "NaN", "Infinity", "9" * 30, "9" * 6000, "2147483648", "0.5", "null", "true"),
    *("\x1b[31m", "[/red]", "../../etc/passwd", "/dev/zero", "\ud800", "\0", "\u202e", "é" * 300, "x" * 100_000),
    *("\n", '"', "<a>", "&b;", ";", ",", ";" * 5000, "one,two", DEEP, "{" * 500, "<g>" * 500, "*a", "&a [*a, *a]"),
)
VALUES = (
    *(None, True, -1, 0, 1.5, 10**30, 2**63, -(10**400), float("nan"), float("inf"), 1e308, "", "0", "x" * 100_000),
    *("\x1b[2J", "\ud800", "é\0", [], {}, [[]], [0] * 1000, {"a": {}}, [None], ["a", 1], {"": 0}),
)


class TooSlowError(Exception):
    """A case took longer than it may."""


def _alarm(*_: object) -> None:
    raise TooSlowError(f"more than {SECONDS} s")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A file's bytes with one to three damages."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice((_bytes, _bytes, _words, _json, _json))(data, rng)
    return data


def _bytes(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randint(0, len(data)), rng.choice((0, 1, 1, 2, 4, 16, 200, len(data)))
    old = data[at : at + length]
    flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in old)
    zeros, ones, noise = b"\0" * len(old), b"\xff" * len(old), rng.randbytes(rng.choice((1, 4, 40)))
    new = rng.choice((b"", flipped, noise, old * 3, zeros, ones, data[:100]))
    return data[:at] + new + data[at + length :]


def _words(data: bytes, rng: random.Random) -> bytes:
    words = list(re.finditer(rb"[\w.-]+|[^\w\s]", data[: 2**20]))
    if not words:
        return data
    word = rng.choice(words)
    new = rng.choice(WORDS).encode("utf-8", "surrogatepass")
    return data[: word.start()] + new + data[word.end() :]


def _json(data: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _words(data, rng)
    places = list(_places(value))
    if not places:
        return _bytes(data, rng)
    holder, key = rng.choice(places)
    what = rng.randrange(6)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[rng.choice(("", "x", str(key) + " ", "id"))] = holder.pop(key)
    elif what == 2 and isinstance(holder, list):
        holder[key : key + 1] = [holder[key]] * rng.choice((2, 50))
    elif what == 3:
        holder[key] = rng.choice(rng.choice(places)[0:1])
    else:
        holder[key] = rng.choice(VALUES)
    try:
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    except (ValueError, RecursionError):  # a value within itself
        return data.replace(b"[", DEEP.encode() + b",[", 1)
    if rng.random() < 0.1:
        text = (
            re.sub(r'("\w+": )', r"\1\1", text, count=1) if rng.random() < 0.5 else text.replace("{", '{"id": 1, ', 1)
        )
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """(holder, key) of every value within a value."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def renamed(folder: Path, rng: random.Random) -> None:
    """Give a file, or a folder, of a folder another name."""
    paths = sorted(folder.rglob("*"))
    path = rng.choice(paths)
    name = rng.choice(
        ("\x1b[31m.png", "x" * 250, "a\nb.txt", "\udcff\udcfe.png", ".hidden", "a b;c,d.jpg", "\u202e.xml")
    )
    path.rename(path.with_name(name))


def case(target: Target, folder: Path, rng: random.Random) -> str:
    """Damage, read, and say how it ended: `read`, `refused`, or what is wrong."""
    if target.by_name and rng.random() < 0.2:
        renamed(folder, rng)
    else:
        file = rng.choice([file for file in sorted(folder.rglob("*")) if file.is_file() and target.may_damage(file)])
        file.write_bytes(damaged(file.read_bytes(), rng))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        target.read(folder)
        ended = "read"
    except RegazeError as error:
        ended = "refused" if len(str(error)) <= LETTERS else f"a message of {len(str(error))} characters"
    except Exception as error:  # noqa: BLE001 - what is looked for
        where = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(item.filename).name}:{item.lineno}" for item in where if "regaze/" in item.filename]
        ended = f"{type(error).__name__} at {' '.join(ours[-2:])}: {str(error)[:100]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    return ended if more <= MEGABYTES else f"{more:.0f} MB more memory"


def main() -> int:
    """Damage and read until the time, or the cases, are over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--cases", type=int, default=None, help="of each reader; instead of --seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", type=Path, default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _alarm)
    root = Path(tempfile.mkdtemp(prefix="regaze-fuzz-"))
    counts: dict[str, Counter[str]] = {}
    try:
        chosen = [target for target in targets(root) if options.only in target.name]
        start, number = time.monotonic(), 0
        while number < options.cases if options.cases else time.monotonic() - start < options.seconds:
            for target in chosen:
                if target.seldom and number % target.seldom:
                    continue
                folder = root / "case"
                shutil.copytree(target.folder, folder)
                seed = f"{options.seed}-{target.name}-{number}"
                ended = case(target, folder, random.Random(seed))
                counts.setdefault(target.name, Counter())[ended] += 1
                if ended not in ("read", "refused"):
                    print(f"{seed}: {ended}", flush=True)
                    if options.keep:
                        shutil.copytree(folder, options.keep / seed, dirs_exist_ok=True)
                shutil.rmtree(folder)
            number += 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    faults = 0
    for name, count in counts.items():
        wrong = count.total() - count["read"] - count["refused"]
        faults += wrong
        print(
            f"{name:22} {count.total():7} damaged, {count['read']:7} read, {count['refused']:7} refused, {wrong} faults"
        )
    print(f"{sum(count.total() for count in counts.values())} damaged inputs, {faults} faults")
    return 1 if faults or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
