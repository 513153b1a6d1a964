"""The store in one process: round trips, what is current, append-only, refusals, damage."""

import hashlib
import os
import re
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regaze.corrections import author as author_module
from regaze.corrections import database as database_module
from regaze.corrections import store as store_module
from regaze.corrections.author import default_author
from regaze.corrections.rows import hash_parts
from regaze.corrections.store import Store
from regaze.errors import CorrectionError
from regaze.records import Correction

LOOK = np.eye(5, 7, dtype=bool)
AVOID = np.roll(LOOK, 1, axis=1)


@pytest.fixture
def path(tmp_path):
    """Where the store is or will be."""
    return tmp_path / "records.sqlite"


@pytest.fixture
def store(path):
    """An open, empty store."""
    with Store(path) as opened:
        yield opened


def _draft(sample, look=LOOK, avoid=None, **changes):
    base = Correction(0, sample, "phase1", "masks", "replace", look, avoid, "Expert", "")
    return replace(base, **changes)


def _add(store, sample="a", **changes):
    """Store one correction; its entry."""
    return store.add_corrections([_draft(sample, **changes)])[0]


def _all(store):
    return [store.correction(entry.id) for entry in store.correction_index()]


def _raw(path, sql, *values):
    """Run SQL from outside the store, as a stranger's program would; commits."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(sql, values).fetchall()
        connection.commit()
        return rows


def _assert_same(one, other):
    for name in ("id", "sample", "model", "origin", "mode", "author", "time", "remark", "map", "shapes"):
        assert getattr(one, name) == getattr(other, name)
    for left, right in ((one.look, other.look), (one.avoid, other.avoid)):
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == np.bool_
            np.testing.assert_array_equal(left, right)


def test_a_correction_comes_back_as_it_was_stored(path):
    """All fields, both masks and the remark survive closing the file and opening it again."""
    draft = _draft(
        "training/IDRiD_001",
        avoid=AVOID,
        origin="expert",
        mode="edit",
        author="Jürgen",
        remark="haemorrhage,\nnot a vessel 👁",
    )
    with Store(path) as store:
        (stored,) = store.add_corrections([draft])
    with Store(path) as store:
        (back,) = _all(store)
        _assert_same(back, replace(draft, id=stored.id, time=stored.time))
        assert store.count() == 1
    assert stored.id == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stored.time)


def test_look_nowhere_is_kept(store):
    """An empty map that an expert asked for comes back with its size."""
    entry = _add(store, "healthy", look=np.zeros((4, 6), bool))
    look = store.correction(entry.id).look
    assert look.shape == (4, 6)
    assert not look.any()


def test_no_avoid_differs_from_an_empty_avoid(store):
    """None and an all-False mask come back as what they were, and hash differently."""
    none, empty = store.add_corrections([_draft("a"), _draft("a", avoid=np.zeros_like(LOOK))])
    assert store.correction(none.id).avoid is None
    assert store.correction(empty.id).avoid is not None
    assert none.hash != empty.hash


def test_a_later_word_is_one_more_row_and_all_words_are_kept(store):
    """A later correction by another author has a higher id; the earlier one stays readable."""
    words = [_add(store, "a", author="one"), _add(store, "b", author="one"), _add(store, "a", look=~LOOK, author="two")]
    assert [entry.id for entry in words] == [1, 2, 3]
    assert store.correction_index() == words
    assert [(c.id, c.sample, c.author) for c in _all(store)] == [(1, "a", "one"), (2, "b", "one"), (3, "a", "two")]


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(words=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 40)), max_size=80))
def test_the_store_answers_like_a_list(tmp_path_factory, words):
    """Any sequence of words comes back whole and in order."""
    with Store(tmp_path_factory.mktemp("any") / "records.sqlite") as store:
        store.add_corrections(_draft(sample, np.arange(40)[None] < size) for sample, size in words)
        assert [(c.sample, int(c.look.sum())) for c in _all(store)] == words
        assert store.count() == len(words)


def test_many_corrections_are_stored_together_or_not_at_all(store):
    """If the last of many is refused, none of them is stored."""
    _add(store, "before")
    bad = _draft("bad", look=np.zeros((2, 2), np.uint8))
    with pytest.raises(CorrectionError, match="'bad'"):
        store.add_corrections([_draft("a"), _draft("b"), bad])
    assert [entry.sample for entry in store.correction_index()] == ["before"]
    assert store.add_corrections([]) == []


def test_an_error_while_masks_are_made_stores_nothing_and_holds_no_lock(path):
    """An iterator that fails halfway leaves the store as it was and free for the next writer."""

    def failing():
        yield _draft("a")
        raise KeyError("mask file")

    with Store(path) as store, Store(path) as other:
        with pytest.raises(KeyError):
            store.add_corrections(failing())
        _add(other, "b")
        assert [entry.sample for entry in store.correction_index()] == ["b"]


def test_a_whole_data_set_is_stored_and_read_in_seconds(store):
    """413 corrections of 1072 x 712 pixels: stored in one transaction and read one by one, each within seconds.

    Seconds of this process, so that a busy machine does not count.
    """
    rng = np.random.default_rng(0)
    blobs = np.kron(rng.random((8, 67, 89)) > 0.97, np.ones((16, 8), bool)).astype(bool)
    assert blobs.shape[1:] == (1072, 712)
    start = time.process_time()
    entries = store.add_corrections(_draft(f"IDRiD_{i:03d}", blobs[i % 8]) for i in range(413))
    stored = time.process_time()
    for i, entry in enumerate(store.correction_index()):
        assert np.array_equal(store.correction(entry.id).look, blobs[i % 8])
    assert i == 412
    assert len({entry.id for entry in entries}) == 413
    assert stored - start < 8
    assert time.process_time() - stored < 8


def test_the_index_lists_without_decoding(store, monkeypatch):
    """A listing of everything touches no mask, and agrees with the records."""
    store.add_corrections([_draft("a", remark="r", map="scale1"), _draft("b", origin="boxes", author="Other")])
    full = _all(store)
    monkeypatch.setattr("regaze.corrections.rows.decode_mask", None)  # calling it would fail
    for entry, correction in zip(store.correction_index(), full, strict=True):
        for name in ("id", "sample", "model", "origin", "mode", "author", "time", "remark", "map"):
            assert getattr(entry, name) == getattr(correction, name)
        assert (entry.height, entry.width) == correction.look.shape


def test_the_content_hash_is_what_the_docstring_says(store, path):
    """blake2b over the named fields in order, each with its length: recomputed here from the raw row."""
    (entry,) = store.add_corrections([_draft("å", avoid=AVOID, remark="")])
    names = "sample, model, origin, mode, look, avoid, author, time, remark"
    (row,) = _raw(path, f"SELECT {names} FROM corrections")  # noqa: S608 - the test's own names
    parts = [b"regaze correction 1", *(v.encode() if isinstance(v, str) else v for v in row)]
    data = b"".join(str(len(part)).encode() + b":" + part for part in parts)
    assert entry.hash == hashlib.blake2b(data, digest_size=32).hexdigest()


def test_moving_text_between_fields_changes_the_hash(store, monkeypatch):
    """`ab`+`c` and `a`+`bc` are two different corrections."""
    monkeypatch.setattr(store_module, "timestamp", lambda: "2026-01-01T00:00:00Z")
    one, two, same = store.add_corrections([_draft("ab", model="c"), _draft("a", model="bc"), _draft("ab", model="c")])
    assert one.hash != two.hash
    assert one.hash == same.hash


def test_nothing_differs_from_an_empty_text_in_a_hash():
    """None, an empty part and no part at all give three hashes."""
    assert len({hash_parts("kind", None), hash_parts("kind", ""), hash_parts("kind")}) == 3


def test_reading_does_not_see_or_block_what_is_stored_meanwhile(path):
    """A read sees one snapshot, and an expert can go on storing meanwhile."""
    with Store(path) as store, Store(path) as other:
        _add(store)
        with store._database.transaction() as connection:
            count = "SELECT count(*) FROM corrections"
            assert connection.exec_driver_sql(count).scalar_one() == 1
            _add(other, "new")
            assert connection.exec_driver_sql(count).scalar_one() == 1
        assert store.count() == 2


def test_selections_come_back_in_order_and_by_model(path):
    """Samples and reasons keep their order; the latest is the last one stored for a model."""
    with Store(path) as store:
        assert store.latest_selection("phase1") is None
        first = store.add_selection("phase1", "confidence", 0.3, -7, ["b", "a"], ["why b", "why 'a'; ü"], "Me")
        second = store.add_selection("round1", "random", 1, 2**63 - 1, ["c"], ["why"], "Me")
    with Store(path) as store:
        assert store.selections() == [first, second]
        assert store.latest_selection("phase1") == first
        assert store.latest_selection("round1") == second
        assert store.latest_selection("nobody") is None
    assert first.samples == ("b", "a")
    assert (first.id, second.id) == (1, 2)
    assert first.time.endswith("Z")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": " "}, "model is ' ', expected a non-empty text"),
        ({"samples": [], "reasons": []}, "selection of 0 samples"),
        ({"samples": ["a", "a"]}, "none of them twice"),
        ({"reasons": ["one"]}, "1 reasons for 2 samples"),
        ({"share": 0.0}, "share is 0.0"),
        ({"share": float("nan")}, "share is nan"),
        ({"seed": 2**63}, "at most 64 bits"),
        ({"samples": ["a", ""]}, "sample is ''"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(store, changes, message):
    """Each refusal names the value, and nothing is stored."""
    values = {
        "model": "m",
        "rule": "random",
        "share": 0.5,
        "seed": 0,
        "samples": ["a", "b"],
        "reasons": ["r", "s"],
        "author": "x",
    }
    store.add_selection(**values)
    with pytest.raises(CorrectionError, match=message):
        store.add_selection(**{**values, **changes})
    assert len(store.selections()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": ""}, "sample is '', expected a non-empty text"),
        ({"model": "  "}, "model is '  '"),
        ({"author": None}, "author is None"),
        ({"sample": "a\0b"}, r"sample is 'a\\x00b'"),
        ({"sample": "a\udcff"}, "not valid Unicode"),
        ({"mode": "merge"}, "mode of 's' is 'merge', expected one of replace, edit"),
        ({"origin": "none"}, "origin of 's' is 'none', expected one of masks, boxes, expert"),
        ({"look": np.zeros((5, 7), np.uint8)}, "'look' of 's' has dtype uint8"),
        ({"look": np.zeros((1, 5, 7), bool)}, r"shape \(1, 5, 7\), expected \(H, W\)"),
        ({"avoid": np.zeros((5, 7), np.float64)}, "'avoid' of 's' has dtype float64"),
        ({"avoid": np.zeros((7, 5), bool)}, r"shape \(7, 5\), expected that of 'look', \(5, 7\)"),
        ({"avoid": LOOK}, "both look and avoid in 5 pixels"),
        ({"id": 3}, "has id 3, expected 0: it is stored already"),
    ],
)
def test_a_correction_that_makes_no_sense_is_refused(store, changes, message):
    """Each refusal names the photograph and the value, and nothing is stored."""
    with pytest.raises(CorrectionError, match=message):
        store.add_corrections([_draft(**{"sample": "s", **changes})])
    assert store.count() == 0


def test_a_correction_that_is_not_there_is_named(store):
    """Asking for an id that was never given says so."""
    with pytest.raises(CorrectionError, match="no correction 9 in"):
        store.correction(9)


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
        _add(store)
        store.add_selection("m", "random", 1.0, 0, ["a"], ["why"], "x")
    before = _raw(path, f"SELECT * FROM {table}")  # noqa: S608 - the test's own names
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
        _raw(path, sql.format(table=table))
    assert len(before) == 1
    assert _raw(path, f"SELECT * FROM {table}") == before  # noqa: S608 - the test's own names


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
        _add(store)
        store.add_selection("m", "random", 1.0, 0, ["a"], ["why"], "x")
        _raw(path, f"DROP TRIGGER {table}_refuse_update")
        _raw(path, f"UPDATE {table} SET {change}")  # noqa: S608 - the test's own names
        with pytest.raises(CorrectionError, match=r"1 .*does not match its hash"):
            _ = _all(store) if table == "corrections" else store.selections()


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
    _raw(path, "CREATE TABLE recipes (id INTEGER)")
    with pytest.raises(CorrectionError, match="database of another program"):
        Store(path)
    assert _raw(path, "SELECT name FROM sqlite_master") == [("recipes",)]


def _filled(path):
    rng = np.random.default_rng(0)
    with Store(path) as store:
        store.add_corrections([_draft(str(i), rng.random((128, 128)) > 0.5) for i in range(60)])


def test_a_cut_file_raises_our_error(path):
    """A file that lost its second half (a full disk, a broken copy) is called damaged."""
    _filled(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorrectionError, match=r"is damaged: restore it from a copy"), Store(path) as store:
        _all(store)


def test_no_damage_goes_unnoticed(path):
    """Overwriting any page in the middle of the file gives our error or the very same corrections."""
    _filled(path)
    data = path.read_bytes()
    with Store(path) as store:
        good = _all(store)
    n_refused = 0
    for start in range(4096, len(data), 4096 * 7):
        path.write_bytes(data[:start] + b"\xa5" * 512 + data[start + 512 :])
        try:
            with Store(path) as store:
                back = _all(store)
        except CorrectionError:
            n_refused += 1
            continue
        for one, other in zip(back, good, strict=True):
            _assert_same(one, other)
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
        _add(store)
    assert (folder / "records.sqlite").is_file()


def test_a_closed_store_says_so_and_leaves_one_file(path):
    """Closing twice is fine, using it afterwards is our error, and no log file stays behind."""
    with Store(path) as store:
        _add(store)
    store.close()
    with pytest.raises(CorrectionError, match="is closed: open the store again"):
        store.count()
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_closed_when_the_block_raises(path):
    """An error inside the block passes through, and what was stored before it is kept."""
    with pytest.raises(ZeroDivisionError), Store(path) as store:
        _add(store)
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
            _add(store)
        other.execute("ROLLBACK")
        _add(store)
        assert store.count() == 1


def test_a_file_without_write_permission_is_read_and_refuses_to_write(path, monkeypatch):
    """Everything can be read, and writing is refused with our error; the permission is feigned."""
    with Store(path) as store:
        stored = _add(store)
    before = path.read_bytes()
    monkeypatch.setattr(database_module, "_writable", lambda _: False)
    with Store(path) as store:
        _assert_same(_all(store)[0], _draft("a", id=stored.id, time=stored.time))
        with pytest.raises(CorrectionError, match="open for reading only"):
            _add(store)
    assert path.read_bytes() == before


def test_a_folder_without_write_permission_is_read_as_it_stands(path, monkeypatch):
    """Where nothing may be written, the store opens for reading by itself and adds no file to the folder.

    The permission is feigned, because root may write everywhere.
    """
    with Store(path) as store:
        _add(store)
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
        _add(store)
    path.parent.chmod(0o500)
    try:
        with Store(path) as store:
            assert store.count() == 1
    finally:
        path.parent.chmod(0o700)


def test_the_default_author_is_the_login_name_or_unknown(monkeypatch):
    """The login name signs; where the system knows none, the correction is still signed."""
    monkeypatch.setenv("LOGNAME", "ada")
    assert default_author() == "ada"
    for error in (OSError, KeyError, ImportError):

        def nobody(error=error):
            raise error("no such user")

        monkeypatch.setattr(author_module.getpass, "getuser", nobody)
        assert default_author() == "unknown"
