"""Runs as they change: by id, by tag, by batch.

    GET /realtime/v1/runs/{id}           one run, until it has ended
    GET /realtime/v1/runs?tags=a,b       runs that have all these tags, made within ``createdAt`` (default 24h)
    GET /realtime/v1/batches/{id}        the runs of a batch
    GET /realtime/v1/streams/{run}/{key} what a run says piece by piece

With ``Accept: text/event-stream``, as an EventSource sends it, the answer is server-sent events, to be resumed with
Last-Event-ID. Without it, it is what the subscriptions of Trigger.dev's client poll for.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api.auth import Caller, needs
from holdfast.api.live.events import SSE, EventStream, read_state
from holdfast.api.live.hub import Hub
from holdfast.api.live.rows import polled, since_in
from holdfast.api.live.streams import Pieces, patience, start_of
from holdfast.api.live.topics import Followed
from holdfast.api.refused import Refused
from holdfast.api.v1 import wire
from holdfast.client import Client
from holdfast.engine import read
from holdfast.options import TAG_COUNT
from holdfast.views.followed import Group

DAY_MS: Final = 86_400_000
LONGEST_NAME: Final = 200
EVENTS: Final = {"content": {"text/event-stream": {}, "application/json": {}}, "description": "As asked"}
LIVE: Final[dict[str, Any]] = {"responses": {200: EVENTS}}


def live(hub: Hub) -> APIRouter:
    """The routes, over the database of the hub."""
    router = APIRouter()

    @router.get("/realtime/v1/runs/{run_id}", **LIVE)
    async def run(
        request: Request, run_id: str, caller: Annotated[Caller, Depends(needs("read", run="run_id"))]
    ) -> Response:
        return await answer(hub, wire.bare("run", run_id), request, caller)

    @router.get("/realtime/v1/runs", **LIVE)
    async def tagged(
        request: Request,
        caller: Annotated[Caller, Depends(needs("read", anyhow=True))],
        tags: str = "",
        created: Annotated[str, Query(alias="createdAt")] = "",
    ) -> Response:
        wanted = tuple(sorted({each for each in tags.split(",") if each}))
        if not wanted or len(wanted) > TAG_COUNT or any("\0" in each for each in wanted):
            raise Refused(400, f"tags are from 1 to {TAG_COUNT}, with commas between them", param="tags")
        if not any(caller.may("read", "tag", each) for each in wanted):
            caller.check("read", "tag", wanted[0])
        return await answer(hub, Group(tags=wanted, since=since(hub.client(), created, request)), request, caller)

    @router.get("/realtime/v1/batches/{batch_id}", **LIVE)
    async def batch(
        request: Request, batch_id: str, caller: Annotated[Caller, Depends(needs("read", batch="batch_id"))]
    ) -> Response:
        return await answer(hub, Group(batch=wire.bare("batch", batch_id)), request, caller)

    @router.get("/realtime/v1/streams/{run_id}/{key}", **LIVE)
    async def stream(
        request: Request, run_id: str, key: str, caller: Annotated[Caller, Depends(needs("read", run="run_id"))]
    ) -> Response:
        if len(key) > LONGEST_NAME or not key.isprintable():
            raise Refused(400, "This is not the name of a stream", param="key")
        client = hub.client()
        if await client.aread(read.run, wire.bare("run", run_id)) is None:
            raise wire.unknown("run")
        seconds = min(patience(request), left_to(caller))
        return Pieces(client, wire.bare("run", run_id), key, start_of(request), seconds)

    return router


async def answer(hub: Hub, wanted: Followed, request: Request, caller: Caller) -> Response:
    """What is asked for, in the form that is asked for. Raises Refused (404)."""
    async with hub.following(wanted) as topic:
        if topic.unknown:
            hub.forget(topic)
            raise wire.unknown("run")
        if SSE not in request.headers.get("accept", ""):
            return await polled(hub, wanted, request, caller.hidden)
        state = read_state(request.headers.get("last-event-id"))
        if topic.final and state == topic.state:
            return Response(status_code=204)  # there is nothing more to come: an EventSource stays away then
        return EventStream(hub, wanted, state, left_to(caller))


def left_to(caller: Caller) -> float:
    """How many seconds this caller may still read: a token is good for a while only."""
    return 86_400.0 if caller.ends_at is None else max(0.0, caller.ends_at - time.time())


def since(client: Client, said: str, request: Request) -> int:
    """From when on runs are wanted: rounded, so that those who ask within the same minute share a topic."""
    ms = wire.duration_ms(said, "createdAt") if said else DAY_MS
    earlier = since_in(request.query_params.get("handle"))
    return max(0, (client.now() - ms) // 60_000 * 60_000) if earlier is None else earlier
