"""What every request passes before a route sees it, and what every answer carries.

Invariant: a request gets to a route only if it names this server as its host (a name that an attacker's DNS points at
127.0.0.1 is refused), has a session (but for the link itself), and, where it may change something, comes from this
server's own page. An exception never reaches the browser.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regaze.server.sessions import Sessions

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Other ports of this machine are the same site, but not the same origin.
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE = ("GET", "HEAD", "OPTIONS")
ENTER = "/enter"

_log = logging.getLogger("regaze.server")


class Gate:
    """The outermost layer of the application.

    Args:
        app: What is behind the gate.
        sessions: Who may pass.
        hosts: The `Host` headers that name this server, with the port.
        cookie: Name of the session's cookie.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, hosts: tuple[str, ...], cookie: str) -> None:
        self._app = app
        self._sessions = sessions
        self._hosts = hosts
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            return
        refusal = await self._refusal(scope)
        guarded = _with_headers(send)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await guarded(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            _log.exception("a request failed")
            if started:
                raise
            await _no(500, "the server made a mistake: its terminal shows which")(scope, receive, guarded)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return _no(403, "this address is not the server's own: open the link that it printed")
        if scope["method"] not in _SAFE and not _is_own(headers, host):
            return _no(403, "the request does not come from this server's page")
        if scope["path"] == ENTER:
            return None
        if await run_in_threadpool(self._sessions.knows, _cookie(headers, self._cookie)):
            return None
        if scope["path"].startswith(("/api/", "/static/")):
            return _no(401, "no session: open the link that `regaze serve` printed")
        return PlainTextResponse("No session: open the link that `regaze serve` printed in its terminal.\n", 401)


def _is_own(headers: Headers, host: str) -> bool:
    """Whether the browser says that a request comes from this server's own page."""
    return headers.get("origin") == f"http://{host}" and headers.get("sec-fetch-site", "same-origin") == "same-origin"


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _no(status: int, why: str) -> Response:
    return JSONResponse({"detail": why}, status)


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["Cache-Control"] = "no-store"
        await send(message)

    return guarded
