"""Work that takes minutes, in processes of its own: a round of training, a new queue.

A job writes its progress as JSON lines and holds a lock while it lives. Invariant: how a job stands is read from these
two alone, so a server that was killed and started again says the same as before, and a job never waits for a server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from regaze.errors import StudyError
from regaze.files import held
from regaze.records import timestamp
from regaze.server.desk import Desk

FINAL = ("done", "failed", "cancelled")
_STARTING = 60.0  # seconds within which a job has written its first line


@dataclass(frozen=True)
class JobFiles:
    """Where a job's files lie.

    Attributes:
        log: Its progress, one JSON object a line.
        errors: What its process printed.
        lock: Held while its process lives.
    """

    log: Path
    errors: Path
    lock: Path


def files_of(study: Path, job: int) -> JobFiles:
    """A job's files in a study's folder."""
    folder = study / "jobs"
    return JobFiles(folder / f"{job}.jsonl", folder / f"{job}.txt", study / ".locks" / f"job-{job}")


def read_lines(log: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a log from a byte on, and where they end; a half line (the process was killed) is left out."""
    try:
        with log.open("rb") as stream:
            stream.seek(start)
            data = stream.read()
    except FileNotFoundError:
        return [], start
    whole = data[: data.rfind(b"\n") + 1]
    lines = []
    for text in whole.splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines, start + len(whole)


@dataclass
class _Row:
    """A row of the table of jobs."""

    id: int
    kind: str
    time: str
    cancelled: bool


@dataclass
class Jobs:
    """The jobs of one study; one runs at a time."""

    desk: Desk
    _processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def start(self, kind: str) -> int:
        """Start a job: `round`, or `queue` (collect and select).

        Raises:
            StudyError: Another one is running.
        """
        with self._lock:
            if any(job["state"] == "running" for job in self.newest()):
                raise StudyError("another job is running: wait for its end, or cancel it")
            with self.desk.store.transaction(write=True) as connection:
                number = connection.exec_driver_sql(
                    "INSERT INTO jobs (kind, author, time, cancelled) VALUES (?, ?, ?, 0) RETURNING id",
                    (kind, self.desk.author, timestamp()),
                ).scalar_one()
            job = int(number)
            files = files_of(self.desk.study.path, job)
            files.log.parent.mkdir(parents=True, exist_ok=True)
            words = [sys.executable, "-m", "regaze.server.work", str(self.desk.study.path), str(job), kind]
            one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
            with files.errors.open("wb") as errors:
                # A session of its own: Ctrl-C in the server's terminal, and the server's end, leave it running.
                self._processes[job] = subprocess.Popen(  # noqa: S603 - our own words
                    [*words, self.desk.model],
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    env=os.environ | one_thread,
                    start_new_session=True,
                )
        return job

    def newest(self, limit: int = 20) -> list[dict[str, Any]]:
        """How the last jobs stand, as `replies.Job` describes it, newest first."""
        with self.desk.store.transaction() as connection:
            query = "SELECT id, kind, time, cancelled FROM jobs ORDER BY id DESC LIMIT ?"
            rows = connection.exec_driver_sql(query, (limit,)).all()
        return [self._standing(_Row(*row)) for row in rows]

    def job(self, number: int) -> dict[str, Any] | None:
        """How one job stands; None where there is none."""
        row = self._row(number)
        return None if row is None else self._standing(row)

    def events(self, number: int, start: int) -> tuple[list[tuple[int, dict[str, Any]]], int, bool]:
        """What a job said from a byte of its log on.

        Returns:
            Events (number, as `replies.Job` describes it), the byte to go on from, and whether the job is over.
        """
        row = self._row(number)
        if row is None:
            return [], start, True
        log = files_of(self.desk.study.path, number).log
        alive = self._is_alive(row)  # asked first: what it says before it ends is read below
        lines, end = read_lines(log, start)
        events = [(int(line["n"]), self._shown(row, line)) for line in lines]
        over = any(event["state"] in FINAL for _, event in events)
        if not alive and not over:
            events.append((len(read_lines(log)[0]) + 1, self._standing(row)))
            over = True
        return events, end, over

    def cancel(self, number: int) -> dict[str, Any] | None:
        """End a job's process; what it finished stays, and the same job started again goes on there."""
        row = self._row(number)
        if row is None:
            return None
        with self.desk.store.transaction(write=True) as connection:
            connection.exec_driver_sql("UPDATE jobs SET cancelled = 1 WHERE id = ?", (number,))
        if self._is_alive(row):
            lines, _ = read_lines(files_of(self.desk.study.path, number).log)
            process = self._processes.get(number)
            pid = process.pid if process is not None else next((line["pid"] for line in lines if "pid" in line), None)
            if pid is not None:
                _end(pid)
            deadline = time.monotonic() + 5
            while self._is_alive(row) and time.monotonic() < deadline:
                time.sleep(0.05)
        return self.job(number)

    def _row(self, number: int) -> _Row | None:
        with self.desk.store.transaction() as connection:
            query = "SELECT id, kind, time, cancelled FROM jobs WHERE id = ?"
            row = connection.exec_driver_sql(query, (number,)).one_or_none()
        return None if row is None else _Row(*row)

    def _standing(self, row: _Row) -> dict[str, Any]:
        log = files_of(self.desk.study.path, row.id).log
        shown = self._last(row, log)
        if shown["state"] in FINAL or self._is_alive(row):
            return shown
        shown = self._last(row, log)  # what it said before it ended
        if shown["state"] in FINAL:
            return shown
        if row.cancelled:
            return shown | {"state": "cancelled", "message": "cancelled"}
        return shown | {"state": "failed", "message": "its process ended early: start it again, it goes on there"}

    def _last(self, row: _Row, log: Path) -> dict[str, Any]:
        lines, _ = read_lines(log)
        return self._shown(row, lines[-1] if lines else {})

    @staticmethod
    def _shown(row: _Row, line: dict[str, Any]) -> dict[str, Any]:
        usual = {"state": "running", "phase": "starting", "done": 0, "total": 0, "message": ""}
        usual |= {"model": None, "verdict": None}
        values = {name: line.get(name, value) for name, value in usual.items()}
        return {"id": row.id, "kind": row.kind, "started": row.time} | values

    def _is_alive(self, row: _Row) -> bool:
        process = self._processes.get(row.id)
        if process is not None:
            return process.poll() is None
        files = files_of(self.desk.study.path, row.id)
        with held(files.lock) as is_free:
            if not is_free:
                return True
        started = datetime.strptime(row.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        is_young = (datetime.now(UTC) - started).total_seconds() < _STARTING
        return is_young and not files.log.is_file() and not row.cancelled


def _end(pid: int) -> None:
    """Ask a process and its children to end."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
