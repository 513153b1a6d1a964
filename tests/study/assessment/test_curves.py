"""Mean curves from records: over the same photographs, whatever else was measured."""

import pytest

from regaze.study.assessment.curves import model_curves, ranking_curves


def row(**heights):
    """A record whose curves are constant at the given heights."""
    if not heights:
        return {"faithfulness": None}
    curves = {
        name.replace("_", "-"): {"shares": [0.0, 0.5, 1.0], "deletion": [h] * 3, "insertion": [1 - h] * 3}
        for name, h in heights.items()
    }
    return {"faithfulness": {"curves": curves}}


def test_models_are_averaged_over_the_photographs_that_all_of_them_have():
    """A photograph that one model lacks has no say in any model's curve."""
    found = model_curves({"before": [row(fused=0.2), row(), row(fused=0.4)], "after": [row(fused=0.6)] * 3})
    assert (found["n"], found["shares"]) == (2, [0.0, 0.5, 1.0])
    assert found["lines"]["before"]["deletion"] == pytest.approx([0.3] * 3)
    assert found["lines"]["before"]["insertion"] == pytest.approx([0.7] * 3)
    assert found["lines"]["after"]["deletion"] == pytest.approx([0.6] * 3)


def test_orders_rest_on_the_same_photographs():
    """Where the lesions are an order too, every curve is over the photographs that have lesions."""
    rows = [row(fused=0.2, random=0.4, lesions=0.1), row(fused=0.8, random=0.8), row(fused=0.9), row()]
    found = ranking_curves(rows)
    assert (found["n"], list(found["lines"])) == (1, ["fused", "random", "lesions"])
    without = ranking_curves(rows[1:])
    assert (without["n"], list(without["lines"])) == (1, ["fused", "random"])
    assert without["lines"]["fused"]["deletion"] == pytest.approx([0.8] * 3)


def test_nothing_measured_gives_nothing():
    """No records, no measured photograph and no control give None."""
    assert model_curves({}) is None
    assert model_curves({"before": [row()], "after": [row(fused=1)]}) is None
    assert ranking_curves([row(fused=0.5), row()]) is None
