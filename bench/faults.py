"""Kill the loop's commands at random moments and at every write: nothing may be lost, doubled or left half written.

    python bench/faults.py --kills 100 [--writes 40] [--seed 0] [--folder DIR]

A tiny study goes through init, train, collect, select, correct, import, finetune, evaluate and report, undisturbed.
Then each command is killed by SIGKILL, in two ways. At a write: just before its first, its second ... call that makes,
fills, syncs, renames or removes a file or folder or changes the database (of more than --writes of these, so many
spread over them), from the study as it was before the command. At a random moment of its undisturbed time, once to
three times in a row, in a study that goes through the whole loop, until --kills are reached. After each killed command
it is called once more; then the bytes of models, of collected maps and of figures, the corrections and the number of
selections must be those of the undisturbed run, and `regaze verify` must find no problem. Exit code 1 where anything
differs. A command is a process of its own, forked from this one, so that a kill falls into its work and not into the
loading of libraries.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy
from sqlalchemy.engine import Engine

import regaze
from regaze.cli import main as call
from regaze.synthetic.dataset import write_synthetic

MACHINE = ("--precision", "fp32", "--workers", "1")
RECIPE = ("--epochs", "2", "--batch", "8", *MACHINE)
_TABLE = "data/synthetic.csv"
_EXPORTED = "drawn.json"  # the undisturbed run's corrections by another author, as a foreign file


def commands(study: Path) -> list[tuple[str, ...]]:
    """The loop, in its order."""
    return [
        ("init", str(study), "--data", f"csv:{study.parent / _TABLE}", "--size", "32"),
        ("train", str(study), "--backbone", "test_resnet", *RECIPE),
        ("collect", str(study), *MACHINE),
        ("select", str(study)),
        ("correct", str(study), "--healthy", "--author", "masks"),
        ("import", str(study), str(study.parent / _EXPORTED), "--format", "coco", "--author", "A. Expert"),
        ("finetune", str(study), *RECIPE),
        ("evaluate", str(study), "--faithfulness", "0", "--resamples", "20", *MACHINE),
        ("report", str(study), "--faithfulness", "0", "--resamples", "20", *MACHINE),
    ]


def run(words: tuple[str, ...], after: float | None = None, write: int | None = None) -> tuple[int, float, str, int]:
    """A command in a process of its own.

    Args:
        words: What follows `regaze`.
        after: Seconds until it is killed, unless it has ended.
        write: Before which of its writes it kills itself, from 1.

    Returns:
        Exit code (negative: killed), seconds, the end of its stderr, and its number of writes.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as counted:
        child = os.fork()
        if child == 0:
            _become(words, said.fileno(), counted.fileno(), write)
        ended, status = 0, 0
        while not ended:
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended and after is not None and time.monotonic() - start >= after:
                os.kill(child, signal.SIGKILL)
                ended, status = os.waitpid(child, 0)
            time.sleep(0.002)
        took = time.monotonic() - start
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # its workers
        said.seek(0)
        text = said.read().decode("utf-8", "replace").strip()
        return os.waitstatus_to_exitcode(status), took, text[-300:], os.fstat(counted.fileno()).st_size


def _become(words: tuple[str, ...], said: int, counted: int, write: int | None) -> None:
    """Be the command: never returns."""
    code = 70
    try:
        os.setsid()
        silence = os.open(os.devnull, os.O_RDWR)
        for old, new in ((silence, 0), (silence, 1), (said, 2)):
            os.dup2(old, new)
        # They live as long as the process, and have numbers instead of paths.
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))  # noqa: SIM115, PTH123
        _watch(counted, write)
        call(list(words))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # noqa: BLE001 - the process ends here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _watch(counted: int, last: int | None) -> None:
    """Note each write of this process; kill it before the one of number `last`."""
    owner, number = os.getpid(), 0

    def write() -> None:
        nonlocal number
        if os.getpid() != owner:  # a worker's
            return
        number += 1
        if number == last:
            os.kill(owner, signal.SIGKILL)
        os.write(counted, b".")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        makes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (makes and isinstance(arguments[0], str) and "/dev/" not in arguments[0]) or event in _WRITES:
            write()

    sync = os.fsync

    def synced(handle: int) -> None:
        write()
        sync(handle)
        write()  # between a sync and what follows

    os.fsync = synced
    sys.addaudithook(hook)
    listen: Callable[..., Any] = sqlalchemy.event.listen
    listen(Engine, "before_cursor_execute", lambda *given: None if given[2].lstrip()[:6] in _READS else write())


_WRITES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "shutil.rmtree",
    "tempfile.mkstemp",
)
_READS = ("SELECT", "PRAGMA")


