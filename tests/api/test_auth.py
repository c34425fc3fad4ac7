"""Every route against every right: what a caller may not do is refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from holdfast import Holdfast
from holdfast.api import auth, public
from holdfast.api.app import application, routes
from holdfast.api.auth import OPEN, Caller, Needs, need_of
from holdfast.api.keyring import Keyring
from holdfast.dashboard.site import FORM_COOKIE
from holdfast.engine import batches
from holdfast.ids import new_id
from holdfast.scopes import Right, right_of

RIGHTS = {scope: right_of(scope) for scope in ("admin", "read", "trigger", "trigger:01", "trigger:http", "run:01")}
RIGHTS |= {
    scope: public_right
    for scope in ("read:batch:01", "read:tags:01", "write:waitpoints:01")
    if (public_right := public.right_of(scope)) is not None
}
SURFACES = {"", "api", "assets", "audit", "metrics", "realtime", "runs", "v2", "webhooks"}  # some of the first words


@pytest.fixture
def served() -> Iterator[FastAPI]:
    home = Holdfast(database="sqlite://:memory:")
    yield application(lambda: home.client, key="all")
    home.close()


def test_every_route_says_what_it_needs_or_is_listed_as_open(served: FastAPI) -> None:
    silent = [route.path for route in routes(served) if need_of(route) is None]
    assert {path for path in silent if path not in OPEN} == set()
    assert OPEN.keys() <= set(silent), "what asks for a key is not open"
    assert {route.path.split("/")[1] for route in routes(served)} >= SURFACES, "all that is served is looked at"


def known_as(caller: Caller) -> Any:
    async def caller_of(*_: object) -> Caller:
        return caller

    return caller_of


def covers(right: Right, need: Needs) -> bool:
    """What should be so, written down a second time."""
    if right.action == "admin" or need.action is None:
        return True
    if right.action != need.action:
        return False
    if need.place is None:
        return right.kind is None or need.anyhow
    return right.kind is None or (right.kind == need.place.kind and right.id in (None, need.place.id or "01"))


@pytest.mark.parametrize("scope", RIGHTS)
async def test_a_key_does_nothing_outside_its_scope(
    served: FastAPI, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each route is asked with 01 for whatever its path names, by a caller who has this right alone."""
    right = RIGHTS[scope]
    caller = Caller("somebody", None, frozenset((right,)))
    monkeypatch.setattr(Keyring, "caller", known_as(caller))
    monkeypatch.setattr("holdfast.dashboard.live.PING", 0.0)
    monkeypatch.setattr("holdfast.dashboard.live.LONGEST", 0.0)
    transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
    headers = {"Authorization": "Bearer somebody's"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
        for route in routes(served):
            need = need_of(route)
            for method in sorted(route.methods or ()):
                answer = await http.request(method, filled(route))
                allowed = need is None or covers(right, need)
                assert (answer.status_code != 403) is allowed, f"{method} {route.path} with {scope}: {answer.text}"
                assert answer.status_code not in (401, 500), f"{method} {route.path}: {answer.text}"


MARK = {"Cookie": f"{FORM_COOKIE}=mark"}
BATCH = {"runCount": 1, "taskIdentifiers": ["other"]}
LINE = b'{"index":0,"task":"other","payload":"1"}'
RESET = {"taskIdentifier": "other"}
NDJSON = {"Content-Type": "application/x-ndjson"}
# Routes that let in whoever may do so with something, each asked for something else: {run}, {batch} are of another.
ELSEWHERE: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("GET", "/api/v1/runs"): [{}, {"params": {"filter[taskIdentifier]": "other"}}],
    ("POST", "/api/v3/batches"): [{"json": BATCH}, {"json": {"runCount": 1}}],
    ("POST", "/api/v3/batches/{id}/items"): [{"content": LINE, "headers": NDJSON}],
    ("PUT", "/api/v2/packets/{name:path}"): [{}],
    ("POST", "/api/v1/idempotencyKeys/{key:path}/reset"): [{"json": RESET}],
    ("GET", "/realtime/v1/runs"): [{"params": {"tags": "other"}}, {"params": {"tags": "other,else"}}],
    ("POST", "/runs/{run_id}/replay"): [
        {"headers": MARK, "data": {"mark": "mark"}},
        {"headers": MARK, "data": {"mark": "mark", "edited": "1", "payload": "1"}},
    ],
}
HARMLESS = {"/api/v1/runs", "/api/v2/packets/{name:path}"}  # a list without it, and a URL for what one has oneself


async def test_who_may_do_so_with_something_does_it_with_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Holdfast(database="sqlite://:memory:")
    served = application(lambda: home.client, key="all")
    anyhow = [route for route in routes(served) if (need := need_of(route)) is not None and need.anyhow]
    assert {(method, route.path) for route in anyhow for method in route.methods} == ELSEWHERE.keys()
    rights = [Right("trigger", "task", "greet"), Right("read", "run", "02"), Right("read", "tag", "mine")]
    monkeypatch.setattr(Keyring, "caller", known_as(Caller("somebody", None, frozenset(rights))))
    run = await home.atrigger("other", "a secret of others", tags=["other"], idempotency_key="k")
    batch, _ = await home.client.awrite(batches.open_batch, new_id(), 1, None, None)
    ids = {"run_id": run.id, "id": f"batch_{batch.id}", "key": "k", "name": "large"}
    transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
    headers = {"Authorization": "Bearer somebody's"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
        for route in anyhow:
            for method, more in product(route.methods, ELSEWHERE[next(iter(route.methods)), route.path]):
                answer = await http.request(method, route.path_format.format_map(ids), **more)
                code = 200 if route.path in HARMLESS else 403
                assert answer.status_code == code, f"{method} {route.path} {more}: {answer.text}"
                assert "a secret" not in answer.text
                assert route.path not in HARMLESS or run.id not in answer.text
        assert [each.id for each in await home.runs.alist()] == [run.id]
        own, form = await home.atrigger("greet", "a secret of ours"), {"mark": "mark", "edited": "1", "to": "json"}
        answer = await http.post(f"/runs/{own.id}/replay", headers=MARK, data={**form, "payload": '"x"'})
        assert (answer.status_code, "a secret" in answer.text) == (403, False), "who triggers it may not read it"
    assert await home.areset_idempotency_key("other", "k"), "it was not freed before"
    await home.aclose()


async def test_a_stranger_is_told_nothing(served: FastAPI) -> None:
    transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for route in routes(served):
            for method in sorted(route.methods or ()):
                answer = await http.request(method, filled(route), headers={"Authorization": "Bearer nobody"})
                assert (answer.status_code == 401) is (route.path not in OPEN), f"{method} {route.path}"
        assert (await http.get("/there/is/no/such/path")).status_code == 401


async def test_a_route_that_says_nothing_is_refused(served: FastAPI) -> None:
    done = []

    @served.get("/forgotten")
    async def forgotten() -> None:
        done.append(1)

    transport = httpx.ASGITransport(app=served)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answer = await http.get("/forgotten", headers={"Authorization": "Bearer all"})
    assert (answer.status_code, done) == (403, [])


def filled(route: APIRoute) -> str:
    return "http://127.0.0.1" + route.path_format.format_map(dict.fromkeys(route.param_convertors, "01"))


def test_a_need_names_one_thing() -> None:
    with pytest.raises(TypeError, match="more than one"):
        auth.needs("read", run="run_id", batch="batch_id")
    assert repr(auth.needs("read", run="run_id")) == "needs('read', run='run_id')"
