"""Kill the loop's commands at random moments: nothing may be lost, doubled or left half written.

    python bench/faults.py --kills 100 [--seed 0] [--folder DIR]

A tiny study goes through init, train, collect, select, correct, import, finetune and evaluate, undisturbed. Then it
goes through them again, each command killed by SIGKILL at a random moment of its undisturbed time, once to three
times, and called once more, until the wanted number of kills is reached. After each command the bytes of models, of
collected maps and of figures, the corrections and the number of selections must be those of the undisturbed run, and
at the end `regaze verify` must find no problem. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

MACHINE = ("--precision", "fp32", "--workers", "1")
RECIPE = ("--epochs", "2", "--batch", "8", *MACHINE)
_EXPORTED = "drawn.json"  # the undisturbed run's corrections by another author, as a foreign file


def commands(study: Path) -> list[tuple[str, ...]]:
    """The loop, in its order."""
    return [
        ("init", str(study), "--data", "synthetic:30", "--size", "64"),
        ("train", str(study), "--backbone", "test_resnet", *RECIPE),
        ("collect", str(study), *MACHINE),
        ("select", str(study)),
        ("correct", str(study), "--healthy", "--author", "masks"),
        ("import", str(study), str(study.parent / _EXPORTED), "--format", "coco", "--author", "A. Expert"),
        ("finetune", str(study), *RECIPE),
        ("evaluate", str(study), "--faithfulness", "0", "--resamples", "20", *MACHINE),
    ]


def run(words: tuple[str, ...], after: float | None = None) -> tuple[int, float, str]:
    """Exit code (negative: killed), seconds and stderr of a command; killed `after` seconds unless it ended before."""
    start = time.monotonic()
    program = [sys.executable, "-m", "regaze", *words]
    process = subprocess.Popen(  # noqa: S603 - ourselves
        program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, said = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
    return process.returncode, time.monotonic() - start, said


def state(study: Path) -> dict[str, Any]:
    """What must not depend on kills: weights, corrections and selections without their times, records, figures."""
    found: dict[str, Any] = {}
    for file in sorted(study.glob("models/*/*/model.safetensors")):
        found[str(file.relative_to(study))] = hashlib.sha256(file.read_bytes()).hexdigest()
    for file in sorted([*study.glob("collected/*/*/*"), *study.glob("evaluation/*.json")]):
        if not file.name.startswith("."):
            found[str(file.relative_to(study))] = hashlib.sha256(file.read_bytes()).hexdigest()
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


def undisturbed(study: Path) -> tuple[list[dict[str, Any]], list[float]]:
    """The state after each command, and its seconds."""
    states, seconds = [], []
    for words in commands(study):
        if words[0] == "import":
            export = ("export", str(study), "--to", words[2], "--format", "coco")
            code, _, said = run(export)
            assert code == 0, said
            _by_another(Path(words[2]))
        code, took, said = run(words)
        if code != 0:
            raise SystemExit(f"undisturbed {words[0]} failed: {said}")
        states.append(state(study))
        seconds.append(took)
    return states, seconds


def _by_another(file: Path) -> None:
    """Let an exported file be another expert's."""
    file.write_text(file.read_text(encoding="utf-8").replace('"masks"', '"A. Expert"'), encoding="utf-8")


def main() -> int:
    """Parse, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="regaze-faults-", dir=options.folder))
    study, killed, wrong = root / "study", Counter[str](), []
    try:
        states, seconds = undisturbed(study)
        while sum(killed.values()) < options.kills:
            shutil.rmtree(study)
            for words, wanted, took in zip(commands(study), states, seconds, strict=True):
                for _ in range(rng.randint(1, 3)):
                    code, _, said = run(words, rng.uniform(0, took))
                    killed[words[0]] += code == -signal.SIGKILL
                    if code > 0:
                        wrong.append(f"{words[0]} after a kill: code {code}, {said.strip()[-200:]}")
                code, _, said = run(words)
                found = state(study)
                differing = [key for key in {*wanted, *found} if wanted.get(key) != found.get(key)]
                if code != 0 or differing:
                    wrong.append(f"{words[0]}: code {code}, differs in {differing}: {said.strip()[-200:]}")
                print(f"{words[0]}: {sum(killed.values())} kills, {len(wrong)} wrong", flush=True)
            code, _, said = run(("verify", str(study)))
            if code != 0:
                wrong.append(f"verify: {said.strip()[-200:]}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for name, count in killed.items():
        print(f"{name:10} {count} kills")
    print(f"{sum(killed.values())} kills, {len(wrong)} wrong", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
