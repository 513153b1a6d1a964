"""A slice of `make fuzz`: damaged input of every reader is read, or refused in one line."""

import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).parents[2] / "bench" / "fuzz.py"


def test_damaged_input_ends_in_one_line():
    """No other exception, no long message, no endless computing, no giant memory; the same cases each time."""
    program = [sys.executable, str(FILE), "--cases", "3", "--seed", "0"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = done.stdout.splitlines()
    assert len(counts) > 30, "readers are missing"
    assert counts[-1].endswith(" damaged inputs, 0 faults")
    assert sum(int(line.split(",")[2].split()[0]) for line in counts[:-1]) > 30, "hardly anything was refused"
