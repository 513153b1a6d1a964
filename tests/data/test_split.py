"""Folds never divide a patient or the copies of a picture, and share the classes evenly."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regaze.data.split import make_split
from regaze.errors import DataError, OptionError
from regaze.records import Sample

SHARED = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def sample(name: str, label: int | None = 0, part: str = "training", patient=None, twin=None) -> Sample:
    """Return a training photograph called `name`."""
    return Sample(name, Path(f"{name}.jpg"), label, part, patient, twin=twin)


drawn = st.lists(
    st.tuples(
        st.sampled_from([None, 0, 1, 2]),
        st.sampled_from(["training", "training", "training", "test"]),
        st.sampled_from([None, "p1", "p2", "p3", "p4"]),
        st.sampled_from([None, None, "t1", "t2"]),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(drawn, st.integers(2, 5), st.integers(0, 3), st.randoms())
def test_no_group_is_ever_divided(rows, folds, seed, random):
    """Each training photograph has one fold, no patient or twin is divided, order is nothing."""
    samples = [sample(f"s{i:02}", label, part, who, twin) for i, (label, part, who, twin) in enumerate(rows)]
    try:
        split = make_split(samples, folds, seed)
    except DataError as error:
        assert "too few for" in str(error)
        return
    training = [s for s in samples if s.part == "training"]
    assert split.keys() == {s.id for s in training}
    assert set(split.values()) == set(range(folds))  # no fold is empty: there are enough groups
    for kind in ("patient", "twin"):
        homes: dict[str, set[int]] = {}
        for s in training:
            if getattr(s, kind) is not None:
                homes.setdefault(getattr(s, kind), set()).add(split[s.id])
        assert all(len(home) == 1 for home in homes.values())
    random.shuffle(samples)
    assert make_split(samples, folds, seed) == split


def test_a_chain_of_patient_and_twin_is_one_group():
    """A and b share a patient, b and c a picture, c and d a patient: all four stay together."""
    chain = [
        sample("a", patient="p"),
        sample("b", patient="p", twin="t"),
        sample("c", patient="q", twin="t"),
        sample("d", patient="q"),
    ]
    split = make_split([*chain, sample("e"), sample("f")], folds=3)
    assert len({split[s.id] for s in chain}) == 1
    assert len(set(split.values())) == 3


def test_patient_and_twin_of_one_name_are_different_things():
    """A patient called like a twin value does not join them."""
    split = make_split([sample("a", patient="x"), sample("b", twin="x")], folds=2)
    assert split["a"] != split["b"]


def test_shares_known_by_hand():
    """20 single photographs, 10 + 5 + 5 (ungraded), in 5 folds: each fold gets exactly 2 + 1 + 1."""
    samples = [sample(f"{i:02}", label=[0, 0, 1, None][i % 4]) for i in range(20)]
    split = make_split(samples, 5, seed=7)
    for fold in range(5):
        assert Counter(s.label for s in samples if split[s.id] == fold) == {0: 2, 1: 1, None: 1}


def test_seed_decides():
    """One seed gives one split; another seed another."""
    samples = [sample(f"{i:02}", label=i % 2) for i in range(40)]
    assert make_split(samples, 5, 1) == make_split(samples, 5, 1) != make_split(samples, 5, 2)


def test_too_few_groups_name_the_numbers():
    """Three photographs of one patient cannot make two folds; the message says so."""
    with pytest.raises(DataError, match=r"3 training photographs form 1 groups .* for 2 folds"):
        make_split([sample(name, patient="p") for name in "abc"], 2)
    with pytest.raises(DataError, match="0 training photographs form 0 groups"):
        make_split([sample("a", part="test")], 2)


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_folds_are_no_split(folds):
    """A split needs two folds."""
    with pytest.raises(OptionError, match=f"folds is {folds}"):
        make_split([sample("a"), sample("b")], folds)


@pytest.mark.skipif(not (SHARED / "idrid").is_dir(), reason=f"IDRiD is not at {SHARED / 'idrid'}")
def test_idrid_is_balanced():
    """On IDRiD every fold has its fair share of every grade within 1.5, for several seeds."""
    from regaze.data.sources import load_dataset

    samples = load_dataset(f"idrid:{SHARED / 'idrid'}").samples
    totals = Counter(s.label for s in samples)
    for seed in range(5):
        split = make_split(samples, 5, seed)
        for fold in range(5):
            counts = Counter(s.label for s in samples if split[s.id] == fold)
            assert all(abs(counts[label] - total / 5) < 1.5 for label, total in totals.items())
            assert abs(counts.total() - len(samples) / 5) <= 2
