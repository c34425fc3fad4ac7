"""Runs: ``/api/v1/runs``, and in later versions ``/api/v2/runs/{id}/cancel`` and ``/api/v3/runs/{id}``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import codec, views
from holdfast.api.auth import caller_of, changed, needs
from holdfast.api.refused import Refused
from holdfast.api.v1 import listing, shown, wire
from holdfast.api.v1.documents import answered, documented, said
from holdfast.api.v1.failures import Failure, failure_of
from holdfast.api.v1.packets import JSON
from holdfast.api.v1.trigger import (
    MOST_TAGS,
    OUTPUT,
    SLACK_BYTES,
    Options,
    QueueSaid,
    options_of,
    request_name,
    tags_of,
    value_of,
)
from holdfast.client import Client
from holdfast.engine import amend, cancel
from holdfast.engine import replay as replaying
from holdfast.records import NewRun, RunRecord
from holdfast.storage import Tx
from holdfast.views import Family

LATEST: Final = "latest"  # instead of a version: whatever there is


class Id(msgspec.Struct):
    """The run that it was about."""

    id: str


class Replay(msgspec.Struct, kw_only=True, rename="camel"):
    """What is to be otherwise than at the run that is replayed."""

    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    payload_type: str | None = None
    queue: str | None = None
    concurrency_key: str | None = None
    idempotency_key: str | None = None
    idempotency_key_ttl: str | None = msgspec.field(name="idempotencyKeyTTL", default=None)
    delay: str | None = None
    ttl: str | int | None = None
    tags: str | list[str] | None = None
    max_attempts: int | None = None
    metadata: Any = None
    max_duration: float | None = None
    machine: str | None = None
    priority: float | None = None
    region: str | None = None
    version: str | None = None

    def options(self) -> Options:
        others = ("payload", "queue", "version")
        same = {name: getattr(self, name) for name in self.__struct_fields__ if name not in others}
        queue = None if self.queue is None else QueueSaid(self.queue)
        return Options(**same, queue=queue, lock_to_version=None if self.version == LATEST else self.version)


class Reschedule(msgspec.Struct):
    """When a delayed run is to start: in this time, or then."""

    delay: str


class Tags(msgspec.Struct):
    """Tags to add."""

    tags: str | list[str]


class Message(msgspec.Struct):
    """That it was done."""

    message: str


class Result(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What a run came to."""

    ok: bool
    id: str
    task_identifier: str
    output: str | None = None
    output_type: str | None = None
    error: Failure | None = None


_replay: Final = msgspec.json.Decoder(Replay)
_reschedule: Final = msgspec.json.Decoder(Reschedule)
_tags: Final = msgspec.json.Decoder(Tags)


