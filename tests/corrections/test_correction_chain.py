"""The chain over all rows: what was altered, removed or put in shows."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from regaze.corrections.migrations import MIGRATIONS
from regaze.corrections.rows import hash_parts
from regaze.corrections.store import Store
from regaze.errors import CorrectionError
from regaze.records import Correction

LOOK = np.eye(4, dtype=bool)


def correction(sample):
    """To be stored."""
    return Correction(0, sample, "m", "masks", "replace", LOOK, None, "anna", "")


def fill(path, count=4):
    """A store with corrections and a selection between them."""
    with Store(path) as store:
        for number in range(count):
            store.add_corrections([correction(f"p{number}")])
            if number == 1:
                store.add_selection("m", "random", 1.0, 0, ["a"], ["because"], "anna")


def tamper(path, *statements):
    """Change the file behind the store's back, as someone with a database tool would."""
    with closing(sqlite3.connect(path)) as connection:
        triggers = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.fixture
def path(tmp_path):
    """A filled store."""
    fill(tmp_path / "records.sqlite")
    return tmp_path / "records.sqlite"


def problems_of(path):
    """What walking the chain finds."""
    with Store(path) as store:
        return list(store.chain().problems)


def test_a_whole_chain(path):
    """One link per row, in the order of writing; the head is known by hand."""
    with Store(path) as store:
        report = store.chain()
        rows = [("corrections", entry.id, entry.hash) for entry in store.correction_index()]
    assert (report.n_links, report.problems) == (5, ())
    with closing(sqlite3.connect(path)) as connection:
        (chosen,) = connection.execute("SELECT hash FROM selections").fetchone()
    rows.insert(2, ("selections", 1, chosen))
    head = hash_parts("regaze chain 1")
    for table, number, value in rows:
        head = hash_parts("regaze link 1", head, table, str(number), value)
    assert report.head == head


def test_an_empty_store_has_no_chain(tmp_path):
    """Nothing was written: nothing is wrong."""
    with Store(tmp_path / "records.sqlite") as store:
        assert store.chain().n_links == 0
        assert store.chain().head == ""
        assert store.chain().problems == ()


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["UPDATE corrections SET hash = 'x' WHERE id = 2"], "broken at correction 2"),
        (["DELETE FROM corrections WHERE id = 4"], "broken at correction 4"),
        (["DELETE FROM selections"], "broken at selection 1"),
        (["UPDATE links SET hash = 'x' WHERE id = 3"], "broken at"),
        (["DELETE FROM links WHERE id = 2"], "links are missing"),
        (["DELETE FROM links WHERE id = 2", "DELETE FROM corrections WHERE id = 1"], "links are missing"),
        (
            [
                "INSERT INTO corrections SELECT 9, sample, model, origin, mode, author, time, remark, hash, height, "
                "width, look, avoid, map, shapes FROM corrections WHERE id = 1"
            ],
            "correction 9 has no link",
        ),
    ],
)
def test_tampering_shows(path, statements, message):
    """Whoever goes round the store leaves a trace, and the line says where."""
    tamper(path, *statements)
    assert any(message in problem for problem in problems_of(path)), problems_of(path)


def test_one_break_is_one_line(path):
    """A break does not accuse every row after it."""
    tamper(path, "UPDATE corrections SET hash = 'x' WHERE id = 2")
    assert len(problems_of(path)) == 1


def test_an_older_store_gets_its_chain_with_the_next_row(tmp_path, monkeypatch):
    """Rows from before there were links are covered by the first one: they too can no longer be altered unseen."""
    path = tmp_path / "records.sqlite"
    fill(path)
    tamper(
        path,
        "DROP TABLE links",
        "DELETE FROM migrations WHERE number >= 3",
        "DELETE FROM sqlite_sequence WHERE name = 'links'",
    )
    assert problems_of(path) == []
    with Store(path) as store:
        store.add_corrections([correction("new")])
        report = store.chain()
    assert (report.n_links, report.problems) == (1, ())
    tamper(path, "UPDATE corrections SET hash = 'x' WHERE id = 1")
    assert any("older than the chain" in problem for problem in problems_of(path))
    assert [step.number for step in MIGRATIONS][-1] >= 3


def test_a_refused_batch_leaves_no_link(path):
    """All rows and links of a batch, or none."""
    with Store(path) as store:
        with pytest.raises(CorrectionError):
            store.add_corrections([correction("q"), correction("")])
        assert (store.chain().n_links, store.chain().problems) == (5, ())
