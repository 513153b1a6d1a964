"""A pickled weights file made a safetensors file, by a process of its own that loads tensors only.

    python -m regaze.models.convert FILE.pth FILE.safetensors

Invariant: nothing in the file is run (`torch.load` with `weights_only=True` refuses all but tensors and plain values);
and whatever the loading does to its process, it does not do to the caller's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from regaze.errors import ModelError
from regaze.files import replacing


def convert(source: Path, target: Path | None = None) -> tuple[Path, str]:
    """Write the tensors of a pickled file as safetensors.

    Args:
        source: A file that `torch.save` wrote: a state dict, or a checkpoint that holds one.
        target: The new file; default: beside `source`, with the suffix `.safetensors`.

    Returns:
        The new file; and which of several copies of one network it holds, empty where there is one.

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
    return target, done.stdout.strip()


def is_average(name: str) -> bool:
    """Whether a name speaks of a moving average of the weights (`state_dict_ema`, `model_ema.`), which timm prefers."""
    return re.search(r"(^|[._])ema($|[._])", name.lower()) is not None


def _sets(values: Any, name: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The sets of named tensors in a checkpoint, at any depth of its dicts, each with where it lies."""
    if not isinstance(values, dict):
        return []
    own = {str(key): value for key, value in values.items() if hasattr(value, "untyped_storage")}
    below = [found for key, value in values.items() for found in _sets(value, f"{name}.{key}" if name else str(key))]
    return [(name, own), *below] if own else below


def _chosen(sets: list[tuple[str, dict[str, Any]]]) -> tuple[dict[str, Any], str]:
    """The largest set, or of several copies of one network the moving average; and which, where there are several."""
    _, largest = max(sets, key=lambda each: len(each[1]))
    names = {name.removeprefix("module.") for name in largest}
    copies = [
        (where, state)
        for where, state in sets
        if 2 * len(names & {name.removeprefix("module.") for name in state}) > len(names)
    ]
    taken, state = next((copy for copy in copies if is_average(copy[0])), copies[0])
    others = [where for where, _ in copies if where != taken]
    return state, f"{taken} of the file is taken, {', '.join(others)} left out" if others else ""


def _main(source: str, target: str) -> None:
    import torch
    from safetensors.torch import save_file

    try:
        sets = _sets(torch.load(source, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001 - whatever a damaged pickle raises
        sys.exit(" ".join(str(error).split())[:160] or type(error).__name__)
    if not sets:
        sys.exit("it holds no named tensors")
    state, taken = _chosen(sets)
    print(taken)  # noqa: T201 - read by `convert`
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, target)


if __name__ == "__main__":
    _main(*sys.argv[1:])
