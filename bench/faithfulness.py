"""How fast Deletion and Insertion are, against torchcam's metric, a plain loop, and the bound.

The same ResNet18, photographs and maps for all, in 28 and in 224 steps, in turn; the median of several laps:

* regaze: `compare_orders` of one map through `Predictor.scores`, as the commands call it; bf16 and fp32.
* torchcam, defaults: its `DeletionInsertionMetric` as its users call it: fp32, NCHW, its batch size. It blurs nothing
  (one baseline of zeros for both curves), which is less work.
* torchcam, equal: the same with our batch size, precision and channels_last weights; beside it regaze with torchcam's
  one baseline ("grey both"), so that both ask the model equally often.
* loop: the definition, pixel order and one forward pass per step, photograph by photograph, fp32.
* bound: as many plain forward passes as regaze makes, at the batch size that is fastest for them, in the same
  precision, channels_last, on a tensor that lies in memory.

Time does not depend on what is in the photographs, so they are noise; 224 steps take an eighth of them. torchcam is
handed the maps, so that nobody is charged for an explainer. Then: what is kept in memory while images and steps grow,
with a model that costs nothing. With a study, on its first fold's validation photographs: what bf16 changes in the
areas, and what fewer steps do, even or placed where the curve moves. Prints Markdown tables with the ratios in front.

Usage: python bench/faithfulness.py [photographs] [laps] [STUDY MODEL]
"""

from __future__ import annotations

import copy
import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchcam.metrics import DeletionInsertionMetric

from regaze.console import Voice
from regaze.evaluation.faithfulness import Faithfulness, Procedure, area_under_curve, compare_orders
from regaze.evaluation.perturbation import Scores
from regaze.evaluation.reference_rankings import blurred_random
from regaze.evaluation.substrates import blur_size, blurred, gaussian_kernel
from regaze.models.build import build_network
from regaze.models.device import uses_bf16
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor
from regaze.records import Substrate
from regaze.study.folder import open_study
from regaze.study.lesions import enlarge

SIDE, CLASSES, BATCH, FINE = 224, 5, 16, 224
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
BATCHES = (8, 16, 32, 64)
PRECISIONS = ("bf16", "fp32")


class Logits(nn.Module):
    """The network as torchcam's users have it: images -> logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.network(images).logits


class GivenMaps:
    """Stands where torchcam has an extractor, with maps that are there already."""

    def __init__(self, model: nn.Module, maps: Tensor) -> None:
        self.model, self.maps = model, maps

    def __call__(self, *_: object, **__: object) -> list[Tensor]:
        """The maps, whatever was asked for."""
        return [self.maps]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        """The maps."""
        return cams[0]

    @contextmanager
    def _hooks_off(self) -> Iterator[None]:
        yield


def deletion_insertion(scores: Scores, images: Tensor, maps: Tensor, n_steps: int, **options: Any) -> Faithfulness:
    """Regaze's result of one map."""
    procedure = Procedure(n_steps=n_steps, insertion=options.pop("insertion", "blur"))
    return compare_orders(scores, images, {"map": maps}, procedure, **options)["map"]


def predictor(network: nn.Module, precision: str) -> Predictor:
    """The network as regaze runs it."""
    machine = MachineOptions(precision=precision, device="cpu")
    return Predictor(copy.deepcopy(network), MEAN, STD, "median", machine)


def softmax(logits: Tensor) -> Tensor:
    """Probabilities in fp32, whatever the logits came in."""
    return logits.float().softmax(1)


