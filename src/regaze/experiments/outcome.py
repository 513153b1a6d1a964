"""What an experiment found, and how it is written: JSON, Markdown, SVG and PNG, and a marked section of a page.

Invariant: a section between its two marks is the command's; everything else of the page is left byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regaze.drawing.canvas import Canvas
from regaze.errors import OptionError
from regaze.evaluation.proper_scores import PROPER_SCORES, proper_scores
from regaze.evaluation.seeds import Estimate, Grade, Value
from regaze.experiments.claims import Claim
from regaze.experiments.run_file import Record
from regaze.files import write_json, write_text


@dataclass
class Outcome:
    """One table or figure.

    Attributes:
        experiment: E.g. `fig5`.
        title: For a person.
        headers, rows: The table; the first column is text.
        figures: The same numbers for programs: name -> measure -> estimate, or the paper's number.
        claims: What the paper claims of it, and what we ask beside it.
        picture: The chart.
        notes: What a reader of this one must know.
    """

    experiment: str
    title: str
    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]
    figures: dict[str, dict[str, Estimate | float | None]]
    claims: list[Claim]
    picture: Canvas
    notes: list[str] = field(default_factory=list)

    def plain(self, about: Record) -> Record:
        """As JSON."""
        figures = {
            name: {key: asdict(item) if isinstance(item, Estimate) else item for key, item in values.items()}
            for name, values in self.figures.items()
        }
        claims = [claim.plain() for claim in self.claims]
        return {"experiment": self.experiment, "title": self.title} | about | {"figures": figures, "claims": claims}

    def markdown(self, level: int, heading: str, common: Sequence[str]) -> str:
        """The table, the claims and the notes."""
        lines = [f"{'#' * level} {self.title}, {heading}", "", row(self.headers), "|---" * len(self.headers) + "|"]
        lines += [row(cells) for cells in self.rows]
        lines += ["", *(f"* {claim.sentence}" for claim in self.claims)]
        lines += ["", *(f"* {note}" for note in (*self.notes, *common))]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, about: Record, heading: str, common: Sequence[str]) -> list[Path]:
        """Write EXPERIMENT.json, .md, .svg and .png."""
        stem = folder / self.experiment
        write_json(stem.with_suffix(".json"), self.plain(about))
        picture = f"\n![{self.title}]({self.experiment}.svg)\n"
        write_text(stem.with_suffix(".md"), self.markdown(1, heading, common) + picture)
        return [stem.with_suffix(".json"), stem.with_suffix(".md"), *self.picture.write(stem)]


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table; a bar in a cell would end it."""
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def shown(estimate: Estimate, digits: int = 3) -> str:
    """A mean over seeds with its interval, or a dash."""
    text = number(estimate.value, digits)
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def number(value: float | None, digits: int = 4) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def put_section(page: Path, name: str, text: str) -> None:
    """Write a section of a Markdown page: in the place of the earlier one of that name, else at the end.

    Raises:
        OptionError: The page has one mark of the section but not the other, or has them twice; or it is no text.
    """
    start, end = (f"<!-- regaze reproduce {name}: {edge} -->" for edge in ("start", "end"))
    old = read_page(page)
    section = f"{start}\n{text.strip()}\n{end}"
    counts = old.count(start), old.count(end)
    if counts == (0, 0):
        gap = "" if not old else "\n" if old.endswith("\n") else "\n\n"
        write_text(page, f"{old}{gap}{section}\n")
        return
    if counts != (1, 1) or old.index(start) > old.index(end):
        raise OptionError(
            f"--markdown {page}: the marks of section {name!r} do not pair: restore them, or remove both."
        )
    head, rest = old.split(start)
    write_text(page, head + section + rest.split(end)[1])


def read_page(page: Path) -> str:
    """The page's text with its own line ends; empty where there is none yet.

    Raises:
        OptionError: It is a folder, or no UTF-8 text.
    """
    try:
        return page.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--markdown {page}: expected a page in UTF-8, or a new file ({error}).") from error


def grades(seeds: Sequence[Sequence[Record]]) -> list[list[Grade]]:
    """The judged photographs that have a grade."""
    return [
        [Grade(r["sample"], r["patient"], r["label"], r["grade"]) for r in records if r["label"] is not None]
        for records in seeds
    ]


def score_values(seeds: Sequence[Sequence[Record]], ordinal: bool) -> dict[str, list[list[Value]]]:
    """The proper scores of the judged photographs that have a grade; runs of earlier versions kept no probabilities.

    Args:
        seeds: Records of photographs, one list per seed.
        ordinal: Whether the classes have an order.
    """
    found: dict[str, list[list[Value]]] = {name: [[] for _ in seeds] for name in PROPER_SCORES}
    for seed, records in enumerate(seeds):
        kept = [record for record in records if record["label"] is not None and "probabilities" in record]
        if not kept:
            continue
        probabilities, labels = ([record[key] for record in kept] for key in ("probabilities", "label"))
        for name, scores in proper_scores(probabilities, labels, ordinal).items():
            rows = zip(kept, scores, strict=True)
            found[name][seed] = [Value(record["sample"], record["patient"], float(score)) for record, score in rows]
    return found


def values(seeds: Sequence[Sequence[Record]], *path: str) -> list[list[Value]]:
    """A figure of the records, e.g. `views`, `grad-cam`, `deletion`; photographs without it are left out.

    Args:
        seeds: Records of photographs, one list per seed.
        path: Keys that lead to the figure.
    """
    return [
        [
            Value(record["sample"], record["patient"], float(value))
            for record in records
            if (value := _at(record, path)) is not None
        ]
        for records in seeds
    ]


def _at(record: Any, path: Sequence[str]) -> Any:
    for key in path:
        record = record[key]
    return record
