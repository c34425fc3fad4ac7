"""Batches, in two calls: ``POST /api/v3/batches`` says how many items will come, ``POST /api/v3/batches/{id}/items``
brings them, one JSON object a line.

The lines are taken up as they come, some hundred at a time, so that a batch of any size is never in memory as a whole.
A client whose connection broke sends all of them again: those that were made already are known by their index.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.api.auth import Caller, caller_of, needs, public_token
from holdfast.api.refused import Refused
from holdfast.api.v1 import wire
from holdfast.api.v1.documents import answered, documented, read, said, schema_of
from holdfast.api.v1.repeats import Repeats
from holdfast.api.v1.runs import Result, result_of
from holdfast.api.v1.trigger import NO_OPTIONS, SLACK_BYTES, KeySaid, Options, request_name, run_of
from holdfast.client import Client
from holdfast.engine import batches as engine
from holdfast.engine import read as reading
from holdfast.engine.batches import BatchRecord, Item, Received
from holdfast.errors import InvalidOption, PayloadInvalid, TooLarge
from holdfast.ids import new_id
from holdfast.names import checked_key
from holdfast.records import RunRecord
from holdfast.storage import Tx

MOST_ITEMS: Final = 1_000
BODY_BYTES: Final = 1_048_576
CHUNK, CHUNK_BYTES = 250, 4_194_304
KEY_MS: Final = 30 * 86_400_000
LINES: Final = ("application/x-ndjson", "application/ndjson")
Status = Literal["PENDING", "PROCESSING", "COMPLETED", "PARTIAL_FAILED"]


class Create(msgspec.Struct, kw_only=True, rename="camel"):
    """A batch to be opened: of so many items, of these tasks."""

    run_count: int
    task_identifiers: list[str] | None = None
    idempotency_key: str | None = None
    idempotency_key_ttl: str | None = msgspec.field(name="idempotencyKeyTTL", default=None)
    idempotency_key_options: KeySaid | None = None


class Created(msgspec.Struct, kw_only=True, rename="camel"):
    """The batch; one that was there already, with this idempotency key, is cached: it wants no items."""

    id: str
    run_count: int
    is_cached: bool


class Line(msgspec.Struct, kw_only=True):
    """An item: a trigger, and its place in the batch."""

    index: int
    task: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    options: Options | None = None


class Accepted(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What came of the items; not sealed means that some are still missing."""

    id: str
    items_accepted: int
    items_deduplicated: int
    sealed: bool
    enqueued_count: int | None = None
    expected_count: int | None = None


class ItemError(msgspec.Struct, rename="camel"):
    """Why an item became no run."""

    index: int
    task_identifier: str
    error: str


class Processing(msgspec.Struct):
    """What went wrong with items."""

    errors: list[ItemError]


class Batch(msgspec.Struct, kw_only=True, rename="camel"):
    """A batch and its runs."""

    id: str
    status: Status
    created_at: str
    updated_at: str
    run_count: int
    runs: list[str]
    processing: Processing


class Results(msgspec.Struct):
    """What all runs of a batch came to."""

    id: str
    items: list[Result]


_create: Final = msgspec.json.Decoder(Create)
_line: Final = msgspec.json.Decoder(Line)


