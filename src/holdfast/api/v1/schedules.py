"""Schedules: ``/api/v1/schedules``, and the time zones they may be in.

They are made with a deduplication key: the same one gives the same schedule, changed to what is said. Those that code
declares are seen here, paused and resumed; what they are, the code says.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import codec, recurrence
from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.api.v1 import wire
from holdfast.api.v1.documents import Parameter, answered, documented, said
from holdfast.api.v1.listing import said_in
from holdfast.api.v1.numbered import QUERY, Pages, numbered
from holdfast.api.v1.shown import ENVIRONMENT, Generator, generator_of
from holdfast.client import Client
from holdfast.engine import schedules as engine
from holdfast.engine.ticks import rule_of
from holdfast.errors import InvalidOption
from holdfast.ids import new_id
from holdfast.names import ID_LENGTH, checked_key, checked_name
from holdfast.records import Make, NewSchedule, ScheduleRecord
from holdfast.recurrence import Rule
from holdfast.schedule import Cron
from holdfast.storage import Tx

PER_PAGE: Final = 20
LISTED: Final = 10_000
BODY_BYTES: Final = 262_144


class Place(msgspec.Struct):
    """An environment. There is one."""

    id: str = ENVIRONMENT["id"]
    type: Literal["PRODUCTION"] = "PRODUCTION"


class Schedule(msgspec.Struct, kw_only=True, rename="camel"):
    """A schedule."""

    id: str
    type: Literal["DECLARATIVE", "IMPERATIVE"]
    task: str
    active: bool
    deduplication_key: str | None
    external_id: str | None
    generator: Generator
    timezone: str
    next_run: str | None
    next_run_effective_at: str | None
    environments: list[Place]


class SchedulePage(msgspec.Struct):
    """A page of schedules, the newest first."""

    data: list[Schedule]
    pagination: Pages


class Update(msgspec.Struct, kw_only=True, rename="camel"):
    """What a schedule is to be: five fields of cron, in a time zone."""

    task: str
    cron: str
    external_id: str | None = None
    timezone: str | None = None
    window: str | None = None  # spreads firings; they are on time here


class Create(Update, kw_only=True, rename="camel"):
    """A schedule to be made."""

    deduplication_key: str


class Deleted(msgspec.Struct):
    """The schedule that is gone."""

    id: str


class Timezones(msgspec.Struct):
    """The names of all time zones."""

    timezones: list[str]


_create: Final = msgspec.json.Decoder(Create)
_update: Final = msgspec.json.Decoder(Update)


def schedules(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter()
    one = "/api/v1/schedules/{id}"

    @router.post(
        "/api/v1/schedules",
        **documented("Make a schedule", needs=needs("admin"), body=Create, answer=Schedule),
    )
    async def create(request: Request) -> Response:
        asked = await said(request, _create, BODY_BYTES)
        key = checked_key(asked.deduplication_key, option="deduplicationKey")
        made = await client().awrite(put, new_schedule(asked, client().now(), key))
        changed(request, "schedules create", made.id)
        return answered(shown(made))

    @router.get(
        "/api/v1/schedules",
        **documented(
            "Schedules, the newest first", needs=needs("read"), answer=SchedulePage, query=QUERY, refusals=[400]
        ),
    )
    async def list_(request: Request) -> Response:
        asked = numbered(said_in(request), PER_PAGE)
        page, pages = asked.of(await client().aread(engine.page, LISTED))
        return answered(SchedulePage([shown(each) for each in page], pages))

    @router.get(one, **documented("A schedule", needs=needs("read"), answer=Schedule, refusals=[404]))
    async def retrieve(id: str) -> Response:
        return answered(shown(await found(client(), id)))

    @router.put(
        one,
        **documented("Change a schedule", needs=needs("admin"), body=Update, answer=Schedule, refusals=[404]),
    )
    async def update(request: Request, id: str) -> Response:
        asked = await said(request, _update, BODY_BYTES)
        before = undeclared(await found(client(), id))
        new = new_schedule(asked, client().now(), before.key)
        new.id, new.paused = before.id, before.paused_at is not None
        changed(request, "schedules update", before.id)
        return answered(shown(there(await client().awrite(engine.change, new))))

    @router.delete(one, **documented("Remove a schedule", needs=needs("admin"), answer=Deleted, refusals=[404, 422]))
    async def delete(request: Request, id: str) -> Response:
        before = undeclared(await found(client(), id))
        await client().awrite(engine.remove, [before.id])
        changed(request, "schedules delete", before.id)
        return answered(Deleted(wire.told("sched", before.id)))

    @router.post(
        f"{one}/activate", **documented("Let a schedule go on", needs=needs("admin"), answer=Schedule, refusals=[404])
    )
    async def activate(request: Request, id: str) -> Response:
        return answered(shown(await paused(request, client(), id, paused=False)))

    @router.post(
        f"{one}/deactivate", **documented("Pause a schedule", needs=needs("admin"), answer=Schedule, refusals=[404])
    )
    async def deactivate(request: Request, id: str) -> Response:
        return answered(shown(await paused(request, client(), id, paused=True)))

    excluding = Parameter("excludeUtc", "true leaves UTC out", {"type": "string"})

    @router.get("/api/v1/timezones", **documented("All time zones", answer=Timezones, query=[excluding]))
    async def timezones(request: Request) -> Response:
        without = request.query_params.get("excludeUtc") == "true"
        names = sorted(zoneinfo.available_timezones() - ({"UTC"} if without else set()))
        return answered(Timezones(names))

    return router


# -- reading ----------------------------------------------------------------------------------------------------------


def new_schedule(asked: Update, now: int, key: str | None) -> NewSchedule:
    """The schedule that is asked for. Raises Refused (422), InvalidOption."""
    task = checked_name(asked.task, option="task", length=ID_LENGTH)
    external = None if asked.external_id is None else checked_key(asked.external_id, option="externalId")
    return NewSchedule(
        id=new_id(),
        task=task,
        rule=msgspec.json.encode(rule(asked, now)).decode(),
        make=codec.encode(msgspec.to_builtins(Make(task=task))),
        key=key,
        external_id=external,
    )


def rule(asked: Update, now: int) -> Rule:
    if len(asked.cron.split()) != 5:
        raise Refused(422, "cron has not five fields: minute, hour, day of month, month, day of week", "cron")
    try:
        return recurrence.checked(Cron(asked.cron, timezone=asked.timezone or "UTC").rule(now), now)
    except InvalidOption as error:
        raise Refused(422, str(error), "cron") from None


# -- doing ------------------------------------------------------------------------------------------------------------


def put(tx: Tx, new: NewSchedule) -> ScheduleRecord:
    """Make it, or change the one with its key to it; that one stays paused if it is."""
    before = engine.of_key(tx, new.owner, new.key or "")
    new.paused = before is not None and before.paused_at is not None
    return engine.create(tx, new)


async def paused(request: Request, client: Client, id: str, *, paused: bool) -> ScheduleRecord:
    before = await found(client, id)
    changed(request, f"schedules {'pause' if paused else 'resume'}", before.id)
    return there(await client.awrite(engine.set_paused, before.id, paused))


async def found(client: Client, id: str) -> ScheduleRecord:
    """The schedule with this id. Raises Refused (404)."""
    return there(await client.aread(engine.retrieve, wire.bare("sched", id)))


def there(record: ScheduleRecord | None) -> ScheduleRecord:
    if record is None:
        raise wire.unknown("sched")
    return record


def undeclared(record: ScheduleRecord) -> ScheduleRecord:
    if record.owner:
        raise Refused(422, "This schedule is declared in code: change it there")
    return record


def shown(record: ScheduleRecord) -> Schedule:
    """A schedule as the client sees it."""
    rule = rule_of(record.rule)
    active = record.paused_at is None
    return Schedule(
        id=wire.told("sched", record.id),
        type="DECLARATIVE" if record.owner else "IMPERATIVE",
        task=record.task,
        active=active,
        generator=generator_of(rule.text),
        timezone=rule.timezone,
        next_run=wire.maybe_iso(record.slot_at) if active else None,
        next_run_effective_at=wire.maybe_iso(record.next_at) if active else None,
        environments=[Place()],
        deduplication_key=None if record.owner else record.key,
        external_id=record.external_id,
    )
