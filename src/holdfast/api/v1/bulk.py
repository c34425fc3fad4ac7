"""Bulk actions: ``/api/v1/bulk-actions`` cancels or replays many runs, found by their ids or a filter.

The answer comes as soon as it is written down which runs they are. The server that was asked makes the steps, and
whoever asks how it stands makes one, too; when that server is gone, the upkeep of any process goes on with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.api.v1 import listing, wire
from holdfast.api.v1.documents import answered, documented, said
from holdfast.api.v1.listing import PAGING, Pagination
from holdfast.bulk import OPEN, Survey, asurvey
from holdfast.client import Client
from holdfast.engine import bulk_actions as engine
from holdfast.engine.bulk_actions import BulkRecord
from holdfast.errors import DatabaseError
from holdfast.ids import new_id

BODY_BYTES: Final = 8_388_608
MOST: Final = 100_000
Status = Literal["PENDING", "COMPLETED", "ABORTED"]


class Create(msgspec.Struct, kw_only=True, rename="camel"):
    """What is to be done with which runs."""

    action: Literal["cancel", "replay"]
    run_ids: list[str] | None = None
    filter: dict[str, Any] | None = None
    name: str | None = None


class Id(msgspec.Struct):
    """The action."""

    id: str


class Counts(msgspec.Struct):
    """How many runs there are, and what came of those that were dealt with."""

    total: int
    success: int
    failure: int


class Action(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """An action as it stands."""

    id: str
    type: Literal["CANCEL", "REPLAY"]
    status: Status
    counts: Counts
    created_at: str
    name: str | None = None
    completed_at: str | None = None


class ActionPage(msgspec.Struct):
    """A page of actions, the newest first."""

    data: list[Action]
    pagination: Pagination


_create: Final = msgspec.json.Decoder(Create)


def bulk(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter(prefix="/api/v1/bulk-actions")
    working: set[asyncio.Task[None]] = set()

    @router.post(
        "", **documented("Cancel or replay many runs", needs=needs("admin"), body=Create, answer=Id, status=202)
    )
    async def create(request: Request) -> Response:
        asked = await said(request, _create, BODY_BYTES)
        ids = await runs_of(client(), asked)
        action_id = new_id()
        await client().awrite(engine.create, action_id, asked.action, asked.name, ids)
        changed(request, f"runs {asked.action}", f"{len(ids)} runs: the bulk action {action_id}")
        task = asyncio.create_task(carry_out(client(), action_id))
        working.add(task)
        task.add_done_callback(working.discard)
        return answered(Id(wire.told("bulk", action_id)), 202)

    @router.get(
        "",
        **documented(
            "Bulk actions, the newest first", needs=needs("read"), answer=ActionPage, query=PAGING, refusals=[400]
        ),
    )
    async def list_(request: Request) -> Response:
        asked = listing.paging(listing.said_in(request), "bulk")
        if asked.after is not None:
            found = await client().aread(engine.page_after, asked.after, asked.size + 1)
        else:
            found = await client().aread(engine.page, asked.before, asked.size + 1)
        records, pages = listing.ends(found, asked, "bulk")
        return answered(ActionPage([shown(each) for each in records], pages))

    @router.get("/{id}", **documented("A bulk action", needs=needs("read"), answer=Action, refusals=[404]))
    async def retrieve(id: str) -> Response:
        action_id = wire.bare("bulk", id)
        found = there(await client().aread(engine.retrieve, action_id))
        if found.state == "pending":
            await client().awrite(engine.step, action_id)
            found = there(await client().aread(engine.retrieve, action_id))
        return answered(shown(found))

    @router.post("/{id}/abort", **documented("Stop a bulk action", needs=needs("admin"), answer=Id, refusals=[404]))
    async def abort(request: Request, id: str) -> Response:
        found = there(await client().aread(engine.retrieve, wire.bare("bulk", id)))
        await client().awrite(engine.abort, found.id)
        changed(request, "runs stop", f"the bulk action {found.id}")
        return answered(Id(wire.told("bulk", found.id)))

    return router


async def carry_out(client: Client, action_id: str) -> None:
    """Make all steps. If the database is away, upkeep goes on with it."""
    with contextlib.suppress(DatabaseError):
        while await client.awrite(engine.step, action_id):
            pass


async def runs_of(client: Client, asked: Create) -> list[str]:
    """The runs that are meant, the oldest first. Raises Refused (400, 422)."""
    if (asked.run_ids is None) == (asked.filter is None):
        raise Refused(400, "Say either runIds or a filter")
    if asked.run_ids is not None:
        ids = [wire.bare("run", each) for each in asked.run_ids]
    else:
        wanted = listing.wanted_in(query_of(asked.filter or {}))
        found = wanted.filter
        if wanted.period_ms is not None:
            found = msgspec.structs.replace(found, since=client.now() - wanted.period_ms)
        if asked.action == "cancel" and not found.statuses:
            found = msgspec.structs.replace(found, statuses=OPEN)
        ids = (await asurvey(client, Survey(found, MOST + 1))).ids[::-1]
    if len(ids) > MOST:
        raise Refused(422, f"These are more than {MOST} runs: narrow the filter")
    return ids


def query_of(said: dict[str, Any]) -> dict[str, str]:
    """A filter as the list of runs has it in its query. Raises Refused (400)."""
    query: dict[str, str] = {}
    for name, value in said.items():
        each = [value] if not isinstance(value, list) else value
        if name == "queue":
            query["filter[queue]"] = ",".join(queue_name(one) for one in each)
        elif name in ("from", "to", "period"):
            query[f"filter[createdAt][{name}]"] = str(value)
        elif isinstance(value, bool):
            query[f"filter[{name}]"] = str(value).lower()
        elif value is not None:
            query[f"filter[{name}]"] = ",".join(map(str, each))
    if not any(query.values()):
        raise Refused(400, "The filter says nothing of which runs are meant", "filter")
    return query


def queue_name(queue: Any) -> str:
    if isinstance(queue, dict):
        return f"{'task/' if queue.get('type') == 'task' else ''}{queue.get('name', '')}"
    return str(queue)


def there(record: BulkRecord | None) -> BulkRecord:
    if record is None:
        raise wire.unknown("bulk")
    return record


def shown(record: BulkRecord) -> Action:
    return Action(
        id=wire.told("bulk", record.id),
        type="CANCEL" if record.kind == "cancel" else "REPLAY",
        status=record.state.upper(),  # type: ignore[arg-type]
        counts=Counts(record.total, record.success, record.failure),
        created_at=wire.iso(record.created_at),
        name=record.name,
        completed_at=wire.maybe_iso(record.ended_at),
    )