def batches(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router, repeats = APIRouter(), Repeats[tuple[BatchRecord, bool]]()

    @router.post(
        "/api/v3/batches",
        **documented("Open a batch", needs=needs("trigger", anyhow=True), body=Create, answer=Created, status=202),
    )
    async def create(request: Request) -> Response:
        asked = await said(request, _create, BODY_BYTES)
        caller = caller_of(request)
        if not caller.may("trigger"):
            for task in asked.task_identifiers or [""]:
                caller.check("trigger", "task", task)
        batch, fresh = await repeats.once(
            request_name(request), lambda: client().awrite(engine.open_batch, new_id(), *opening(asked))
        )
        batch_id = wire.told("batch", batch.id)
        jwt = await public_token(request, [f"read:batch:{batch_id}"])
        answer = Created(id=batch_id, run_count=batch.run_count, is_cached=not fresh)
        return answered(answer, 202, {"x-trigger-jwt": jwt})

    may = needs("trigger", anyhow=True, spends=False)
    told = documented("Add items to a batch", needs=may, answer=Accepted, refusals=[400, 404, 413, 415, 422])
    told["openapi_extra"]["requestBody"] = {"content": {LINES[0]: {"schema": schema_of(Line)}}}

    @router.post("/api/v3/batches/{id}/items", **told)
    async def items(request: Request, id: str) -> Response:
        verbs, batch_id = client(), wire.bare("batch", id)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in LINES:
            raise Refused(415, f"The items of a batch come as {LINES[0]}")
        batch = await verbs.aread(engine.retrieve, batch_id)
        if batch is None:
            raise wire.unknown("batch")
        received = [Received(0, 0, 0, batch.run_count, batch.sealed_at is not None)]
        async for chunk in chunks(request, verbs.payload_limit * 2 + SLACK_BYTES):
            those = [await item_of(verbs, caller_of(request), batch, line) for line in chunk]
            await verbs.aprepare([each.run for each in those if each.run is not None])
            outcome = await verbs.awrite(engine.add, batch_id, those)
            if outcome is None:  # forgotten meanwhile
                raise wire.unknown("batch")
            received.append(outcome)
        return answered(accepted(batch_id, received))

    @router.get(
        "/api/v2/batches/{id}",
        **documented("A batch", needs=needs("read", batch="id"), answer=Batch, refusals=[404]),
    )
    async def retrieve(id: str) -> Response:
        return answered(await client().aread(batch_of, wire.bare("batch", id)))

    @router.get(
        "/api/v1/batches/{id}/results",
        **documented("What a batch came to", needs=needs("read", batch="id"), answer=Results, refusals=[404]),
    )
    async def results(id: str) -> Response:
        batch_id = wire.bare("batch", id)
        records = await client().aread(records_of, batch_id)
        if any(record.finished_at is None for record in records):
            raise Refused(404, "The batch has not ended yet")
        return answered(Results(wire.told("batch", batch_id), [result_of(record) for record in records]))

    return router


# -- reading ----------------------------------------------------------------------------------------------------------


def opening(asked: Create) -> tuple[int, str | None, int]:
    """How many items are to come, and by which key the batch is known, for how long. Raises Refused (422)."""
    if not 1 <= asked.run_count <= MOST_ITEMS:
        raise Refused(422, f"A batch has from 1 to {MOST_ITEMS} items", "runCount")
    key = None if asked.idempotency_key is None else checked_key(asked.idempotency_key, option="idempotencyKey")
    ttl = asked.idempotency_key_ttl
    return asked.run_count, key, KEY_MS if ttl is None else wire.duration_ms(ttl, "idempotencyKeyTTL")


async def chunks(request: Request, limit: int) -> AsyncIterator[list[Line]]:
    """The items of a body as they come. Raises Refused (400, 413)."""
    rest, lines, size = b"", list[Line](), 0
    async for part in request.stream():
        *whole, rest = (rest + part).split(b"\n")
        if len(rest) > limit:
            raise Refused(413, f"An item is larger than {limit} bytes", headers={"Connection": "close"})
        for line in whole:
            if line.strip():
                lines.append(read(line, _line))
                size += len(line)
            if len(lines) >= CHUNK or size >= CHUNK_BYTES:
                yield lines
                lines, size = [], 0
    if rest.strip():
        lines.append(read(rest, _line))
    if lines:
        yield lines


async def item_of(client: Client, caller: Caller, batch: BatchRecord, line: Line) -> Item:
    """An item with its run, or with what is wrong with that. Raises Refused (403, 422)."""
    if not 0 <= line.index < batch.run_count:
        raise Refused(422, f"There is no item {line.index} in a batch of {batch.run_count}", "index")
    caller.check("trigger", "task", line.task)
    try:
        run = await run_of(client, line.task, line.payload, line.options or NO_OPTIONS, batch.id)
        return Item(line.index, run.task, run)
    except (PayloadInvalid, TooLarge) as error:
        return Item(line.index, line.task, None, str(error))
    except InvalidOption as error:
        raise Refused(422, f"Item {line.index}: {error}", "options") from None


def accepted(batch_id: str, received: list[Received]) -> Accepted:
    last = received[-1]
    return Accepted(
        id=wire.told("batch", batch_id),
        items_accepted=sum(each.accepted for each in received),
        items_deduplicated=sum(each.known for each in received),
        sealed=last.sealed,
        enqueued_count=None if last.sealed else last.total,
        expected_count=None if last.sealed else last.expected,
    )


# -- telling ----------------------------------------------------------------------------------------------------------


def batch_of(tx: Tx, batch_id: str) -> Batch:
    """A batch as it stands. Raises Refused (404)."""
    record = engine.retrieve(tx, batch_id)
    if record is None:
        return made_at_once(tx, batch_id)
    items = engine.received(tx, batch_id)
    ids = [item.run_id for item in items if item.run_id is not None]
    errors = [ItemError(item.place, item.task, item.error) for item in items if item.error is not None]
    return Batch(
        id=wire.told("batch", batch_id),
        status=status(tx, sealed=record.sealed_at is not None, failed=bool(errors), ids=ids),
        created_at=wire.iso(record.created_at),
        updated_at=wire.iso(record.sealed_at or record.created_at),
        run_count=record.run_count,
        runs=[wire.told("run", each) for each in ids],
        processing=Processing(errors),
    )


def made_at_once(tx: Tx, batch_id: str) -> Batch:
    """A batch that Python has made in one call."""
    ids = reading.batch(tx, batch_id)
    first = views.heads(tx, ids[:1])
    if not first:
        raise wire.unknown("batch")
    at = wire.iso(first[0].created_at)
    return Batch(
        id=wire.told("batch", batch_id),
        status=status(tx, sealed=True, failed=False, ids=ids),
        created_at=at,
        updated_at=at,
        run_count=len(ids),
        runs=[wire.told("run", each) for each in ids],
        processing=Processing([]),
    )


def status(tx: Tx, *, sealed: bool, failed: bool, ids: list[str]) -> Status:
    if not sealed:
        return "PENDING"
    if engine.unfinished(tx, ids):
        return "PROCESSING"
    return "PARTIAL_FAILED" if failed else "COMPLETED"


def records_of(tx: Tx, batch_id: str) -> list[RunRecord]:
    """The runs of a batch, in the order of its items. Raises Refused (404)."""
    record = engine.retrieve(tx, batch_id)
    if record is not None and record.sealed_at is None:
        raise Refused(404, "The batch has not ended yet")
    items = [each.run_id for each in engine.received(tx, batch_id) if each.run_id is not None]
    records = views.records(tx, items if record is not None else reading.batch(tx, batch_id))
    if record is None and not records:
        raise wire.unknown("batch")
    return records
