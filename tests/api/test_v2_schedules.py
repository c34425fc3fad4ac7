"""``/v2/schedules`` as Mergent had it: fields, codes, and that they fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from holdfast.scheduler import Scheduler
from tests.api.test_v2_tasks import api
from tests.push.conftest import Pushing, pushing, receiver
from tests.push.receiver import Receiver

__all__ = ["api", "pushing", "receiver"]

URL = {"url": "https://example.com/x"}


async def created(api: httpx.AsyncClient, **said: Any) -> dict[str, Any]:
    answer = await api.post("/schedules", json={"request": URL, **said})
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def test_a_schedule_has_the_fields_that_clients_know(api: httpx.AsyncClient) -> None:
    schedule = await created(api, name="nightly", description="every night", queue="mail", cron="0 2 * * *")
    at = datetime.fromisoformat(schedule["scheduled_for"])
    assert (at.hour, at.minute, at.second) == (2, 0, 0)
    assert datetime.now(UTC) < at <= datetime.now(UTC) + timedelta(days=1)
    assert {**schedule, "id": "", "scheduled_for": "", "created_at": ""} == {
        "id": "",
        "name": "nightly",
        "description": "every night",
        "queue": "mail",
        "request": {"url": "https://example.com/x", "headers": {}, "body": None},
        "cron": "0 2 * * *",
        "rrule": None,
        "dtstart": None,
        "paused": False,
        "scheduled_for": "",
        "created_at": "",
    }
    again = await api.get(f"/schedules/{schedule['id']}")
    assert (again.status_code, again.json()) == (200, schedule)
    assert (await api.get("/schedules")).json() == [schedule]


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({}, "cron"),
        ({"cron": "0 2 * * *", "rrule": "FREQ=DAILY"}, "cron"),
        ({"cron": "nonsense"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"rrule": "FREQ=SOMETIMES"}, "rrule"),
        ({"rrule": "FREQ=DAILY;UNTIL=20000101T000000Z"}, "rrule"),
        ({"rrule": "FREQ=DAILY", "dtstart": "soon"}, "dtstart"),
        ({"cron": "0 2 * * *", "request": {"url": "x"}}, "request.url"),
        ({"cron": "0 2 * * *", "request": {}}, "request.url"),
        ({"cron": "0 2 * * *", "name": "a b"}, "name"),
        ({"cron": "0 2 * * *", "paused": "maybe"}, "paused"),
        ({"cron": "0 2 * * *", "description": "x" * 501}, "description"),
    ],
)
async def test_what_is_wrong_is_said_with_its_parameter(
    api: httpx.AsyncClient, said: dict[str, Any], param: str
) -> None:
    answer = await api.post("/schedules", json={"request": URL, **said})
    assert answer.status_code == 422, answer.text
    assert answer.json()["param"] == param
    assert (await api.get("/schedules")).json() == []


async def test_an_update_changes_what_is_given(api: httpx.AsyncClient) -> None:
    schedule = await created(api, name="a", cron="0 2 * * *", request={**URL, "body": "b"})
    path = f"/schedules/{schedule['id']}"
    paused = (await api.patch(path, json={"paused": True})).json()
    assert paused == {**schedule, "paused": True, "scheduled_for": None}
    resumed = (await api.patch(path, json={"paused": False})).json()
    assert resumed == schedule
    moved = (await api.patch(path, json={"cron": "30 4 * * *", "queue": "mail"})).json()
    assert (moved["cron"], moved["queue"], moved["request"]) == ("30 4 * * *", "mail", schedule["request"])
    assert moved["scheduled_for"].endswith("T04:30:00.000Z")
    ruled = (await api.patch(path, json={"rrule": "FREQ=DAILY", "dtstart": "2999-01-01T00:00:00Z"})).json()
    assert (ruled["cron"], ruled["rrule"], ruled["dtstart"]) == (None, "FREQ=DAILY", "2999-01-01T00:00:00.000Z")
    assert ruled["scheduled_for"] == "2999-01-01T00:00:00.000Z"
    assert (await api.patch(path, json={"cron": "nonsense"})).status_code == 422


async def test_what_is_deleted_is_not_there_any_more(api: httpx.AsyncClient) -> None:
    schedule = await created(api, cron="0 2 * * *")
    for method, path, status in (
        ("DELETE", "", 204),
        ("DELETE", "", 404),
        ("GET", "", 404),
        ("PATCH", "", 404),
        ("GET", "/tasks", 404),
    ):
        assert (await api.request(method, f"/schedules/{schedule['id']}{path}", json={})).status_code == status


async def test_it_fires_at_once_and_its_tasks_are_tried_twice(
    api: httpx.AsyncClient, pushing: Pushing, receiver: Receiver
) -> None:
    pushing.start()
    scheduler = Scheduler(pushing.app.client.store).start()
    try:
        request = {"url": receiver.url, "headers": {"X-A": "1"}, "body": "tick"}
        schedule = await created(api, rrule="FREQ=SECONDLY", request=request)  # without end: some slots may be missed
        first, second = (await receiver.came(2))[:2]
    finally:
        scheduler.stop()
    due, made = (datetime.fromisoformat(schedule[name]) for name in ("scheduled_for", "created_at"))
    assert due <= made
    assert first.body == second.body == b"tick"
    assert first.headers["X-A"] == "1"
    for came in (first, second):
        run = await pushing.ended(pushing.app.handle(came.headers["webhook-id"]))
        assert run.status == "completed"
    tasks = (await api.get(f"/schedules/{schedule['id']}/tasks")).json()
    found = {task["id"]: task["status"] for task in tasks}
    assert {found[came.headers["X-Mergent-Task"]] for came in (first, second)} == {"success"}
    assert (await api.get(f"/tasks/{tasks[0]['id']}")).status_code == 200
    held = await pushing.app.client.aread(retry_of, first.headers["webhook-id"])
    assert held == [5_000]


def retry_of(tx: Any, run_id: str) -> list[int]:
    from holdfast import codec
    from holdfast.engine import read

    record = read.run(tx, run_id)
    assert record is not None
    delays: list[int] = codec.decode(record.options or "{}")["http"]["retry"]["delays_ms"]
    return delays
