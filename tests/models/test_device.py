"""Which device computes, and in which precision."""

import pytest
import torch

from regaze.errors import OptionError
from regaze.models.device import choose_device, uses_bf16


def test_the_cpu_is_always_there():
    """`cpu` is itself; `auto` is a device that this machine can compute on."""
    assert choose_device("cpu") == torch.device("cpu")
    assert float(torch.ones(2, device=choose_device("auto")).sum()) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "--device gpu: expected auto, cpu, cuda, cuda:N or mps"),
        ("", "--device : expected auto"),
        ("cuda:99", "--device cuda:99: this machine has no such device"),
        ("meta", "--device meta: this machine has no such device"),
    ],
)
def test_other_names_are_refused(name, message):
    """No device of that name: one line that says what there is."""
    with pytest.raises(OptionError, match=message):
        choose_device(name)


def test_missing_accelerators_are_refused(monkeypatch):
    """Asking for an accelerator that is not there is an error, not a silent fall-back to the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(OptionError, match=f"--device {name}: this machine has no such device"):
            choose_device(name)


def test_precision(monkeypatch):
    """A word decides; `auto` on a CPU follows the processor, and its absence in torch means fp32."""
    cpu = torch.device("cpu")
    assert uses_bf16("bf16", cpu)
    assert not uses_bf16("fp32", cpu)
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native, raising=False)
        assert uses_bf16("auto", cpu) is native
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not uses_bf16("auto", cpu)
    assert not uses_bf16("auto", torch.device("mps"))
