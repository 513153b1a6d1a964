"""How long `regaze serve` takes to start on a long study: `python bench/serve_start.py STUDY [PHOTOGRAPHS]`.

Copies a study that was served before, and makes it long in what the server reads: split, photographs and selection.
Wall seconds (and the server's CPU seconds, which other work on the machine does not change) from the call to the link,
and to the first answers of the page and of the queue, twice: the first start makes the queue of a new selection.
Comparing the photographs with their fingerprint goes on in the background and is not measured (here it must fail: the
files are not there).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from regaze.corrections.store import Store
from regaze.server.desk import Desk


def lengthen(study: Path, count: int) -> None:
    """Give a study as many photographs."""
    Desk(study, "bench").open(lambda: None)  # as after a first start
    ids = [f"photographs/more-{number}" for number in range(count)]
    values = json.loads((study / "study.json").read_text())
    values["split"] |= dict.fromkeys(ids, 1)
    (study / "study.json").write_text(json.dumps(values))
    with Store(study / "records.sqlite") as store:
        with store.transaction(write=True) as connection:
            record = connection.exec_driver_sql("SELECT record FROM photographs LIMIT 1").scalar_one()
            rows = [(sample, record) for sample in ids]
            connection.exec_driver_sql("INSERT INTO photographs (sample, record) VALUES (?, ?)", rows)
        why = "rank 1 of 9 by branches: its branches disagree on the grade by 0.412; graded 2, truth 1: misgraded"
        latest = store.selections()[-1]
        store.add_selection(latest.model, "random", 1.0, 1, ids, [why] * count, "bench")


def cpu(pid: int) -> float:
    """CPU seconds of a process so far; NaN where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(study: Path) -> list[str]:
    """Seconds to the link, the page and the queue."""
    began = time.monotonic()
    words = [sys.executable, "-m", "regaze", "serve", str(study), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    try:
        assert process.stdout is not None
        link = re.search(r"http://\S+", process.stdout.readline())
        assert link is not None
        times = [f"{time.monotonic() - began:.1f} ({cpu(process.pid):.1f})"]
        with httpx.Client(timeout=600) as client:
            assert client.get(link[0]).status_code == 303
            root = link[0].partition("/enter")[0]
            for path in ("/", "/api/queue"):
                answer = client.get(root + path)
                assert answer.status_code == 200, answer.text
                times.append(f"{time.monotonic() - began:.1f} ({cpu(process.pid):.1f})")
    finally:
        process.kill()
        process.wait()
    return times


def main(source: Path, count: int) -> None:
    """Measure twice."""
    with tempfile.TemporaryDirectory() as folder:
        study = shutil.copytree(source, Path(folder) / "study")
        lengthen(study, count)
        for which in ("a new selection", "as it was"):
            link, page, queue = start(study)
            print(f"{count} photographs, {which}: link {link} s, page {page} s, queue {queue} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
