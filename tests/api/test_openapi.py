"""The document of the API, and everything that it says held against what is answered.

schemathesis makes calls of all kinds for each operation, signed, unsigned and with a key that may do little: there is
no 500, nothing is answered that is not in the document, and no secret is in any answer or log.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import Holdfast
from holdfast.api.app import application, routes
from holdfast.api.auth import need_of
from holdfast.engine import keys
from holdfast.ids import new_api_key

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not here")
checks = pytest.importorskip("schemathesis.checks")
builder = pytest.importorskip("schemathesis.generation.hypothesis.builder")

KEY = "an operator's key that nobody is shown, ever"
LITTLE = new_api_key()
# Where what fits the schema may still be no duration, no cron expression, no URL, no name, or too much with the rest;
# everywhere else what fits is taken.
PARTICULAR = {
    *("GET /api/v1/bulk-actions", "POST /api/v1/bulk-actions"),
    *("GET /api/v1/runs", "POST /api/v1/runs/{id}/tags", "GET /api/v1/queues"),
    *("POST /api/v1/tasks/{task}/trigger", "POST /api/v3/batches", "POST /api/v1/idempotencyKeys/{key}/reset"),
    *("POST /api/v1/queues/{queue}/concurrency/override", "POST /api/v1/auth/public-tokens"),
    *("POST /api/v1/schedules", "PUT /api/v1/schedules/{id}"),
    *("GET /api/v1/waitpoints/tokens", "POST /api/v1/waitpoints/tokens"),
    "POST /api/v1/projects/{project}/envvars/{environment}",
    "POST /api/v1/projects/{project}/envvars/{environment}/import",
    "PUT /api/v1/projects/{project}/envvars/{environment}/{name}",
    *("GET /realtime/v1/runs", "GET /realtime/v1/streams/{run_id}/{key}"),
    "HEAD /realtime/v1/streams/{run_id}/{target}/{key}",
    "PUT /realtime/v1/streams/{run_id}/{target}/{key}",
    "POST /realtime/v1/streams/{run_id}/{target}/{key}",
    "POST /realtime/v1/streams/{run_id}/{target}/{key}/append",
    *("POST /v2/tasks", "POST /v2/tasks/batch-create", "PATCH /v2/tasks/{id}", "POST /v2/schedules"),
}


@cache
def served() -> FastAPI:
    home = Holdfast(database="sqlite://:memory:", payload_limit=20_000)
    home.client.write(keys.create, LITTLE, "little", ["run:01"], None)
    return application(lambda: home.client, key=KEY)


@cache
def document() -> dict[str, Any]:
    return served().openapi()


@cache
def every_route() -> list[APIRoute]:
    return list(routes(served()))


PARTS = 8  # of the operations, each a test
LONGEST = 1.0
API = ("/api/", "/v2/", "/realtime/", "/webhooks/")
QUERY = [
    "limit",
    "cursor",
    "after",
    "page[size]",
    "page[after]",
    "filter[status]",
    "filter[createdAt][from]",
    "tags",
    "x",
]
NAMES = st.sampled_from(
    ["payload", "options", "request", "url", "headers", "name", "cron", "delay", "tags", "scopes", "x"]
)


@schemathesis.serializer("application/x-ndjson")
def lines(_: object, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@pytest.fixture(autouse=True)
def no_secret_in_a_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO):
        yield
    assert KEY not in caplog.text
    assert LITTLE not in caplog.text


def examined(case: Any, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = case.call(headers=headers)
    assert KEY not in answer.text
    assert LITTLE not in answer.text
    lenient = [checks.positive_data_acceptance] if case.operation.label in PARTICULAR else []
    case.validate_response(answer, excluded_checks=lenient)


def quickly(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def hold(part: int, key: str | None, how: settings) -> None:
    """Hold what is answered against a part of the document. The cases are made here: schemathesis would make all of
    them when it collects its tests, in each process that runs some."""

    def held(case: Any) -> None:
        examined(case, key)

    schema = schemathesis.openapi.from_dict(document())
    schema.app = served()
    config = builder.HypothesisTestConfig(project=schema.config, modes=list(builder.HypothesisTestMode), settings=how)
    for path, methods in list(document()["paths"].items())[part::PARTS]:
        for method in methods:
            builder.create_test(operation=schema[path][method], test_func=held, config=config)()


@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_answered_is_in_the_document(part: int) -> None:
    hold(part, KEY, quickly(1))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("key", [KEY, LITTLE, None], ids=["operator", "little", "nobody"])
def test_what_is_answered_is_in_the_document_at_length(part: int, key: str | None) -> None:
    hold(part, key, settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck)))


# -- anything at all --------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WORDS = st.one_of(TEXT, st.sampled_from(["01", "run_01", "0" * 26, "..", "%00", "\0", "*", "null", "-1", "9" * 30]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)
BODIES = st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode()))
TYPES = st.sampled_from([None, "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
CALLERS = st.sampled_from([KEY, LITTLE, None, "nobody's", "ey.ey.ey", "\xff"])


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """A call of some route, with anything in every place."""
    route = draw(st.sampled_from(every_route()))
    names = {name: quote(draw(WORDS), safe="") or "x" for name in route.param_convertors}
    caller, kind = draw(CALLERS), draw(TYPES)
    headers = {} if caller is None else {"authorization": f"Bearer {caller}".encode("latin-1")}
    headers |= {} if kind is None else {"content-type": kind.encode()}
    query = draw(st.dictionaries(st.sampled_from(QUERY), WORDS, max_size=3))
    method = draw(st.sampled_from([*sorted(route.methods or ()), "OPTIONS", "HEAD"]))
    return method, route.path_format.format_map(names), {"headers": headers, "params": query, "content": draw(BODIES)}


class Asked:
    """A client that sends a body, reads the beginning of the answer, and hangs up on what goes on for long."""

    def __init__(self, body: bytes) -> None:
        self.body, self.sent, self.status, self.text = body, False, 0, b""
        self.over = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self.sent:
            self.sent = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.text += repr(message["headers"]).encode()
            if any(value.startswith(b"text/event-stream") for _, value in message["headers"]):
                self.over.set()
        self.text += message.get("body", b"")
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.over.set()


async def asked(method: str, path: str, headers: dict[str, bytes], params: dict[str, str], content: bytes) -> Asked:
    call = Asked(content)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": urlencode(params).encode(),
        "headers": [(b"host", b"127.0.0.1"), *((name.encode(), value) for name, value in headers.items())],
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 80),
    }
    serving = asyncio.create_task(served()(scope, call.receive, call.send))
    done, _ = await asyncio.wait([serving], timeout=LONGEST)
    if not done:  # a long poll has not been heard of hanging up
        call.over.set()
        serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return call


async def survived(call: tuple[str, str, dict[str, Any]]) -> None:
    method, path, more = call
    answer = await asked(method, path, **more)
    assert answer.status < 500, f"{method} {path}: {answer.text!r}"
    assert KEY.encode() not in answer.text
    assert LITTLE.encode() not in answer.text


@quickly(80)
@given(calls())
def test_nothing_that_is_sent_is_too_much(call: tuple[str, str, dict[str, Any]]) -> None:
    asyncio.run(survived(call))


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls())
def test_nothing_that_is_sent_is_too_much_at_length(call: tuple[str, str, dict[str, Any]]) -> None:
    asyncio.run(survived(call))


# -- the document -----------------------------------------------------------------------------------------------------


def test_it_tells_of_every_route_that_is_no_page() -> None:
    told = {(path, method.upper()) for path, operations in document()["paths"].items() for method in operations}
    ours = [route for route in every_route() if route.path.startswith(API)]
    there = {(route.path_format, method) for route in ours for method in route.methods}
    assert {each for each in there - told if not each[0].startswith("/webhooks/")} == set()
    assert all(each["summary"] for operations in document()["paths"].values() for each in operations.values())


def test_what_is_particular_is_there() -> None:
    there = {f"{method.upper()} {path}" for path, operations in document()["paths"].items() for method in operations}
    assert there >= PARTICULAR


def test_it_says_what_a_route_needs() -> None:
    for route in every_route():
        if route.path_format in document()["paths"] and route.path.startswith(API):
            for method in route.methods:
                operation = document()["paths"][route.path_format][method.lower()]
                assert ("security" in operation) is (need_of(route) is not None), route.path
