"""What the page says to the server, as types: OpenAPI, validation and schemathesis read them here.

Invariant: a body that these accept has bounded size, finite numbers and known words; ids are integers of the server's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from regaze.corrections.shape_checks import MAX_COORDINATE, MAX_POINTS
from regaze.records import MAX_PIXELS

MOST_SHAPES = 20_000
MOST_TEXT = 10_000
WINDOW = r"^[A-Za-z0-9_-]{1,64}$"  # a random id that the page makes
MOST_ID = 2**63 - 1  # SQLite's largest integer

State = Literal["waiting", "corrected", "accepted", "skipped", "flagged"]
Decision = Literal["correct", "accept", "nothing", "skip"]
Mark = Literal["look", "avoid", "erase"]

Number = Annotated[int, Field(ge=0, le=MOST_ID)]
Window = Annotated[str, Field(pattern=WINDOW)]
Coordinate = Annotated[FiniteFloat, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
# No half characters and no NUL: neither SQLite nor UTF-8 can hold them all.
Text = Annotated[str, Field(max_length=MOST_TEXT, pattern=r"^[^\x00]*$")]


class Body(BaseModel):
    """What all bodies have: no unknown key is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Detail(BaseModel):
    """Why a request was refused, in one line."""

    detail: str


class ShapeBody(Body):
    """A shape on the upright photograph, original pixels; see `records.Shape`."""

    kind: Literal["stroke", "polygon", "box", "mask"]
    mark: Mark
    points: Annotated[
        list[Annotated[list[Coordinate], Field(min_length=2, max_length=2)]], Field(max_length=MAX_POINTS)
    ] = []
    radius: Annotated[FiniteFloat, Field(ge=0, le=MAX_COORDINATE)] = 0.0
    runs: Annotated[list[Annotated[int, Field(ge=0, le=MAX_PIXELS)]], Field(max_length=MAX_POINTS)] = []


class DraftContent(Body):
    """What an expert has said of a case so far."""

    shapes: Annotated[list[ShapeBody], Field(max_length=MOST_SHAPES)] = []
    decision: Decision | None = None
    reason: Text = ""
    grade: Annotated[int, Field(ge=0, le=1000)] | None = None
    flagged: bool = False
    remark: Text = ""


class DraftBody(DraftContent):
    """A draft to save: `base` is the version that it was made from, 0 where there was none."""

    window: Window
    base: Number


class WindowBody(Body):
    """Which window of the page asks."""

    window: Window


class NextBody(WindowBody):
    """`after`: the case that is left as it is; None: the first that waits."""

    after: Number | None = None


class FinishBody(WindowBody):
    """`key`: the page's random id of this finish, so that a repeated request finishes once."""

    version: Number
    key: Window


class UseBody(Body):
    """The model to make the active one."""

    model: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class EmptyBody(Body):
    """A request that says nothing more than its address."""
