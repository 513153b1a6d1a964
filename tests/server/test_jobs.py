"""Jobs: how they stand is read from their log and lock, whoever started them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from regaze.files import held
from regaze.server.jobs import files_of, read_lines


def row(server, *, cancelled=0, started="2020-01-01T00:00:00Z"):
    """A job that an earlier server started; its id."""
    with server.desk.store.transaction(write=True) as connection:
        query = "INSERT INTO jobs (kind, author, time, cancelled) VALUES ('round', 'a', ?, ?) RETURNING id"
        return connection.exec_driver_sql(query, (started, cancelled)).scalar_one()


def write(study, job, *lines):
    """A job's log."""
    files = files_of(study, job)
    files.log.parent.mkdir(exist_ok=True)
    files.log.write_text("".join(json.dumps({"n": number, **line}) + "\n" for number, line in enumerate(lines, 1)))
    return files


RUNNING = {"state": "running", "phase": "training", "done": 3, "total": 8, "message": "fine-tuning"}


def test_a_job_whose_process_died_has_failed(server, browser, study):
    """Without a last word and without its lock a job is over, and the page says so."""
    job = row(server)
    write(study, job, RUNNING)
    found = browser.get(f"/api/jobs/{job}").json()
    assert (found["state"], found["phase"], found["done"], found["total"]) == ("failed", "training", 3, 8)
    assert "ended early" in found["message"]


def test_a_job_that_lives_is_running(server, browser, study):
    """A process that holds the lock is running, also for a server that did not start it; a second round waits."""
    job = row(server)
    files = write(study, job, RUNNING)
    code = "import sys; from pathlib import Path; from regaze.files import held\n"
    code += "with held(Path(sys.argv[1])) as mine: print(mine, flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, files.lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    assert browser.get(f"/api/jobs/{job}").json()["state"] == "running"
    refused = browser.post("/api/rounds", json={})
    assert refused.status_code == 409
    assert "another job" in refused.json()["detail"]
    process.communicate("")
    assert browser.get(f"/api/jobs/{job}").json()["state"] == "failed"


def test_a_job_says_the_last_word(server, browser, study):
    """What its last line says holds, whatever has become of the process."""
    job = row(server)
    write(study, job, RUNNING, {"state": "done", "phase": "queue", "model": "multi-scale-finetuned", "verdict": None})
    assert browser.get(f"/api/jobs/{job}").json()["state"] == "done"
    assert browser.get("/api/jobs").json()["jobs"][0]["model"] == "multi-scale-finetuned"


def test_a_half_line_is_not_read(study):
    """A line that was being written when the process was killed is left out, and read when it is whole."""
    files = files_of(study, 1)
    files.log.parent.mkdir()
    files.log.write_text('{"n": 1}\n{"n": 2')
    lines, end = read_lines(files.log)
    assert [line["n"] for line in lines] == [1]
    with files.log.open("a") as stream:
        stream.write("}\n")
    assert [line["n"] for line in read_lines(files.log, end)[0]] == [2]


def test_events_are_replayed_from_where_a_page_lost_them(server, browser, study):
    """A page that reconnects hears what came after the last event that it has, and the end."""
    job = row(server)
    write(study, job, RUNNING, RUNNING | {"done": 4}, RUNNING | {"done": 5, "state": "done"})
    answer = browser.get(f"/api/jobs/{job}/events", headers={"last-event-id": "1"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    ids = [line for line in answer.text.splitlines() if line.startswith("id:")]
    assert ids == ["id: 3"]
    assert '"state": "done"' in answer.text
    assert browser.get(f"/api/jobs/{job}/events", headers={"last-event-id": "3"}).text == ""
    assert browser.get("/api/jobs/99/events").status_code == 404


def test_the_events_of_a_dead_job_end(server, browser, study):
    """A stream about a process that died says so and ends, or a page would wait for ever."""
    job = row(server)
    write(study, job, RUNNING)
    assert '"state": "failed"' in browser.get(f"/api/jobs/{job}/events").text


def wait(browser, job, seconds=300):
    """How a job ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = browser.get(f"/api/jobs/{job}").json()
        if found["state"] != "running":
            return found
        time.sleep(0.5)
    raise AssertionError(found)


@pytest.mark.slow
def test_a_round_from_the_page(serve, study, draft, regaze):
    """Corrections made on the page become a model, a control, a verdict and a new queue, and the way back is open.

    In between the server is closed and another one started, and the trainer is killed: the same round goes on.
    """
    server = serve(study)
    browser = server.browser()
    for number in range(4):
        case = browser.post("/api/next", json={"window": "w1"}).json()["id"]
        browser.put(f"/api/cases/{case}/draft", json=draft())
        assert browser.post(
            f"/api/cases/{case}/finish", json={"window": "w1", "version": 1, "key": f"k{number}"}
        ).json()["correction"]
    job = browser.post("/api/rounds", json={}).json()["job"]
    assert browser.post("/api/rounds", json={}).status_code == 409
    files = files_of(study, job)
    while not any(line.get("phase") == "training" for line in read_lines(files.log)[0]):
        assert browser.get(f"/api/jobs/{job}").json()["state"] == "running"
        time.sleep(0.1)
    server.close()
    server = serve(study)  # it has never heard of the process
    browser = server.browser()
    assert browser.get(f"/api/jobs/{job}").json()["state"] == "running"
    os.kill(read_lines(files.log)[0][0]["pid"], signal.SIGKILL)
    assert wait(browser, job)["state"] == "failed"
    with held(files.lock) as is_free:
        assert is_free

    cancelled = browser.post("/api/rounds", json={}).json()["job"]
    assert browser.post(f"/api/jobs/{cancelled}/cancel", json={}).json()["state"] == "cancelled"

    job = browser.post("/api/rounds", json={}).json()["job"]
    found = wait(browser, job)
    assert found["state"] == "done", files_of(study, job).errors.read_text()
    assert found["model"] == "multi-scale-finetuned"
    assert found["verdict"]["grading"]["verdict"] in ("improved", "worse", "equivalent", "inconclusive")
    phases = [line["phase"] for line in read_lines(files_of(study, job).log)[0]]
    assert [name for number, name in enumerate(phases) if name not in phases[:number]] == [
        *("starting", "training", "control", "judging", "queue")
    ]
    rounds = browser.get("/api/rounds").json()["rounds"]
    assert [item["name"] for item in rounds] == ["multi-scale", "multi-scale-finetuned"]
    assert rounds[1]["corrections"] == 4
    assert rounds[1]["grading"]["before"] == rounds[0]["grading"]["after"] is not None
    assert browser.get("/api/worse", params={"model": "multi-scale-finetuned"}).json()["against"] == "multi-scale"

    assert browser.post("/api/use", json={"model": "multi-scale-finetuned"}).status_code == 200
    assert browser.get("/api/study").json()["model"] == "multi-scale-finetuned"
    assert browser.get("/api/queue").json()["counts"]["waiting"] > 0  # the new model's own
    case = browser.post("/api/next", json={"window": "w1"}).json()
    assert browser.get(f"/api/cases/{case['id']}/maps").json()["model"] == "multi-scale-finetuned"
    assert browser.post("/api/use", json={"model": "multi-scale"}).status_code == 200
    assert browser.get("/api/queue").json()["counts"]["corrected"] == 4
    server.close()
    assert regaze("verify", study).code == 0
