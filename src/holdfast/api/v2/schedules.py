"""``/v2/schedules``: requests that are sent again and again, by a cron expression or an RFC 5545 rule. All in UTC.

A schedule here makes tasks of ``http``. The next one waits until the last one is done, whatever became of it; of those
missed while nothing ran, one is made up for. Its tasks are tried twice, as they were there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Response
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse

from holdfast import codec, recurrence
from holdfast.api.refused import Refused, not_found
from holdfast.api.v2 import reading
from holdfast.api.v2.documents import CHANGED_SCHEDULE, NEW_SCHEDULE, SCHEDULE, TASK, documented, list_of, object_of
from holdfast.api.v2.reading import Reader, Said
from holdfast.api.v2.tasks import CHANGE, SEE, as_request, as_task, clear_for, said_in
from holdfast.client import Client
from holdfast.engine import pushes, read
from holdfast.engine import schedules as engine
from holdfast.errors import InvalidOption
from holdfast.http_task import http_entry
from holdfast.ids import as_uuid, new_id
from holdfast.records import Make, NewSchedule, ScheduleRecord
from holdfast.recurrence import Rule
from holdfast.request import HTTP_QUEUE, HTTP_TASK, Request, RetryRecord, request_in

RETRY: Final = RetryRecord(jitter=False, delays_ms=(5_000,))
LISTED: Final = 1_000
TASKS: Final = 100


class Told(msgspec.Struct, omit_defaults=True):
    """What a schedule was told that only its callers care for."""

    name: str | None = None
    description: str | None = None
    cron: str | None = None
    rrule: str | None = None
    dtstart: int | None = None


def schedules(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter(prefix="/v2/schedules")

    @router.post("", dependencies=[CHANGE], **documented("Make a schedule", SCHEDULE, status=201, body=NEW_SCHEDULE))
    async def create(request: HttpRequest) -> JSONResponse:
        new = new_schedule(reading.object_of(await said_in(request, client())), None)
        return JSONResponse(as_schedule(await client().awrite(pushes.schedule, new, http_entry())), status_code=201)

    @router.get("", dependencies=[SEE], **documented("Schedules", list_of(SCHEDULE)))
    async def list_(request: HttpRequest) -> JSONResponse:
        found, clear = await client().aread(engine.page, LISTED, task=HTTP_TASK), clear_for(request)
        return JSONResponse([as_schedule(each, clear=clear) for each in found])

    @router.get("/{id}", dependencies=[SEE], **documented("A schedule", SCHEDULE))
    async def retrieve(id: str, request: HttpRequest) -> JSONResponse:
        return JSONResponse(as_schedule(await found(client(), id), clear=clear_for(request)))

    @router.patch(
        "/{id}", dependencies=[CHANGE], **documented("Change a schedule", SCHEDULE, body=object_of(CHANGED_SCHEDULE))
    )
    async def update(id: str, request: HttpRequest) -> JSONResponse:
        said = reading.object_of(await said_in(request, client()))
        new = new_schedule(said, await found(client(), id))
        changed = await client().awrite(engine.change, new)
        if changed is None:
            raise not_found("schedule")
        return JSONResponse(as_schedule(changed))

    @router.delete("/{id}", dependencies=[CHANGE], **documented("Delete a schedule", None, status=204))
    async def delete(id: str) -> Response:
        record = await found(client(), id)
        await client().awrite(engine.remove, [record.id])
        return Response(status_code=204)

    @router.get("/{id}/tasks", dependencies=[SEE], **documented("Tasks that a schedule has made", list_of(TASK)))
    async def tasks_of(id: str, request: HttpRequest) -> JSONResponse:
        record, clear = await found(client(), id), clear_for(request)
        slots = await client().aread(engine.slots, record.id, TASKS)
        runs = await client().aread(read.runs, [slot.run_id for slot in slots if slot.run_id is not None])
        return JSONResponse([as_task(run, clear=clear) for run in runs if run.status != "canceled"])

    return router


async def found(client: Client, id: str) -> ScheduleRecord:
    """The schedule with this id. Raises Refused (404)."""
    record = await client.aread(engine.retrieve, reading.run_id(id, "schedule"))
    if record is None or record.task != HTTP_TASK:
        raise not_found("schedule")
    return record


# -- reading ----------------------------------------------------------------------------------------------------------


def new_schedule(said: Said, before: ScheduleRecord | None) -> NewSchedule:
    """The schedule that is asked for; what is not said stays as it was ``before``. Raises Refused (422)."""
    make, told = before_of(before)
    reader = Reader(said)
    request, body = reader.take("request", reading.request) or (Request(), None)
    usual = request_in(codec.decode(make.options)) if make.options else Request(body="none", retry=RETRY)
    request = msgspec.structs.replace(
        usual,
        url=request.url or usual.url,
        headers=usual.headers if request.headers is None else request.headers,
        body=request.body or usual.body,
    )
    queue = reader.take("queue", reading.name) or make.queue or HTTP_QUEUE
    paused = reader.take("paused", reading.flag)
    told = msgspec.structs.replace(
        told,
        name=reader.take("name", reading.name) if "name" in said else told.name,
        description=reader.take("description", reading.text) if "description" in said else told.description,
    )
    told = ruled(told, reader)
    if request.url is None and not reader.problems:
        reader.problems.append(Refused(422, "Request url is required", "request.url"))
    reader.check()
    options = reading.encoded(request, {"v2": msgspec.to_builtins(told)})
    payload = make.payload if body is None else body
    return NewSchedule(
        id=new_id() if before is None else before.id,
        task=HTTP_TASK,
        rule=msgspec.json.encode(rule_of(told, before)).decode(),
        make=codec.encode(
            msgspec.to_builtins(Make(task=HTTP_TASK, queue=queue, payload=payload or "null", options=options))
        ),
        catch_up=1,
        overlap="queue",
        paused=(before is not None and before.paused_at is not None) if paused is None else paused,
    )


def before_of(before: ScheduleRecord | None) -> tuple[Make, Told]:
    if before is None:
        return Make(task=HTTP_TASK), Told()
    make = msgspec.json.decode(before.make, type=Make)
    return make, told_of(make)


def told_of(make: Make) -> Told:
    return msgspec.convert(codec.decode(make.options or "{}").get("v2", {}), Told)


def ruled(told: Told, reader: Reader) -> Told:
    """When it is to fire: ``cron``, or ``rrule`` from ``dtstart`` on."""
    cron = reader.take("cron", lambda value, param: reading.text(value, param))
    rrule = reader.take("rrule", lambda value, param: reading.text(value, param, 2_000))
    dtstart = reader.take("dtstart", reading.moment)
    if cron is not None and rrule is not None:
        reader.problems.append(Refused(422, "Cron and rrule are both given", "cron"))
    elif cron is not None:
        told = msgspec.structs.replace(told, cron=cron, rrule=None, dtstart=None)
    elif rrule is not None:
        told = msgspec.structs.replace(told, cron=None, rrule=rrule, dtstart=dtstart)
    elif dtstart is not None:
        told = msgspec.structs.replace(told, dtstart=dtstart)
    if told.cron is None and told.rrule is None and not reader.problems:
        reader.problems.append(Refused(422, "Cron or rrule is required", "cron"))
    return told


def rule_of(told: Told, before: ScheduleRecord | None) -> Rule:
    """Raises Refused (422): it cannot be read, or never fires."""
    now = int(time.time() * 1000)
    param = "cron" if told.cron is not None else "rrule"
    start = told.dtstart if told.dtstart is not None else now
    rule = Rule("cron" if param == "cron" else "rrule", told.cron or told.rrule or "", "UTC", start)
    try:
        return recurrence.checked(rule, now) if before is None else rule_that_reads(rule, now)
    except InvalidOption as error:
        raise Refused(422, f"{reading.titled(param)} is not valid: {error}", param) from None


def rule_that_reads(rule: Rule, now: int) -> Rule:
    """One that has come to its end may still be renamed or paused."""
    recurrence.first(rule, now)
    return rule


# -- telling ----------------------------------------------------------------------------------------------------------


def as_schedule(record: ScheduleRecord, *, clear: bool = True) -> dict[str, Any]:
    """A schedule as Mergent's clients see it; ``clear`` as for a task."""
    make = msgspec.json.decode(record.make, type=Make)
    told = told_of(make)
    request = request_in(codec.decode(make.options or "{}"))
    rules: Mapping[str, Any] = {"cron": told.cron, "rrule": told.rrule, "dtstart": reading.iso(told.dtstart)}
    return {
        "id": as_uuid(record.id),
        "name": told.name,
        "description": told.description,
        "queue": make.queue,
        "request": as_request(request, make.payload or "null", clear=clear),
        **rules,
        "paused": record.paused_at is not None,
        "scheduled_for": reading.iso(record.slot_at if record.paused_at is None else None),
        "created_at": reading.iso(record.created_at),
    }
