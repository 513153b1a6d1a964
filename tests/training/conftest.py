"""What the tests of training share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Tiny tensors are fastest on one thread; the number before comes back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="package")
def checkpoint_after_every_epoch():
    """Tiny epochs would end before the first checkpoint falls due."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regaze.training.loop._CHECKPOINT_SECONDS", 0.0)
        yield
