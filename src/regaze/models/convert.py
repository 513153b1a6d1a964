"""A pickled weights file made a safetensors file, by a process of its own that loads tensors only.

    python -m regaze.models.convert FILE.pth FILE.safetensors

Invariant: nothing in the file is run (`torch.load` with `weights_only=True` refuses all but tensors and plain values);
and whatever the loading does to its process, it does not do to the caller's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from regaze.errors import ModelError
from regaze.files import replacing


def convert(source: Path, target: Path | None = None) -> Path:
    """Write the tensors of a pickled file as safetensors.

    Args:
        source: A file that `torch.save` wrote: a state dict, or a checkpoint that holds one.
        target: The new file; default: beside `source`, with the suffix `.safetensors`.

    Returns:
        The new file.

    Raises:
        ModelError: No such file, the new one is there already, or the file holds more than tensors and plain values.
    """
    target = source.with_suffix(".safetensors") if target is None else target
    if not source.is_file():
        raise ModelError(f"No weights file {source}: check the path.")
    if target.exists():
        raise ModelError(f"{target} is there already: pass another name with --to.")
    with replacing(target) as temporary:
        command = [sys.executable, "-m", "regaze.models.convert", str(source), str(temporary)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - ours
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise ModelError(
                f"{source} cannot be converted ({lines[-1][:200]}): give a file of tensors alone, as "
                "torch.save(model.state_dict(), FILE) writes it."
            )
    return target


def _state(values: Any) -> dict[str, Any]:
    """The largest set of named tensors in a checkpoint, at any depth of its dicts."""
    if not isinstance(values, dict):
        return {}
    own = {str(name): value for name, value in values.items() if hasattr(value, "untyped_storage")}
    return max([own, *map(_state, values.values())], key=len)


def _main(source: str, target: str) -> None:
    import torch
    from safetensors.torch import save_file

    try:
        state = _state(torch.load(source, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001 - whatever a damaged pickle raises
        sys.exit(" ".join(str(error).split())[:160] or type(error).__name__)
    if not state:
        sys.exit("it holds no named tensors")
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, target)


if __name__ == "__main__":
    _main(*sys.argv[1:])
