"""Values that no step can work with."""

import math

import pytest

from regaze.errors import OptionError
from regaze.study.check import check_selection
from regaze.study.options import SelectOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "--share 0.0: expected above 0, up to 1"),
        ({"share": 1.01}, "--share 1.01"),
        ({"share": 30}, "--share 30"),
        ({"share": math.nan}, "--share nan"),
        ({"count": 0}, "--count 0: expected 1 or more"),
        ({"diversity": 1.5}, "--diversity 1.5: expected 0 to 1"),
        ({"diversity": math.nan}, "--diversity nan"),
    ],
)
def test_a_request_outside_its_range_is_refused(options, message):
    """The message names the option, the value and what was expected."""
    with pytest.raises(OptionError, match=message):
        check_selection(SelectOptions(**options))
