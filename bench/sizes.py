"""What a larger picture costs: time per photograph of a training step and of a prediction, and the memory of each.

The default network with maps and their loss, per side of its input. Each figure is of a process of its own, since a
peak of memory is never given back; times are the fastest of three and stand beside those of the smallest side in the
same run, so that they are ratios. Memory is the process's peak less what it held before the first step.

Usage: python bench/sizes.py [SIZE ...]   (prints Markdown; default 224 512 768 1024)
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import torch

from regaze.models.build import build_network
from regaze.models.device import choose_device, uses_bf16
from regaze.models.options import NetworkOptions
from regaze.training.losses import classification_loss, map_loss, soft_labels
from regaze.training.targets import render

BATCH, CLASSES, TIMES = 16, 5, 3


def main() -> None:
    """Measure each size in a process of its own, and print."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]), sys.argv[3])))
        return
    sizes = [int(word) for word in sys.argv[1:]] or [224, 512, 768, 1024]
    device = choose_device("auto")
    precision = "bf16" if uses_bf16("auto", device) else "fp32"
    threads = torch.get_num_threads()
    print(f"{device.type}, {precision}, {threads} threads, {BATCH} photographs a batch, torch {torch.__version__}.\n")
    print("| px | training, s a photograph | against the first | memory, GB", end=" ")
    print("| predicting, s a photograph | against the first | memory, GB |")
    print("|---" * 7 + "|")
    base: dict[str, float] = {}
    for size in sizes:
        cells = [str(size)]
        for what in ("train", "predict"):
            command = [sys.executable, __file__, "--one", str(size), what]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - itself
            base.setdefault(what, found["seconds"])
            cells += [f"{found['seconds']:.3f}", f"{found['seconds'] / base[what]:.1f}x", f"{found['gigabytes']:.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def one(size: int, what: str) -> dict[str, float]:
    """Seconds a photograph, and peak memory in GB beyond the idle process."""
    device = choose_device("auto")
    network = build_network(NetworkOptions(), CLASSES, size).network.to(device, memory_format=torch.channels_last)
    network.train(what == "train")
    images = torch.randn(BATCH, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    look = torch.zeros(BATCH, 1, size, size, device=device)
    look[:, :, size // 2 : size // 2 + 9, size // 2 : size // 2 + 9] = 1
    idle = peak(device)
    seconds = []
    for _ in range(TIMES):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16("auto", device)):
            if what == "predict":
                with torch.inference_mode():
                    network(images)
            else:
                output = network(images)
                target = soft_labels(
                    torch.zeros(BATCH, dtype=torch.int64, device=device), CLASSES, "cross-entropy", 0.1
                )
                grids = [(int(item.shape[2]), int(item.shape[3])) for item in output.own_maps]
                wanted = render(look, None, None, None, grids)
                loss = classification_loss(output, target)
                loss = loss + map_loss(output, wanted, torch.ones(BATCH, device=device), 2.0)
        if what == "train":
            loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds) / BATCH, "gigabytes": peak(device) - idle}


def peak(device: torch.device) -> float:
    """GB: the device's peak, or the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
