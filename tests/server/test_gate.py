"""Who gets in: one table over all routes, and a test for every cause of a vulnerability that could be ours."""

import re
import subprocess
import sys

import pytest

UNSAFE = ("POST", "PUT", "DELETE", "PATCH")


def routes(app):
    """(verb, path) of every route, from the OpenAPI document."""
    found = [(verb.upper(), path) for path, item in app.openapi()["paths"].items() for verb in item]
    assert len(found) > 20
    return found


def address(path):
    """A path with an id in each place."""
    return re.sub(r"\{\w+\}", "1", path)


def test_every_route_is_closed_without_a_session(server):
    """Whatever the route, nobody without a session gets past the door; the link alone is answered by itself."""
    stranger = server.stranger()
    for verb, path in routes(server.app):
        answer = stranger.request(verb, address(path), params={"token": "no"})
        assert answer.status_code == 401, (verb, path)
        assert "photograph" not in answer.text
    assert stranger.get("/nothing").status_code == 401


def test_a_forged_or_old_session_is_none(server):
    """A cookie that the server never gave, or one that ran out, opens nothing."""
    stranger = server.stranger()
    for value in ("x", "", "a" * 5000, "\u00e9"):
        headers = {"cookie": f"regaze-8437={value}".encode("latin-1")}
        assert stranger.get("/api/study", headers=headers).status_code == 401
    browser = server.browser()
    assert browser.get("/api/study").status_code == 200
    with server.desk.store.transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE sessions SET until = 0")
    assert browser.get("/api/study").status_code == 401


def test_a_link_is_good_once(server):
    """The second use of a link opens nothing; the next link was shown meanwhile."""
    token = server.tokens[-1]
    assert server.stranger().get("/enter", params={"token": token}).status_code == 303
    assert server.stranger().get("/enter", params={"token": token}).status_code == 401
    assert len(server.tokens) == 2
    assert server.tokens[0] != server.tokens[1]
    assert server.browser().get("/api/study").status_code == 200


def test_the_cookie_is_for_this_server_s_pages_alone(server):
    """Scripts cannot read it, and other sites' requests do not carry it."""
    answer = server.stranger().get("/enter", params={"token": server.tokens[-1]})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert answer.headers["location"] == "/"


def test_sessions_are_kept_as_hashes(server, study):
    """Who reads the database gets no session."""
    browser = server.browser()
    session = browser.cookies["regaze-8437"]
    with server.desk.store.transaction() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM sessions").all()
    assert len(rows) == 1
    assert session not in str(rows)


def test_a_session_outlives_the_server(serve, study):
    """A server that is started again knows its browsers, so that a page goes on."""
    first = serve(study)
    browser = first.browser()
    session = browser.cookies["regaze-8437"]
    first.close()
    again = serve(study).stranger()
    again.cookies.set("regaze-8437", session)
    assert again.get("/api/study").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8437", "127.0.0.1", "127.0.0.1:80", "0.0.0.0:8437", ""])
def test_dns_rebinding(server, browser, host):
    """A name that an attacker's DNS points here is refused even with a session (a browser would send it)."""
    assert browser.get("/api/study", headers={"host": host}).status_code == 403
    assert browser.get("/enter", params={"token": server.tokens[-1]}, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": None},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8437"},  # another origin than the host that is asked
        {"origin": "https://127.0.0.1:8437"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_forged_requests(server, headers):
    """No route that may change something takes a request from another page, session or not."""
    session = server.browser().cookies["regaze-8437"]
    other = server.stranger(**headers)
    other.cookies.set("regaze-8437", session)
    changing = [(verb, path) for verb, path in routes(server.app) if verb in UNSAFE]
    assert len(changing) >= 8
    for verb, path in changing:
        assert other.request(verb, address(path), json={"window": "w"}).status_code == 403, (verb, path)


def test_reading_changes_nothing(server, browser):
    """No GET changes a row, so that a picture's address in another page does nothing."""

    def rows():
        tables = ("cases", "queues", "drafts", "leases", "jobs", "finishes", "corrections", "selections")
        with server.desk.store.transaction() as connection:
            return [connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in tables]  # noqa: S608 - our own names

    browser.get("/api/queue")
    before = rows()
    for verb, path in routes(server.app):
        if verb == "GET" and path != "/enter":
            assert browser.get(address(path), params={"model": "multi-scale"}).status_code < 500
    assert rows() == before


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "..%5capp.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "index.html%00.js",
        "....//app.py",
        "static/../../gate.py",
        ".",
        "",
        "no-such.js",
    ],
)
def test_nothing_but_the_page_s_files(browser, path):
    """No path leads out of the page's folder, and no Python is handed out."""
    answer = browser.get(f"/static/{path}")
    assert answer.status_code in (404, 400), path
    assert "import" not in answer.text


