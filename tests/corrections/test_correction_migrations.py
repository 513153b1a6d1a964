"""Steps from one layout to the next."""

import hashlib
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from regaze import __version__
from regaze.corrections import database as database_module
from regaze.corrections import migrations as migrations_module
from regaze.corrections import store as store_module
from regaze.corrections.database import Database
from regaze.corrections.masks import encode_mask
from regaze.corrections.migrations import MIGRATIONS, Migration, migrate
from regaze.corrections.rows import CORRECTIONS, SELECTIONS
from regaze.corrections.store import Store
from regaze.errors import CorrectionError
from regaze.records import Correction

# A step that does not exist yet, after those that do.
NEXT = len(MIGRATIONS) + 1
LATER = Migration(
    NEXT, "strokes", ("CREATE TABLE strokes (id INTEGER)", "ALTER TABLE corrections ADD COLUMN round INTEGER")
)
BROKEN = Migration(NEXT, "broken", ("CREATE TABLE strokes (id INTEGER)", "CREATE TABLE corrections (again INTEGER)"))


@pytest.fixture
def path(tmp_path):
    """A database with one correction, as the last step leaves it."""
    path = tmp_path / "records.sqlite"
    with Store(path) as store:
        store.add_corrections([_draft("a", np.eye(3, dtype=bool))])
    return path


def _draft(sample, look):
    return Correction(0, sample, "m", "expert", "replace", look, None, "New", "", map="fused")


