"""A run of ours as the client sees it: in full, in a list, and as a row of a subscription.

A key that the client does not know is ignored, one that is null where it wants text is an error; so what is not known
is left out. Payload and output are plain JSON in the run and encoded texts in the row.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from holdfast import codec, secret
from holdfast.api.v1 import wire
from holdfast.api.v1.failures import Error, error_of, failure_of
from holdfast.api.v1.packets import JSON
from holdfast.records import RunRecord
from holdfast.views import Family

Function = Literal["trigger", "triggerAndWait", "batchTrigger", "batchTriggerAndWait"]
ENVIRONMENT: Final = {"id": "env_holdfast", "name": "prod"}


class Generator(msgspec.Struct):
    """When a schedule fires."""

    type: Literal["CRON"]
    expression: str
    description: str


class Schedule(msgspec.Struct, rename="camel", omit_defaults=True):
    """The schedule that made a run."""

    id: str
    generator: Generator
    external_id: str | None = None
    deduplication_key: str | None = None


class Run(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What every form of a run has."""

    id: str
    status: wire.Status
    task_identifier: str
    is_queued: bool
    is_executing: bool
    is_waiting: bool
    is_completed: bool
    is_success: bool
    is_failed: bool
    is_cancelled: bool
    is_test: bool
    created_at: str
    updated_at: str
    tags: list[str]
    cost_in_cents: float
    base_cost_in_cents: float
    duration_ms: int
    started_at: str | None = None
    finished_at: str | None = None
    delayed_until: str | None = None
    expired_at: str | None = None
    ttl: str | None = None
    version: str | None = None
    idempotency_key: str | None = None
    batch_id: str | None = None
    attempt_count: int = 0
    metadata: msgspec.Raw | None = None


class RelatedRun(Run, kw_only=True):
    """A run of the same family."""

    depth: int
    trigger_function: Function


class Related(msgspec.Struct, omit_defaults=True):
    """The family of a run."""

    root: RelatedRun | None = None
    parent: RelatedRun | None = None
    children: list[RelatedRun] | None = None


class FullRun(RelatedRun, kw_only=True):
    """A run in full. There is an output when it has completed, and an error when it has failed."""

    related_runs: Related
    payload: msgspec.Raw | None = None
    output: msgspec.Raw | None = None
    error: Error | None = None
    schedule: Schedule | None = None


class Environment(msgspec.Struct):
    """Where a run is. There is one."""

    id: str = ENVIRONMENT["id"]
    name: str = ENVIRONMENT["name"]


class ListedRun(Run, kw_only=True):
    """A run as it stands in a list."""

    env: Environment


def listed(record: RunRecord) -> ListedRun:
    """A run as it stands in a list."""
    return ListedRun(**common(record), env=Environment())


def related(record: RunRecord) -> RelatedRun:
    """A run as one of another one's family."""
    return RelatedRun(**common(record), **place(record))


def full(record: RunRecord, family: Family) -> FullRun:
    """A run as it is retrieved."""
    return FullRun(
        **common(record),
        **place(record),
        related_runs=Related(
            None if family.root is None else related(family.root),
            None if family.parent is None else related(family.parent),
            [related(child) for child in family.children] or None,
        ),
        schedule=schedule_of(record),
        payload=raw(record.payload),
        output=None if record.status != "completed" else raw(record.output or "null", payload=record.payload),
        error=error_of(record),
    )


def common(record: RunRecord) -> dict[str, Any]:
    """What a run is in every form, by the names of `Run`."""
    started = record.started_at is not None
    status = wire.status(record.status, started=started)
    said = said_of(record)
    return {
        "id": wire.told("run", record.id),
        "status": status,
        "task_identifier": record.task,
        **{snake(name): value for name, value in wire.flags(status).items()},
        "is_test": said.test,
        "created_at": wire.iso(record.created_at),
        "updated_at": wire.iso(updated_at(record)),
        "tags": codec.decode(record.tags) if record.tags else [],
        "cost_in_cents": 0,
        "base_cost_in_cents": 0,
        "duration_ms": duration_ms(record),
        "started_at": wire.maybe_iso(record.started_at),
        "finished_at": wire.maybe_iso(record.finished_at),
        "delayed_until": wire.maybe_iso(record.due_at if not started else None),
        "expired_at": wire.maybe_iso(record.finished_at if record.status == "expired" else None),
        "ttl": said.ttl,
        "version": record.version,
        "idempotency_key": said.key,
        "batch_id": None if record.batch_id is None else wire.told("batch", record.batch_id),
        "attempt_count": record.attempts if started else 0,
        "metadata": None if record.metadata is None else raw(record.metadata, payload=record.payload),
    }


