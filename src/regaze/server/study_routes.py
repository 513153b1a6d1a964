"""Routes about the study: what it is, its rounds, jobs, and the dashboard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from regaze.errors import StudyError
from regaze.server import bodies, replies
from regaze.server.answers import REFUSALS, Here, JobId, Rooms
from regaze.server.queue import COUNTS
from regaze.server.rounds import changed, line_of, rounds_of
from regaze.words import words_of

router = APIRouter(prefix="/api", responses=REFUSALS)

_LOOK_SECONDS = 0.25  # between two looks at a job's log
_QUIET_SECONDS = 15.0  # after which a comment keeps the connection


@router.get("/study", response_model=replies.StudyInfo)
def study_info(here: Here) -> JSONResponse:
    """The study, as the page needs it."""
    desk = here.desk
    dataset = desk.study.dataset
    grids = here.views.grids(desk.model)
    active = desk.model
    models = [
        {"name": name, "round": number, "is_active": name == active} for number, name in enumerate(rounds_of(desk))
    ]
    return JSONResponse(
        {
            "name": desk.study.path.resolve().name,
            "classes": list(dataset.classes),
            "sound": dataset.sound,
            "author": desk.author,
            "model": active,
            "models": models,
            "scales": len(grids),
            "grids": grids,
            "words": {name: str(word) for name, word in asdict(words_of(dataset)).items()},
            "counts": _counts(here),
            "eyes": dataset.eyes,
            "problem": desk.problem,
        }
    )


@router.get("/rounds", response_model=replies.Rounds)
def rounds(here: Here) -> JSONResponse:
    """The rounds of the model's line."""
    items, advice = line_of(here.desk)
    return JSONResponse({"rounds": items, "advice": advice})


@router.post("/rounds", response_model=replies.Started, responses={409: {"model": bodies.Detail}})
def start_round(here: Here, body: bodies.EmptyBody) -> JSONResponse:  # noqa: ARG001 - an object is asked for
    """Train a round, in a process of its own."""
    here.desk.require_ready()
    try:
        return JSONResponse({"job": here.jobs.start("round")})
    except StudyError as error:
        return JSONResponse({"detail": str(error)}, 409)


@router.post("/use", response_model=bodies.UseBody)
def use(here: Here, body: bodies.UseBody) -> JSONResponse:
    """Keep a round, or go back to an earlier one."""
    if body.model not in here.desk.models():
        raise HTTPException(404, "no model of this name in the line of the shown one")
    here.desk.use(body.model)
    return JSONResponse({"model": body.model})


@router.get("/worse", response_model=replies.Worse)
def worse(here: Here, model: Annotated[str, Query(max_length=200)]) -> JSONResponse:
    """Photographs that a round grades otherwise than the round before."""
    if model not in rounds_of(here.desk):
        raise HTTPException(404, "no round of this name in the line of the shown model")
    against, harmed, helped = changed(here.desk, model)
    return JSONResponse({"model": model, "against": against, "worse": harmed, "better": helped})


@router.get("/dashboard", response_model=replies.Dashboard)
def dashboard(here: Here) -> JSONResponse:
    """Where the work stands."""
    items, advice = line_of(here.desk)
    curve = [
        {
            "corrections": item["corrections"],
            "kappa": item["grading"]["after"],
            "enrichment": item["attention"]["after"],
        }
        for item in items
    ]
    return JSONResponse({"counts": _counts(here), "rounds": items, "curve": curve, "advice": advice})


@router.get("/jobs", response_model=replies.Jobs)
def jobs(here: Here) -> JSONResponse:
    """Jobs, newest first."""
    return JSONResponse({"jobs": here.jobs.newest()})


@router.get("/jobs/{job}", response_model=replies.Job)
def job_info(here: Here, job: JobId) -> JSONResponse:
    """How a job stands."""
    return JSONResponse(_there(here.jobs.job(job)))


@router.post("/jobs/{job}/cancel", response_model=replies.Job)
def cancel(here: Here, job: JobId, body: bodies.EmptyBody) -> JSONResponse:  # noqa: ARG001 - an object is asked for
    """End a job."""
    return JSONResponse(_there(here.jobs.cancel(job)))


@router.get(
    "/jobs/{job}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def events(
    here: Here, job: JobId, last_event_id: Annotated[str | None, Header(max_length=40)] = None
) -> StreamingResponse:
    """A job's progress as server-sent events, from after `Last-Event-ID` on, to its end."""
    _there(here.jobs.job(job))
    seen = (
        int(last_event_id) if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit() else 0
    )
    return StreamingResponse(_follow(here, job, seen), media_type="text/event-stream")


async def _follow(here: Rooms, job: int, seen: int) -> AsyncIterator[str]:
    at, over, quiet = 0, False, 0.0
    while not over:
        found, at, over = await run_in_threadpool(here.jobs.events, job, at)
        new = [(number, event) for number, event in found if number > seen]
        # Of many lines at once only the last matters, but for the end.
        for number, event in new[-1:]:
            seen, quiet = number, 0.0
            yield f"id: {number}\ndata: {json.dumps(event, allow_nan=False)}\n\n"
        if not over:
            await asyncio.sleep(_LOOK_SECONDS)
            quiet += _LOOK_SECONDS
            if quiet >= _QUIET_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"


def _there(job: dict[str, Any] | None) -> dict[str, Any]:
    if job is None:
        raise HTTPException(404, "no such job")
    return job


def _counts(here: Rooms) -> dict[str, int]:
    number = here.queue.there()
    return dict.fromkeys(COUNTS, 0) if number is None else here.queue.counts(number)
