"""What the tests of the networks share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Tiny tensors are fastest on one thread; the number before comes back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def images():
    """(2, 3, 64, 64) float32, always the same."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
