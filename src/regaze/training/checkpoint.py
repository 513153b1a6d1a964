"""Checkpoints of the loop as one safetensors file: weights, their average, the optimiser's state, the history.

No pickle; written whole or not at all. Random state is not kept, since each epoch derives its own from the seed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from regaze.files import replacing
from regaze.training.average import WeightAverage


def save_checkpoint(
    path: Path,
    identity: str,
    network: nn.Module,
    average: WeightAverage | None,
    optimizer: Any,
    history: list[dict[str, float]],
) -> None:
    """Write a checkpoint of the state after `len(history)` epochs."""
    tensors: dict[str, Tensor] = {f"network/{name}": value for name, value in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{name}": value for name, value in average.state.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
    metadata = {
        "identity": identity,
        "history": json.dumps(history),
        "updates": str(average.updates if average is not None else 0),
    }
    with replacing(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, metadata)


def load_checkpoint(
    path: Path,
    identity: str,
    network: nn.Module,
    average: WeightAverage | None,
    optimizer: Any,
    history: list[dict[str, float]],
) -> int:
    """Take up a checkpoint.

    Returns:
        Number of epochs it has behind it; 0 where there is none, it is damaged, or it belongs to another run.
    """
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if metadata.get("identity") != identity:
                return 0
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError):
        return 0
    network.load_state_dict(_under(tensors, "network/"))
    if average is not None:
        average.load(_under(tensors, "average/"), int(metadata["updates"]))
    whole = optimizer.state_dict()
    whole["state"] = _optimizer_state(_under(tensors, "optimizer/"))
    optimizer.load_state_dict(whole)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:  # in the weight's own order in memory: the file has another
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    history.extend(json.loads(metadata["history"]))
    return len(history)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    return state
