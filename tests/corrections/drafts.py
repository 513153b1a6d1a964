"""Small corrections for the tests of the store, put in and read back."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np

from regaze.records import Correction

LOOK = np.eye(5, 7, dtype=bool)
AVOID = np.roll(LOOK, 1, axis=1)


def make_draft(sample, look=LOOK, avoid=None, **changes):
    """A correction that is not stored yet."""
    base = Correction(0, sample, "phase1", "masks", "replace", look, avoid, "Expert", "")
    return replace(base, **changes)


def add_one(store, sample="a", **changes):
    """Store one correction; its entry."""
    return store.add_corrections([make_draft(sample, **changes)])[0]


def all_of(store):
    """Every correction of a store, in order."""
    return [store.correction(entry.id) for entry in store.correction_index()]


def raw_sql(path, sql, *values):
    """Run SQL from outside the store, as a stranger's program would; commits."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(sql, values).fetchall()
        connection.commit()
        return rows


def assert_same(one, other):
    """Two corrections agree in every field and in both masks."""
    for name in ("id", "sample", "model", "origin", "mode", "author", "time", "remark", "map", "shapes"):
        assert getattr(one, name) == getattr(other, name)
    for left, right in ((one.look, other.look), (one.avoid, other.avoid)):
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == np.bool_
            np.testing.assert_array_equal(left, right)
