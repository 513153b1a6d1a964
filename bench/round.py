"""How long one round of corrections takes, against the same round written plainly and against the bound.

A round: fine-tune from phase 1, collect the training part's maps again, judge the validation part. Variants, in turn:

* regaze, warm: features of the frozen extractor from the cache, bf16 where the processor has it, channels_last.
* regaze, cold: the same with an empty cache (the first round of a model).
* plain: the same epochs and steps over the whole network, in fp32 and NCHW, without a cache.
* bound: the branches' own forward and backward passes, as many as the round takes, on tensors already in memory.

The time of a round does not depend on what is in the photographs, so they are noise. Prints a Markdown table with the
ratios in front.

Usage: python bench/round.py [photographs] [side]
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from regaze.evaluation.grading import grading_summary
from regaze.models.build import build_network
from regaze.models.device import uses_bf16
from regaze.models.features import FeatureCache, FrozenFeatures
from regaze.models.network import AttentionNetwork
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor
from regaze.training.batches import Feed, TrainingSet
from regaze.training.losses import classification_loss, map_loss, soft_labels
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import Setup, finetune
from regaze.training.targets import render

CLASSES = 5
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
CPU = torch.device("cpu")
OPTIONS, PHASE1 = FinetuneOptions(), TrainingOptions()
CORRECTED = 0.3


def photographs(count: int, side: int) -> TrainingSet:
    """Noise with one lesion each; the first 30 % are corrected."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)
    look = torch.zeros(count, side, side, dtype=torch.bool)
    look[:, side // 3 : side // 2, side // 3 : side // 2] = True
    return TrainingSet(images, torch.arange(count) % CLASSES, look, torch.arange(count) < CORRECTED * count)


def regaze_round(network: AttentionNetwork, data: TrainingSet, held_out: np.ndarray, folder: Path) -> dict[str, float]:
    """A round as the commands do it; returns seconds per part."""
    machine, seconds, start = MachineOptions(), {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        seconds[name] = time.perf_counter() - start
        start = time.perf_counter()

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint.safetensors"
        setup = Setup(CLASSES, True, (MEAN, STD), seed=0, machine=machine, checkpoint=checkpoint)
        finetune(network, data, OPTIONS, PHASE1, setup, cache=FeatureCache(folder, 8 * 10**9))
    lap("fine-tune")
    predictor = Predictor(network, MEAN, STD, "median", machine)
    predictor.predict(data.images.numpy(), cache=FeatureCache(folder, 8 * 10**9))
    lap("collect")
    predictions = predictor.predict(held_out, cache=FeatureCache(folder, 8 * 10**9))
    labels = np.arange(len(held_out)) % CLASSES
    grading_summary(predictions.probabilities.astype(np.float64), predictions.grades, labels, resamples=2000)
    lap("evaluate")
    return seconds


def plain_round(network: AttentionNetwork, data: TrainingSet, held_out: np.ndarray) -> float:
    """The same epochs, written plainly: whole network, fp32, NCHW."""
    network = network.to(memory_format=torch.contiguous_format)
    network.extractor.requires_grad_(requires_grad=False)
    feed = Feed(data, CLASSES, OPTIONS.batch, 0, PHASE1.sampling, OPTIONS.augment, MEAN, STD, replay=OPTIONS.replay)
    optimizer = torch.optim.AdamW([item for item in network.parameters() if item.requires_grad], lr=3e-4)
    start = time.perf_counter()
    for epoch in range(OPTIONS.epochs):
        network.train()
        network.extractor.eval()
        for batch in feed.epoch(epoch, CPU):
            assert batch.look is not None
            assert batch.corrected is not None
            output = network(batch.inputs.contiguous())
            target = soft_labels(batch.labels, CLASSES, PHASE1.loss, PHASE1.smoothing)
            grids = [(int(item.shape[2]), int(item.shape[3])) for item in output.maps]
            wanted = render(batch.look, None, None, None, grids)
            loss = classification_loss(output, target) + map_loss(output, wanted, batch.corrected, OPTIONS.map_weight)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    network.eval()
    everything = torch.cat([data.images, torch.from_numpy(held_out)])
    with torch.no_grad():
        for images in everything.split(32):
            network(((images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25).contiguous())
    return time.perf_counter() - start


def bound(network: AttentionNetwork, data: TrainingSet, held_out: int) -> float:
    """The branches' passes alone, on features that lie in memory already."""
    bf16 = uses_bf16("auto", CPU)
    network = network.to(memory_format=torch.channels_last)
    network.extractor.requires_grad_(requires_grad=False)
    frozen = FrozenFeatures(network.extractor, data.images, MEAN, STD, CPU, bf16=bf16)
    features = frozen(torch.arange(OPTIONS.batch), [0] * OPTIONS.batch)
    feed = Feed(data, CLASSES, OPTIONS.batch, 0, PHASE1.sampling, "none", MEAN, STD, replay=OPTIONS.replay)
    passes = -(-(len(data) + held_out) // OPTIONS.batch)
    start = time.perf_counter()
    network.train()
    for _ in range(OPTIONS.epochs * feed.steps()):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            output = network.branches(features)
        logits = [output.logits, *output.attention_logits, *output.perception_logits]
        total = torch.stack([item.float().square().mean() for item in [*logits, *output.maps]]).sum()
        total.backward()
        network.zero_grad(set_to_none=True)
    network.eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for _ in range(passes):
            network.branches(features)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 413
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 224
    held_out = count // 5
    network = build_network(NetworkOptions(), CLASSES, side).network
    assert isinstance(network, AttentionNetwork)
    data = photographs(count - held_out, side)
    generator = np.random.default_rng(1)
    others = generator.integers(0, 256, (held_out, side, side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        cold = regaze_round(copy.deepcopy(network), data, others, Path(folder))
        warm = regaze_round(copy.deepcopy(network), data, others, Path(folder))
    least = bound(copy.deepcopy(network), data, held_out)
    plain = plain_round(copy.deepcopy(network), data, others)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, native bf16: {uses_bf16('auto', CPU)}")
    print(f"\nOne round, {count} photographs ({len(data)} training, {held_out} validation), {side} px, ResNet18,")
    print(f"multi-scale, {CORRECTED:.0%} corrected, {OPTIONS.epochs} epochs, replay {OPTIONS.replay:g}\n")
    print("| variant | speed against plain | share of the bound | seconds | fine-tune, collect, evaluate |")
    print("|---|---|---|---|---|")
    for name, parts in (("regaze, warm cache", warm), ("regaze, cold cache", cold)):
        total = sum(parts.values())
        split = ", ".join(f"{value:.1f}" for value in parts.values())
        print(f"| {name} | {plain / total:.2f}x | {least / total:.2f} | {total:.1f} | {split} |")
    print(f"| plain: fp32, NCHW, no cache | 1.00x | {least / plain:.2f} | {plain:.1f} | |")
    print(f"| bound: the branches' passes | {plain / least:.2f}x | 1.00 | {least:.1f} | |")


if __name__ == "__main__":
    main()
