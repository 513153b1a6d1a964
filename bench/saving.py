"""What it costs to save what an expert drew: CPU time of one thread, from shapes to a row that is on the disk.

A photograph of 4288 x 2848 pixels with strokes of 60 points and a radius of 20 pixels, of which two in four say "look
here", one "not here" and one erases. Times are `time.thread_time`, so that a busy machine does not count; waiting for
the disk does not either.

Usage: python bench/saving.py [STROKES] [TIMES]   (prints Markdown; default 200 20)
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from regaze.corrections.masks import encode_mask
from regaze.corrections.shape_checks import shapes_to_json
from regaze.corrections.shapes import rasterise
from regaze.corrections.store import Store
from regaze.records import Correction, DrawnCorrection, Mark, Shape

HEIGHT, WIDTH = 2848, 4288
POINTS, RADIUS, STEP = 60, 20.0, 8.0  # pixels; a step of 8 is what a pen leaves at a usual pace
MARKS: tuple[Mark, ...] = ("look", "look", "avoid", "erase")


def main() -> None:
    """Measure, and print."""
    count, times = (int(word) for word in [*sys.argv[1:3], *("200", "20")[len(sys.argv) - 1 :]])
    shapes = strokes(count)
    look, avoid = rasterise(shapes, HEIGHT, WIDTH)
    drawing = DrawnCorrection("eye", "model/fold0", "edit", shapes, HEIGHT, WIDTH, "ada")
    masks = Correction(0, "eye", "model/fold0", "expert", "edit", look, avoid, "ada", "")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "records.sqlite") as store:
        rows: dict[str, Callable[[], object]] = {
            "rasterise": lambda: rasterise(shapes, HEIGHT, WIDTH),
            "pack two masks": lambda: (encode_mask(look), encode_mask(avoid)),
            "shapes as JSON": lambda: shapes_to_json(shapes),
            "**save a drawing**": lambda: store.add_corrections([drawing]),
            "save two masks without shapes": lambda: store.add_corrections([masks]),
        }
        found = {name: sorted(cpu_ms(work) for _ in range(times)) for name, work in rows.items()}
    size = sum(len(encode_mask(mask)) for mask in (look, avoid)) / 1000
    print(f"{count} strokes of {POINTS} points, {WIDTH} x {HEIGHT} px: {len(shapes_to_json(shapes)) / 1000:.0f} kB of")
    print(f"shapes and {size:.0f} kB of masks a row; n = {times}.\n")
    print("| | CPU ms, median | least |\n|---|---|---|")
    for name, spent in found.items():
        print(f"| {name} | {statistics.median(spent):.0f} | {spent[0]:.0f} |")


def strokes(count: int) -> tuple[Shape, ...]:
    """Winding strokes all over the photograph, always the same."""
    rng = np.random.default_rng(0)
    shapes = []
    for number in range(count):
        turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.2, POINTS))
        steps = STEP * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        line = np.round(np.cumsum(steps, axis=0) + rng.uniform(0, 1, 2) * (WIDTH, HEIGHT), 2)
        shapes.append(Shape("stroke", MARKS[number % 4], tuple(map(tuple, line.tolist())), RADIUS))
    return tuple(shapes)


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time that this thread spends on it."""
    start = time.thread_time()
    work()
    return 1000 * (time.thread_time() - start)


if __name__ == "__main__":
    main()
