"""Logging in, what a session may, and when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from holdfast import Cron, Holdfast
from holdfast.api.app import application
from holdfast.engine import keys, workers
from holdfast.engine.workers import WorkerEntry
from tests.dashboard.conftest import post


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Holdfast]:
    app = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    app.client.open()
    yield app
    await app.aclose()


@asynccontextmanager
async def served(home: Holdfast, key: str | None = "secret") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(lambda: home.client, key=key))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        yield http


async def test_whoever_is_not_known_is_asked_for_a_key_and_led_back(home: Holdfast) -> None:
    async with served(home) as http:
        asked = await http.get("/runs?status=failed")
        wrong = await post(http, "/login", "/login", {"key": "guess", "to": "/runs?status=failed"})
        right = await post(http, "/login", "/login", {"key": "secret", "to": "/runs?status=failed"})
        cookie = right.headers["set-cookie"]
        shown = await http.get(right.headers["location"])
        out = await post(http, "/runs", "/logout")
        again = await http.get("/runs")
    assert (asked.status_code, wrong.status_code, right.status_code) == (401, 401, 303)
    assert 'name="to" value="/runs?status=failed"' in asked.text
    assert "www-authenticate" not in asked.headers, "a browser would ask in a window of its own"
    assert right.headers["location"] == "/runs?status=failed"
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "secret" not in cookie
    assert (shown.status_code, out.status_code, again.status_code) == (200, 303, 401)


async def test_a_key_that_only_reads_sees_no_buttons_and_changes_nothing(home: Holdfast) -> None:
    run = home.trigger("send", delay="1h")
    home.client.write(keys.create, "reads", "reader", ["read"], None)
    async with served(home) as http:
        await post(http, "/login", "/login", {"key": "reads"})
        shown, listed = (await http.get(f"/runs/{run.id}")).text, (await http.get("/runs")).text
        refused = await post(http, "/login", f"/runs/{run.id}/cancel")
    assert run.id in shown
    assert f"/runs/{run.id}/cancel" not in shown
    assert 'name="verb"' not in listed
    assert refused.status_code == 403
    assert home.runs.retrieve(run.id).status == "delayed"


async def test_whoever_only_reads_is_offered_nothing_that_changes(home: Holdfast) -> None:
    """On no page, and none to which they may not go."""
    run = home.trigger("send", delay="1h")
    home.queues.pause("task/send")
    home.schedules.create("send", Cron("30 2 * * *"))
    home.tokens.create(timeout="1h")
    entry = WorkerEntry(id="w" * 16, lease_ms=10**9, host="reef", pid=40, concurrency=8)
    home.client.write(workers.register, entry, ["send"])
    home.client.write(keys.create, "reads", "reader", ["read"], None)
    names = ["runs", f"runs/{run.id}", "errors", "tokens", f"tokens/{home.tokens.list()[0].id}", "queues"]
    names += ["queues/task%2Fsend", "schedules", f"schedules/{home.schedules.list()[0].id}", "workers", "alerts"]
    async with served(home) as http:
        await post(http, "/login", "/login", {"key": "reads"})
        pages = {name: (await http.get(f"/{name}")).text for name in ["", "tasks", "webhook-deliveries", *names]}
        edit = await http.get(f"/runs/{run.id}/replay")
    forms = {name: page.count('method="post"') for name, page in pages.items()}
    assert forms == dict.fromkeys(pages, 1), "which is the one to log out"
    assert "Drain" not in pages["workers"].partition("<table")[2]
    assert 'href="/keys"' not in pages[""]
    assert edit.status_code == 403


async def test_a_session_is_over_with_its_key(home: Holdfast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.api.keyring.FRESH_SECONDS", 0.0)
    record = home.client.write(keys.create, "reads", "reader", ["read"], None)
    async with served(home) as http:
        await post(http, "/login", "/login", {"key": "reads"})
        before = await http.get("/runs")
        home.client.write(keys.revoke, record.id)
        after = await http.get("/runs")
    assert (before.status_code, after.status_code) == (200, 401)


async def test_a_session_of_the_operators_key_is_over_when_that_is_another(home: Holdfast) -> None:
    async with served(home) as http:
        await post(http, "/login", "/login", {"key": "secret"})
        cookies = dict(http.cookies)
    async with served(home, "another") as http:
        answer = await http.get("/runs", headers={"cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
    assert answer.status_code == 401


async def test_what_is_not_signed_by_us_is_no_session(home: Holdfast) -> None:
    async with served(home) as http:
        await post(http, "/login", "/login", {"key": "secret"})
        forged = http.cookies["holdfast_session"][:-3] + "abc"
    async with served(home) as http:
        answer = await http.get("/runs", headers={"cookie": f"holdfast_session={forged}"})
    assert answer.status_code == 401
