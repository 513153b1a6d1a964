"""The grid: what is shared, what an id depends on, what runs are called."""

from dataclasses import replace

import pytest

from regaze.errors import OptionError
from regaze.experiments import fig5, fig6, fig7, table2, table3
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.plan import Cell, Grid, Want
from regaze.models.options import NetworkOptions

OPTIONS = ReproduceOptions(data="synthetic:40", backbones="alexnet,resnet18,resnet34", seeds=3)


def _grid_of(options=OPTIONS, fingerprint="f", arithmetic="fp32", versions=None):
    return Grid(options, fingerprint, arithmetic, versions or {"regaze": "1"})


def _everything(options=OPTIONS):
    return [want for part in (fig5, fig6, table2, table3, fig7) for want in part.wants(options)]


def test_one_phase_1_serves_every_fine_tuning():
    """All five experiments together train each backbone and network once per seed, and need no run twice."""
    runs = _grid_of().runs(_everything())
    assert len({run.id for run in runs}) == len(runs)
    counts = {kind: sum(run.kind == kind for run in runs) for kind in ("phase1", "finetune", "judge", "maps")}
    # Per seed: 3 backbones x 3 networks; resnet18 single, 3 x multi, control, and 4 shares x 3 orders.
    assert counts["phase1"] == 3 * 9
    assert counts["finetune"] == 3 * (1 + 3 + 1 + 12)
    # Six methods of figure 5 (two of which are figure 7's ends), 12 inner points; nine cells and figure 6's "before".
    assert counts["judge"] == 3 * (6 + 12)
    assert counts["maps"] == 3 * (9 + 1)


def test_runs_come_after_what_they_need():
    """A fine-tuning comes after its phase 1, a measurement after its model."""
    seen = set()
    runs = _grid_of().runs(_everything())
    assert runs
    for run in runs:
        if run.kind != "phase1":
            assert (run.seed, run.parent if run.kind == "finetune" else run.model) in seen
        if run.kind in ("phase1", "finetune"):
            seen.add((run.seed, run.model))


@pytest.mark.parametrize(
    "changed",
    [
        {"options": replace(OPTIONS, epochs=3)},
        {"options": replace(OPTIONS, size=64)},
        {"options": replace(OPTIONS, folds=5)},
        {"options": replace(OPTIONS, weights="resnet18=hub")},
        {"fingerprint": "g"},
        {"arithmetic": "bf16"},
        {"versions": {"regaze": "2"}},
    ],
)
def test_id_depends_on_all_that_decides_the_result(changed):
    """Options, data, arithmetic and versions each change the id of a model and of everything built on it."""
    want = Want("judge", Cell("resnet18", "multi-scale", 1.0))
    before, after = _grid_of().chain(want, 0), _grid_of(**changed).chain(want, 0)
    assert len(before) == len(after) == 3
    assert not {run.id for run in before} & {run.id for run in after}


def test_id_depends_on_the_networks_shape(monkeypatch):
    """A later version with another default of the network does not take this one's results for its own."""
    want = Want("judge", Cell("resnet18", "multi-scale", 1.0))
    before = _grid_of().chain(want, 0)

    def deeper(self, cell):
        return NetworkOptions(cell.network, cell.backbone, perception="full")

    monkeypatch.setattr(Grid, "network", deeper)
    assert not {run.id for run in before} & {run.id for run in _grid_of().chain(want, 0)}


def test_ids_are_those_of_earlier_versions():
    """What earlier versions trained counts: a weighting or a way of learning that they did not know changes no id."""
    chain = _grid_of(versions={"regaze": "1"}).chain(Want("judge", Cell("resnet18", "multi-scale", 1.0)), 0)
    assert [run.id for run in chain[:2]] == ["9cb392e841eb24db", "2f59f3ab4c26a99e"]
    assert [run.model for run in chain[:2]] == [
        "resnet18-multi-scale-9cb392e8",
        "resnet18-multi-scale-finetuned-2f59f3ab",
    ]


