"""The store's corrections and selections: round trips, order, hashes, refusals."""

import hashlib
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regaze.corrections import author as author_module
from regaze.corrections import store as store_module
from regaze.corrections.author import default_author
from regaze.corrections.rows import hash_parts
from regaze.corrections.store import Store
from regaze.errors import CorrectionError
from tests.corrections.drafts import AVOID, LOOK, add_one, all_of, assert_same, make_draft, raw_sql


def test_a_correction_comes_back_as_it_was_stored(path):
    """All fields, both masks and the remark survive closing the file and opening it again."""
    draft = make_draft(
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
        (back,) = all_of(store)
        assert_same(back, replace(draft, id=stored.id, time=stored.time))
        assert store.count() == 1
    assert stored.id == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stored.time)


def test_look_nowhere_is_kept(store):
    """An empty map that an expert asked for comes back with its size."""
    entry = add_one(store, "healthy", look=np.zeros((4, 6), bool))
    look = store.correction(entry.id).look
    assert look.shape == (4, 6)
    assert not look.any()


def test_no_avoid_differs_from_an_empty_avoid(store):
    """None and an all-False mask come back as what they were, and hash differently."""
    none, empty = store.add_corrections([make_draft("a"), make_draft("a", avoid=np.zeros_like(LOOK))])
    assert store.correction(none.id).avoid is None
    assert store.correction(empty.id).avoid is not None
    assert none.hash != empty.hash


def test_a_later_word_is_one_more_row_and_all_words_are_kept(store):
    """A later correction by another author has a higher id; the earlier one stays readable."""
    words = [
        add_one(store, "a", author="one"),
        add_one(store, "b", author="one"),
        add_one(store, "a", look=~LOOK, author="two"),
    ]
    assert [entry.id for entry in words] == [1, 2, 3]
    assert store.correction_index() == words
    assert [(c.id, c.sample, c.author) for c in all_of(store)] == [(1, "a", "one"), (2, "b", "one"), (3, "a", "two")]


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(words=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 40)), max_size=80))
def test_the_store_answers_like_a_list(tmp_path_factory, words):
    """Any sequence of words comes back whole and in order."""
    with Store(tmp_path_factory.mktemp("any") / "records.sqlite") as store:
        store.add_corrections(make_draft(sample, np.arange(40)[None] < size) for sample, size in words)
        assert [(c.sample, int(c.look.sum())) for c in all_of(store)] == words
        assert store.count() == len(words)


def test_many_corrections_are_stored_together_or_not_at_all(store):
    """If the last of many is refused, none of them is stored."""
    add_one(store, "before")
    bad = make_draft("bad", look=np.zeros((2, 2), np.uint8))
    with pytest.raises(CorrectionError, match="'bad'"):
        store.add_corrections([make_draft("a"), make_draft("b"), bad])
    assert [entry.sample for entry in store.correction_index()] == ["before"]
    assert store.add_corrections([]) == []


def test_an_error_while_masks_are_made_stores_nothing_and_holds_no_lock(path):
    """An iterator that fails halfway leaves the store as it was and free for the next writer."""

    def failing():
        yield make_draft("a")
        raise KeyError("mask file")

    with Store(path) as store, Store(path) as other:
        with pytest.raises(KeyError):
            store.add_corrections(failing())
        add_one(other, "b")
        assert [entry.sample for entry in store.correction_index()] == ["b"]


def test_a_whole_data_set_is_stored_and_read_in_seconds(store):
    """413 corrections of 1072 x 712 pixels: stored in one transaction and read one by one, each within seconds.

    Seconds of this process, so that a busy machine does not count.
    """
    rng = np.random.default_rng(0)
    blobs = np.kron(rng.random((8, 67, 89)) > 0.97, np.ones((16, 8), bool)).astype(bool)
    assert blobs.shape[1:] == (1072, 712)
    start = time.process_time()
    entries = store.add_corrections(make_draft(f"IDRiD_{i:03d}", blobs[i % 8]) for i in range(413))
    stored = time.process_time()
    for i, entry in enumerate(store.correction_index()):
        assert np.array_equal(store.correction(entry.id).look, blobs[i % 8])
    assert i == 412
    assert len({entry.id for entry in entries}) == 413
    assert stored - start < 8
    assert time.process_time() - stored < 8


