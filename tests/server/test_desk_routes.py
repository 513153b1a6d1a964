"""The queue, leases, drafts, finishing, maps and what-ifs, through the routes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image


def cases(browser, window=None):
    """The whole queue."""
    return browser.get("/api/queue", params={"limit": 500} | ({"window": window} if window else {})).json()["cases"]


def counts(browser):
    """Its counts."""
    return browser.get("/api/queue").json()["counts"]


def finish(browser, case, **changes):
    """Finish a case."""
    body = {"window": "w1", "version": 1, "key": "k1"} | changes
    return browser.post(f"/api/cases/{case}/finish", json=body)


def test_the_queue_has_the_order_of_the_selection(server, browser):
    """The first case is the one that the acquisition rule wants most, and says why in a sentence."""
    selection = server.desk.store.latest_selection("multi-scale/fold0")
    ids = server.desk.photograph_ids()
    found = cases(browser)
    assert [item["id"] for item in found] == [ids[sample] for sample in selection.samples]
    assert len(found) > 15
    assert all(item["why"].endswith(".") and "rank 1 of" not in item["why"] for item in found)
    assert counts(browser) == {"waiting": len(found), "corrected": 0, "flagged": 0, "skipped": 0, "accepted": 0}
    assert [item["id"] for item in browser.get("/api/queue?offset=3&limit=2").json()["cases"]] == [
        item["id"] for item in found[3:5]
    ]


def test_windows_never_get_the_same_case(browser):
    """Each window's next case is leased to it; a held one is refused to others, and free when it is let go."""
    order = [item["id"] for item in cases(browser)]
    first = browser.post("/api/next", json={"window": "w1"}).json()["id"]
    second = browser.post("/api/next", json={"window": "w2"}).json()["id"]
    assert [first, second] == order[:2]
    assert browser.post(f"/api/cases/{first}/lease", json={"window": "w1"}).status_code == 200
    refused = browser.post(f"/api/cases/{first}/lease", json={"window": "w2"})
    assert refused.status_code == 409
    assert refused.json()["held"] is True
    assert [item["leased_by_other"] for item in cases(browser, "w1")[:2]] == [False, True]
    assert browser.post(f"/api/cases/{first}/release", json={"window": "w1"}).status_code == 204
    assert browser.post(f"/api/cases/{first}/lease", json={"window": "w2"}).status_code == 200


def test_next_goes_on_behind_a_case_that_is_left(browser):
    """A window that leaves its case undone gets the one behind it, and after the last one the first again."""
    order = [item["id"] for item in cases(browser)]
    assert browser.post("/api/next", json={"window": "w", "after": order[0]}).json()["id"] == order[1]
    assert browser.post("/api/next", json={"window": "w", "after": order[-1]}).json()["id"] == order[0]
    assert browser.post("/api/next", json={"window": "w"}).json()["id"] == order[0]


def test_a_lease_runs_out(server, browser):
    """A window that was closed holds its case for two minutes and no longer."""
    first = browser.post("/api/next", json={"window": "w1"}).json()["id"]
    with server.desk.store.transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE leases SET until = 1")
    assert browser.post("/api/next", json={"window": "w2"}).json()["id"] == first


