"""How long the page's queue takes to answer where it is long: `python bench/serve_queue.py [CASES] [QUESTIONS]`.

Fills a queue of its own in a study that needs no photographs, and asks it as the routes do: a part at any place, the
next case, a lease, a draft, a finished case. Wall and CPU milliseconds, 50th and 95th percentile.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from regaze.corrections.store import Store
from regaze.server.bodies import DraftBody
from regaze.server.cases import Case
from regaze.server.drafts import Drafts
from regaze.server.frame import Frame
from regaze.server.queue import Queue, decide, fill
from regaze.server.tables import lay

BOUND = 20.0  # ms, 95th percentile


def main(cases: int, questions: int) -> int:
    """Measure; 1 where the queue is slower than it must be."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "records.sqlite") as store:
        lay(store)
        desk: Any = SimpleNamespace(store=store, author="bench", study=SimpleNamespace(classes=("0", "1")))
        queue, drafts, started = Queue(desk), Drafts(desk), time.perf_counter()
        with store.transaction(write=True) as connection:
            connection.exec_driver_sql(
                "INSERT INTO queues (id, model, basis, waiting, corrected, accepted, skipped, flagged) "
                "VALUES (1, 'm', '1', 0, 0, 0, 0, 0)"
            )
            names = [(f"photograph-{n}", "{}") for n in range(cases)]
            connection.exec_driver_sql("INSERT INTO photographs (sample, record) VALUES (?, ?)", names)
            why = "Its branches disagree on the grade by 0.412; graded 2 (confidence 0.41), truth 1: misgraded."
            # As after long work: a third is done.
            states = ("waiting", "corrected", "waiting")
            fill(connection, 1, [Case(n + 1, n, "m/fold0", why, states[n % 3], False) for n in range(cases)])
        filled = time.perf_counter() - started
        draw = random.Random(0)
        frame = Frame("s", 4288, 2848, 1)
        stroke = {"kind": "stroke", "mark": "look", "radius": 20.0}
        shapes = [
            stroke | {"points": [[draw.random() * 4000, draw.random() * 2800] for _ in range(60)]} for _ in range(200)
        ]
        body = {"window": "w", "base": 0, "shapes": shapes, "decision": "correct"}

        def save(n: int) -> None:
            case = queue.next(1, f"w{n}", None)
            assert case is not None
            drafts.save(1, case, DraftBody.model_validate_json(json.dumps(body)), frame)

        def accept(n: int) -> None:
            found = queue.next(1, f"a{n}", None)
            case = queue.case(1, found) if found is not None else None
            assert case is not None
            with store.transaction(write=True) as connection:
                decide(connection, 1, case, {"state": "accepted", "flagged": 0})

        asked: dict[str, Callable[[int], Any]] = {
            "a part of 50 cases at any place": lambda _: queue.page(1, "w", draw.randrange(cases), 50),
            "counts": lambda _: queue.counts(1),
            "next, from the first": lambda n: queue.next(1, f"n{n}", None),
            "next, from any place": lambda _: queue.next(1, "v", draw.randrange(cases) + 1),
            "lease": lambda _: queue.lease(draw.randrange(cases) + 1, "w"),
            "accept": accept,
            "next and a draft of 200 strokes": save,
        }
        print(f"{cases} cases, filled in {filled:.1f} s; ms wall p50 / p95, CPU p50 / p95 over {questions} questions")
        slow = False
        for name, ask in asked.items():
            walls, cpus = [], []
            for n in range(questions):
                wall, cpu = time.perf_counter(), time.process_time()
                ask(n)
                walls.append((time.perf_counter() - wall) * 1000)
                cpus.append((time.process_time() - cpu) * 1000)
            figures = [_quantile(values, share) for values in (walls, cpus) for share in (0.5, 0.95)]
            print(f"{name:34} {figures[0]:8.2f} / {figures[1]:6.2f}   {figures[2]:8.2f} / {figures[3]:6.2f}")
            slow = slow or ("draft" not in name and figures[3] > BOUND)
    return int(slow)


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(*(numbers + [1_000_000, 300][len(numbers) :])))
