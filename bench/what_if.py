"""What a what-if costs while an expert paints: CPU milliseconds of one thread, the whole map against touched cells.

Random weights, since time does not depend on them. Rows: the extractor and the own maps (once a case, with the curve
of amounts in `prepare`), every cell changed, and one stroke over a share of the square that was not there before, as
wide as a tenth of the square, across it. `bf16` where the processor computes it natively; elsewhere it is emulated and
slower than fp32.

Usage: OMP_NUM_THREADS=1 python bench/what_if.py [--sizes 224 512] [--precisions fp32 bf16] [--runs 60]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from regaze.models.build import build_network
from regaze.models.device import uses_bf16
from regaze.models.options import MachineOptions, NetworkOptions, Precision
from regaze.models.predictor import Predictor
from regaze.models.what_if import OWN

NETWORKS = {
    "default": NetworkOptions(),
    "pooling, none, 2 scales": NetworkOptions(weighting="pooling", perception="none", scales=2),
}
SHARES = (0.02, 0.05, 0.2)  # of the square


@dataclass(frozen=True)
class Options:
    """What is measured."""

    sizes: tuple[int, ...] = (224, 512)
    """Sides of the cropped square in pixels."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    """fp32, bf16."""
    runs: int = 60
    """Runs of each row, after two that do not count."""


def main() -> None:
    """Print one row for each network, size, precision and kind of change."""
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    native = uses_bf16("auto", torch.device("cpu"))
    print(f"bf16 is {'native' if native else 'emulated'} here; {options.runs} runs\n")
    print("| network | px | precision | change | CPU ms p50 | p95 |\n|---|---|---|---|---|---|")
    for name, network in NETWORKS.items():
        for size in options.sizes:
            for precision in options.precisions:
                for change, times in _measured(network, size, precision, options.runs).items():
                    middle, late = np.percentile(times, [50, 95])
                    print(f"| {name} | {size} | {precision} | {change} | {middle:.1f} | {late:.1f} |", flush=True)


def _measured(network: NetworkOptions, size: int, precision: Precision, runs: int) -> dict[str, list[float]]:
    """Change -> CPU ms of each run."""
    built = build_network(network, 5, size)
    predictor = Predictor(built.network.eval(), built.mean, built.std, "median", MachineOptions(precision, "cpu"))
    random = np.random.default_rng(0)
    square = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
    once = _timed(lambda _: predictor.hold(square).prepare(), max(3, runs // 10))
    held = predictor.hold(square)
    held.prepare()
    other = [bytes(random.integers(0, OWN, rows * columns).astype(np.uint8)) for rows, columns in held.grids]
    every = [b"".join(other), b"".join(item[::-1] for item in other)]
    found = {"hold and prepare": once, "every cell": _timed(lambda run: held.quick_what_if(every[run % 2]), runs)}
    own = bytes([OWN]) * sum(rows * columns for rows, columns in held.grids)
    for share in SHARES:
        painted = [_stroke(held.grids, share, random) for _ in range(runs + 2)]
        times = []
        for cells in painted:
            held.quick_what_if(own)
            times += _timed(lambda _, cells=cells: held.quick_what_if(cells), 1, 0)
        found[f"stroke over {100 * share:g} %"] = times[2:]
    return found


def _timed(work: Callable[[int], object], runs: int, unseen: int = 2) -> list[float]:
    """CPU ms of each run but the first ones."""
    times = []
    for run in range(runs + unseen):
        start = time.process_time()
        work(run)
        times.append(1000 * (time.process_time() - start))
    return times[unseen:]


def _stroke(grids: list[tuple[int, int]], share: float, random: np.random.Generator) -> bytes:
    """Grids in which the cells under one stroke in any direction are 1."""
    side, width = 1024, 0.1
    length = max(share / width, 0.01)
    width = share / length
    angle = random.uniform(0, np.pi)
    way = np.array([np.cos(angle), np.sin(angle)]) * max(length - width, 0) / 2
    room = np.abs(way) + width / 2
    middle = np.array([random.uniform(low, max(low, 1 - low)) for low in np.minimum(room, 0.5)])
    ends = [tuple(int(value) for value in (middle + sign * way) * side) for sign in (-1, 1)]
    canvas: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
    cv2.line(canvas, ends[0], ends[1], 1, max(1, round(width * side)))
    cells = [cv2.resize(canvas, (columns, rows), interpolation=cv2.INTER_AREA) > 0 for rows, columns in grids]
    return b"".join(np.where(item, OWN - 1, OWN).astype(np.uint8).tobytes() for item in cells)


if __name__ == "__main__":
    main()
