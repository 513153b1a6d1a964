"""The application: `create_app` is its only door.

Invariant: nothing is sent anywhere but to the browser (no telemetry), and nothing is fetched; what is served as a file
is one of the page's own, with a type that is decided here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from regaze import __version__
from regaze.errors import RegazeError
from regaze.server.answers import REFUSALS, Here, Rooms
from regaze.server.bodies import Detail
from regaze.server.case_routes import router as case_router
from regaze.server.gate import ENTER, Gate
from regaze.server.sessions import SESSION_SECONDS
from regaze.server.study_routes import router as study_router

MOST_BYTES = 16 * 2**20  # of a body: a draft of 20,000 strokes

STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}


def create_app(rooms: Rooms, hosts: tuple[str, ...], cookie: str) -> FastAPI:
    """The application of one study.

    Args:
        rooms: What the routes work with.
        hosts: The `Host` headers that name this server.
        cookie: Name of the session's cookie.
    """
    app = FastAPI(
        title="regaze",
        version=__version__,
        openapi_url=None,  # its pages load scripts from elsewhere; tests read `app.openapi()`
        telemetry=_NO_TELEMETRY,
        max_body_size=MOST_BYTES,
        middleware=[Middleware(Gate, sessions=rooms.sessions, hosts=hosts, cookie=cookie)],
        redirect_slashes=False,
    )
    app.state.rooms = rooms
    app.state.cookie = cookie
    app.include_router(case_router)
    app.include_router(study_router)
    app.add_api_route(ENTER, enter, methods=["GET"], responses=_ENTER, response_class=Response)
    app.add_api_route("/", index, methods=["GET"], responses=_HTML, response_class=Response)
    app.add_api_route("/static/{path:path}", static, methods=["GET"], responses=_FILES, response_class=Response)
    app.add_exception_handler(RegazeError, _refused)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(RequestValidationError, _wrong_shape)
    app.add_exception_handler(HTTPException, _http)
    return app


_ENTER: dict[int | str, dict[str, Any]] = {
    303: {"description": "to the page, with a session"},
    401: {"model": Detail},
    403: {"model": Detail},
    422: {"model": Detail},
}
_HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}}, **REFUSALS}
_FILES: dict[int | str, dict[str, Any]] = {200: {"content": {kind.partition(";")[0]: {} for kind in _TYPES.values()}}}
_FILES |= REFUSALS


def enter(here: Here, request: Request, token: str) -> Response:
    """Use the link that was printed: a session, and on to the page."""
    session = here.sessions.enter(token)
    if session is None:
        return JSONResponse({"detail": "this link was used or is not the last one: open the one printed last"}, 401)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        request.app.state.cookie, session, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="strict"
    )
    return answer


def index() -> Response:
    """The page."""
    return _file("index.html")


def static(path: str) -> Response:
    """One of the page's files."""
    return _file(path)


def _file(path: str) -> Response:
    """A file below the page's folder; whatever leads out of it, or has no type of ours, is not there."""
    root = STATIC.resolve()
    kind = _TYPES.get(Path(path).suffix)
    if kind is None or "\0" in path or "\\" in path:
        raise HTTPException(404, "no such file")
    file = (root / path).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        raise HTTPException(404, "no such file")
    return Response(file.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    return JSONResponse({"detail": " ".join(str(error).split())}, 400)


def _disk(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    """A full disk, a file that may not be read: nothing that a traceback would mend."""
    assert isinstance(error, OSError)
    return JSONResponse({"detail": f"{error.strerror or error}: check the study's folder and the disk"}, 400)


def _wrong_shape(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{where}: {first['msg']}"[:500]}, 422)


def _http(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": str(error.detail)}, error.status_code, headers=error.headers)