def runs(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter()

    @router.get(
        "/api/v1/runs",
        **documented(
            "Runs, the newest first",
            needs=needs("read", anyhow=True),
            answer=listing.RunPage,
            query=listing.QUERY,
            refusals=[400],
        ),
    )
    async def list_(request: Request) -> Response:
        wanted = listing.wanted_in(listing.said_in(request))
        return answered(await client().aread(listing.page, wanted, caller_of(request)))

    @router.get(
        "/api/v3/runs/{id}",
        **documented("A run in full", needs=needs("read", run="id"), answer=shown.FullRun, refusals=[404]),
    )
    async def retrieve(id: str) -> Response:
        return answered(await told(client(), id))

    @router.post(
        "/api/v2/runs/{id}/cancel",
        **documented("Cancel a run", needs=needs("write", run="id"), answer=Id, refusals=[404]),
    )
    async def cancel_(request: Request, id: str) -> Response:
        run_id = wire.bare("run", id)
        outcome = await client().awrite(cancel.cancel, [run_id])
        if outcome[run_id] == "unknown":
            raise wire.unknown("run")
        changed(request, "runs cancel", run_id)
        return answered(Id(wire.told("run", run_id)))

    @router.post(
        "/api/v1/runs/{id}/replay",
        **documented("Do a run once more", needs=needs("trigger"), body=Replay, answer=Id, refusals=[404]),
    )
    async def replay(request: Request, id: str) -> Response:
        verbs = client()
        asked = await said(request, _replay, verbs.payload_limit * 2 + SLACK_BYTES)
        run_id = wire.bare("run", id)
        copy = await copy_of(verbs, run_id, asked)
        copy.request = request_name(request)
        made = await verbs.atrigger(copy, OUTPUT)
        changed(request, "runs replay", f"{run_id} as {made.id}")
        return answered(Id(wire.told("run", made.id)))

    @router.post(
        "/api/v1/runs/{id}/reschedule",
        **documented(
            "Let a delayed run start at another time",
            needs=needs("write", run="id"),
            body=Reschedule,
            answer=shown.FullRun,
            refusals=[404],
        ),
    )
    async def reschedule(request: Request, id: str) -> Response:
        run_id = wire.bare("run", id)
        delay_ms, due_at = wire.when((await said(request, _reschedule, SLACK_BYTES)).delay, "delay")
        outcome = await client().awrite(amend.reschedule, run_id, due_at=due_at, delay_ms=delay_ms)
        answer = await told(client(), id)
        if outcome == "too_late":
            raise Refused(400, "Only a run that is delayed and has not started yet can be rescheduled")
        changed(request, "runs reschedule", run_id)
        return answered(answer)

    @router.post(
        "/api/v1/runs/{id}/tags",
        **documented("Add tags to a run", needs=needs("write", run="id"), body=Tags, answer=Message, refusals=[404]),
    )
    async def tag(request: Request, id: str) -> Response:
        tags = tags_of((await said(request, _tags, SLACK_BYTES)).tags)
        run_id = wire.bare("run", id)
        after = await client().awrite(amend.add_tags, run_id, checked(tags), most=MOST_TAGS)
        if after is None:
            raise wire.unknown("run")
        if len(after) > MOST_TAGS:
            raise Refused(422, f"Runs can only have {MOST_TAGS} tags, you're trying to set {len(after)}.", "tags")
        changed(request, "runs tag", f"{run_id}: {', '.join(tags)}")
        return answered(Message("The tags are set"))

    @router.get(
        "/api/v1/runs/{id}/result",
        **documented("What a run came to", needs=needs("read", run="id"), answer=Result, refusals=[404]),
    )
    async def result(id: str) -> Response:
        return answered(result_of(await found(client(), id)))

    return router


def checked(tags: list[str]) -> list[str]:
    return list(codec.decode(options_of(Options(tags=tags), 0).get("tags", "[]")))


async def found(client: Client, id: str) -> RunRecord:
    """The run with this id. Raises Refused (404)."""
    records = await client.aread(views.records, [wire.bare("run", id)])
    if not records:
        raise wire.unknown("run")
    return records[0]


async def told(client: Client, id: str) -> shown.FullRun:
    """The run with this id, as it is shown in full. Raises Refused (404)."""
    known = await client.aread(with_family, wire.bare("run", id))
    if known is None:
        raise wire.unknown("run")
    return shown.full(*known)


def with_family(tx: Tx, run_id: str) -> tuple[RunRecord, Family] | None:
    records = views.records(tx, [run_id])
    return (records[0], views.family(tx, records[0])) if records else None


# -- replays ----------------------------------------------------------------------------------------------------------


async def copy_of(client: Client, run_id: str, asked: Replay) -> NewRun:
    """What to trigger to do a run once more. Raises Refused (404)."""
    payload = None
    if asked.payload is not msgspec.UNSET:
        payload = codec.encode(await value_of(client, asked.payload, asked.payload_type))
    copies = await client.aread(replaying.copies, [run_id], payload=payload)
    if run_id not in copies:
        raise wire.unknown("run")
    copy = copies[run_id]
    if payload is not None:
        await client.atarget(copy.task)
        copy.payload = client.sealed(copy.task, copy.payload)
        client.check_payload(copy.task, copy.payload)
    fields = options_of(asked.options(), int(time.time() * 1000))
    if "version" in fields and (await client.atarget(copy.task)).sent:
        del fields["version"]
    copy.options = merged(copy.options, fields.pop("options", None))
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def merged(before: str | None, after: str | None) -> str | None:
    """The options of a replay: those of the run, but for its idempotency key, and over them what is said now."""
    old: dict[str, Any] = codec.decode(before or "{}")
    new: dict[str, Any] = codec.decode(after or "{}")
    sdk = {name: value for name, value in old.get("sdk", {}).items() if name not in ("key", "ttl")} | new.get("sdk", {})
    options = {name: value for name, value in {**old, **new, "sdk": sdk}.items() if value != {}}
    return codec.encode(options) if options else None


# -- results ----------------------------------------------------------------------------------------------------------


def result_of(record: RunRecord) -> Result:
    """What a run came to. Raises Refused (404): it has not ended."""
    if record.finished_at is None:
        raise Refused(404, "The run has not ended yet")
    about: dict[str, Any] = {"id": wire.told("run", record.id), "task_identifier": record.task}
    if record.status == "completed":
        output = shown.text(record.output or "null", record.payload)
        return Result(ok=True, **about, output=output, output_type=JSON)
    return Result(ok=False, **about, error=failure_of(record) or Failure("INTERNAL_ERROR", code="UNSPECIFIED_ERROR"))
