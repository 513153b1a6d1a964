"""What the page and the server say to each other, as types: OpenAPI, validation and schemathesis read them here.

Invariant: a body that these accept has bounded size, finite numbers and known words; ids are integers of the server's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from regaze.corrections.shape_checks import MAX_COORDINATE, MAX_POINTS
from regaze.records import MAX_PIXELS

MOST_SHAPES = 20_000
MOST_TEXT = 10_000
MOST_ID = 2**63 - 1  # SQLite's largest integer

State = Literal["waiting", "corrected", "accepted", "skipped", "flagged"]
Decision = Literal["correct", "accept", "nothing", "skip"]
Mark = Literal["look", "avoid", "erase"]

Number = Annotated[int, Field(ge=0, le=MOST_ID)]
Window = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
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


class Counts(BaseModel):
    """Cases of the queue by state; `flagged` counts the flagged ones of every state."""

    waiting: int
    corrected: int
    flagged: int
    skipped: int
    accepted: int


class ModelInfo(BaseModel):
    """A model of the study that can be shown."""

    name: str
    round: int
    is_active: bool


class StudyInfo(BaseModel):
    """The study, as the page needs it."""

    name: str
    classes: list[str]
    sound: int | None
    author: str
    model: str
    models: list[ModelInfo]
    scales: int
    grids: list[list[int]]
    words: dict[str, str]
    counts: Counts
    eyes: bool
    problem: str | None


class QueueItem(BaseModel):
    """One case of the queue."""

    id: int
    state: State
    flagged: bool
    why: str
    leased_by_other: bool


class QueuePage(BaseModel):
    """A part of the queue."""

    cases: list[QueueItem]
    counts: Counts


class Draft(BaseModel):
    """A saved draft."""

    version: int
    saved_at: str
    window: str
    shapes: list[ShapeBody]
    decision: Decision | None
    reason: str
    grade: int | None
    flagged: bool
    remark: str


class Square(BaseModel):
    """The square that the network sees, in upright original pixels; it may reach beyond the photograph."""

    left: int
    top: int
    side: int


class Lesion(BaseModel):
    """A lesion that is known, upright."""

    kind: Literal["box", "mask"]
    name: str
    points: list[list[float]]
    runs: list[int]


class CaseInfo(BaseModel):
    """One photograph with what the model says of it and what is known of it."""

    id: int
    name: str
    content: str
    width: int
    height: int
    label: int | None
    grade: int
    confidence: float
    probabilities: list[float]
    branches: list[list[float]]
    why: str
    state: State | None
    flagged: bool
    square: Square
    grids: list[list[int]]
    lesions: list[Lesion]
    known: bool
    draft: Draft | None


class MapInfo(BaseModel):
    """A map: base64 of uint8 values row by row, 255 is 1."""

    height: int
    width: int
    values: str


class EvidenceInfo(MapInfo):
    """Evidence for the grade: base64 of int8 values, `scale` is what 1 stands for."""

    scale: float


class Maps(BaseModel):
    """What a model shows of a photograph."""

    model: str
    scales: list[MapInfo]
    fused: MapInfo
    evidence: EvidenceInfo | None
    probabilities: list[float]
    branches: list[list[float]]


class Grades(BaseModel):
    """Probabilities of the classes, fused and of each scale's branch."""

    fused: list[float]
    branches: list[list[float]]


class WhatIfAnswer(BaseModel):
    """How the grade moves; where `stale`, nothing was computed."""

    sequence: int
    stale: bool
    before: Grades | None = None
    now: Grades | None = None
    same_amount: Grades | None = None
    listens: bool | None = None


class Lease(BaseModel):
    """Until when a case is this window's."""

    until: str


class Held(Detail):
    """Another window has the case."""

    held: bool = True


class Saved(BaseModel):
    """A draft is on the disk."""

    version: int
    saved_at: str


class Newer(Detail):
    """Another window saved the draft since."""

    version: int
    saved_at: str | None
    window: str | None
    draft: Draft | None


class Finished(BaseModel):
    """What a finished case became."""

    correction: int | None
    state: State


class Started(BaseModel):
    """A job that was started."""

    job: int


class Figure(BaseModel):
    """A figure before and after, with the interval of the difference and what it says."""

    before: float | None
    after: float | None
    difference: float | None
    interval: list[float | None] | None
    verdict: str


class RoundInfo(BaseModel):
    """A round; figures are None where it was not judged yet."""

    name: str
    round: int
    corrections: int
    grading: Figure
    attention: Figure
    word: str | None
    is_active: bool


class Rounds(BaseModel):
    """The rounds of the model's line, and what to do next."""

    rounds: list[RoundInfo]
    advice: str


class Job(BaseModel):
    """How a job stands."""

    id: int
    kind: str
    state: Literal["running", "done", "failed", "cancelled"]
    phase: str
    done: int
    total: int
    message: str
    started: str
    model: str | None
    verdict: RoundInfo | None


class Jobs(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]


class Changed(BaseModel):
    """A photograph that a round grades otherwise."""

    id: int
    name: str
    label: int | None
    before: int
    after: int


class Worse(BaseModel):
    """Photographs of the validation part that a model grades otherwise than the model before it."""

    model: str
    against: str | None
    worse: list[Changed]
    better: list[Changed]


class Point(BaseModel):
    """One point of the learning curve."""

    corrections: int
    kappa: float | None
    enrichment: float | None


class Dashboard(BaseModel):
    """Where the work stands."""

    counts: Counts
    rounds: list[RoundInfo]
    curve: list[Point]
    advice: str
