"""Splits by period leave whole periods out, cut in time, and still never divide a patient or a copy."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from regaze.data.images import acquisition
from regaze.data.periods import cut_periods, fold_periods, with_periods
from regaze.data.sources import load_dataset
from regaze.data.split import make_split
from regaze.errors import DataError
from regaze.records import Sample

SHARED = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def taken(name: str, date: str | None, label: int | None = 0, patient=None, twin=None, camera="") -> Sample:
    """A training photograph of a day."""
    period = None if date is None else f"{date[:4]}{', ' + camera if camera else ''}"
    return Sample(name, Path(f"{name}.jpg"), label, patient=patient, twin=twin, period=period, date=date)


def photograph(path: Path, original: str = "", changed: str = "", make: str = "", model: str = "") -> Path:
    """A picture with EXIF."""
    exif = Image.Exif()
    if original:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = original
    for tag, text in ((ExifTags.Base.DateTime, changed), (ExifTags.Base.Make, make), (ExifTags.Base.Model, model)):
        if text:
            exif[tag] = text
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_day_and_camera_come_from_exif(tmp_path, suffix):
    """The day on which it was taken goes before the day of the file; the camera is make and model, said once."""
    if suffix != "tif":  # Pillow writes no inner EXIF there
        both = photograph(tmp_path / f"a.{suffix}", "2009:08:20 12:31:05", "2018:01:02 00:00:00", "NIKON", "D90")
        assert acquisition(both) == ("2009-08-20", "NIKON D90")
    file = photograph(tmp_path / f"b.{suffix}", "", "2018:01:02 00:00:00", "Canon", "Canon CR-2")
    assert acquisition(file) == ("2018-01-02", "Canon CR-2")


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "2009:13:45 00:00:00", "yesterday", ""])
def test_what_is_no_date_is_unknown(tmp_path, text):
    """A camera without a clock says nothing; the photograph stays, of unknown period."""
    file = photograph(tmp_path / "a.jpg", text, text)
    assert acquisition(file) == (None, "")
    (sample,) = with_periods([Sample("a", file, 0)])
    assert (sample.period, sample.date) == (None, None)


def test_damaged_exif_is_no_reason_to_refuse(tmp_path):
    """A sound picture whose EXIF is cut off has no period, and no error or warning comes of it."""
    file = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(file, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x32\0\x02\0\0\0\x14\0\0\xff\xff")
    assert acquisition(file)[0] is None


def test_a_year_of_two_cameras_is_two_periods(tmp_path):
    """Year and camera together make a period."""
    one = photograph(tmp_path / "a.jpg", "2009:08:20 12:31:05", "", "NIKON", "D90")
    other = photograph(tmp_path / "b.jpg", "2009:08:20 12:31:05")
    samples = with_periods([Sample("a", one, 0), Sample("b", other, 0)])
    assert [sample.period for sample in samples] == ["2009, NIKON D90", "2009"]


def test_a_large_year_is_cut_between_days():
    """40 photographs of ten days where 20 are wanted: days 1 to 5 and 6 to 10; a small year stays whole."""
    large = [taken(f"a{day}{i}", f"2009-10-{day:02}") for day in range(1, 11) for i in range(4)]
    small = [taken(f"b{i}", f"2010-10-{i + 1:02}") for i in range(22)]
    periods = cut_periods([*large, *small], 20)
    assert periods[:40] == [("2009", 0)] * 20 + [("2009", 1)] * 20
    assert periods[40:] == [("2010", 0)] * 22, "a tenth more than wanted is let pass"


drawn = st.lists(
    st.tuples(
        st.sampled_from([None, 0, 1, 2]),
        st.sampled_from([None, None, None, "p1", "p2"]),
        st.sampled_from([None, None, None, "t1"]),
        st.sampled_from(
            [None, *(f"{year}-0{month}-0{day}" for year in (2009, 2014) for month in (3, 4) for day in (1, 2))]
        ),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(drawn, st.integers(2, 4), st.integers(0, 3), st.randoms())
def test_nothing_is_divided(rows, folds, seed, random):
    """No patient, copy, or day lies in two folds, a year lies in runs of days, and order is nothing."""
    samples = [taken(f"s{i:02}", day, label, who, twin) for i, (label, who, twin, day) in enumerate(rows)]
    try:
        split = make_split(samples, folds, seed, by_period=True)
    except DataError as error:
        assert "--split-by patient" in str(error)
        return
    assert split.keys() == {s.id for s in samples}
    assert set(split.values()) == set(range(folds))
    for kind in ("patient", "twin", "date"):
        homes: dict[str, set[int]] = {}
        for s in samples:
            if getattr(s, kind) is not None:
                homes.setdefault(getattr(s, kind), set()).add(split[s.id])
        assert all(len(home) == 1 for home in homes.values()), kind
    random.shuffle(samples)
    assert make_split(samples, folds, seed, by_period=True) == split


def test_unknown_periods_follow_their_patient_and_else_stay_together():
    """An undated photograph goes where its patient's dated one is; undated strangers make one period."""
    dated = [taken(f"d{year}{i}", f"{year}-01-0{i + 1}", label=i % 2) for year in (2009, 2010, 2011) for i in range(6)]
    follower = [taken("known", "2009-01-01", patient="p"), taken("follows", None, patient="p")]
    strangers = [taken(f"u{i}", None, label=i % 2) for i in range(6)]
    split = make_split([*dated, *follower, *strangers], 4, by_period=True)
    assert split["follows"] == split["known"] == split["d20090"]
    assert len({split[s.id] for s in strangers}) == 1
    assert len(set(split.values())) == 4


