"""How outcomes are written into a page, and the figures of maps that no other room needs."""

import numpy as np
import pytest

from regaze.errors import OptionError
from regaze.evaluation.seeds import Estimate
from regaze.experiments.measure import effective_area, on_grid
from regaze.experiments.outcome import put_section, row, score_values, shown


def test_section_is_replaced_and_the_rest_kept(tmp_path):
    """The first call appends, the next replaces in place; what stands around stays byte for byte."""
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nby hand\n", encoding="utf-8")
    put_section(page, "fig5, x", "one\n")
    put_section(page, "fig7, x", "other\n")
    with page.open("a", encoding="utf-8") as stream:
        stream.write("\nafter\n")
    before = page.read_text(encoding="utf-8")
    put_section(page, "fig5, x", "two | lines\nof text\n")
    after = page.read_text(encoding="utf-8")
    assert after == before.replace("\none\n", "\ntwo | lines\nof text\n")
    assert after.startswith("# Results\n\nby hand\n\n<!-- regaze reproduce fig5, x: start -->\n")
    put_section(page, "fig5, x", "two | lines\nof text\n")
    assert page.read_text(encoding="utf-8") == after


def test_other_line_ends_stay(tmp_path):
    """A page with Windows' line ends keeps them around the section."""
    page = tmp_path / "page.md"
    page.write_bytes(b"# by hand\r\n")
    put_section(page, "a", "one")
    put_section(page, "a", "two")
    assert page.read_bytes() == (
        b"# by hand\r\n\n<!-- regaze reproduce a: start -->\ntwo\n<!-- regaze reproduce a: end -->\n"
    )


def test_a_page_that_is_no_text_is_refused(tmp_path):
    """A folder, or bytes that are no UTF-8: one line, and nothing is changed."""
    with pytest.raises(OptionError, match="expected a page in UTF-8"):
        put_section(tmp_path, "a", "one")
    page = tmp_path / "page.md"
    page.write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match="expected a page in UTF-8"):
        put_section(page, "a", "one")
    assert page.read_bytes() == b"\xff\xfe"


def test_section_in_a_new_page(tmp_path):
    """A page that is not there is made."""
    put_section(tmp_path / "new.md", "a", "text")
    assert (tmp_path / "new.md").read_text(encoding="utf-8") == (
        "<!-- regaze reproduce a: start -->\ntext\n<!-- regaze reproduce a: end -->\n"
    )


def test_broken_marks_are_refused(tmp_path):
    """A page with half a section is not written to."""
    page = tmp_path / "results.md"
    page.write_text("<!-- regaze reproduce a: start -->\nby hand\n", encoding="utf-8")
    with pytest.raises(OptionError, match="marks of section 'a' do not pair"):
        put_section(page, "a", "text")
    assert page.read_text(encoding="utf-8") == "<!-- regaze reproduce a: start -->\nby hand\n"


def test_cells_of_a_table():
    """Figures with their interval, or a dash; a bar does not end a cell."""
    assert shown(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert (shown(Estimate(0.5), 1), shown(Estimate(None))) == ("0.5", "-")
    assert row(("a|b", "c")) == "| a\\|b | c |"


def test_scores_of_judged_photographs():
    """Each photograph's own ranked probability score and log-loss; no grade, or a run of earlier versions: none."""
    record = {"sample": "a", "patient": "p", "label": 1, "grade": 1, "probabilities": [0.5, 0.3, 0.2]}
    earlier = {key: value for key, value in record.items() if key != "probabilities"}
    found = score_values([[record, record | {"sample": "b", "label": None}], [earlier]], ordinal=True)
    assert [[value.sample for value in seed] for seed in found["log_loss"]] == [["a"], []]
    assert found["ranked_probability_score"][0][0].value == pytest.approx((0.25 + 0.04) / 2)
    assert found["log_loss"][0][0].value == pytest.approx(-np.log(0.3))
    unordered = score_values([[record]], ordinal=False)
    assert (unordered["ranked_probability_score"], len(unordered["log_loss"][0])) == ([[]], 1)


def test_effective_area_by_hand():
    """One cell of four: a quarter. All alike: all. Two of four: half. Empty: none."""
    assert effective_area(np.array([[1, 0], [0, 0]], np.float32)) == 0.25
    assert effective_area(np.full((2, 2), 0.3, np.float32)) == pytest.approx(1.0)
    assert effective_area(np.array([[2, 2], [0, 0]], np.float32)) == 0.5
    assert effective_area(np.zeros((2, 2), np.float32)) == 0.0


def test_maps_on_one_grid():
    """Shrinking takes means of cells; the same grid changes nothing; growing keeps a constant map."""
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert on_grid(maps, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert on_grid(maps, 4).tolist() == maps.tolist()
    assert on_grid(np.full((2, 1, 1), 0.5, np.float32), 3).tolist() == np.full((2, 3, 3), 0.5).tolist()
