"""The server killed at random moments, over real sockets; fifty times in `bench/serve_kills.py`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "serve_kills.py"


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost(waiting):
    """SIGKILL while two windows save and finish: every acknowledged draft and correction is there, none twice."""
    done = subprocess.run([sys.executable, BENCH, waiting, "3"], capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"3 kills: (\d+) drafts and \d+ finishes acknowledged, .* 0 problems", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) >= 3
