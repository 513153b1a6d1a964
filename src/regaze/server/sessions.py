"""Who may see the page: one link that is good once, then a session of a browser.

Invariant: neither links nor sessions can be guessed (256 random bits) or read from the disk (hashes alone are kept); a
link that was used is good for nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable

from regaze.server.desk import Desk

_DAYS = 7
SESSION_SECONDS = _DAYS * 24 * 3600


class Sessions:
    """Links and sessions of one study.

    Args:
        desk: Its store keeps the sessions, so that a server that is started again knows its browsers.
        show: Called with each new link's token.
    """

    def __init__(self, desk: Desk, show: Callable[[str], None]) -> None:
        self._desk = desk
        self._show = show
        self._lock = threading.Lock()
        self._token = ""

    def offer(self) -> None:
        """Make and show a link."""
        self._token = secrets.token_urlsafe(32)
        self._show(self._token)

    def enter(self, token: str) -> str | None:
        """Use a link: a new session's id, and the next link is shown; None where it is not the one that is offered."""
        with self._lock:
            if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
                return None
            self._token = ""
        session = secrets.token_urlsafe(32)
        now = time.time()
        with self._desk.store.transaction(write=True) as connection:
            connection.exec_driver_sql("DELETE FROM sessions WHERE until <= ?", (now,))
            connection.exec_driver_sql(
                "INSERT INTO sessions (hash, author, until) VALUES (?, ?, ?)",
                (_hash(session), self._desk.author, now + SESSION_SECONDS),
            )
        self.offer()
        return session

    def knows(self, session: str) -> bool:
        """Whether a session is open."""
        if not session:
            return False
        with self._desk.store.transaction() as connection:
            query = "SELECT until FROM sessions WHERE hash = ?"
            until = connection.exec_driver_sql(query, (_hash(session),)).scalar_one_or_none()
        return until is not None and until > time.time()


def _hash(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
