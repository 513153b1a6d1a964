"""Routes about cases: the queue, photographs, maps, what-ifs, drafts, and finishing."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray

from regaze.server import bodies, replies
from regaze.server.answers import REFUSALS, CaseId, Here, ModelQuery, WindowQuery
from regaze.server.drafts import NewerDraftError
from regaze.server.frame import Frame, frame_of
from regaze.server.lesions import lesions_of
from regaze.server.pictures import jpeg
from regaze.server.queue import COUNTS

if TYPE_CHECKING:
    from regaze.models.what_if import WhatIf

router = APIRouter(prefix="/api", responses=REFUSALS)

_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/queue", response_model=replies.QueuePage)
def queue(
    here: Here,
    offset: Annotated[int, Query(ge=0, le=bodies.MOST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    window: Annotated[str | None, Query(pattern=bodies.WINDOW)] = None,
) -> JSONResponse:
    """A part of the queue, in the acquisition rule's order."""
    number = here.queue.there()
    if number is None:
        return JSONResponse({"cases": [], "counts": dict.fromkeys(COUNTS, 0)})
    cases, counts = here.queue.page(number, window, offset, limit)
    return JSONResponse({"cases": cases, "counts": counts})


@router.post("/next", response_model=replies.CaseInfo, responses={204: {"description": "no case waits"}})
def next_case(here: Here, body: bodies.NextBody) -> Response:
    """Lease the next waiting case."""
    number = here.queue.there()
    found = None if number is None else here.queue.next(number, body.window, body.after)
    return Response(status_code=204) if found is None else JSONResponse(_case(here, found))


@router.get("/cases/{case}", response_model=replies.CaseInfo)
def case_info(here: Here, case: CaseId) -> JSONResponse:
    """One case."""
    return JSONResponse(_case(here, case))


@router.post("/cases/{case}/lease", response_model=replies.Lease, responses={409: {"model": replies.Held}})
def lease(here: Here, case: CaseId, body: bodies.WindowBody) -> JSONResponse:
    """Lease a case, or go on with its lease."""
    here.case(case)
    until = here.queue.lease(case, body.window)
    if until is None:
        return JSONResponse({"detail": "another window works on this case", "held": True}, 409)
    return JSONResponse({"until": until})


@router.post("/cases/{case}/release", status_code=204, response_class=Response)
def release(here: Here, case: CaseId, body: bodies.WindowBody) -> Response:
    """Let go of a case."""
    here.queue.release(case, body.window)
    return Response(status_code=204)