def state(study: Path) -> dict[str, Any]:
    """What must not depend on kills: weights, corrections and selections without their times, records, figures."""
    found: dict[str, Any] = {}
    for file in sorted(study.glob("models/*/*/model.safetensors")):
        found[str(file.relative_to(study))] = hashlib.sha256(file.read_bytes()).hexdigest()
    for file in sorted([*study.glob("collected/*/*/*"), *study.glob("evaluation/*.json")]):
        if not file.name.startswith("."):
            found[str(file.relative_to(study))] = hashlib.sha256(file.read_bytes()).hexdigest()
    if (study / "report.html").is_file():
        found["report"] = (study / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    if (study / "study.json").is_file():
        values = json.loads((study / "study.json").read_text(encoding="utf-8"))
        found["study"] = {key: values[key] for key in ("split", "fingerprint", "options", "classes")}
        found["study"]["options"].pop("data", None)
    if (study / "records.sqlite").is_file():
        with sqlite3.connect(study / "records.sqlite") as store:
            rows = store.execute("SELECT sample, model, origin, author FROM corrections ORDER BY id").fetchall()
            found["corrections"] = rows
            found["selections"] = store.execute("SELECT count(*) FROM selections").fetchone()[0]
        store.close()
    return found


class Bench:
    """The undisturbed run, and what disturbed ones found.

    Attributes:
        root: Holds everything.
        study: The one that is disturbed.
        states: What each command must lead to.
        seconds: What it took.
        writes: How many it made.
        killed: Kills of each command.
        wrong: What differed.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.study = root, root / "study"
        self.states: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.writes: list[int] = []
        self.killed: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []

    def undisturbed(self) -> None:
        """Go through the loop; keep the study as it was before each command."""
        for number, words in enumerate(commands(self.study)):
            if words[0] == "import":
                code, _, said, _ = run(("export", str(self.study), "--to", words[2], "--format", "coco"))
                assert code == 0, said
                _by_another(Path(words[2]))
            if self.study.exists():
                shutil.copytree(self.study, self.root / f"before{number}")
            code, took, said, writes = run(words)
            if code != 0:
                raise SystemExit(f"undisturbed {words[0]} failed: {said}")
            self.states.append(state(self.study))
            self.seconds.append(took)
            self.writes.append(writes)
            print(f"{words[0]:10} {took:6.1f} s, {writes} writes", flush=True)

    def disturbed(self, words: tuple[str, ...], way: str, **how: Any) -> None:
        """Run a command that is killed."""
        code, _, said, _ = run(words, **how)
        self.killed[words[0], way] += code == -signal.SIGKILL
        if code > 0:
            self.wrong.append(f"{words[0]} {how} after a kill: code {code}, {said}")

    def again(self, number: int, words: tuple[str, ...], how: str) -> None:
        """Call a command once more, and compare."""
        code, _, said, _ = run(words)
        wanted, found = self.states[number], state(self.study)
        differing = [key for key in {*wanted, *found} if wanted.get(key) != found.get(key)]
        if code != 0 or differing:
            self.wrong.append(f"{words[0]} {how}: code {code}, differs in {differing}: {said}")
        print(f"{words[0]}, {how}: {self.killed.total()} kills, {len(self.wrong)} wrong", flush=True)

    def at_writes(self, most: int) -> None:
        """Kill each command at its writes."""
        for number, words in enumerate(commands(self.study)):
            count = self.writes[number]
            for write in sorted(set(np.linspace(1, count, min(count, most)).astype(int).tolist())):
                shutil.rmtree(self.study, ignore_errors=True)
                if number:
                    shutil.copytree(self.root / f"before{number}", self.study)
                self.disturbed(words, "at a write", write=write)
                self.again(number, words, f"killed at write {write} of {count}")
        self.verify()

    def at_moments(self, kills: int, rng: random.Random) -> None:
        """Kill each command of a loop at random moments."""
        before = self.killed.total()
        while self.killed.total() - before < kills:
            shutil.rmtree(self.study, ignore_errors=True)
            for number, words in enumerate(commands(self.study)):
                times = rng.randint(1, 3)
                for _ in range(times):
                    self.disturbed(words, "at a moment", after=rng.uniform(0, self.seconds[number]))
                self.again(number, words, f"killed at {times} moments")
            self.verify()

    def verify(self) -> None:
        """`regaze verify` finds nothing."""
        code, _, said, _ = run(("verify", str(self.study)))
        if code != 0:
            self.wrong.append(f"verify: {said}")


def _by_another(file: Path) -> None:
    """Let an exported file be another expert's."""
    file.write_text(file.read_text(encoding="utf-8").replace('"masks"', '"A. Expert"'), encoding="utf-8")


def main() -> int:
    """Parse, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--writes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    for module in pkgutil.walk_packages(regaze.__path__, "regaze."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # once for all children
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was done so far is told
    root = Path(tempfile.mkdtemp(prefix="regaze-faults-", dir=options.folder))
    bench = Bench(root)
    try:
        write_synthetic(root / "data", 30, 0, size=64, workers=1)
        bench.undisturbed()
        bench.at_moments(options.kills, random.Random(options.seed))
        bench.at_writes(options.writes)
    except KeyboardInterrupt:
        print("stopped early", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("\n| command | writes | killed at a write | killed at a moment |\n|---|---:|---:|---:|")
    for words, writes in zip(commands(bench.study), bench.writes, strict=True):
        name = words[0]
        print(f"| {name} | {writes} | {bench.killed[name, 'at a write']} | {bench.killed[name, 'at a moment']} |")
    print(f"\n{bench.killed.total()} kills, {len(bench.wrong)} wrong", *bench.wrong, sep="\n")
    return 1 if bench.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
