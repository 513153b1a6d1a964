"""One tiny study whose photographs wait for an expert, and clients that stand before its server."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the page needs the extra `serve`")

PORT = 8437
ORIGIN = f"http://127.0.0.1:{PORT}"
COOKIE = f"regaze-{PORT}"


@pytest.fixture(scope="session")
def waiting(painted, regaze, tiny, tmp_path_factory):
    """The folder of a study with a model and a selection. Not to be changed."""
    folder = tmp_path_factory.mktemp("waiting") / "study"
    shutil.copytree(painted, folder / "data")
    calls = [
        ("init", folder, "--data", tiny["data"], "--size", "64"),
        ("train", folder, *tiny["network"], *tiny["training"], *tiny["machine"]),
        ("collect", folder, *tiny["machine"]),
        ("select", folder, "--everything"),
    ]
    for call in calls:
        outcome = regaze(*call, "--quiet")
        assert outcome.code == 0, outcome.err
    return folder


class Server:
    """A server in this process, without a socket."""

    def __init__(self, folder: Path, author="A. Expert", prepared=True):
        from regaze.server.app import create_app
        from regaze.server.desk import Desk
        from regaze.server.run import furnish, hosts_of, prepare

        self.tokens: list[str] = []
        self.desk = Desk(folder, author)
        self.rooms = furnish(self.desk, self.tokens.append)
        self.app = create_app(self.rooms, hosts_of("127.0.0.1", PORT), COOKIE)
        self.rooms.sessions.offer()
        if prepared:
            prepare(self.rooms)
            assert self.desk.problem is None

    def stranger(self, **headers):
        """A client without a session; `origin=None` leaves a header out."""
        from fastapi.testclient import TestClient

        given = {"origin": ORIGIN, "sec-fetch-site": "same-origin"} | headers
        kept = {name: value for name, value in given.items() if value is not None}
        return TestClient(self.app, base_url=ORIGIN, headers=kept, follow_redirects=False)

    def browser(self, **headers):
        """A client that used the link."""
        client = self.stranger(**headers)
        assert client.get("/enter", params={"token": self.tokens[-1]}).status_code == 303
        return client

    def close(self):
        """End its thread and close its study; a second call does nothing."""
        self.rooms.views.close()
        self.desk.store.close()
        for process in self.rooms.jobs._processes.values():
            if process.poll() is None:
                process.returncode = 0  # it goes on, as after a server's end, and nobody waits for it


@pytest.fixture
def study(waiting, tmp_path):
    """A copy of the waiting study, to be changed."""
    return shutil.copytree(waiting, tmp_path / "study")


@pytest.fixture
def server(study):
    """A server on it."""
    made = Server(study)
    yield made
    made.close()


@pytest.fixture
def browser(server):
    """A browser with a session."""
    return server.browser()


@pytest.fixture
def serve():
    """A function that makes servers, closed at the end."""
    made = []

    def make(folder, **options):
        made.append(Server(folder, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


STROKE = {"kind": "stroke", "mark": "look", "points": [[100.0, 100.0], [140.0, 120.0]], "radius": 9.0, "runs": []}


@pytest.fixture
def draft():
    """A function: a draft's body of one stroke, changed by keywords."""

    def make(**changes):
        body = {"window": "w1", "base": 0, "shapes": [STROKE], "decision": "correct", "reason": "", "grade": None}
        return body | {"flagged": False, "remark": ""} | changes

    return make
