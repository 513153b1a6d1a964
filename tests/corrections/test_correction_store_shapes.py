"""The store and what experts drew: maps, shapes, their hash, and the latest word of each author."""

import hashlib
import sqlite3
import time
from dataclasses import replace

import numpy as np
import pytest

from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.corrections.store import Store
from regaze.errors import CorrectionError
from regaze.records import Correction, Shape
from tests.corrections.drafts import all_of, raw_sql

SIZE = (12, 16)
SHAPES = (
    Shape("stroke", True, ((2.25, 3.1), (9.7, 4.0)), 1.5),
    Shape("polygon", True, ((0.1, 6.0), (5.0, 6.3), (3.0, 10.9))),
    Shape("box", False, ((4, 2), (7.5, 8))),
    Shape("mask", False, runs=mask_to_runs(np.arange(192).reshape(SIZE) > 185)),
)
LOOK, AVOID = rasterise(SHAPES, *SIZE)


def _draft(sample="s", **changes):
    base = Correction(0, sample, "phase1", "expert", "edit", LOOK, AVOID, "Expert", "", "", "scale2", SHAPES)
    return replace(base, **changes)


def test_shapes_and_map_come_back_as_they_were_drawn(path):
    """Every coordinate, the order and the corrected map's name survive closing and opening the file."""
    with Store(path) as store:
        store.add_corrections([_draft()])
    with Store(path) as store:
        (back,) = all_of(store)
        assert (back.map, back.shapes) == ("scale2", SHAPES)
        np.testing.assert_array_equal(back.look, LOOK)
        np.testing.assert_array_equal(back.avoid, AVOID)
        for mask, drawn in zip((back.look, back.avoid), rasterise(back.shapes, *SIZE), strict=True):
            np.testing.assert_array_equal(mask, drawn)
        (entry,) = store.correction_index()
        assert entry.map == "scale2"


def test_the_hash_covers_map_and_shapes_where_there_are_any(store, path):
    """Version 2 of the recipe, recomputed here from the raw row; version 1 where both are empty."""
    entries = store.add_corrections([_draft(), _draft(shapes=()), _draft(map=""), _draft(map="", shapes=())])
    names = "sample, model, origin, mode, look, avoid, author, time, remark, map, shapes"
    rows = raw_sql(path, f"SELECT {names} FROM corrections ORDER BY id")  # noqa: S608 - the test's own names
    for entry, row, version in zip(entries, rows, (2, 2, 2, 1), strict=True):
        values = (f"regaze correction {version}", *(row if version == 2 else row[:-2]))
        parts = [value.encode() if isinstance(value, str) else value for value in values]
        data = b"".join(str(len(part)).encode() + b":" + part for part in parts)
        assert entry.hash == hashlib.blake2b(data, digest_size=32).hexdigest()
    assert len({entry.hash for entry in entries}) == 4


@pytest.mark.parametrize(
    "change",
    [
        "map = 'scale1'",
        "map = ''",
        "shapes = ''",
        "shapes = '[]'",
        "shapes = replace(shapes, '2.25', '2.5')",
        "map = '', shapes = ''",
        "map = shapes, shapes = map",
    ],
)
def test_altered_shapes_or_maps_are_refused(path, change):
    """Someone who drops the triggers and edits what was drawn is found out, also by emptying both columns."""
    with Store(path) as store:
        store.add_corrections([_draft()])
        raw_sql(path, "DROP TRIGGER corrections_refuse_update")
        raw_sql(path, f"UPDATE corrections SET {change}")  # noqa: S608 - the test's own names
        with pytest.raises(CorrectionError, match=r"correction 1 \(s\) .*does not match its hash"):
            all_of(store)


def test_shapes_that_were_added_to_a_row_without_any_are_refused(path):
    """A row of the first recipe cannot be given a map afterwards."""
    with Store(path) as store:
        store.add_corrections([_draft(map="", shapes=())])
        raw_sql(path, "DROP TRIGGER corrections_refuse_update")
        raw_sql(path, "UPDATE corrections SET map = 'fused'")
        with pytest.raises(CorrectionError, match="does not match its hash"):
            all_of(store)


def test_the_new_columns_are_append_only_too(path):
    """The triggers of the first step guard the columns of the second."""
    with Store(path) as store:
        store.add_corrections([_draft()])
    with pytest.raises(sqlite3.IntegrityError, match="corrections is append-only"):
        raw_sql(path, "UPDATE corrections SET shapes = ''")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"look": LOOK ^ (np.arange(16) == 0)}, "mask 'look' of 's' differs from its shapes in 12 pixels"),
        ({"avoid": None}, f"mask 'avoid' of 's' differs from its shapes in {np.count_nonzero(AVOID)} pixels"),
        ({"shapes": SHAPES[:3]}, "mask 'avoid' of 's' differs"),
        ({"shapes": SHAPES[::-1]}, "of 's' differs from its shapes in"),
        ({"shapes": (Shape("stroke", True, ((1, 1),)),)}, r"shapes of 's': shape 1 \(stroke\) has radius 0.0"),
        ({"shapes": (Shape("mask", True, runs=(5,)),)}, "sum to 5, expected 12 x 16 = 192"),
        ({"map": "a\0b"}, "map is"),
        ({"map": None}, "map is None"),
    ],
)
def test_masks_that_are_not_what_the_shapes_draw_are_refused(store, changes, message):
    """What is stored as drawn and what the training reads cannot differ; nothing is stored."""
    with pytest.raises(CorrectionError, match=message):
        store.add_corrections([_draft("good"), _draft(**changes)])
    assert store.count() == 0


def test_no_avoid_is_an_empty_avoid_for_the_shapes(store):
    """Shapes that say only "look here" may come with no avoid mask or an empty one; each comes back as it was."""
    look, avoid = rasterise(SHAPES[:2], *SIZE)
    store.add_corrections([_draft(look=look, avoid=one, shapes=SHAPES[:2]) for one in (None, avoid)])
    first, second = all_of(store)
    assert first.avoid is None
    assert second.avoid is not None
    assert first.shapes == second.shapes == SHAPES[:2]


def test_listing_many_large_corrections_is_quick(store):
    """The columns behind the masks' bytes do not make the index slow: seconds of this process."""
    rng = np.random.default_rng(0)
    look = np.kron(rng.random((356, 536)) > 0.9, np.ones((8, 8), bool))
    (entry,) = store.add_corrections([_draft(look=look, avoid=None, shapes=())])
    copy = (
        "INSERT INTO corrections SELECT NULL, sample, model, origin, mode, author, time, remark, hash, height, width, "
        "look, avoid, map, shapes FROM corrections WHERE id = 1"
    )
    with store._database.transaction(write=True) as connection:
        for _ in range(412):
            connection.exec_driver_sql(copy)
    start = time.process_time()
    index = store.correction_index()
    assert time.process_time() - start < 2
    assert len(index) == 413
    assert {one.map for one in index} == {entry.map} == {"scale2"}
