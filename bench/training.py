"""What bf16 and channels_last are worth on this processor, and what they change.

One run, all variants in turn, the median of several rounds; figures are ratios against plain fp32 in NCHW. Prints a
Markdown table; `make bench` shows it.

Usage: python bench/training.py [rounds]
"""

from __future__ import annotations

import copy
import statistics
import sys
import time

import torch

from regaze.models.build import build_network
from regaze.models.device import uses_bf16
from regaze.models.options import NetworkOptions
from regaze.training.losses import classification_loss, soft_labels

BATCH, SIDE, CLASSES = 16, 224, 5
VARIANTS = (
    ("fp32, NCHW", False, torch.contiguous_format),
    ("fp32, channels_last", False, torch.channels_last),
    ("bf16, NCHW", True, torch.contiguous_format),
    ("bf16, channels_last", True, torch.channels_last),
)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    device = torch.device("cpu")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, native bf16: {uses_bf16('auto', device)}")
    network = build_network(NetworkOptions(), CLASSES).network
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
    target = soft_labels(torch.arange(BATCH) % CLASSES, CLASSES, "ordinal", 0.1)
    steps: dict[str, list[float]] = {name: [] for name, _, _ in VARIANTS}
    passes: dict[str, list[float]] = {name: [] for name, _, _ in VARIANTS}
    differences: dict[str, float] = {}
    networks = {name: copy.deepcopy(network).to(memory_format=layout) for name, _, layout in VARIANTS}
    for lap in range(rounds + 1):  # the first is a warm-up
        for name, bf16, layout in VARIANTS:
            batch = images.contiguous(memory_format=layout)
            start = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                output = networks[name].train()(batch)
            classification_loss(output, target).backward()
            stepped = time.perf_counter() - start
            networks[name].zero_grad(set_to_none=True)
            networks[name].load_state_dict(network.state_dict())  # batch-norm statistics as they were
            start = time.perf_counter()
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                probabilities = torch.softmax(networks[name].eval()(batch).logits.float(), dim=1)
            passed = time.perf_counter() - start
            if lap == 0:
                first = differences.setdefault("probabilities", probabilities)
                differences[name] = float((probabilities - first).abs().max())
            else:
                steps[name].append(stepped)
                passes[name].append(passed)
    base_step, base_pass = (statistics.median(times[VARIANTS[0][0]]) for times in (steps, passes))
    print(f"\nResNet18, multi-scale, {SIDE} px, batch {BATCH}, median of {rounds} rounds\n")
    print("| variant | training step | forward pass | images/s (step) | largest change of a probability |")
    print("|---|---|---|---|---|")
    for name, _, _ in VARIANTS:
        step, forward = statistics.median(steps[name]), statistics.median(passes[name])
        print(
            f"| {name} | {base_step / step:.2f}x | {base_pass / forward:.2f}x | {BATCH / step:.1f} "
            f"| {differences[name]:.4f} |"
        )


if __name__ == "__main__":
    main()