@router.get(
    "/cases/{case}/photograph",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "the browser has it"}},
)
def photograph(here: Here, request: Request, case: CaseId, level: Literal["0", "1", "2", "3"] = "0") -> Response:
    """A photograph, upright, at 1, 1/2, 1/4 or 1/8."""
    sample = here.sample(case)
    # Asked for each time, and answered by 304: studies on one port share their addresses.
    headers = {"ETag": f'"{sample.content}-{level}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"] and sample.content:
        return Response(status_code=304, headers=headers)
    return Response(jpeg(sample, frame_of(sample), int(level)), media_type="image/jpeg", headers=headers)


@router.get("/cases/{case}/maps", response_model=replies.Maps)
def maps(here: Here, case: CaseId, model: ModelQuery = None) -> JSONResponse:
    """What a model shows of a photograph."""
    view, name = here.view(case, model)
    return JSONResponse(
        {
            "model": name,
            "scales": [_levels(item, view.frame) for item in view.maps],
            "fused": _levels(view.fused, view.frame),
            "evidence": None if view.evidence is None else _signed(view.evidence, view.frame),
            "probabilities": view.probabilities,
            "branches": view.branches,
        }
    )


@router.post("/cases/{case}/what-if", response_model=replies.WhatIfAnswer, openapi_extra=_BYTES)
async def what_if(
    here: Here,
    request: Request,
    case: CaseId,
    window: WindowQuery,
    sequence: Annotated[int, Query(ge=0, le=bodies.MOST_ID)],
    model: ModelQuery = None,
) -> JSONResponse:
    """How the grade moves with other maps."""
    body = await request.body()
    answer = await here.views.ask(window, sequence, lambda: here.view(case, model)[0], body)
    return JSONResponse({"sequence": sequence, "stale": answer is None} | _plain(answer))


@router.put("/cases/{case}/draft", response_model=replies.Saved, responses={409: {"model": replies.Newer}})
def save_draft(here: Here, case: CaseId, body: bodies.DraftBody) -> JSONResponse:
    """Save a draft; the answer comes when it is on the disk."""
    number, _ = here.case(case)
    try:
        saved = here.drafts.save(number, case, body, frame_of(here.sample(case)))
    except NewerDraftError as error:
        return _newer(error)
    return JSONResponse({"version": saved.version, "saved_at": saved.saved_at})


@router.post("/cases/{case}/finish", response_model=replies.Finished, responses={409: {"model": replies.Newer}})
def finish(here: Here, case: CaseId, body: bodies.FinishBody) -> JSONResponse:
    """Finish a case by its draft."""
    number, found = here.case(case)
    frame = frame_of(here.sample(case))
    try:
        done = here.drafts.finish(number, found, body.version, body.key, body.window, frame)
    except NewerDraftError as error:
        return _newer(error)
    return JSONResponse({"correction": done.correction, "state": done.state})


def _newer(error: NewerDraftError) -> JSONResponse:
    draft = error.draft
    values = {
        "detail": "another window has saved this draft since" if draft else "this case has no draft",
        "version": draft.version if draft else 0,
        "saved_at": draft.saved_at if draft else None,
        "window": draft.window if draft else None,
        "draft": draft.plain() if draft else None,
    }
    return JSONResponse(values, 409)


def _case(here: Here, case: int) -> dict[str, Any]:
    sample = here.sample(case)
    number = here.queue.there()
    found = None if number is None else here.queue.case(number, case)
    view = here.views.view(sample, here.model_of(sample, found, None))
    width, height = view.frame.upright
    left, top, side = view.frame.square(view.geometry)
    draft = None if number is None else here.drafts.read(number, case)
    lesions, known = lesions_of(sample, view.frame, here.desk.study.dataset.sound)
    return {
        "id": case,
        "name": sample.id,
        "content": sample.content,
        "width": width,
        "height": height,
        "label": sample.label,
        "grade": view.grade,
        "confidence": view.probabilities[view.grade],
        "probabilities": view.probabilities,
        "branches": view.branches,
        "why": found.why if found else "",
        "state": found.state if found else None,
        "flagged": found.flagged if found else False,
        "square": {"left": left, "top": top, "side": side},
        "grids": [list(view.frame.shown(item).shape) for item in view.maps],
        "lesions": lesions,
        "known": known,
        "draft": draft.plain() if draft else None,
    }


def _plain(answer: WhatIf | None) -> dict[str, Any]:
    """The part of `replies.WhatIfAnswer` that was computed; all None where nothing was."""
    if answer is None:
        return dict.fromkeys(("before", "now", "same_amount", "listens"))
    said = {"before": answer.before, "now": answer.now, "same_amount": answer.same_amount}
    grades = {name: {"fused": one.fused.tolist(), "branches": one.branches.tolist()} for name, one in said.items()}
    return grades | {"listens": answer.listens}


def _levels(map_hw: NDArray[np.float32], frame: Frame) -> dict[str, Any]:
    shown = frame.shown(map_hw)
    levels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    return {"height": shown.shape[0], "width": shown.shape[1], "values": base64.b64encode(levels.tobytes()).decode()}


def _signed(evidence_hw: NDArray[np.float32], frame: Frame) -> dict[str, Any]:
    shown = frame.shown(evidence_hw)
    scale = float(np.abs(shown).max()) / 127 or 1.0
    levels = np.rint(shown / scale).astype(np.int8)
    values = base64.b64encode(levels.tobytes()).decode()
    return {"height": shown.shape[0], "width": shown.shape[1], "values": values, "scale": scale}
