"""Every route against every right: what a caller may not do is refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from holdfast import Holdfast
from holdfast.api import auth
from holdfast.api.app import application, routes
from holdfast.api.auth import OPEN, Caller, Needs, need_of
from holdfast.api.keyring import Keyring
from holdfast.scopes import Right, right_of

SCOPES = ["admin", "read", "trigger", "trigger:greet", "trigger:http", "run:01"]
ACTIONS = {"admin": {"admin"}, "read": {"read", "run"}, "trigger": {"trigger"}, "write": {"write"}}


@pytest.fixture
def served() -> Iterator[FastAPI]:
    home = Holdfast(database="sqlite://:memory:")
    yield application(lambda: home.client, key="all")
    home.close()


def test_every_route_says_what_it_needs_or_is_listed_as_open(served: FastAPI) -> None:
    silent = [route.path for route in routes(served) if need_of(route) is None]
    assert {path for path in silent if path not in OPEN} == set()
    assert OPEN.keys() <= set(silent), "what asks for a key is not open"


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


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_key_does_nothing_outside_its_scope(
    served: FastAPI, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each route is asked with 01 for whatever its path names, by a caller who has this right alone."""
    right = right_of(scope)
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
