"""What the tests of a study's steps share."""

import pytest


@pytest.fixture(autouse=True, scope="package")
def checkpoint_after_every_epoch():
    """Tiny epochs would end before the first checkpoint falls due."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regaze.training.loop._CHECKPOINT_SECONDS", 0.0)
        yield


@pytest.fixture
def parts_read(monkeypatch):
    """Ids of the photographs of each call that read pixels, from now on."""
    from regaze.study import folder

    original, read = folder.load_pixels, []

    def spy(samples, *arguments, **options):
        read.append([sample.id for sample in samples])
        return original(samples, *arguments, **options)

    monkeypatch.setattr(folder, "load_pixels", spy)
    return read
