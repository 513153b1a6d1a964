"""Checkpoints of the loop as one safetensors file: weights, their average, the optimiser's state, the history.

No pickle; written whole or not at all. Random state is not kept, since each epoch derives its own from the seed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from regaze.files import replacing
from regaze.training.average import WeightAverage


@dataclass(frozen=True)
class Checkpoint:
    """The state of one run of the loop, and the file that keeps it.

    Attributes:
        path: The file.
        identity: Hash of everything that decides the run's result.
        network, average, optimizer: What the loop changes.
        history: Mean losses of the epochs so far.
    """

    path: Path
    identity: str
    network: nn.Module
    average: WeightAverage | None
    optimizer: Any
    history: list[dict[str, float]]

    def save(self) -> None:
        """Write the state after `len(history)` epochs."""
        tensors: dict[str, Tensor] = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        updates = 0
        if self.average is not None:
            tensors |= {f"average/{name}": value for name, value in self.average.state.items()}
            updates = self.average.updates
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
        metadata = {"identity": self.identity, "history": json.dumps(self.history), "updates": str(updates)}
        with replacing(self.path) as temporary:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, metadata)

    def load(self) -> None:
        """Take up the file's state; a file that is missing, damaged or another run's changes nothing."""
        try:
            with safe_open(self.path, framework="pt") as stream:
                metadata = stream.metadata() or {}
                if metadata.get("identity") != self.identity:
                    return
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError):
            return
        self.network.load_state_dict(_under(tensors, "network/"))
        if self.average is not None:
            self.average.load(_under(tensors, "average/"), int(metadata["updates"]))
        whole = self.optimizer.state_dict()
        whole["state"] = _optimizer_state(_under(tensors, "optimizer/"))
        self.optimizer.load_state_dict(whole)
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if value.shape == parameter.shape:  # in the weight's own order in memory: the file has another
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        self.history.extend(json.loads(metadata["history"]))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    return state