def test_no_case_waits(server, browser):
    """An empty queue is 204, no error."""
    with server.desk.store.transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE cases SET state = 'accepted'")
    answer = browser.post("/api/next", json={"window": "w1"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_draft_comes_back_as_it_was_saved(browser, draft):
    """What was acknowledged is what is read, also after the server was started again."""
    case = cases(browser)[0]["id"]
    body = draft(remark="<b>look</b> 眼", grade=2, flagged=True)
    saved = browser.put(f"/api/cases/{case}/draft", json=body)
    assert saved.status_code == 200
    assert saved.json()["version"] == 1
    found = browser.get(f"/api/cases/{case}").json()["draft"]
    expected = {name: value for name, value in body.items() if name != "base"}
    assert found == expected | {"version": 1, "saved_at": saved.json()["saved_at"]}


def test_a_newer_draft_is_shown_and_kept(browser, draft):
    """Whoever saves on an older version gets the newer one to see, and overwrites nothing."""
    case = cases(browser)[0]["id"]
    address = f"/api/cases/{case}/draft"
    browser.put(address, json=draft(remark="first"))
    browser.put(address, json=draft(remark="second", base=1, window="w2"))
    refused = browser.put(address, json=draft(remark="third", base=1))
    assert refused.status_code == 409
    assert refused.json()["version"] == 2
    assert refused.json()["draft"]["remark"] == "second"
    assert refused.json()["window"] == "w2"
    assert browser.get(f"/api/cases/{case}").json()["draft"]["remark"] == "second"


def test_a_save_that_is_sent_again_is_saved_once(browser, draft):
    """A page that lost the answer sends the same again and hears the same."""
    address = f"/api/cases/{cases(browser)[0]['id']}/draft"
    first = browser.put(address, json=draft())
    again = browser.put(address, json=draft())
    assert first.json() == again.json()


def test_a_correction(server, browser, draft):
    """A finished case is a correction with author, mode and shapes, and the case is no longer waiting."""
    case = cases(browser)[0]["id"]
    browser.put(f"/api/cases/{case}/draft", json=draft(remark="seen"))
    done = finish(browser, case)
    assert done.status_code == 200, done.text
    assert done.json()["state"] == "corrected"
    stored = server.desk.store.correction(done.json()["correction"])
    name = browser.get(f"/api/cases/{case}").json()["name"]
    assert (stored.sample, stored.model, stored.author) == (name, "multi-scale/fold0", "A. Expert")
    assert (stored.origin, stored.mode, stored.remark) == ("expert", "edit", "seen")
    assert stored.look[110, 120]
    assert stored.avoid is None
    assert counts(browser)["corrected"] == 1
    assert counts(browser)["waiting"] == len(cases(browser)) - 1
    assert browser.post("/api/next", json={"window": "w1"}).json()["id"] != case


def test_one_key_finishes_once(server, browser, draft):
    """The same finish sent again, or twice at once, is one correction; the key is no good for another case."""
    first, second = (item["id"] for item in cases(browser)[:2])
    browser.put(f"/api/cases/{first}/draft", json=draft())
    assert finish(browser, first).json() == finish(browser, first).json()
    assert server.desk.store.count() == 1
    browser.put(f"/api/cases/{second}/draft", json=draft())
    assert finish(browser, second).status_code == 400
    assert server.desk.store.count() == 1


def test_finishing_an_older_version_is_refused(server, browser, draft):
    """What another window saved meanwhile is shown, and nothing is written."""
    case = cases(browser)[0]["id"]
    browser.put(f"/api/cases/{case}/draft", json=draft())
    browser.put(f"/api/cases/{case}/draft", json=draft(base=1, window="w2", remark="newer"))
    refused = finish(browser, case, version=1)
    assert refused.status_code == 409
    assert refused.json()["draft"]["remark"] == "newer"
    assert server.desk.store.count() == 0
    assert finish(browser, cases(browser)[1]["id"]).status_code == 409  # no draft at all


def test_nothing_to_see(server, browser, draft):
    """An empty map is a correction that replaces the whole, with or without strokes on it."""
    first, second = (item["id"] for item in cases(browser)[:2])
    browser.put(f"/api/cases/{first}/draft", json=draft(decision="nothing", shapes=[]))
    browser.put(f"/api/cases/{second}/draft", json=draft(decision="nothing"))
    empty = server.desk.store.correction(finish(browser, first).json()["correction"])
    drawn = server.desk.store.correction(finish(browser, second, key="k2").json()["correction"])
    assert (empty.mode, empty.look.any(), drawn.mode, drawn.look.any()) == ("replace", False, "replace", True)


@pytest.mark.parametrize(
    ("changes", "state", "why"),
    [
        ({"decision": "accept", "shapes": []}, "accepted", ""),
        ({"decision": "skip", "reason": "blurred"}, "skipped", ""),
        ({"decision": None, "flagged": True}, "flagged", ""),
        ({"decision": "accept", "grade": 3}, "accepted", ""),
        ({"decision": "skip"}, None, "say why"),
        ({"decision": "skip", "reason": "  "}, None, "say why"),
        ({"decision": "correct", "shapes": []}, None, "without a stroke"),
        ({"decision": None}, None, "without a decision"),
        ({"decision": "accept", "grade": 5}, None, "expected 0 to 4"),
    ],
)
def test_decisions(server, browser, draft, changes, state, why):
    """Accepted, skipped and flagged cases make no correction and are counted; what says too little is refused."""
    case = cases(browser)[0]["id"]
    browser.put(f"/api/cases/{case}/draft", json=draft(**changes))
    done = finish(browser, case)
    assert server.desk.store.count() == 0
    if state is None:
        assert done.status_code == 400
        assert why in done.json()["detail"]
        assert counts(browser)["waiting"] == len(cases(browser))
        return
    assert done.json() == {"correction": None, "state": state}
    assert counts(browser)[state] == 1
    with server.desk.store.transaction() as connection:
        row = connection.exec_driver_sql(
            "SELECT state, reason, grade, author FROM cases WHERE state = ?", (state,)
        ).one()
    assert tuple(row) == (state, changes.get("reason", ""), changes.get("grade"), "A. Expert")


def test_the_counts_are_those_of_the_rows(server, browser, draft):
    """However often states change, the counts are what counting would give."""
    ids = [item["id"] for item in cases(browser)[:5]]
    decisions = ["correct", "accept", "skip", "nothing", None, "accept", "correct"]
    versions = dict.fromkeys(ids, 0)
    for number, decision in enumerate(decisions * 2):
        case = ids[number % len(ids)]
        body = draft(decision=decision, reason="x", flagged=decision is None or number % 3 == 0, base=versions[case])
        versions[case] = browser.put(f"/api/cases/{case}/draft", json=body).json()["version"]
        assert finish(browser, case, version=versions[case], key=f"k{number}").status_code == 200
        found = counts(browser)
        with server.desk.store.transaction() as connection:
            rows = connection.exec_driver_sql("SELECT state, flagged FROM cases").all()
        expected = {name: sum(row[0] == name for row in rows) for name in found if name != "flagged"}
        assert found == expected | {"flagged": sum(row[1] for row in rows)}


def test_a_new_selection_keeps_what_was_worked_on(server, browser, draft, regaze, study):
    """Cases that are not selected any more go, but those with a decision or a draft stay."""
    order = [item["id"] for item in cases(browser)]
    done, drafted, untouched = order[-1], order[-2], order[-3]
    browser.put(f"/api/cases/{done}/draft", json=draft(decision="accept"))
    finish(browser, done)
    browser.put(f"/api/cases/{drafted}/draft", json=draft(window="w9"))
    assert regaze("select", study, "--everything", "--count", "3", "--quiet").code == 0
    found = {item["id"]: item["state"] for item in cases(browser)}
    assert list(found)[:3] == order[:3]
    assert found[done] == "accepted"
    assert found[drafted] == "waiting"
    assert untouched not in found
    assert browser.get(f"/api/cases/{drafted}").json()["draft"]["window"] == "w9"


def test_corrections_from_elsewhere_count(browser, regaze, study):
    """What `regaze correct` wrote before the queue was made is no longer waiting."""
    assert regaze("correct", study, "--quiet").code == 0
    assert regaze("select", study, "--everything", "--share", "0.9", "--quiet").code == 0
    assert counts(browser)["corrected"] > 0


def test_erasing(server, browser, draft):
    """What was erased is as if nobody had drawn there, and the stroke that erased is kept."""
    case = cases(browser)[0]["id"]
    stroke = draft()["shapes"][0]
    shapes = [stroke, stroke | {"mark": "erase", "points": [[140.0, 120.0]]}]
    assert browser.put(f"/api/cases/{case}/draft", json=draft(shapes=shapes)).status_code == 200
    stored = server.desk.store.correction(finish(browser, case).json()["correction"])
    assert stored.look[100, 100]
    assert not stored.look[120, 140]
    assert [shape.mark for shape in stored.shapes] == ["look", "erase"]


def test_what_cannot_be_drawn_is_refused_at_saving(browser, draft):
    """A draft that was saved can always be finished."""
    case = cases(browser)[0]["id"]
    for shape in (
        {"kind": "stroke", "mark": "look", "points": [[1.0, 1.0]], "radius": 0.0},
        {"kind": "polygon", "mark": "look", "points": [[1.0, 1.0]]},
        {"kind": "mask", "mark": "avoid", "runs": [5]},
        {"kind": "box", "mark": "look", "points": [[1.0, 1.0]]},
    ):
        assert browser.put(f"/api/cases/{case}/draft", json=draft(shapes=[shape])).status_code == 400, shape


def test_a_case_says_what_it_is(server, browser):
    """Size, square, grids, probabilities and lesions fit each other."""
    found = browser.get(f"/api/cases/{cases(browser)[0]['id']}").json()
    assert (found["width"], found["height"]) == (512, 512)
    assert abs(sum(found["probabilities"]) - 1) < 1e-5
    assert all(abs(sum(branch) - 1) < 1e-5 for branch in found["branches"])
    assert len(found["branches"]) == len(found["grids"]) == 3
    assert found["confidence"] == found["probabilities"][found["grade"]]
    assert found["known"] is True
    for lesion in found["lesions"]:
        assert sum(lesion["runs"]) == 512 * 512


def test_photographs(browser):
    """Four levels, each half the last, as JPEG without metadata; the browser's own copy is confirmed by 304."""
    address = f"/api/cases/{cases(browser)[0]['id']}/photograph"
    for level in range(4):
        answer = browser.get(address, params={"level": level})
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.size == (512 >> level, 512 >> level)
            assert not image.getexif()
    assert "immutable" not in answer.headers["cache-control"]
    assert (
        browser.get(address, params={"level": 3}, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    )
    assert browser.get(address, params={"level": 4}).status_code == 422


def test_a_photograph_that_changed_is_not_shown(server, browser, study):
    """A file with other content than the study was made with is refused, not shown under the old name."""
    case = cases(browser)[0]["id"]
    file = server.desk.sample(case).image
    file.write_bytes(file.read_bytes() + b"x")
    answer = browser.get(f"/api/cases/{case}/photograph")
    assert answer.status_code == 400
    assert "has changed" in answer.json()["detail"]


def test_what_if(browser):
    """Own values change nothing; other maps move the grade; the same amount has the same mean."""
    case = cases(browser)[0]["id"]
    maps = browser.get(f"/api/cases/{case}/maps").json()
    cells = sum(item["height"] * item["width"] for item in maps["scales"])
    address, ask = f"/api/cases/{case}/what-if", {"window": "w1"}
    own = browser.post(address, params=ask | {"sequence": 1}, content=b"\xff" * cells).json()
    assert own["stale"] is False
    assert np.allclose(own["before"]["fused"], own["now"]["fused"], atol=1e-3)
    assert np.allclose(own["before"]["fused"], maps["probabilities"], atol=2e-2)
    full = browser.post(address, params=ask | {"sequence": 2}, content=b"\xfe" * cells).json()
    assert abs(sum(full["now"]["fused"]) - 1) < 1e-5
    assert full["now"]["fused"] != own["now"]["fused"]
    assert isinstance(full["listens"], bool)
    assert browser.post(address, params=ask | {"sequence": 1}, content=b"\xfe" * cells).json()["stale"] is True
    for body in (b"", b"\xff" * (cells - 1), b"\xff" * (cells + 1)):
        assert browser.post(address, params=ask | {"sequence": 3}, content=body).status_code == 400


def test_maps(browser):
    """Levels are whole bytes for each cell, and evidence has a sign and a scale."""
    maps = browser.get(f"/api/cases/{cases(browser)[0]['id']}/maps", params={"model": "multi-scale"}).json()
    for item in (*maps["scales"], maps["fused"], maps["evidence"]):
        assert len(base64.b64decode(item["values"])) == item["height"] * item["width"]
    assert maps["evidence"]["scale"] > 0


def test_names_of_models_are_no_paths(browser):
    """A model is one of the study's, never a folder that a request names."""
    case = cases(browser)[0]["id"]
    for name in ("../multi-scale", "/etc", "multi-scale/fold0", "no", ""):
        assert browser.get(f"/api/cases/{case}/maps", params={"model": name}).status_code == 404, name
        assert browser.get("/api/worse", params={"model": name}).status_code == 404
        assert browser.post("/api/use", json={"model": name}).status_code in (404, 422)


def test_other_ids(browser, draft):
    """An id that the server never gave is not there, whatever is asked of it."""
    for case in (0, 999_999, 2**63 - 1):
        assert browser.get(f"/api/cases/{case}").status_code == 404
        assert browser.put(f"/api/cases/{case}/draft", json=draft()).status_code == 404
        assert finish(browser, case).status_code == 404
    for case in (-1, "x", 2**63, "..%2f1"):
        assert browser.get(f"/api/cases/{case}").status_code in (404, 422)


def test_photographs_outside_the_queue_are_shown_and_not_corrected(server, browser, draft):
    """A photograph of the validation part can be looked at (what got worse), but nobody may learn from it."""
    held_out = [sample for sample, fold in server.desk.study.split.items() if fold == 0]
    case = server.desk.photograph_ids()[held_out[0]]
    assert browser.get(f"/api/cases/{case}").json()["state"] is None
    assert browser.put(f"/api/cases/{case}/draft", json=draft()).status_code == 404
    assert browser.post(f"/api/cases/{case}/lease", json={"window": "w"}).status_code == 404


def test_the_study_verifies_after_work(browser, draft, regaze, study, server):
    """What the page writes leaves the chain whole, and earlier commands read it."""
    for number, item in enumerate(cases(browser)[:3]):
        browser.put(f"/api/cases/{item['id']}/draft", json=draft())
        finish(browser, item["id"], key=f"k{number}")
    server.close()
    outcome = regaze("verify", study, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["corrections"] == 3
    assert outcome.json["problems"] == []


def test_the_dashboard(browser):
    """Counts, rounds and a curve are there from the start, without a figure that nobody measured."""
    found = browser.get("/api/dashboard").json()
    assert found["counts"]["waiting"] > 0
    assert [item["name"] for item in found["rounds"]] == ["multi-scale"]
    assert found["curve"] == [{"corrections": 0, "kappa": None, "enrichment": None}]
    assert browser.get("/api/rounds").json()["advice"] == found["advice"]
    assert browser.get("/api/worse", params={"model": "multi-scale"}).json()["worse"] == []
