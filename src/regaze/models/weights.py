"""Pretrained weights: a safetensors file, the model hub, or none. Never pickle.

Invariant: loading says what was and what was not taken; a shape mismatch outside the classifier is an error, since a
half-loaded backbone trains without complaint and grades badly.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor
from torchvision.models import get_model_weights

from regaze.errors import ModelError
from regaze.models.backbones import TORCHVISION, Backbone, timm_backbone
from regaze.models.convert import is_average

# Heads of torchvision's and timm's families: what lies behind the last feature map.
_CLASSIFIER = (
    "fc.",
    "classifier.",
    "head.",
    "head_dist.",
    "conv_head.",
    "bn2.",
    "norm_head.",
    "pre_logits.",
    "fc_norm.",
)


@dataclass(frozen=True)
class LoadReport:
    """What was taken from a weights file.

    Attributes:
        source: The file or hub entry.
        taken: Number of tensors copied.
        missing: Names that the backbone has and the file has not (they keep their fresh values).
        unused: Names that the file has and the backbone has no use for (as a rule the classifier).
        prefix: What all names taken begin with in the file and not in the backbone (`module.`).
        resampled: Name of a position table that is of another size in the file.
    """

    source: str
    taken: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    prefix: str = ""
    resampled: str = ""

    def line(self) -> str:
        """One line for a person."""
        parts = [f"weights {self.source}: {self.taken} tensors taken"]
        parts += [f"the prefix {self.prefix} of their names left out"] if self.prefix else []
        parts += [f"{self.resampled} resampled to the size of the input"] if self.resampled else []
        for label, names in (("missing", self.missing), ("unused", self.unused)):
            if names:
                more = ", …" if len(names) > 3 else ""
                parts.append(f"{len(names)} {label} ({', '.join(names[:3])}{more})")
        return "; ".join(parts)


def load_weights(backbone: Backbone, weights: str, size: int) -> LoadReport | None:
    """Start a backbone from pretrained weights; None where it starts from random ones.

    Args:
        backbone: Changed in place.
        weights: See `NetworkOptions.weights`.
        size: Side of the input in cropped pixels, for backbones with a fixed input.

    Raises:
        ModelError: The file is missing, no safetensors file, or does not fit; the hub cannot be reached.
    """
    if weights == "none":
        return None
    if weights == "hub" or weights.startswith("hub:"):
        return _copy(backbone, _hub_state(backbone.name, weights[4:] or None, size), weights)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ModelError(f"No weights file {weights}: give a .safetensors file, hub, or none.")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{weights} is not a safetensors file ({error}): {_cure(path)}") from error
    return _copy(backbone, state, path.name)


def _hub_state(name: str, tag: str | None, size: int) -> Mapping[str, Tensor]:
    """Download pretrained weights; every failure to reach the hub becomes one clear line."""
    try:
        # torch.hub says on stdout what it downloads; stdout is for the result.
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()), _offline_if_unreachable():
            if name in TORCHVISION:
                entry = _torchvision_entry(name, tag)
                state: Mapping[str, Tensor] = entry.get_state_dict(progress=False, weights_only=True)
                return state
            return timm_backbone(f"{name}.{tag}" if tag else name, size, pretrained=True).whole.state_dict()
    except ModelError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
        raise ModelError(
            f"Hub weights for {name} could not be had ({reason}): connect this machine to the network, "
            "or pass --weights FILE.safetensors or --weights none."
        ) from error


def _torchvision_entry(name: str, tag: str | None) -> Any:
    """Torchvision's weights entry for a model; an unknown tag is a ModelError."""
    entries = get_model_weights(name)
    if tag is None:
        return entries["DEFAULT"] if "DEFAULT" in entries.__members__ else next(iter(cast(Any, entries)))
    if tag not in entries.__members__:
        raise ModelError(f"Unknown weights hub:{tag} for {name}: expected one of {', '.join(entries.__members__)}.")
    return entries[tag]


@contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Spare a user without a network the hub client's minute of retries; weights in its cache are still found."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    try:
        if not any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
            try:
                socket.getaddrinfo("huggingface.co", 443)
            except OSError:
                constants.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _copy(backbone: Backbone, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Copy tensors by name; timm's feature models flatten names (`stages.0` -> `stages_0`), so both are flattened."""
    target = backbone.whole.state_dict()
    prefix = _prefix(target, state)
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    resampled = ""
    flat_source = {_flat(name): name for name in state}
    taken, missing, used = {}, [], set()
    for name, tensor in target.items():
        key = flat_source.get(_flat(name.removeprefix("model.")))
        if key is None:
            if not name.startswith(_CLASSIFIER):
                missing.append(name)
            continue
        if name.endswith("pos_embed") and (table := _resampled(state[key], tensor.shape)) is not None:
            taken[name], resampled = table.to(tensor.dtype), key
            used.add(key)
            continue
        if state[key].shape != tensor.shape:
            if key.startswith(_CLASSIFIER):
                continue
            raise ModelError(
                f"Weights {source} do not fit {backbone.name}: {key} has shape {tuple(state[key].shape)}, "
                f"expected {tuple(tensor.shape)}."
            )
        if not bool(state[key].isfinite().all()):
            raise ModelError(f"Weights {source}: {key} holds NaN or infinity: the training that wrote it diverged.")
        taken[name] = state[key].to(tensor.dtype)
        used.add(key)
    if not taken or len(missing) > len(taken):
        raise ModelError(
            f"Weights {source} do not fit {backbone.name}: {len(taken)} of its tensors are in the file, "
            f"{len(missing)} are not (first: {missing[0]}). Give weights of the same backbone."
        )
    backbone.whole.load_state_dict(taken, strict=False)
    # Counters of batch norm are no weights; a file without them is complete.
    lacking = tuple(name for name in missing if not name.endswith("num_batches_tracked"))
    unused = tuple(name for name in state if name not in used)
    return LoadReport(source, len(taken), lacking, unused, prefix, resampled)


def _prefix(target: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What a training script put before the names (`module.`, `backbone.encoder.`); empty where they fit as they are.

    Of the leading parts of the file's names, the one without which most names are the backbone's; of two copies of one
    network the moving average.
    """
    wanted = {_flat(name.removeprefix("model.")) for name in target}
    split = [name.split(".") for name in state]
    parts = {".".join(words[:depth]) + "." for words in split for depth in range(1, min(4, len(words)))}

    def fitting(prefix: str) -> tuple[int, bool]:
        found = sum(name.startswith(prefix) and _flat(name[len(prefix) :]) in wanted for name in state)
        return found, is_average(prefix)

    return max(["", *sorted(parts)], key=fitting)


def _resampled(table: Tensor, shape: Sequence[int]) -> Tensor | None:
    """A vision transformer's position table (1, N, C) for another number of cells, as timm does it; None where it fits.

    Tokens that are no cells (class, registers) are those beyond a square number, as many in both.
    """
    if table.shape == shape or table.ndim != 3 or len(shape) != 3 or table.shape[2] != shape[2]:
        return None
    for extra in range(9):
        old, new = table.shape[1] - extra, shape[1] - extra
        if old > 0 and new > 0 and math.isqrt(old) ** 2 == old and math.isqrt(new) ** 2 == new:
            side = math.isqrt(new)
            found: Tensor = resample_abs_pos_embed(table, [side, side], num_prefix_tokens=extra)
            return found
    return None


def _cure(path: Path) -> str:
    """What to do with a file that is no safetensors file; a pickle begins with byte 128, or lies in a zip archive."""
    with path.open("rb") as stream:
        head = stream.read(2)
    if head[:1] != b"\x80" and head != b"PK":
        return "restore it, or give another .safetensors file."
    return (
        "pickled weights are not read, since they may run code: "
        f"`regaze convert {path.name}` makes a .safetensors file of its tensors, as do these two lines of Python: "
        "from safetensors.torch import save_file; import torch; "
        f"save_file(torch.load({path.name!r}, weights_only=True), {path.stem + '.safetensors'!r})"
    )


def _flat(name: str) -> str:
    return name.replace(".", "_")
