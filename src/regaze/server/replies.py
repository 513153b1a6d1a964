"""What the server answers, as types: OpenAPI and schemathesis read them here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from regaze.server.bodies import Decision, Detail, ShapeBody, State


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
    name: str
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
