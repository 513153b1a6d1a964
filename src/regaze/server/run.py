"""`regaze serve`: opens the study, binds the address, prints the link, and serves until it is stopped."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import uvicorn
from pydantic.warnings import UnsupportedFieldAttributeWarning

from regaze.errors import OptionError
from regaze.server.answers import Rooms
from regaze.server.app import create_app
from regaze.server.desk import Desk
from regaze.server.drafts import Drafts
from regaze.server.jobs import Jobs
from regaze.server.queue import Queue
from regaze.server.sessions import Sessions
from regaze.server.views import Views


def check_host(host: str) -> None:
    """Refuse an address that other machines reach.

    Raises:
        OptionError: It is none of this machine's own.
    """
    try:
        is_own = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_own = False
    if not is_own:
        raise OptionError(
            f"--host {host}: expected one of 127.0.0.1, ::1 and localhost. Whoever reaches it can change the study, "
            "and there are no accounts yet: from another machine come by `ssh -L 8437:localhost:8437`."
        )


def furnish(desk: Desk, show: Callable[[str], None]) -> Rooms:
    """All that the routes work with; `show` gets each new link's token."""
    return Rooms(desk, Queue(desk), Drafts(desk), Views(desk), Jobs(desk), Sessions(desk, show))


def prepare(rooms: Rooms) -> None:
    """Compare the study with its data, make what is missing, and load the model: while the page is served already."""
    desk = rooms.desk
    first = desk.study.fold_name(desk.model, desk.study.folds[0])
    rooms.views.warm_up(first)
    desk.open(lambda: _select(rooms))


def _select(rooms: Rooms) -> None:
    """Have the queue made where nothing has been selected for the model yet."""
    if rooms.queue.there() is None and not any(job["state"] == "running" for job in rooms.jobs.newest()):
        rooms.jobs.start("queue")


def serve(path: Path, host: str, port: int, author: str, model: str | None, show: Callable[[str], None]) -> None:
    """Serve a study until Ctrl-C.

    Args:
        path: Its folder.
        host: A loopback address.
        port: 0: any that is free.
        author: Who works at the page.
        model: Whose maps are shown; None: the active model's.
        show: Called with each link.

    Raises:
        OptionError: The address cannot be had.
        StudyError: The folder is no study, or has no model with maps.
    """
    check_host(host)
    # FastAPI silences it where it provokes it, which does not hold beside other threads that silence theirs.
    warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
    desk = Desk(path, author, model)
    listener = _listen(host, port)
    port = int(listener.getsockname()[1])
    name = f"[{host}]" if ":" in host else host
    rooms = furnish(desk, lambda token: show(f"http://{name}:{port}/enter?token={token}"))
    app = create_app(rooms, hosts_of(host, port), f"regaze-{port}")
    logging.basicConfig(level=logging.WARNING, format="regaze: %(message)s")
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    rooms.sessions.offer()
    threading.Thread(target=prepare, args=(rooms,), name="prepare", daemon=True).start()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        rooms.views.close()
        desk.store.close()


def hosts_of(host: str, port: int) -> tuple[str, ...]:
    """The `Host` headers that name this server."""
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
    bare = sorted(names) if port == 80 else []  # which browsers leave out
    return (*bare, *(f"{name}:{port}" for name in sorted(names)))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(f"--port {port} at {host} cannot be had ({reason}): give another, or 0 for any.") from error
    return listener
