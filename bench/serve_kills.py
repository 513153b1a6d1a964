"""Kill the page's server while it works: `python bench/serve_kills.py STUDY [KILLS] [--seed N]`.

Two windows lease cases, save drafts and finish cases by a script, over real sockets; the server is killed by SIGKILL at
random moments and started again. Every answer that a window got is noted. At the end every acknowledged draft must be
there, at its version or a later one, every acknowledged finish must be one correction, no key may have made two, and
`regaze verify` must find nothing. STUDY is copied, and needs a selection.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from regaze.console import Voice
from regaze.study.folder import open_study


class Served:
    """A server that is killed and started again on one port."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.cookies: dict[str, str] = {}

    def start(self) -> float:
        """Start it; seconds until the page answers."""
        began = time.monotonic()
        words = [
            sys.executable,
            "-m",
            "regaze",
            "serve",
            str(self.study),
            "--port",
            str(self.port),
            "--author",
            "bench",
        ]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
        assert self.process.stdout is not None
        link = re.search(r"http://127\.0\.0\.1:(\d+)/enter\?token=\S+", self.process.stdout.readline())
        assert link is not None, "no link"
        self.port = int(link[1])
        if not self.cookies:  # a session outlives the server, so the link is used once
            answer = httpx.get(link[0], timeout=60)
            assert answer.status_code == 303, answer.text
            self.cookies = dict(answer.cookies)
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def client(self) -> httpx.Client:
        """As a page of it."""
        origin = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=origin, cookies=self.cookies, headers={"origin": origin}, timeout=60)


class Window(threading.Thread):
    """One window: takes cases, saves drafts, finishes, sends again what was not answered, and notes what was."""

    def __init__(self, served: Served, name: str, seed: int, cases: list[int]) -> None:
        super().__init__(daemon=True)
        self.cases = cases
        self.acknowledged = 0
        self.served, self.window, self.draw = served, name, random.Random(f"{seed}-{name}")
        self.over = threading.Event()
        self.drafts: dict[int, tuple[int, str]] = {}  # case -> acknowledged version and remark
        self.finishes: dict[str, tuple[int, int | None]] = {}  # key -> case and correction
        self.problems: list[str] = []
        self.lost = 0

    def run(self) -> None:
        """Work until it is over."""
        while not self.over.is_set():
            try:
                self._case()
            except Exception as error:  # noqa: BLE001 - a problem, whatever it is
                self.problems.append(f"{self.window}: {type(error).__name__}: {error}")
                return

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response | None:
        """Send until there is an answer, as the page does."""
        while not self.over.is_set():
            try:
                with self.served.client() as client:
                    return client.request(method, path, json=body)
            except httpx.TransportError:
                self.lost += 1
                time.sleep(0.2)
        return None

    def _case(self) -> None:
        case = self.draw.choice(self.cases)
        leased = self._ask("POST", f"/api/cases/{case}/lease", {"window": self.window})
        if leased is None:
            return
        assert leased.status_code == 200, leased.text
        version = self.drafts.get(case, (0, ""))[0]
        for _ in range(self.draw.randrange(1, 6)):
            remark = f"{self.window} {self.draw.random()}"
            points = [[self.draw.random() * 500, self.draw.random() * 500] for _ in range(40)]
            stroke = {"kind": "stroke", "mark": "look", "points": points, "radius": 6.0}
            body = {"window": self.window, "base": version, "shapes": [stroke], "decision": "correct", "remark": remark}
            saved = self._ask("PUT", f"/api/cases/{case}/draft", body)
            if saved is None:
                return
            assert saved.status_code == 200, (body["base"], saved.text[:300])
            version = saved.json()["version"]
            self.drafts[case] = version, remark
            self.acknowledged += 1
        if self.draw.random() < 0.5:
            key = f"{self.window}-{self.draw.getrandbits(64)}"
            done = self._ask(
                "POST", f"/api/cases/{case}/finish", {"window": self.window, "version": version, "key": key}
            )
            if done is not None:
                assert done.status_code == 200, done.text
                self.finishes[key] = case, done.json()["correction"]


def await_save(windows: list[Window]) -> None:
    """Wait until the server that was started has saved something."""
    before, deadline = sum(one.acknowledged for one in windows), time.monotonic() + 120
    while sum(one.acknowledged for one in windows) == before and time.monotonic() < deadline:
        time.sleep(0.01)


def check(served: Served, windows: list[Window]) -> list[str]:
    """What was acknowledged and is not there, or is there twice."""
    study = open_study(served.study, Voice(quiet=True))
    problems = [problem for window in windows for problem in window.problems]
    with study.store.transaction() as connection:
        drafts = {
            row[0]: (row[1], row[2])
            for row in connection.exec_driver_sql("SELECT photograph, version, content FROM drafts")
        }
        made = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT key, correction FROM finishes")}
    for window in windows:
        for case, (version, remark) in window.drafts.items():
            there = drafts.get(case)
            if there is None or there[0] < version or (there[0] == version and remark not in there[1]):
                problems.append(
                    f"draft {case} of {window.window}: version {version} was acknowledged, {there} is there"
                )
        for key, (case, correction) in window.finishes.items():
            if made.get(key) != correction:
                problems.append(f"finish {key} of case {case}: {correction} was acknowledged, {made.get(key)} is there")
    count = study.store.count()
    if count != len(made) or len(set(made.values())) != len(made):
        problems.append(f"{count} corrections for {len(made)} finishes")
    study.store.close()
    return problems


def main() -> int:
    """Kill, check, say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("kills", type=int, nargs="?", default=50)
    parser.add_argument("--seed", type=int, default=0)
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        served = Served(shutil.copytree(wish.study, Path(folder) / "study"))
        starts = [served.start()]
        with served.client() as client:
            cases = [item["id"] for item in client.get("/api/queue?limit=500").json()["cases"]]
        windows = [Window(served, "a", wish.seed, cases[::2]), Window(served, "b", wish.seed, cases[1::2])]
        for window in windows:
            window.start()
        draw = random.Random(wish.seed)
        for number in range(wish.kills):
            await_save(windows)
            time.sleep(draw.uniform(0.0, 1.5))
            served.kill()
            starts.append(served.start())
            print(f"kill {number + 1}: {sum(one.acknowledged for one in windows)} drafts saved", flush=True)
        await_save(windows)
        for window in windows:
            window.over.set()
            window.join(120)
        served.kill()
        problems = check(served, windows)
        words = [sys.executable, "-m", "regaze", "verify", str(served.study)]
        verified = subprocess.run(words, check=False)  # noqa: S603 - ours
        saves = sum(one.acknowledged for one in windows)
        finishes = sum(len(one.finishes) for one in windows)
        lost = sum(one.lost for one in windows)
        starts.sort()
        print(
            f"{wish.kills} kills: {saves} drafts and {finishes} finishes acknowledged, {lost} requests cut off; "
            f"started in {starts[len(starts) // 2]:.1f} s (median); {len(problems)} problems"
        )
        for problem in problems:
            print(problem)
    return int(bool(problems) or verified.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