def torchcam_run(network: nn.Module, images: Tensor, maps: Tensor, n_steps: int, bf16: bool, **settings: Any) -> None:
    """One update with all photographs."""
    metric = DeletionInsertionMetric(GivenMaps(Logits(network), maps), softmax, steps=n_steps, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        metric.update(images)
    metric.summary()


@torch.inference_mode()
def loop_run(network: nn.Module, images: Tensor, maps: Tensor, n_steps: int) -> None:
    """The definition, written down."""
    network.eval()
    step = -(-SIDE * SIDE // n_steps)
    for image, values in zip(images, maps, strict=True):
        order = values.flatten().argsort(descending=True)
        chosen = int(network(image[None]).logits.argmax())
        smooth = blurred(image[None], gaussian_kernel(*blur_size(SIDE)))[0]
        for start, finish in ((image, torch.zeros_like(image)), (smooth, image)):
            now, curve = start.clone(), []
            for done in range(n_steps + 1):
                curve.append(float(network(now[None]).logits.softmax(1)[0, chosen]))
                pixels = order[done * step : (done + 1) * step]
                now.view(3, -1)[:, pixels] = finish.reshape(3, -1)[:, pixels]
            np.trapezoid(curve, dx=1 / n_steps)


@torch.inference_mode()
def passes(network: nn.Module, rows: int, batch: int, bf16: bool) -> None:
    """Plain forward passes of `rows` images."""
    images = torch.randn(batch, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    for begin in range(0, rows, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            network(images[: min(batch, rows - begin)])


def timed(run: Callable[[], object]) -> tuple[float, float | None]:
    """Seconds, and the megabytes that the process grew by at its largest (None where the system does not tell)."""
    with_memory = reset_peak()
    before = status("VmRSS") if with_memory else 0.0
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return seconds, status("VmHWM") - before if with_memory else None


def reset_peak() -> bool:
    """Give freed memory back and start the system's high-water mark anew (Linux)."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def status(field: str) -> float:
    """Megabytes of a field of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def best_batch(network: nn.Module, bf16: bool) -> int:
    """The batch size at which plain passes are fastest here, the better of two tries each."""
    tries = {
        batch: min(timed(lambda batch=batch: passes(network, 64, batch, bf16))[0] for _ in range(2))
        for batch in BATCHES
    }
    return min(tries, key=lambda batch: tries[batch])


def speed(network: nn.Module, count: int, n_steps: int, laps: int, best: dict[str, int]) -> dict[str, Faithfulness]:
    """Print the table of one number of steps; returns regaze's results per precision."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    maps = torch.from_numpy(blurred_random(count, SIDE, 0))
    nchw = copy.deepcopy(network).to(memory_format=torch.contiguous_format).eval()
    lasting = copy.deepcopy(network).to(memory_format=torch.channels_last).eval()
    ours = {precision: predictor(network, precision) for precision in PRECISIONS}
    results: dict[str, Faithfulness] = {}
    rows: list[int] = []
    asked = count * (3 + 2 * (n_steps - 1))

    def regaze(precision: str, insertion: Substrate) -> None:
        def scores(batch: Tensor) -> Tensor:
            rows.append(len(batch))
            return ours[precision].scores(batch)

        rows.clear()
        result = deletion_insertion(scores, images, maps, n_steps, batch=BATCH, insertion=insertion)
        if insertion == "blur":
            results[precision] = result
            assert sum(rows) == asked, "the bound makes as many passes"

    runs: dict[str, Callable[[], object]] = {}
    for precision in PRECISIONS:
        bf16 = precision == "bf16"
        runs[f"regaze, {precision}"] = lambda precision=precision: regaze(precision, "blur")
        runs[f"bound, {precision}, batch {best[precision]}"] = lambda bf16=bf16, batch=best[precision]: passes(
            lasting, asked, batch, bf16
        )
        runs[f"regaze, grey both, {precision}"] = lambda precision=precision: regaze(precision, "grey")
        runs[f"torchcam, equal, {precision}"] = lambda bf16=bf16: torchcam_run(
            lasting, images, maps, n_steps, bf16, batch_size=BATCH
        )
    runs["torchcam, defaults, fp32"] = lambda: torchcam_run(nchw, images, maps, n_steps, False)
    runs["loop, fp32"] = lambda: loop_run(nchw, images, maps, n_steps)
    measured: dict[str, list[tuple[float, float | None]]] = {name: [] for name in runs}
    for _ in range(laps):
        for name, run in runs.items():
            measured[name].append(timed(run))
    seconds = {name: statistics.median(item[0] for item in items) for name, items in measured.items()}
    report(count, n_steps, asked, seconds, {name: items[0][1] for name, items in measured.items()})
    return results


def report(count: int, n_steps: int, rows: int, seconds: dict[str, float], memory: dict[str, float | None]) -> None:
    """Print one table."""
    base = seconds["torchcam, defaults, fp32"]
    print(f"\n{n_steps} steps, {count} photographs, {rows} forward passes of regaze, batch {BATCH}\n")
    print("| variant | share of the bound | times torchcam's defaults | seconds | peak memory |")
    print("|---|---|---|---|---|")
    for name, value in seconds.items():
        precision = "bf16" if "bf16" in name else "fp32"
        bound = next(taken for other, taken in seconds.items() if other.startswith(f"bound, {precision}"))
        peak = memory[name]
        held = f"{peak:.0f} MB" if peak is not None else "not measured"
        print(f"| {name} | {bound / value:.2f} | {base / value:.2f} | {value:.1f} | {held} |")
    for precision in PRECISIONS:
        ratio = seconds[f"torchcam, equal, {precision}"] / seconds[f"regaze, grey both, {precision}"]
        print(f"\nAgainst torchcam at equal precision and batch, {precision}: {ratio:.2f}x")


def flat_memory() -> None:
    """Print what is held beyond the inputs, with a model that costs nothing."""
    print("\nMemory beyond the inputs, a model that takes the mean\n")
    print("| photographs | steps | peak memory |")
    print("|---|---|---|")

    def scores(rows: Tensor) -> Tensor:
        share = rows.mean((1, 2, 3)).sigmoid()
        return torch.stack([share, 1 - share], dim=1)

    for count, n_steps in ((2, 28), (2, 28), (2, 224), (32, 28), (32, 224)):
        images = torch.randn(count, 3, SIDE, SIDE)
        maps = torch.rand(count, SIDE, SIDE)
        _, peak = timed(
            lambda images=images, maps=maps, n_steps=n_steps: deletion_insertion(scores, images, maps, n_steps)
        )
        held = f"{peak:.0f} MB" if peak is not None else "not measured"
        print(f"| {count} | {n_steps} | {held} |")


def differences(name: str, results: dict[str, Faithfulness]) -> None:
    """Print what bf16 changes in the areas."""
    print(f"\n| bf16 against fp32, {name} | largest change of an area | mean change |")
    print("|---|---|---|")
    for measure in ("deletion", "insertion"):
        change = getattr(results["bf16"], measure) - getattr(results["fp32"], measure)
        print(f"| {measure} | {np.abs(change).max():.5f} | {change.mean():+.5f} |")


def on_photographs(path: Path, model: str, count: int) -> None:
    """Print the same of a trained model and its fused attention map on real photographs, and what steps change."""
    study = open_study(path, Voice(quiet=True))
    samples = study.validation(study.folds[0])
    samples = samples[:: max(1, len(samples) // count)][:count]
    results: dict[str, Faithfulness] = {}
    maps, classes = torch.zeros(0), None
    for precision in reversed(PRECISIONS):
        machine = MachineOptions(precision=precision, device="cpu")
        judge, card = load_model(study.model_folder(model, study.folds[0]), machine)
        pixels = study.pixels(samples, card.size)
        if not len(maps):
            maps = torch.from_numpy(enlarge(judge.predict(pixels.images).fused, card.size))
        images = judge.normalise(pixels.images)
        results[precision] = deletion_insertion(judge.scores, images, maps, 28, classes=classes)
        classes = results[precision].classes
    differences(f"{model}, {len(samples)} real photographs, 28 steps", results)
    whole = deletion_insertion(judge.scores, images, maps, FINE, classes=classes)
    fewer_steps(np.concatenate([whole.deletion_curves, whole.insertion_curves]))


def fewer_steps(curves: NDArray[np.float64]) -> None:
    """Print how far areas of fewer points lie from those of all: evenly spaced points, and refinement."""
    areas = area_under_curve(curves)
    print(f"\n| points of a curve of {curves.shape[1]} | mean error | largest error | bound broken | mean points |")
    print("|---|---|---|---|---|")
    for steps in (14, 28, 56, 112):
        error = area_under_curve(curves[:, :: FINE // steps]) - areas
        print(f"| even, {steps} steps | {np.abs(error).mean():.5f} | {np.abs(error).max():.5f} | | {steps + 1} |")
    for tolerance in (0.02, 0.01, 0.005):
        tries = [refined_area(curve, tolerance) for curve in curves]
        error = np.abs(np.array([item[0] for item in tries]) - areas)
        broken = (error > [item[1] for item in tries]).mean()
        points = np.mean([item[2] for item in tries])
        print(
            f"| refined to {tolerance:g} | {error.mean():.5f} | {error.max():.5f} | {broken:.0%} of curves "
            f"| {points:.1f} |"
        )


def refined_area(curve: NDArray[np.float64], tolerance: float) -> tuple[float, float, int]:
    """Halve stretches of a curve, the most doubtful first, until the bound is within the tolerance.

    If a curve stays between the ends of a stretch of w steps, the stretch's area is off by at most
    (w - 1) * |rise| / 2 steps. Nothing makes it stay there, so this is an estimate; the table says how often it broke.

    Returns:
        Area, bound and number of points asked.
    """
    steps = len(curve) - 1
    points = np.linspace(0, steps, 15).round().astype(int)
    while True:
        width = np.diff(points)
        doubt = (width - 1) * np.abs(np.diff(curve[points])) / (2 * steps)
        bound = float(doubt.sum())
        if bound <= tolerance:
            return float(np.trapezoid(curve[points], points / steps)), bound, len(points)
        worst = np.argsort(-doubt)
        # Halving a stretch halves its doubt where the curve stays within: as many as bring the bound down far enough.
        wanted = int(np.searchsorted(np.cumsum(doubt[worst]) / 2, bound - tolerance)) + 1
        chosen = worst[:wanted]
        chosen = chosen[doubt[chosen] > 0]
        points = np.sort(np.concatenate([points, points[chosen] + width[chosen] // 2]))


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    laps = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    device = torch.device("cpu")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, native bf16: {uses_bf16('auto', device)}")
    network = build_network(NetworkOptions(network="plain"), CLASSES, SIDE).network
    lasting = copy.deepcopy(network).to(memory_format=torch.channels_last).eval()
    best = {precision: best_batch(lasting, precision == "bf16") for precision in PRECISIONS}
    print(f"\nResNet18, {SIDE} px, median of {laps} laps; peak memory: what the process grew by at its largest")
    results = speed(network, count, 28, laps, best)
    speed(network, max(1, count // 8), 224, laps, best)
    differences("the untrained network of the tables", results)
    flat_memory()
    if len(sys.argv) > 4:
        on_photographs(Path(sys.argv[3]), sys.argv[4], count)


if __name__ == "__main__":
    main()
