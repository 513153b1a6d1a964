"""What the tests of a study's steps share."""

import pytest


@pytest.fixture(autouse=True, scope="package")
def checkpoint_after_every_epoch():
    """Tiny epochs would end before the first checkpoint falls due."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regaze.training.loop._CHECKPOINT_SECONDS", 0.0)
        yield
