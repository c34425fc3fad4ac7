"""Schedules of HTTP tasks: a request for each slot, with a payload, with the slot, or with a body of its own."""

from __future__ import annotations

import json
from datetime import datetime

import msgspec
import pytest

from holdfast import Cron, Slot
from holdfast.engine import schedules
from holdfast.ids import new_id
from holdfast.records import Make, NewSchedule
from holdfast.recurrence import Rule
from holdfast.scheduler import Scheduler
from tests.push.conftest import Pushing
from tests.push.receiver import Receiver


@pytest.fixture
def scheduler(pushing: Pushing) -> Scheduler:
    return Scheduler(pushing.app.client.store)


async def test_an_http_task_is_scheduled_like_any_other(
    pushing: Pushing, receiver: Receiver, scheduler: Scheduler
) -> None:
    notify = pushing.app.http_task("notify", f"{receiver.url}/notify", str)
    tick = pushing.app.http_task("tick", f"{receiver.url}/tick", Slot)
    await pushing.app.schedules.acreate(notify, Cron("* * * * * *"), "Ada", external_id="user-1")
    await pushing.app.schedules.acreate(tick, Cron("* * * * * *"), external_id="user-2")
    pushing.start()
    scheduler.start()
    try:
        requests = await receiver.came(4)
    finally:
        scheduler.stop()
    bodies = {request.path: json.loads(request.body) for request in requests}
    assert bodies["/notify"] == "Ada"
    assert bodies["/tick"]["external_id"] == "user-2"
    assert datetime.fromisoformat(bodies["/tick"]["at"]).microsecond == 0


async def test_a_request_that_belongs_to_no_task(pushing: Pushing, receiver: Receiver, scheduler: Scheduler) -> None:
    first = await pushing.app.apush(f"{receiver.url}/first", json=1)  # the task of such requests is known from here on
    run = await first.aretrieve()
    options = {"http": {"url": f"{receiver.url}/hourly", "body": "text"}}
    make = Make(task=run.task, queue=run.queue, payload='"hello"', options=json.dumps(options))
    rule = Rule("cron", "* * * * * *")
    new = NewSchedule(
        id=new_id(), task=run.task, rule=msgspec.json.encode(rule).decode(), make=msgspec.json.encode(make).decode()
    )
    await pushing.app.client.awrite(schedules.create, new)
    pushing.start()
    scheduler.start()
    try:
        requests = await receiver.came(3)
    finally:
        scheduler.stop()
    assert (requests[-1].path, requests[-1].body) == ("/hourly", b"hello")
