"""Queues, schedules, tokens and tasks: looked at and changed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from holdfast import Cron, Holdfast, Queue
from holdfast.engine import catalogue
from tests.dashboard.conftest import Served, post


class Approval(BaseModel):
    approved: bool
    amount: float
    note: str | None = None


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Holdfast]:
    app = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    app.client.open()
    yield app
    await app.aclose()


async def test_a_queue_is_paused_resumed_and_limited(home: Holdfast, served: Served) -> None:
    orders = Queue("orders/eu", concurrency_limit=2)
    home.trigger("pack", queue=orders, concurrency_key="Ada")
    home.trigger("pack", queue=orders, concurrency_key="Ada")
    page, limit = "/queues/orders%2Feu", {"concurrency_limit": "1", "concurrency_limit_per_key": ""}
    async with served(home) as http:
        listed, shown = (await http.get("/queues")).text, (await http.get(page)).text
        paused = await post(http, page, f"{page}/pause", {"back": page})
        at_rest = home.queues.retrieve("orders/eu").paused
        resumed = await post(http, page, f"{page}/resume", {"back": "//elsewhere.example"})
        limited = await post(http, page, f"{page}/limit", limit)
        wrong = await post(http, page, f"{page}/limit", {"concurrency_limit": "many"})
        overridden = (await http.get(page)).text
        limit_then = home.queues.retrieve("orders/eu").concurrency_limit
        await post(http, page, f"{page}/limit")
        missing = await http.get("/queues/nothing")
    assert "orders/eu" in listed
    assert "Ada" in shown
    assert (paused.headers["location"], at_rest) == (page, True)
    assert resumed.headers["location"] == "/", "a form leads to pages of ours only"
    assert not home.queues.retrieve("orders/eu").paused
    assert limited.status_code == 303
    assert (limit_then, home.queues.retrieve("orders/eu").concurrency_limit) == (1, 2)
    assert ("Take it back" in shown, "Take it back" in overridden) == (False, True)
    assert (wrong.status_code, missing.status_code) == (422, 404)


async def test_a_schedule_is_made_changed_and_fired(home: Holdfast, served: Served) -> None:
    made = {"task": "greet", "rule": "30 2 * * *", "timezone": "Europe/Berlin", "payload": '"Ada"', "overlap": "skip"}
    made |= {"catch_up": "none", "jitter": "", "external_id": "user-7"}
    async with served(home) as http:
        looked = await post(http, "/schedules/new", "/schedules/new", made | {"preview": "1"})
        none_yet = list(home.schedules.list())
        wrong = await post(http, "/schedules/new", "/schedules/new", made | {"rule": "61 * * * *"})
        answer = await post(http, "/schedules/new", "/schedules/new", made)
        page = answer.headers["location"]
        shown, listed = (await http.get(page)).text, (await http.get("/schedules")).text
        changed = await post(http, f"{page}/edit", f"{page}/edit", made | {"rule": "0 9 * * MON"})
        paused = await post(http, page, f"{page}/pause", {"back": page})
        fired = await post(http, page, f"{page}/run")
    assert " 02:30 CE" in looked.text
    assert none_yet == []
    assert wrong.status_code == 422
    assert "61" in wrong.text
    assert "user-7" in shown
    assert "30 2 * * *" in listed
    assert (changed.status_code, paused.status_code) == (303, 303)
    (schedule,) = home.schedules.list()
    assert schedule.rule == Cron("0 9 * * MON", timezone="Europe/Berlin", overlap="skip", catch_up="none")
    assert (schedule.payload, schedule.status, schedule.external_id) == ("Ada", "paused", "user-7")
    run = home.runs.retrieve(fired.headers["location"].removeprefix("/runs/"))
    assert (run.task, run.payload) == ("greet", "Ada")


@pytest.mark.parametrize(
    ("rule", "zone", "told"),
    [
        ("0 12 * * *", "Europe/Berlin", " 12:00 CE"),
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0", "UTC", "Mon"),
        ("FREQ=DAILY;UNTIL=20200101T000000Z", "UTC", "never fires"),
        ("nonsense", "UTC", "wrongly"),
        ("0 12 * * *", "Nowhere/Land", "wrongly"),
        ("", "UTC", "Write a rule"),
    ],
)
async def test_a_rule_is_previewed_as_one_writes_it(
    home: Holdfast, served: Served, rule: str, zone: str, told: str
) -> None:
    async with served(home) as http:
        answer = await http.get("/schedules/preview", params={"rule": rule, "timezone": zone})
    assert answer.status_code == 200
    assert told in answer.text
    assert "<html" not in answer.text


async def test_a_declared_schedule_is_not_edited_here(home: Holdfast, served: Served) -> None:
    @home.task(schedule=Cron("@daily"))
    def nightly() -> None: ...

    async with home.running(), served(home) as http:
        (schedule,) = home.schedules.list()
        shown = (await http.get(f"/schedules/{schedule.id}")).text
        refused = await post(http, "/schedules", f"/schedules/{schedule.id}/delete")
    assert "declared in code" in shown
    assert f"/schedules/{schedule.id}/edit" not in shown
    assert refused.status_code == 422


async def test_a_token_is_completed_by_the_form_of_its_schema(home: Holdfast, served: Served) -> None:
    token = home.tokens.create(Approval, timeout="1h", tags=["order-7"])
    page = f"/tokens/{token.id}"
    async with served(home) as http:
        inbox, form = (await http.get("/tokens")).text, (await http.get(page)).text
        missing = await post(http, page, page, {"value.approved": "true", "value.note": "well"})
        unsure = await post(http, page, page, {"json": '{"approved": "perhaps", "amount": 3}', "to": "form"})
        unfit = await post(http, page, page, {"value.approved": "true", "value.amount": '"much"'})
        done = await post(http, page, page, {"value.approved": "true", "value.amount": "9.5", "value.note": ""})
        late = await http.post(page, data=dict(parse_qsl(done.request.content.decode())) | {"value.amount": "3"})
        after = (await http.get(page)).text
        unknown = await http.get("/tokens/nothing")
    assert token.id in inbox
    assert 'name="value.amount"' in form
    assert missing.status_code == 422
    assert "well" in missing.text
    assert 'name="value.approved" value="true">' in unsure.text, "what is no yes is not drawn as one"
    assert re.search(
        r'id="f-value.amount"[^>]*aria-invalid.*?amiss-here[^>]*>should be of type number', unfit.text, re.DOTALL
    )
    assert done.status_code == 303
    assert (late.status_code, "was not taken" in late.text) == (422, True), "who comes second is told"
    state: Any = home.tokens.retrieve(token.id)
    assert (state.status, state.value) == ("completed", {"approved": True, "amount": 9.5})
    assert "What it was completed with" in after
    assert unknown.status_code == 404


async def test_the_inbox_says_what_each_token_asks_for(home: Holdfast, served: Served) -> None:
    home.tokens.create(Approval, tags=["order-7"])
    for number in range(51):
        home.tokens.create(tags=[f"t{number}"], timeout="1h")
    async with served(home) as http:
        first = (await http.get("/tokens")).text
        cursor = first.partition("cursor=")[2].partition('"')[0]
        rest = (await http.get(f"/tokens?status=open&cursor={cursor}")).text
        tagged = (await http.get("/tokens?tag=order-7")).text
    assert first.count("<tr data-row") == 50
    assert first.count(">A value</a>") == 50
    assert (rest.count("<tr data-row"), rest.count(">Approval</a>")) == (2, 1)
    assert (tagged.count("<tr data-row"), tagged.count(">Approval</a>")) == (1, 1)


async def test_a_task_shows_how_its_runs_go(home: Holdfast, served: Served) -> None:
    @home.task(id="mail/send", max_duration="5m")
    def send(to: str) -> None: ...

    home.client.write(catalogue.announce, [send.entry()], [])
    run = send.trigger("Ada", delay="1h")
    async with served(home) as http:
        listed, shown = (await http.get("/tasks")).text, (await http.get("/tasks/mail%2Fsend")).text
        test = await http.get("/tasks/mail%2Fsend/test")
    assert "mail/send" in listed
    assert run.id in shown
    assert "5m" in shown
    assert test.status_code == 200


async def test_below_a_path_of_another_application_links_lead_there(home: Holdfast) -> None:
    outer = FastAPI()
    outer.mount("/jobs", home.asgi())
    transport = httpx.ASGITransport(app=outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        page = await http.get("/jobs/queues")
        style = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
        file = await http.get(style)
        made = await post(http, "/jobs/schedules/new", "/jobs/queues/nothing/pause", {"back": "/queues"})
    assert 'href="/jobs/runs"' in page.text
    assert 'href="/runs"' not in page.text
    assert 'data-root="/jobs/"' in page.text
    assert file.status_code == 200
    assert made.status_code == 404
