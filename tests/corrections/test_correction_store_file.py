"""The store's file: append-only, damaged, locked, closed, read-only, or none of ours."""

import os
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from regaze.corrections import database as database_module
from regaze.corrections.store import Store
from regaze.errors import CorrectionError
from tests.corrections.drafts import add_one, all_of, assert_same, make_draft, raw_sql


@pytest.mark.parametrize("table", ["corrections", "selections"])
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {table} SET author = 'Someone else'",
        "UPDATE {table} SET id = 5",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ],
)
def test_no_program_can_change_or_delete_a_row(path, table, sql):
    """The database itself refuses, also to a connection that is not ours, and the row stays as it was."""
    with Store(path) as store:
        add_one(store)
        store.add_selection("m", "random", 1.0, 0, ["a"], ["why"], "x")
    before = raw_sql(path, f"SELECT * FROM {table}")  # noqa: S608 - the test's own names
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
        raw_sql(path, sql.format(table=table))
    assert len(before) == 1
    assert raw_sql(path, f"SELECT * FROM {table}") == before  # noqa: S608 - the test's own names


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("corrections", "sample = 'b'"),
        ("corrections", "author = 'y'"),
        ("corrections", "look = zeroblob(50)"),
        ("corrections", "avoid = look"),
        ("selections", "samples = '[\"b\"]'"),
        ("selections", "reasons = '[oops'"),
        ("selections", "share = 0.25"),
    ],
)
def test_a_row_altered_behind_the_stores_back_is_refused(path, table, change):
    """Even if someone drops the triggers and edits a row, it is not handed on as an expert's word."""
    with Store(path) as store:
        add_one(store)
        store.add_selection("m", "random", 1.0, 0, ["a"], ["why"], "x")
        raw_sql(path, f"DROP TRIGGER {table}_refuse_update")
        raw_sql(path, f"UPDATE {table} SET {change}")  # noqa: S608 - the test's own names
        with pytest.raises(CorrectionError, match=r"1 .*does not match its hash"):
            _ = all_of(store) if table == "corrections" else store.selections()


def test_a_file_of_another_kind_is_refused_and_left_alone(path):
    """A text file under that name raises our error with the cure, and keeps its bytes."""
    path.write_bytes(b"These are notes, not a database. " * 100)
    before = path.read_bytes()
    with pytest.raises(CorrectionError, match=r"records.sqlite is not an SQLite database: restore it"):
        Store(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_another_programs_database_is_refused_and_left_alone(path):
    """A stranger's SQLite file is not filled with our tables."""
    raw_sql(path, "CREATE TABLE recipes (id INTEGER)")
    with pytest.raises(CorrectionError, match="database of another program"):
        Store(path)
    assert raw_sql(path, "SELECT name FROM sqlite_master") == [("recipes",)]


def _filled(path):
    rng = np.random.default_rng(0)
    with Store(path) as store:
        store.add_corrections([make_draft(str(i), rng.random((128, 128)) > 0.5) for i in range(60)])


def test_a_cut_file_raises_our_error(path):
    """A file that lost its second half (a full disk, a broken copy) is called damaged."""
    _filled(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorrectionError, match=r"is damaged: restore it from a copy"), Store(path) as store:
        all_of(store)


def test_no_damage_goes_unnoticed(path):
    """Overwriting any page in the middle of the file gives our error or the very same corrections."""
    _filled(path)
    data = path.read_bytes()
    with Store(path) as store:
        good = all_of(store)
    n_refused = 0
    for start in range(4096, len(data), 4096 * 7):
        path.write_bytes(data[:start] + b"\xa5" * 512 + data[start + 512 :])
        try:
            with Store(path) as store:
                back = all_of(store)
        except CorrectionError:
            n_refused += 1
            continue
        for one, other in zip(back, good, strict=True):
            assert_same(one, other)
    assert n_refused > 5


def test_a_missing_folder_is_named(tmp_path):
    """A store is not created in a study that does not exist."""
    with pytest.raises(CorrectionError, match=r"no folder .*nowhere for records.sqlite: create the study"):
        Store(tmp_path / "nowhere" / "records.sqlite")


def test_a_folder_in_place_of_the_file_is_named(path):
    """A folder under the file's name raises our error."""
    path.mkdir()
    with pytest.raises(CorrectionError, match="cannot be opened"):
        Store(path)


def test_odd_names_of_folders_do_not_matter(tmp_path):
    """Question marks, percent signs, hashes and blanks in the path are no part of SQLite's options."""
    folder = tmp_path / "a b?mode=ro#ü%41"
    folder.mkdir()
    with Store(str(folder / "records.sqlite")) as store:
        add_one(store)
    assert (folder / "records.sqlite").is_file()


def test_a_closed_store_says_so_and_leaves_one_file(path):
    """Closing twice is fine, using it afterwards is our error, and no log file stays behind."""
    with Store(path) as store:
        add_one(store)
    store.close()
    with pytest.raises(CorrectionError, match="is closed: open the store again"):
        store.count()
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_closed_when_the_block_raises(path):
    """An error inside the block passes through, and what was stored before it is kept."""
    with pytest.raises(ZeroDivisionError), Store(path) as store:
        add_one(store)
        _ = 1 / 0
    assert list(path.parent.iterdir()) == [path]
    with Store(path) as store:
        assert store.count() == 1


def test_the_promised_settings_are_on(store):
    """Write-ahead log, full syncs, foreign keys, 30 seconds of patience: asked of a live connection."""
    with store._database.transaction() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_locked_file_raises_our_error_after_the_patience(path, monkeypatch):
    """A writer that never ends leads to a message, not to a hang; reading goes on meanwhile."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    with Store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.count() == 0
        with pytest.raises(CorrectionError, match="locked by another process"):
            add_one(store)
        other.execute("ROLLBACK")
        add_one(store)
        assert store.count() == 1


def test_a_file_without_write_permission_is_read_and_refuses_to_write(path, monkeypatch):
    """Everything can be read, and writing is refused with our error; the permission is feigned."""
    with Store(path) as store:
        stored = add_one(store)
    before = path.read_bytes()
    monkeypatch.setattr(database_module, "_writable", lambda _: False)
    with Store(path) as store:
        assert_same(all_of(store)[0], make_draft("a", id=stored.id, time=stored.time))
        with pytest.raises(CorrectionError, match="open for reading only"):
            add_one(store)
    assert path.read_bytes() == before


def test_a_folder_without_write_permission_is_read_as_it_stands(path, monkeypatch):
    """Where nothing may be written, the store opens for reading by itself and adds no file to the folder.

    The permission is feigned, because root may write everywhere.
    """
    with Store(path) as store:
        add_one(store)
    monkeypatch.setattr(database_module.os, "access", lambda _path, mode: mode != os.W_OK)
    with Store(path) as store:
        assert store.count() == 1
        assert list(path.parent.iterdir()) == [path]
        with pytest.raises(CorrectionError, match="open for reading only"):
            store.add_selection("m", "random", 1.0, 0, ["a"], ["why"], "x")
    with pytest.raises(CorrectionError, match="cannot be created here"):
        Store(path.with_name("other.sqlite"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_really_read_only_folder_is_readable(path):
    """The same with real permissions, where the tests do not run as root."""
    with Store(path) as store:
        add_one(store)
    path.parent.chmod(0o500)
    try:
        with Store(path) as store:
            assert store.count() == 1
    finally:
        path.parent.chmod(0o700)