class Said(msgspec.Struct, omit_defaults=True, frozen=True):
    """What the client said at the trigger that only it cares for. It is kept among the run's options, under ``sdk``."""

    key: str | None = None
    ttl: str | None = None
    region: str | None = None
    test: bool = False


class Slot(msgspec.Struct):
    """What a run of a schedule knows of it."""

    schedule_id: str
    rule: list[Any]
    external_id: str | None = None


class Kept(msgspec.Struct):
    sdk: Said = Said()
    slot: Slot | None = None


_kept: Final = msgspec.json.Decoder(Kept).decode


def said_of(record: RunRecord) -> Said:
    if record.options is None or '"sdk"' not in record.options:
        return Kept().sdk
    return _kept(record.options).sdk


def schedule_of(record: RunRecord) -> Schedule | None:
    if record.options is None or '"slot"' not in record.options:
        return None
    slot = _kept(record.options).slot
    if slot is None:
        return None
    expression = str(slot.rule[1])
    return Schedule(wire.told("sched", slot.schedule_id), generator_of(expression), slot.external_id)


def generator_of(expression: str) -> Generator:
    return Generator("CRON", expression, expression)


def place(record: RunRecord) -> dict[str, Any]:
    """The place of a run in its family."""
    depth = 0 if record.parent_id is None else 1 if record.parent_id == record.root_id else 2
    return {"depth": depth, "trigger_function": function(record)}


def function(record: RunRecord) -> Function:
    return "trigger" if record.batch_id is None else "batchTrigger"


def duration_ms(record: RunRecord) -> int:
    if record.started_at is None or record.finished_at is None:
        return 0
    return max(0, record.finished_at - record.started_at)


def updated_at(record: RunRecord) -> int:
    return max(record.created_at, record.started_at or 0, record.finished_at or 0, record.cancel_at or 0)


def raw(text: str, *, payload: str = "null") -> msgspec.Raw:
    """A JSON text as part of an answer, with stars for what is secret in it."""
    if secret.KEY in text or secret.KEY in payload:
        text = codec.encode(codec.masked(text, payload=payload))
    return msgspec.Raw(text.encode("utf-8", "surrogatepass"))


def snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


# -- rows of a subscription -------------------------------------------------------------------------------------------


def row(record: RunRecord) -> dict[str, Any]:
    """A run as a row of a subscription. Its times have no zone: the client appends one, and fails where it finds two.
    Null is what is not known, and ``completedAt`` is what ends a subscription."""
    started = record.started_at is not None
    said = said_of(record)
    return {
        "id": record.id,
        "friendlyId": wire.told("run", record.id),
        "taskIdentifier": record.task,
        "status": wire.internal(record.status, started=started),
        "createdAt": naive(record.created_at),
        "updatedAt": naive(updated_at(record)),
        "startedAt": naive(record.started_at),
        "delayUntil": naive(record.due_at if not started else None),
        "queuedAt": naive(record.created_at),
        "expiredAt": naive(record.finished_at if record.status == "expired" else None),
        "completedAt": naive(record.finished_at),
        "payload": text(record.payload),
        "payloadType": JSON,
        "output": text(record.output or "null", record.payload) if record.status == "completed" else None,
        "outputType": JSON,
        "metadata": None if record.metadata is None else text(record.metadata, record.payload),
        "metadataType": JSON,
        "runTags": codec.decode(record.tags) if record.tags else [],
        "error": failure_of(record),
        "isTest": said.test,
        "ttl": said.ttl,
        "idempotencyKey": said.key,
        "number": 1,
        "usageDurationMs": duration_ms(record),
        "costInCents": 0,
        "baseCostInCents": 0,
        "realtimeStreams": [],
    }


def naive(ms: int | None) -> str | None:
    return None if ms is None else wire.iso(ms).removesuffix("Z")


def text(json: str, payload: str = "null") -> str:
    return bytes(raw(json, payload=payload)).decode("utf-8", "surrogatepass")