def test_few_periods_are_dealt_so_that_every_fold_has_every_class():
    """Two of six years lack class 1, known by hand: they go with years that have it, and no year is cut."""
    years = {2009: (9, 3), 2010: (9, 3), 2011: (9, 3), 2012: (12, 0), 2013: (5, 1), 2014: (12, 0)}
    samples = [
        taken(f"{year}-{label}-{i}", f"{year}-01-{i + 1:02}", label)
        for year, counts in years.items()
        for label, count in enumerate(counts)
        for i in range(count)
    ]
    for seed in range(4):
        split = make_split(samples, 4, seed, by_period=True)
        assert {(fold, label) for fold in range(4) for label in (0, 1)} == {(split[s.id], s.label) for s in samples}
        assert Counter(name for names in fold_periods(samples, split).values() for name in names) == Counter(
            map(str, years)
        )


def test_names_of_a_fold_say_which_days():
    """A whole year goes by its name, a run of days of it by the first and the last."""
    samples = [taken("a", "2009-08-20"), taken("b", "2009-09-01"), taken("c", "2009-09-02"), taken("d", "2010-01-01")]
    assert fold_periods(samples, {"a": 0, "b": 0, "c": 1, "d": 1}) == {
        0: ["2009 (2009-08-20 to 2009-09-01)"],
        1: ["2009 (2009-09-02 to 2009-09-02)", "2010"],
    }


def test_without_dates_there_are_no_periods():
    """The refusal says why, and what to do."""
    with pytest.raises(DataError, match=r"None of the 3 .* when it was taken.*pass --split-by patient"):
        make_split([taken(name, None) for name in "abc"], 2, by_period=True)


def test_too_few_periods_are_named():
    """One day of photographs is one period, whatever it is cut to."""
    samples = [taken(f"{i}", "2009-08-20", label=i % 2) for i in range(20)]
    with pytest.raises(DataError, match=r"20 training photographs form 1 groups .* too few for 3 folds: ask for fewer"):
        make_split(samples, 3, by_period=True)


@pytest.fixture
def sites(tmp_path):
    """A function that writes a table of 24 photographs, four of each of six sites."""

    def write(column: str = "Site") -> str:
        lines = [f"image,label,{column}"]
        for i in range(24):
            Image.frombytes("RGB", (16, 16), os.urandom(768)).save(tmp_path / f"{i}.png")
            lines.append(f"{i}.png,{i % 2},S{i // 4}")
        (tmp_path / "t.csv").write_text("\n".join(lines))
        return f"csv:{tmp_path / 't.csv'}"

    return write


@pytest.mark.parametrize(("column", "split_by"), [("Site", "site"), ("period", "period")])
def test_values_of_a_column_are_not_divided(sites, column, split_by):
    """No site lies in two folds; a column called period stands in for EXIF."""
    dataset = load_dataset(sites(column), split_by=split_by)
    assert Counter(sample.period for sample in dataset.samples) == {f"S{i}": 4 for i in range(6)}
    assert not [note for note in dataset.notes if "not used" in note]
    split = make_split(dataset.samples, 3, by_period=True)
    homes = {(sample.period, split[sample.id]) for sample in dataset.samples}
    assert len(homes) == 6
    assert Counter(split.values()) == {0: 8, 1: 8, 2: 8}


def test_only_a_named_column_enters_the_fingerprint(sites):
    """Studies by patient and by EXIF keep their fingerprint; one by site notices when a site is corrected."""
    spec = sites()
    plain, by_site = (load_dataset(spec, split_by=by).fingerprint for by in ("patient", "site"))
    assert load_dataset(spec, split_by="period").fingerprint == plain != by_site
    table = Path(spec.removeprefix("csv:"))
    table.write_text(table.read_text().replace("S5", "S4"))
    assert load_dataset(spec).fingerprint == plain
    assert load_dataset(spec, split_by="site").fingerprint != by_site


def test_a_column_that_is_not_there(sites, tmp_path):
    """The refusal names the columns; photographs without a table have none."""
    with pytest.raises(DataError, match=r"no column 'camera' to split by \(its columns: image, label, site\)"):
        load_dataset(sites(), split_by="camera")
    with pytest.raises(DataError, match=r"--split-by is 'site', but synthetic photographs have no columns"):
        load_dataset("synthetic:4", split_by="site", folder=tmp_path)


@pytest.mark.skipif(not (SHARED / "idrid").is_dir(), reason=f"IDRiD is not at {SHARED / 'idrid'}")
def test_idrid_by_period():
    """On IDRiD, in 3 and 5 folds: every fold has every grade, no day or visit is divided, folds are of like size."""
    samples = load_dataset(f"idrid:{SHARED / 'idrid'}", split_by="period").samples
    dated = [sample for sample in samples if sample.date is not None]
    assert len(dated) == 413, "all graded photographs"
    assert Counter(s.period for s in dated) == {"2009": 138, "2014": 41, "2015": 71, "2016": 57, "2017": 100, "2018": 6}
    for folds, cut in ((3, set()), (5, {"2009", "2017"})):
        for seed in range(3):
            split = make_split(samples, folds, seed, by_period=True)
            grades = Counter((split[s.id], s.label) for s in samples if s.label is not None)
            assert len(grades) == 5 * folds
            assert all(0.7 < sum(grades[fold, g] for g in range(5)) / (413 / folds) < 1.35 for fold in range(folds))
            for kind in ("date", "patient", "twin"):
                homes = {(getattr(s, kind), split[s.id]) for s in samples if getattr(s, kind) is not None}
                assert len(homes) == len({value for value, _ in homes}) > 0
            names = [name for names in fold_periods(samples, split).values() for name in names]
            assert {name[:4] for name in names if "to" in name} == cut
            assert len(names) == 6 + len(cut), "a year is cut in two, in time"
