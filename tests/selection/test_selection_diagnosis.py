"""Does an expert need to see a photograph?"""

import itertools
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regaze.selection.diagnosis import diagnose

# A busy machine is slow; that is no fault of the code.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LESIONS, NO_LESIONS, UNKNOWN = {"has_lesions": True}, {"has_lesions": False}, {"has_lesions": None}


@pytest.mark.parametrize(
    ("label", "grade", "rank", "enrichment", "known", "expected"),
    [
        # A wrong grade comes first, whatever the map shows and whatever is known.
        (3, 2, 0.9, 9.0, LESIONS, "misgraded"),
        (3, 2, 0.0, 0.0, LESIONS, "misgraded"),
        (0, 1, None, None, NO_LESIONS, "misgraded"),
        (3, 2, None, None, UNKNOWN, "misgraded"),
        # Graded right: either measure may show a miss. The thresholds themselves are good enough.
        (3, 3, 0.9, 9.0, LESIONS, "fine"),
        (3, 3, 0.3, 2.0, LESIONS, "fine"),
        (3, 3, 0.29, 9.0, LESIONS, "elsewhere"),
        (3, 3, 0.9, 1.99, LESIONS, "elsewhere"),
        (3, 3, 0.0, 0.0, LESIONS, "elsewhere"),
        # Known to be free of lesions, or not known.
        (0, 0, None, None, NO_LESIONS, "fine"),
        (0, 0, None, None, UNKNOWN, "unknown"),
        # Without a label the map alone decides.
        (None, 2, 0.9, 9.0, LESIONS, "fine"),
        (None, 2, 0.1, 9.0, LESIONS, "elsewhere"),
        (None, 2, None, None, NO_LESIONS, "fine"),
        (None, 2, None, None, UNKNOWN, "unknown"),
        # Not measured: one measure may show a miss, but cannot show that all is well.
        (3, 3, 0.1, None, LESIONS, "elsewhere"),
        (3, 3, None, 1.0, LESIONS, "elsewhere"),
        (3, 3, 0.9, None, LESIONS, "unknown"),
        (3, 3, None, None, LESIONS, "unknown"),
        # NaN is never a hit.
        (3, 3, math.nan, 9.0, LESIONS, "elsewhere"),
        (3, 3, 0.9, math.nan, LESIONS, "elsewhere"),
    ],
)
def test_each_case_of_the_method(label, grade, rank, enrichment, known, expected):
    """The table of the method, case by case, with the thresholds of the method."""
    assert diagnose(label, grade, rank, enrichment, **known) == expected


def test_label_zero_is_a_label():
    """Grade 0 is not mistaken for a missing label."""
    assert diagnose(0, 2, 0.9, 9.0, **LESIONS) == "misgraded"


def test_the_thresholds_can_be_moved():
    """The same map passes lower thresholds and fails higher ones."""
    assert diagnose(1, 1, 0.2, 1.5, **LESIONS, min_rank=0.2, min_enrichment=1.5) == "fine"
    assert diagnose(1, 1, 0.9, 9.0, **LESIONS, min_rank=0.95) == "elsewhere"
    assert diagnose(1, 1, 0.9, 9.0, **LESIONS, min_enrichment=10) == "elsewhere"


@_PATIENT
@given(st.floats(0, 1), st.floats(0, 50), st.floats(0, 1), st.floats(0, 50))
def test_a_better_map_is_never_judged_worse(rank, enrichment, more_rank, more_enrichment):
    """If a map is fine, a map with at least its rank and enrichment is fine."""
    if diagnose(2, 2, rank, enrichment, **LESIONS) == "fine":
        better = (max(rank, more_rank), max(enrichment, more_enrichment))
        assert diagnose(2, 2, *better, **LESIONS) == "fine"


def test_only_a_known_wrong_grade_is_misgraded():
    """Over all combinations: misgraded exactly where the label is known and differs."""
    for label, grade, rank, known in itertools.product(
        (None, 0, 1), (0, 1), (None, 0.1, 0.9), (LESIONS, NO_LESIONS, UNKNOWN)
    ):
        found = diagnose(label, grade, rank, 9.0, **known) == "misgraded"
        assert found == (label is not None and label != grade)
