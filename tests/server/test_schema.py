"""The server against its own OpenAPI document: no 5xx, no answer that is not documented, whatever is sent."""

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="requests are made by schemathesis, of the extra `dev`")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402 - after the skip
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 20
# A stream, and processes: they have tests of their own.
LEFT_OUT = {("get", "/api/jobs/{job}/events"), ("post", "/api/rounds")}
UNDAMAGED = {("get", "/static/{path}")}  # any text is a path


def operations(app):
    """The operations of the document by verb and path."""
    document = schemathesis.openapi.from_dict(app.openapi())
    found = {(item.method.lower(), item.path): item for item in (one.ok() for one in document.get_all_operations())}
    assert len(found) > 20
    return {key: item for key, item in found.items() if key not in LEFT_OUT}


def probe(browser, strategy, ids):
    """Send generated requests; the status codes of the answers, each held to the document."""
    seen = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=strategy)
    def check(case):
        if ids and "case" in (case.path_parameters or {}):
            case.path_parameters["case"] = ids[0]  # else nearly all would be 404
        wanted = case.as_transport_kwargs(base_url="http://127.0.0.1:8437")
        headers = {name: value for name, value in (wanted.pop("headers", None) or {}).items() if name.lower() != "host"}
        body = {"json": wanted["json"]} if wanted.get("json") is not None else {"content": wanted.get("data")}
        answer = browser.request(wanted["method"], wanted["url"], params=wanted.get("params"), headers=headers, **body)
        case.validate_response(answer, checks=CHECKS)
        seen.add(answer.status_code)

    check()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "damaged"])
def test_every_answer_is_documented(server, browser, mode):
    """Generated requests, valid and damaged, get documented answers of the documented shape; none is a 5xx."""
    is_valid = mode is GenerationMode.POSITIVE
    ids = [item["id"] for item in browser.get("/api/queue").json()["cases"]] if is_valid else []
    seen = {}
    for key, operation in operations(server.app).items():
        try:
            seen[key] = probe(browser, operation.as_strategy(generation_mode=mode), ids)
        except Unsatisfiable:  # nothing of it can be damaged
            assert not is_valid, key
    codes = set().union(*seen.values())
    paths = server.app.openapi()["paths"]
    takes = {key for key in operations(server.app) if {"parameters", "requestBody"} & paths[key[1]][key[0]].keys()}
    assert len(takes) > 15
    assert set(seen) >= (takes if is_valid else takes - UNDAMAGED)
    assert not {code for code in codes if code >= 500}
    assert (200 if is_valid else 422) in codes
