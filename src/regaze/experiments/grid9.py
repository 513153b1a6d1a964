"""The nine cells of tables 2 and 3, and the rows that stand beside them.

The paper measures the map of the deepest branch ("the lowest layer of the feature extractor"); the fused map, which
the program shows by default, has a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regaze.drawing.canvas import AFTER, BEFORE, CONTROL
from regaze.evaluation.reference_rankings import RANKINGS
from regaze.evaluation.seeds import Value
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.outcome import values
from regaze.experiments.plan import Cell, Want
from regaze.experiments.run_file import Record
from regaze.experiments.runs import Bench


@dataclass(frozen=True)
class Line:
    """One row of a backbone.

    Attributes:
        name: For a person.
        method: The paper's name of it (see `paper`), or empty.
        network: Which model was measured: plain, single-scale, or multi-scale fine-tuned.
        view: Which map: a key of a record's `views`; `deepest` is the coarsest scale there.
        colour: Of the chart.
    """

    name: str
    method: str
    network: str
    view: str
    colour: str


LINES = (
    Line("Grad-CAM", "grad-cam", "plain", "grad-cam", BEFORE),
    Line("ABN", "abn", "single-scale", "deepest", BEFORE),
    Line("proposed, deepest map", "proposed", "multi-scale", "deepest", AFTER),
    Line("proposed, fused map", "", "multi-scale", "attention", AFTER),
    Line("Grad-CAM of the proposed network", "", "multi-scale", "grad-cam", BEFORE),
    *(Line(f"control: {name}", "", "multi-scale", name, CONTROL) for name in RANKINGS),
)


@dataclass(frozen=True)
class Cells:
    """What was measured of one backbone.

    Attributes:
        backbone: Its name.
        records: Network -> records per seed.
        healthy: Samples of the sound class (grade 0), which have no say in deletion and insertion: on a healthy eye
            there is nothing whose loss could take the grade away. (A few have boxes: something was seen that did not
            count.)
    """

    backbone: str
    records: dict[str, list[list[Record]]]
    healthy: frozenset[str] = frozenset()

    def values(self, line: Line, key: str) -> list[list[Value]]:
        """A figure of one row.

        Args:
            line: The row.
            key: A figure of the record, e.g. `deletion`.
        """
        rows = self.records[line.network]
        return self._sick(values(rows, "views", deepest(rows) if line.view == "deepest" else line.view, key), key)

    def control(self, network: str, key: str) -> list[list[Value]]:
        """The same figure of a random order on the same network.

        Args:
            network: Key of `records`.
            key: A figure of the record.
        """
        return self._sick(values(self.records[network], "views", "random", key), key)

    def _sick(self, seeds: list[list[Value]], key: str) -> list[list[Value]]:
        if key not in ("deletion", "insertion"):
            return seeds
        return [[item for item in items if item.sample not in self.healthy] for items in seeds]


def cells(backbone: str) -> dict[str, Cell]:
    """Network -> model."""
    return {
        "plain": Cell(backbone, "plain"),
        "single-scale": Cell(backbone, "single-scale"),
        "multi-scale": Cell(backbone, "multi-scale", 1.0),
    }


def wants(options: ReproduceOptions) -> list[Want]:
    """The maps of all nine cells."""
    return [Want("maps", cell) for backbone in options.backbone_names() for cell in cells(backbone).values()]


def measured(bench: Bench) -> list[Cells]:
    """Everything that was measured, backbone by backbone."""
    sound = bench.dataset.sound
    healthy = frozenset(sample.id for sample in bench.dataset.samples if sound is not None and sample.label == sound)
    return [
        Cells(backbone, {name: bench.rows(Want("maps", cell)) for name, cell in cells(backbone).items()}, healthy)
        for backbone in bench.options.backbone_names()
    ]


def deepest(seeds: Sequence[Sequence[Record]]) -> str:
    """The name of the coarsest scale's map."""
    return max(name for name in map(str, seeds[0][0]["views"]) if name.startswith("scale"))
