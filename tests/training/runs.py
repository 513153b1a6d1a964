"""Runs of the two recipes, as small as they can be."""

from dataclasses import replace

import torch

from regaze.models.build import build_network
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.training.batches import TrainingSet
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import Setup, finetune, train_phase1

SIDE, CLASSES = 64, 3
FP32 = MachineOptions(precision="fp32", device="cpu")
COMMON = {
    "classes": CLASSES,
    "ordinal": True,
    "normalisation": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "seed": 3,
    "machine": FP32,
}
# Every option is stated, so that these tests do not follow the defaults.
PHASE1 = TrainingOptions(
    epochs=4,
    batch=4,
    loss="ordinal",
    smoothing=0.1,
    sampling="square-root",
    lr_extractor=3e-4,
    lr_branches=5e-4,
    lr_heads=1e-3,
    weight_decay=1e-2,
    averaging=0.97,
    augment=True,
)
FINETUNE = FinetuneOptions(
    epochs=4,
    batch=4,
    map_weight=5.0,
    lr_branches=3e-4,
    lr_maps=3e-3,
    weight_decay=1e-2,
    averaging=0.97,
    replay=1.0,
    augment="free",
)
RECIPES = ("phase1", "finetune")


def photographs(count=8, edited=False):
    """Noise with one bright square each; the square is the lesion; every other photograph is corrected."""
    generator = torch.Generator().manual_seed(11)
    images = torch.randint(0, 120, (count, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    look = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for number in range(count):
        row, column = torch.randint(8, SIDE - 24, (2,), generator=generator).tolist()
        look[number, row : row + 12, column : column + 12] = True
    images[look] += 120
    data = TrainingSet(images, torch.arange(count) % CLASSES, look, torch.arange(count) % 2 == 0)
    if not edited:
        return data
    avoid = ~look
    avoid[:, SIDE // 2 :] = False
    return replace(data, avoid=avoid, edited=torch.ones(count, dtype=torch.bool))


def network_of(backbone="test_resnet", seed=0, **options):
    """A fresh two-scale network; the same bytes for the same seed."""
    options = {"bars": "seen"} | options
    return build_network(NetworkOptions(backbone=backbone, scales=2, **options), CLASSES, SIDE, seed).network


def run(recipe, folder, network=None, data=None, options=None, progress=None, **changes):
    """Run a recipe; returns the network and its history."""
    network = network if network is not None else network_of()
    data = data if data is not None else photographs()
    cache = {"cache": changes.pop("cache")} if "cache" in changes else {}
    setup = Setup(**COMMON | {"checkpoint": folder / f"{recipe}.safetensors", "progress": progress} | changes)
    if recipe == "phase1":
        return network, train_phase1(network, data, options or PHASE1, setup, **cache)
    return network, finetune(network, data, options or FINETUNE, PHASE1, setup, **cache)


def same(first, second):
    """True where two networks hold the same bytes."""
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


class Stop:
    """A progress callback that interrupts after an epoch, as a user's Ctrl-C would."""

    def __init__(self, after):
        self.after = after

    def __call__(self, done, total, _):
        """Called after every epoch."""
        assert total == 4
        if done == self.after:
            raise KeyboardInterrupt


def moved(data):
    """The same corrections, of the same area, elsewhere."""
    return replace(data, look=data.look.roll(5, dims=1))