def test_a_link_in_the_page_s_folder_leads_nowhere(browser, monkeypatch, tmp_path):
    """A symbolic link out of the folder is not followed."""
    from regaze.server import app

    (tmp_path / "static").mkdir()
    (tmp_path / "secret.js").write_text("secret")
    (tmp_path / "static" / "secret.js").symlink_to(tmp_path / "secret.js")
    (tmp_path / "static" / "own.js").write_text("own")
    monkeypatch.setattr(app, "STATIC", tmp_path / "static")
    assert browser.get("/static/own.js").text == "own"
    assert browser.get("/static/secret.js").status_code == 404


def test_every_answer_carries_the_policy(browser, server):
    """Scripts and styles from here alone, trusted types, no sniffing, no frames: also on refusals and errors."""
    answers = [
        browser.get("/"),
        browser.get("/api/study"),
        browser.get("/nothing"),
        server.stranger().get("/"),
        server.stranger().get("/", headers={"host": "evil.example"}),
        browser.put("/api/cases/1/draft", content=b"{"),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'; require-trusted-types-for 'script'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


def test_types_are_the_server_s(browser, monkeypatch, tmp_path):
    """A file's type comes from a table of ours; what is not in it is not served (a stored SVG or HTML cannot run)."""
    from regaze.server import app

    (tmp_path / "a.js").write_text("1")
    (tmp_path / "a.exe").write_text("1")
    monkeypatch.setattr(app, "STATIC", tmp_path)
    assert browser.get("/static/a.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert browser.get("/static/a.exe").status_code == 404


def test_markup_in_names_stays_text(serve, study):
    """An author or a remark that is markup comes back as JSON, never as HTML."""
    evil = "<img src=x onerror=alert(1)>"
    browser = serve(study, author=evil).browser()
    answer = browser.get("/api/study")
    assert answer.json()["author"] == evil
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[" * 100_000, {400, 422}),
        (b'{"window": "w", "base": ' + b"9" * 100_000 + b"}", {400, 422}),
        (b'{"window": "w", "base": 1e999}', {400, 422}),
        (
            b'{"window": "w", "base": 0, "shapes": [{"kind": "stroke", "mark": "look", "points": [[NaN, 1]]}]}',
            {400, 422},
        ),
        (b'{"window": "w", "base": 0, "remark": "\\ud800"}', {400, 422}),
        (b'{"window": "w", "base": 0, "remark": "\\u0000"}', {400, 422}),
        (b'{"window": "w", "base": 0, "__proto__": {}}', {422}),
        (b"\xff\xfe", {400, 422}),
        (b"{" + b" " * (17 * 2**20), {413}),
    ],
)
def test_bombs(browser, body, expected):
    """Nesting, giant numbers, half characters and giant bodies are refused in one line."""
    case = browser.get("/api/queue").json()["cases"][0]["id"]
    answer = browser.put(f"/api/cases/{case}/draft", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in expected, answer.text[:200]
    assert "Traceback" not in answer.text
    assert len(answer.text) < 2000


def test_no_telemetry(server):
    """FastAPI's OpenTelemetry is off, whatever a machine has configured."""
    from fastapi.telemetry import get_telemetry_data  # noqa: F401 - it is there, so the test is about something

    assert server.app._telemetry["tracing"] is False
    assert server.app._telemetry["metrics"] is False
    assert server.app._telemetry["logs"] is False
    assert server.app._native_telemetry.enabled() is False
    assert server.app.openapi_url is None


def test_the_command_s_help_needs_no_web_framework():
    """`regaze --help` loads neither FastAPI nor uvicorn."""
    code = "import sys, regaze.cli; print([name for name in ('fastapi', 'uvicorn', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org", "8.8.8.8"])  # noqa: S104 - refused
def test_other_addresses_are_refused(regaze, waiting, host):
    """The page is for this machine until there are accounts, and the refusal says so."""
    outcome = regaze("serve", waiting, "--host", host)
    assert outcome.code == 1
    assert "no accounts yet" in outcome.err
    assert "ssh -L" in outcome.err
