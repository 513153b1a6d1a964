"""What the tests of the store share."""

import pytest

from regaze.corrections.store import Store

pytest.register_assert_rewrite("tests.corrections.drafts")  # so that a failure shows both values


@pytest.fixture
def path(tmp_path):
    """Where the store is or will be."""
    return tmp_path / "records.sqlite"


@pytest.fixture
def store(path):
    """An open, empty store."""
    with Store(path) as opened:
        yield opened
