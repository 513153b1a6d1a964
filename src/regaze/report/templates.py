"""The pages' templates: escaping is on, and all share one style sheet and its colours."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from regaze.drawing import canvas
from regaze.errors import StudyError
from regaze.evaluation.verdicts import figure
from regaze.report.tables import percent

# The style sheet's names of the colours that charts use too.
COLOURS = {
    "ink": canvas.INK,
    "soft": canvas.SOFT,
    "line": canvas.LINE,
    "paper": canvas.PAPER,
    "accent": canvas.AFTER,
    "before": canvas.BEFORE,
    "control": canvas.CONTROL,
    "good": canvas.GOOD,
}
SMALL = 128  # pixels; side of a picture in a list of many


def filled(template: str, **values: Any) -> str:
    """The HTML of a template of this folder; everything in `values` is escaped where it is shown."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regaze.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "percent": percent}
    style = (files("regaze.report") / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, colours=COLOURS, **values)


def check_page_file(path: Path, usual: str) -> None:
    """Refuse to write a page where a folder is.

    Raises:
        StudyError: `path` is a folder.
    """
    if path.is_dir():
        raise StudyError(f"{path} is a folder: give the page's file, e.g. {path / usual}.")