def _query(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def _tables(path):
    return {name for (name,) in _query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def _upgrade(path, *migrations):
    database = Database(path)
    try:
        migrate(database, migrations)
    finally:
        database.close()


def test_the_steps_are_numbered_without_gaps():
    """Step n is the n-th: the number of rows in `migrations` says which comes next."""
    assert [step.number for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_each_step_leaves_its_row(path):
    """The database says which steps it has behind it, when they ran and which version of regaze ran them."""
    rows = _query(path, "SELECT number, name, version FROM migrations")
    assert rows == [(step.number, step.name, __version__) for step in MIGRATIONS]
    assert all(time.endswith("Z") for (time,) in _query(path, "SELECT time FROM migrations"))


@pytest.mark.parametrize("table", [CORRECTIONS, SELECTIONS], ids=lambda table: table.name)
def test_the_tables_in_the_code_are_those_in_the_file(path, table):
    """What the queries believe about columns, their order and NULL is what the steps made."""
    columns = _query(path, f"PRAGMA table_info({table.name})")
    assert [name for _, name, *_ in columns] == [column.name for column in table.columns]
    nullable = {name for _, name, _, not_null, _, key in columns if not not_null and not key}
    assert nullable == ({"avoid"} if table is CORRECTIONS else set())


def test_an_older_database_gets_what_it_lacks_and_keeps_what_it_has(path):
    """A database of today's last step is brought to the next; its corrections are still there."""
    _upgrade(path, *MIGRATIONS, LATER)
    steps = [(step.number, step.name) for step in MIGRATIONS]
    assert _query(path, "SELECT number, name FROM migrations") == [*steps, (NEXT, "strokes")]
    assert "strokes" in _tables(path)
    assert _query(path, "SELECT sample, round FROM corrections") == [("a", None)]
    _upgrade(path, *MIGRATIONS, LATER)  # a second time: nothing to do
    assert len(_query(path, "SELECT * FROM migrations")) == NEXT


def test_a_step_that_fails_halfway_leaves_no_trace(path):
    """Its tables are rolled back together with its row, and the database still opens at the step before."""
    before = _tables(path)
    with pytest.raises(CorrectionError, match="table corrections already exists"):
        _upgrade(path, *MIGRATIONS, BROKEN)
    assert _tables(path) == before
    assert _query(path, "SELECT number FROM migrations") == [(step.number,) for step in MIGRATIONS]
    with Store(path) as store:
        assert store.count() == 1


def test_a_first_step_that_fails_leaves_an_empty_file_that_can_be_used(tmp_path):
    """Not even the mark that the file is ours survives a failed start; the next opening makes it whole."""
    path = tmp_path / "records.sqlite"
    broken = Migration(1, MIGRATIONS[0].name, (*MIGRATIONS[0].statements, "NOT SQL"))
    with pytest.raises(CorrectionError, match="syntax error"):
        _upgrade(path, broken)
    assert _tables(path) == set()
    assert _query(path, "PRAGMA application_id") == [(0,)]
    with Store(path) as store:
        assert store.count() == 0


def test_two_that_open_a_new_file_at_once_make_it_once(tmp_path, monkeypatch):
    """Who has seen an empty file asks again under the write lock, and finds that another made it."""
    path = tmp_path / "records.sqlite"
    real = migrations_module._applied
    calls = []

    def interrupted(connection, *arguments):
        calls.append(real(connection, *arguments))
        if len(calls) == 1:  # the first has seen an empty file; now the second makes it whole
            monkeypatch.setattr(migrations_module, "_applied", real)
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("BEGIN")
            _upgrade(path, *MIGRATIONS)
            monkeypatch.setattr(migrations_module, "_applied", interrupted)
        elif len(calls) == 2:  # asked under the lock: the answer stays true, since nobody else can write now
            with (
                closing(sqlite3.connect(path, timeout=0)) as other,
                pytest.raises(sqlite3.OperationalError, match="locked"),
            ):
                other.execute("BEGIN IMMEDIATE")
        return calls[-1]

    monkeypatch.setattr(migrations_module, "_applied", interrupted)
    _upgrade(path, *MIGRATIONS)
    assert calls == [0, *[len(MIGRATIONS)] * len(MIGRATIONS)]
    assert len(_query(path, "SELECT * FROM migrations")) == len(MIGRATIONS)


def test_an_empty_file_becomes_a_store(tmp_path):
    """A process that died before its first commit leaves an empty file; that is no obstacle."""
    path = tmp_path / "records.sqlite"
    path.touch()
    with Store(path) as store:
        assert store.count() == 0


def test_a_database_of_a_newer_regaze_is_refused_with_the_cure(path):
    """An older regaze does not guess at a newer layout: it names the version to install."""
    _upgrade(path, *MIGRATIONS, LATER)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE migrations SET version = '9.1.0' WHERE number = ?", (NEXT,))
        connection.commit()
    with pytest.raises(CorrectionError, match=rf"regaze 9\.1\.0 \(step {NEXT}\).*install regaze 9\.1\.0 or newer"):
        Store(path)


def test_a_database_with_other_steps_is_refused(path):
    """The same number under another name (a branch that never was released) is not taken for ours."""
    other = Migration(1, "another beginning", ())
    with pytest.raises(CorrectionError, match=r"step 1 'corrections and selections'.*expects 1 'another beginning'"):
        _upgrade(path, other, *MIGRATIONS[1:])


def test_an_older_database_that_cannot_be_written_says_what_to_do(path, monkeypatch):
    """Read-only and out of date: the message asks to open it once where it can be written."""
    monkeypatch.setattr(database_module, "_writable", lambda _: False)
    with pytest.raises(CorrectionError, match=f"is at step {NEXT - 1} of {NEXT} and cannot be written here"):
        _upgrade(path, *MIGRATIONS, LATER)
    assert len(_query(path, "SELECT * FROM migrations")) == NEXT - 1


def test_a_store_that_fails_to_open_holds_no_connection(path, monkeypatch):
    """If opening fails, the connection is closed (Python 3.13 would warn) and the file is free."""
    opened = []
    real = store_module.Database

    def remember(*arguments):
        opened.append(real(*arguments))
        return opened[-1]

    def failing(_database):
        raise CorrectionError("no")

    monkeypatch.setattr(store_module, "Database", remember)
    monkeypatch.setattr(store_module, "migrate", failing)
    with pytest.raises(CorrectionError, match="no"):
        Store(path)
    assert len(opened) == 1
    assert opened[0]._engine is None


def test_a_file_that_lacks_no_table_is_read_where_it_cannot_be_written(path, monkeypatch):
    """A step without statements alone is no reason to refuse an archive; its row is written when it can be."""
    without = [step for step in MIGRATIONS if step.statements]
    assert without == list(MIGRATIONS[: len(without)])
    assert len(without) < len(MIGRATIONS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM migrations WHERE number > ?", (len(without),))
        connection.commit()
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "_writable", lambda _: False)
        with Store(path) as store:
            assert store.count() == 1
    assert _query(path, "SELECT max(number) FROM migrations") == [(len(without),)]
    with Store(path):
        assert _query(path, "SELECT max(number) FROM migrations") == [(len(MIGRATIONS),)]


@pytest.fixture
def first_step(tmp_path):
    """A database as regaze left it when it knew the first step alone, with rows and hashes of that time."""
    path = tmp_path / "old.sqlite"
    _upgrade(path, MIGRATIONS[0])
    look, avoid = np.eye(3, 4, dtype=bool), np.roll(np.eye(3, 4, dtype=bool), 1, axis=1)
    for number, one in enumerate((avoid, None), 1):
        texts = {"sample": f"s{number}", "model": "m", "origin": "expert", "mode": "edit"}
        images = {"look": encode_mask(look), "avoid": None if one is None else encode_mask(one)}
        signed = {"author": "Expert", "time": "2026-01-01T00:00:00Z", "remark": "of old"}
        row = {**texts, **images, **signed}
        # The recipe of the first step, written out: names in this order, every value with its length.
        parts = [
            value.encode() if isinstance(value, str) else value for value in ("regaze correction 1", *row.values())
        ]
        data = b"".join(b"-" if part is None else b"%d:" % len(part) + part for part in parts)
        row |= {"hash": hashlib.blake2b(data, digest_size=32).hexdigest(), "height": 3, "width": 4}
        names = ", ".join(row)
        with closing(sqlite3.connect(path)) as connection:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO corrections ({names}) VALUES ({marks})", list(row.values()))  # noqa: S608 - the test's own names
            connection.commit()
    return path, look, avoid


def test_a_database_of_the_first_step_gives_back_equal_corrections(first_step, monkeypatch):
    """Opening brings it to the last step; every field, mask and hash is what it was, and it can be added to."""
    path, look, avoid = first_step
    columns = "id, sample, model, origin, mode, author, time, remark, hash, height, width, look, avoid"
    before = _query(path, f"SELECT {columns} FROM corrections")  # noqa: S608 - the test's own names
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "_writable", lambda _: False)
        with pytest.raises(CorrectionError, match=f"is at step 1 of {len(MIGRATIONS)} and cannot be written here"):
            Store(path)
    with Store(path) as store:
        assert [entry.hash for entry in store.correction_index()] == [row[8] for row in before]
        for number, expected in enumerate((avoid, None), 1):
            back = store.correction(number)
            assert (back.id, back.sample, back.model, back.origin) == (number, f"s{number}", "m", "expert")
            assert (back.mode, back.author, back.time) == ("edit", "Expert", "2026-01-01T00:00:00Z")
            assert (back.remark, back.map, back.shapes) == ("of old", "", ())
            np.testing.assert_array_equal(back.look, look)
            np.testing.assert_array_equal(back.avoid, expected)
        assert [entry.id for entry in store.add_corrections([_draft("s1", look)])] == [3]
        assert store.correction(3).map == "fused"
    assert _query(path, f"SELECT {columns} FROM corrections WHERE id < 3") == before  # noqa: S608 - the test's own names
    assert _query(path, "SELECT number FROM migrations") == [(step.number,) for step in MIGRATIONS]
    monkeypatch.setattr(database_module, "_writable", lambda _: False)
    with Store(path) as store:
        assert store.count() == 3
