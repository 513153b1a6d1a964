"""The store and what experts drew: maps, shapes, their hash, and the latest word of each author."""

import hashlib
import io
import json
import sqlite3
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from regaze.corrections import rows as rows_module
from regaze.corrections import store as store_module
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.corrections.store import Store
from regaze.errors import CorrectionError
from regaze.records import Correction, DrawnCorrection, Shape
from tests.corrections.drafts import all_of, assert_same, raw_sql

SIZE = (12, 16)
SHAPES = (
    Shape("stroke", "look", ((2.25, 3.1), (9.7, 4.0)), 1.5),
    Shape("polygon", "look", ((0.1, 6.0), (5.0, 6.3), (3.0, 10.9))),
    Shape("box", "avoid", ((4, 2), (7.5, 8))),
    Shape("stroke", "erase", ((4.5, 0.5), (6.5, 11.0)), 0.8),
    Shape("mask", "avoid", runs=mask_to_runs(np.arange(192).reshape(SIZE) > 185)),
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
        "shapes = replace(shapes, 'erase', 'avoid')",
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
        ({"shapes": SHAPES[:4]}, "mask 'avoid' of 's' differs"),
        ({"shapes": SHAPES[:3] + SHAPES[4:]}, "mask 'avoid' of 's' differs"),
        ({"shapes": SHAPES[::-1]}, "of 's' differs from its shapes in"),
        ({"shapes": (Shape("stroke", "look", ((1, 1),)),)}, r"shapes of 's': shape 1 \(stroke\) has radius 0.0"),
        ({"shapes": (Shape("mask", "look", runs=(5,)),)}, "sum to 5, expected 12 x 16 = 192"),
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


def _drawing(sample="s", **changes):
    """What `_draft` says, without the masks."""
    return replace(DrawnCorrection(sample, "phase1", "edit", SHAPES, *SIZE, "Expert", "", "scale2"), **changes)


def test_a_drawing_is_stored_as_the_correction_that_it_draws(store):
    """Field by field and pixel by pixel what a correction with both its masks is; no "not here" is no mask."""
    store.add_corrections([_draft(), _drawing(), _drawing(shapes=SHAPES[:2]), _drawing(shapes=(), mode="replace")])
    full, drawn, looks, nothing = all_of(store)
    assert_same(replace(full, time=drawn.time, id=drawn.id), drawn)
    assert looks.avoid is None
    np.testing.assert_array_equal(looks.look, rasterise(SHAPES[:2], *SIZE)[0])
    assert (nothing.mode, nothing.shapes, nothing.avoid, nothing.look.shape) == ("replace", (), None, SIZE)
    assert not nothing.look.any()
    assert store.add_corrections([_draft(), _drawing(), _drawing()], unless_there=True) != []
    assert store.add_corrections([_drawing(), _draft()], unless_there=True) == []


def test_a_drawing_is_drawn_once(store, monkeypatch):
    """Which is most of what storing it costs."""
    calls = []
    monkeypatch.setattr(rows_module, "rasterise", lambda *args: calls.append(args) or rasterise(*args))
    store.add_corrections([_drawing()])
    assert len(calls) == 1


def test_many_strokes_on_a_whole_photograph_are_saved_soon(store):
    """200 strokes of 60 points at 4288 x 2848: CPU seconds, six times what bench/saving.py says."""
    rng = np.random.default_rng(0)
    lines = np.cumsum(rng.normal(0, 8, (200, 60, 2)), axis=1) + rng.random((200, 1, 2)) * (4288, 2848)
    marks = ("look", "avoid", "erase")
    shapes = tuple(
        Shape("stroke", marks[number % 3], tuple(map(tuple, line)), 20.0) for number, line in enumerate(lines.tolist())
    )
    start = time.process_time()
    (entry,) = store.add_corrections([_drawing(shapes=shapes, height=2848, width=4288)])
    assert time.process_time() - start < 1
    back = store.correction(entry.id)
    for mask, expected in zip((back.look, back.avoid), rasterise(shapes, 2848, 4288), strict=True):
        assert mask.any()
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shapes": (Shape("stroke", "look", ((1, 1),)),)}, r"shapes of 's': shape 1 \(stroke\) has radius 0.0"),
        ({"shapes": (Shape("box", "rub", ((1, 1), (2, 2))),)}, r"shapes of 's': shape 1 \(box\) has mark 'rub'"),
        ({"height": 0}, "shapes of 's' on 0 x 16 pixels"),
        ({"mode": "draft"}, "mode of 's' is 'draft', expected one of replace, edit"),
        ({"author": " "}, "author is ' '"),
        ({"model": "a\0b"}, "model is"),
    ],
)
def test_a_drawing_that_makes_no_sense_is_refused(store, changes, message):
    """As a correction would be, and nothing is stored."""
    with pytest.raises(CorrectionError, match=message):
        store.add_corrections([_drawing("good"), _drawing(**changes)])
    assert store.count() == 0


def _as_of_step_3(correction):
    """The row as it was written when shapes said `look`, true or false, and masks were packed by Pillow."""
    values = rows_module.pack_correction(correction, "2026-01-01T00:00:00Z")
    objects = [{"kind": one["kind"], "look": one.pop("mark") == "look"} | one for one in json.loads(values["shapes"])]
    values["shapes"] = json.dumps(objects, separators=(",", ":"))
    for name, mask in (("look", correction.look), ("avoid", correction.avoid)):
        buffer = io.BytesIO()
        Image.fromarray(mask).save(buffer, format="PNG")
        assert buffer.getvalue() != values[name]
        values[name] = buffer.getvalue()
    return values | {"hash": rows_module._hash_correction(values)}


def test_rows_of_before_shapes_could_erase_stay_and_are_known_again(store, path):
    """They verify by their old bytes, read as the same shapes and masks, and an import of the same adds nothing."""
    before = SHAPES[:3]
    look, avoid = rasterise(before, *SIZE)
    old = _draft(shapes=before, look=look, avoid=avoid)
    with store._database.transaction(write=True) as connection:
        store_module._insert(connection, rows_module.CORRECTIONS, _as_of_step_3(old))
    (text,) = raw_sql(path, "SELECT shapes FROM corrections")[0]
    assert '"look":true' in text
    assert "mark" not in text
    (back,) = all_of(store)
    assert_same(replace(old, id=1, time=back.time), back)
    assert store.chain().problems == ()
    assert store.add_corrections([old], unless_there=True) == []
    assert store.add_corrections([_drawing(shapes=before)], unless_there=True) == []
    assert len(store.add_corrections([_drawing(shapes=before[:2])], unless_there=True)) == 1


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
