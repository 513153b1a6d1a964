"""What is known to be wrong with IDRiD is found; skipped where the data are not at hand."""

import os
from pathlib import Path

import pytest

from regaze.console import Voice
from regaze.doctor.examine import Wanted, examine

pytestmark = pytest.mark.slow


def test_idrid(tmp_path):
    """Two pictures with two grades, three plain pairs, and grades that go with the year."""
    root = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "idrid"
    if not root.is_dir():
        pytest.skip(f"no IDRiD at {root}")
    found = examine(Wanted(f"idrid:{root}", cache=tmp_path / "looks.jsonl"), Voice(quiet=True))
    texts = {finding.kind: finding.text for finding in found.findings}
    assert "021 (R1) = training/IDRiD_391 (R2)" in texts["contradictory-copies"]
    assert "028 (R4) = training/IDRiD_327 (R3)" in texts["contradictory-copies"]
    for pair in ("045 (R2) = training/IDRiD_333", "073 (R2) = training/IDRiD_375", "079 (R1) = training/IDRiD_279"):
        assert pair in texts["copies"]
    assert any(kind.startswith("shortcut-period") for kind in texts)
    assert found.corrupts