def test_id_does_not_depend_on_what_does_not_matter():
    """More seeds, other shares or other resamples leave the runs that are there as they are."""
    want = Want("judge", Cell("resnet18", "multi-scale", 1.0))
    other = replace(OPTIONS, seeds=9, shares="0.2", resamples=10, faithfulness=1, backbones="resnet18")
    assert _grid_of().chain(want, 0) == _grid_of(other).chain(want, 0)
    assert _grid_of().chain(want, 0)[0].id != _grid_of().chain(want, 1)[0].id


def test_later_options_leave_earlier_runs():
    """Another length of fine-tuning keeps phase 1; the map loss's weight keeps the control."""
    want = Want("judge", Cell("resnet18", "multi-scale", 1.0))
    control = Want("judge", Cell("resnet18", "multi-scale", 0.0))
    longer, heavier = replace(OPTIONS, finetune_epochs=20), replace(OPTIONS, map_weight=9.0)
    one, other = _grid_of().chain(want, 0), _grid_of(longer).chain(want, 0)
    assert one[0] == other[0]
    assert one[1].id != other[1].id
    assert _grid_of().chain(control, 0) == _grid_of(heavier).chain(control, 0)
    assert _grid_of().chain(want, 0)[1].id != _grid_of(heavier).chain(want, 0)[1].id


def test_weights_count_by_content(tmp_path):
    """A weights file under another name is the same run; another content is another run."""
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    want = Want("judge", Cell("resnet18", "plain"))

    def first(file):
        return _grid_of(replace(OPTIONS, weights=f"resnet18={file}")).chain(want, 0)[0].id

    assert first(one) == first(two)
    before = first(one)
    two.write_bytes(b"other")
    assert first(two) != before


def test_names():
    """Models are named by their cell."""
    assert Cell("resnet18", "plain").name == "resnet18-plain"
    assert Cell("resnet18", "multi-scale", 0.0).name == "resnet18-multi-scale-control"
    assert Cell("resnet18", "multi-scale", 1.0).name == "resnet18-multi-scale-finetuned"
    assert Cell("resnet18", "multi-scale", 0.3, "confidence").name == "resnet18-multi-scale-share30-confidence"


def test_options_are_read():
    """Lists joined by commas become values; the figures take ResNet18 where it is there."""
    assert OPTIONS.figure_backbone() == "resnet18"
    assert replace(OPTIONS, backbones="resnet34, alexnet,resnet34").backbone_names() == ("resnet34", "alexnet")
    assert replace(OPTIONS, backbones="resnet34").figure_backbone() == "resnet34"
    assert OPTIONS.share_values() == (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
    found = replace(OPTIONS, weights="resnet18=a=b.safetensors,alexnet=hub").weights_of()
    assert found == {"alexnet": "hub", "resnet18": "a=b.safetensors", "resnet34": "none"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbones": " ,"}, "--backbones"),
        ({"weights": "resnet18"}, "--weights 'resnet18': expected BACKBONE=FILE"),
        ({"weights": "resnet50=hub"}, "resnet50 is none of --backbones"),
        ({"shares": "0.1,x"}, "--shares"),
        ({"shares": "1.5"}, "--shares"),
        ({"shares": "nan"}, "--shares"),
        ({"seeds": 0}, "--seeds 0"),
        ({"folds": 0}, "--folds 0"),
        ({"map_weight": 0.0}, "--map-weight"),
        ({"faithfulness": 0}, "--faithfulness 0"),
        ({"size": 5}, "--size 5"),
        ({"epochs": 0}, "--epochs 0"),
        ({"finetune_epochs": 0}, "--epochs 0"),
    ],
)
def test_mistakes_are_named(changed, message):
    """An option that cannot work is refused by name before anything is read."""
    with pytest.raises(OptionError, match=message):
        replace(OPTIONS, **changed).check()
