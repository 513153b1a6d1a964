"""Which device computes, and in which precision."""

from __future__ import annotations

import torch

from regaze.errors import OptionError
from regaze.models.options import Precision


def choose_device(name: str) -> torch.device:
    """The device that `--device` names; `auto` takes CUDA, then Apple's, then the CPU.

    Raises:
        OptionError: The name is no device, or this machine does not have it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"--device {name}: expected auto, cpu, cuda, cuda:N or mps.") from error
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing or device.type not in ("cpu", "cuda", "mps"):
        raise OptionError(f"--device {name}: this machine has no such device; pass --device auto or cpu.")
    return device


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """True where autocast to bfloat16 is asked for, or is `auto` and the processor computes it natively.

    Args:
        precision: `--precision`; without native bfloat16, bf16 is emulated and slower than fp32.
        device: Of this machine.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # private, so its absence is no error
    return bool(supported()) if supported is not None else False
