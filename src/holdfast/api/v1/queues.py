"""Queues: ``/api/v1/queues``.

A queue is named in the path by its id, or by its name when ``type`` says what that is a name of: ``task`` is the queue
of a task's own, ``custom`` any other. Slashes in names come encoded twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.api.v1 import wire
from holdfast.api.v1.documents import Parameter, answered, documented, said
from holdfast.api.v1.listing import said_in
from holdfast.api.v1.numbered import QUERY, Pages, numbered
from holdfast.client import Client
from holdfast.queue import own_queue
from holdfast.queues import Queues
from holdfast.views import QueueView

PER_PAGE: Final = 25
BODY_BYTES: Final = 65_536
OWN: Final = own_queue("")
Type = Literal["id", "task", "custom"]


class Concurrency(msgspec.Struct, rename="camel"):
    """The limit of a queue: the one in force, the code's, and the one that is set over it."""

    current: int | None
    base: int | None
    override: int | None
    overridden_at: str | None = None
    overridden_by: str | None = None


class Queue(msgspec.Struct, rename="camel"):
    """A queue and what stands in it."""

    id: str
    name: str
    type: Literal["task", "custom"]
    running: int
    queued: int
    paused: bool
    concurrency_limit: int | None
    concurrency: Concurrency


class QueuePage(msgspec.Struct):
    """A page of queues, by name."""

    data: list[Queue]
    pagination: Pages


class Which(msgspec.Struct):
    """What the path names the queue by."""

    type: Type = "id"


class Pause(Which):
    """Whether it is to be paused or to go on."""

    action: Literal["pause", "resume"] = "pause"


class Override(Which, rename="camel", kw_only=True):
    """The limit that is to be in force."""

    concurrency_limit: int


_pause: Final = msgspec.json.Decoder(Pause)
_override: Final = msgspec.json.Decoder(Override)
_which: Final = msgspec.json.Decoder(Which)
TYPE: Final = Parameter(
    "type", "What the path names the queue by", {"type": "string", "enum": ["id", "task", "custom"]}
)


def queues(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter(prefix="/api/v1/queues")

    @router.get("", **documented("Queues, by name", needs=needs("read"), answer=QueuePage, query=QUERY, refusals=[400]))
    async def list_(request: Request) -> Response:
        asked = numbered(said_in(request), PER_PAGE)
        page, pages = asked.of(await client().aread(views.queues))
        return answered(QueuePage([shown(each) for each in page], pages))

    @router.post(
        "/{queue:path}/pause",
        **documented("Pause a queue, or let it go on", needs=needs("admin"), body=Pause, answer=Queue, refusals=[404]),
    )
    async def pause(request: Request, queue: str) -> Response:
        asked = await said(request, _pause, BODY_BYTES)
        found = await named(client(), queue, asked.type)
        operate = Queues(client())
        await (operate.apause if asked.action == "pause" else operate.aresume)(found.name)
        changed(request, f"queues {asked.action}", found.name)
        return answered(shown(await named(client(), found.name, "custom")))

    @router.post(
        "/{queue:path}/concurrency/override",
        **documented("Limit a queue", needs=needs("admin"), body=Override, answer=Queue, refusals=[404]),
    )
    async def override(request: Request, queue: str) -> Response:
        asked = await said(request, _override, BODY_BYTES)
        found = await named(client(), queue, asked.type)
        await Queues(client()).alimit(found.name, asked.concurrency_limit)
        changed(request, "queues limit", found.name)
        return answered(shown(await named(client(), found.name, "custom")))

    @router.post(
        "/{queue:path}/concurrency/reset",
        **documented("Take a limit back", needs=needs("admin"), body=Which, answer=Queue, refusals=[404]),
    )
    async def reset(request: Request, queue: str) -> Response:
        asked = await said(request, _which, BODY_BYTES)
        found = await named(client(), queue, asked.type)
        await Queues(client()).alimit(found.name, None)
        changed(request, "queues limit", found.name)
        return answered(shown(await named(client(), found.name, "custom")))

    @router.get(
        "/{queue:path}",
        **documented("A queue", needs=needs("read"), answer=Queue, query=[TYPE], refusals=[400, 404]),
    )
    async def retrieve(request: Request, queue: str) -> Response:
        by = said_in(request).get("type") or "id"
        if by not in ("id", "task", "custom"):
            raise Refused(400, "Query Error", errors=[Refused(400, "type is neither id, task nor custom", "type")])
        return answered(shown(await named(client(), queue, by)))  # type: ignore[arg-type]

    return router


async def named(client: Client, queue: str, type: Type) -> QueueView:
    """The queue that a path names. Raises Refused (404)."""
    said = queue.replace("%2F", "/").replace("%2f", "/")
    for each in await client.aread(views.queues):
        name = {"id": wire.told("queue", str(each.id)), "task": each.name, "custom": each.name}[type]
        if name == (own_queue(said) if type == "task" else said):
            return each
    raise wire.unknown("queue")


def shown(view: QueueView) -> Queue:
    """A queue as the client sees it."""
    own = view.name.startswith(OWN)
    return Queue(
        id=wire.told("queue", str(view.id)),
        name=view.name.removeprefix(OWN) if own else view.name,
        type="task" if own else "custom",
        running=view.executing,
        queued=view.queued + view.pending_version,
        paused=view.paused_at is not None,
        concurrency_limit=view.concurrency_limit,
        concurrency=Concurrency(view.concurrency_limit, view.declared_limit, view.overriding_limit),
    )