def test_the_index_lists_without_decoding(store, monkeypatch):
    """A listing of everything touches no mask, and agrees with the records."""
    store.add_corrections([make_draft("a", remark="r", map="scale1"), make_draft("b", origin="boxes", author="Other")])
    full = all_of(store)
    monkeypatch.setattr("regaze.corrections.rows.decode_mask", None)  # calling it would fail
    for entry, correction in zip(store.correction_index(), full, strict=True):
        for name in ("id", "sample", "model", "origin", "mode", "author", "time", "remark", "map"):
            assert getattr(entry, name) == getattr(correction, name)
        assert (entry.height, entry.width) == correction.look.shape


def test_the_content_hash_is_what_the_docstring_says(store, path):
    """blake2b over the named fields in order, each with its length: recomputed here from the raw row."""
    (entry,) = store.add_corrections([make_draft("å", avoid=AVOID, remark="")])
    names = "sample, model, origin, mode, look, avoid, author, time, remark"
    (row,) = raw_sql(path, f"SELECT {names} FROM corrections")  # noqa: S608 - the test's own names
    parts = [b"regaze correction 1", *(v.encode() if isinstance(v, str) else v for v in row)]
    data = b"".join(str(len(part)).encode() + b":" + part for part in parts)
    assert entry.hash == hashlib.blake2b(data, digest_size=32).hexdigest()


def test_moving_text_between_fields_changes_the_hash(store, monkeypatch):
    """`ab`+`c` and `a`+`bc` are two different corrections."""
    monkeypatch.setattr(store_module, "timestamp", lambda: "2026-01-01T00:00:00Z")
    one, two, same = store.add_corrections(
        [make_draft("ab", model="c"), make_draft("a", model="bc"), make_draft("ab", model="c")]
    )
    assert one.hash != two.hash
    assert one.hash == same.hash


def test_nothing_differs_from_an_empty_text_in_a_hash():
    """None, an empty part and no part at all give three hashes."""
    assert len({hash_parts("kind", None), hash_parts("kind", ""), hash_parts("kind")}) == 3


def test_reading_does_not_see_or_block_what_is_stored_meanwhile(path):
    """A read sees one snapshot, and an expert can go on storing meanwhile."""
    with Store(path) as store, Store(path) as other:
        add_one(store)
        with store._database.transaction() as connection:
            count = "SELECT count(*) FROM corrections"
            assert connection.exec_driver_sql(count).scalar_one() == 1
            add_one(other, "new")
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
        store.add_corrections([make_draft(**{"sample": "s", **changes})])
    assert store.count() == 0


def test_a_correction_that_is_not_there_is_named(store):
    """Asking for an id that was never given says so."""
    with pytest.raises(CorrectionError, match="no correction 9 in"):
        store.correction(9)


def test_the_default_author_is_the_login_name_or_unknown(monkeypatch):
    """The login name signs; where the system knows none, the correction is still signed."""
    monkeypatch.setenv("LOGNAME", "ada")
    assert default_author() == "ada"
    for error in (OSError, KeyError, ImportError):

        def nobody(error=error):
            raise error("no such user")

        monkeypatch.setattr(author_module.getpass, "getuser", nobody)
        assert default_author() == "unknown"


def test_what_is_there_is_not_added_again(store):
    """Equal in all but the time, in this order, and at the end of what is there."""
    one, two = make_draft("a"), make_draft("a", remark="later")
    other = make_draft("b")
    assert len(store.add_corrections([one, two, other], unless_there=True)) == 3
    assert store.add_corrections([one, two, other], unless_there=True) == []
    assert [entry.remark for entry in store.add_corrections([two, one], unless_there=True)] == [""]
    assert [entry.sample for entry in store.add_corrections([one], unless_there=False)] == ["a"]
