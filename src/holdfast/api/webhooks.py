"""Requests that somebody else's server sends, and that become runs of webhook tasks.

    POST /webhooks/{path}

    202  {"run": id}, once it is on disk; Slack gets 200 and no body, for it shows that to people
    200  the sender's id was known: the earlier run; or the answer to a sender's question, which makes no run
    401  it is not verified; it is kept for a while, to be looked at
    404  no such path                     413  larger than payload_limit
    405  not a POST                       408  its body did not come
    503  this server does not have the app of this path loaded, or the database does not answer: send it again

    GET /api/v1/webhooks, /api/v1/webhooks/rejected, /api/v1/webhooks/rejected/{id}     what there is to look at

The signature is all that is asked for: no API key, and the call may come under any name of the host, for behind a proxy
it is the public one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from holdfast import codec
from holdfast.api.auth import needs
from holdfast.api.limit import Limit
from holdfast.api.refused import Refused, called
from holdfast.api.v2.reading import limited
from holdfast.client import Client
from holdfast.codec import AnyCodec
from holdfast.engine import webhooks as engine
from holdfast.errors import DatabaseError
from holdfast.ids import new_id
from holdfast.names import storable
from holdfast.rate import read_rate
from holdfast.records import Rejected
from holdfast.webhooks.endpoint import Endpoint
from holdfast.webhooks.request import WebhookRequest
from holdfast.webhooks.verify import NotVerified

PREFIX: Final = "/webhooks"
READING_SECONDS: Final = 30.0
KEPT_RATE: Final = "50/s"  # of those that are refused: whoever floods this server does not fill its database
Endpoints = Callable[[], Mapping[str, Endpoint]]
Elsewhere = Callable[[Request], Awaitable[Response]]

READ: Final = [Depends(needs("read"))]

log = logging.getLogger("holdfast")


def webhooks(client: Callable[[], Client], endpoints: Endpoints, elsewhere: Elsewhere | None = None) -> APIRouter:
    """The routes of webhooks over the database of ``client()``: those of the app that is loaded here; for others there
    may be somebody ``elsewhere`` who has it."""
    router = APIRouter()
    keeping = Keeping(client)

    @router.post(PREFIX + "/{path:path}", include_in_schema=False)
    async def receive(request: Request, path: str) -> Response:
        endpoint = endpoints().get(f"/{path}")
        if endpoint is None and elsewhere is not None:
            return await elsewhere(request)
        if endpoint is None:
            raise await unknown(client(), f"/{path}")
        incoming = await read(request, endpoint.path, client().payload_limit)
        try:
            verified = await endpoint.judge(incoming)
        except NotVerified as error:
            await keeping.keep(endpoint, incoming, sentence(error), request)
            raise Refused(401, "The request is not verified") from None
        except Exception as error:
            log.exception("%s, which verifies %s%s, has failed", endpoint.verified_by, PREFIX, endpoint.path)
            await keeping.keep(endpoint, incoming, f"the verifier failed: {type(error).__name__}: {error}", request)
            raise Refused(503, "The request could not be verified: try again", headers={"Retry-After": "30"}) from None
        if verified.answer is not None:
            return JSONResponse(verified.answer)
        made = await client().atrigger(endpoint.run(incoming, verified.id), AnyCodec())
        if endpoint.success == 200:
            return Response(status_code=200)
        return JSONResponse({"run": made.id}, status_code=endpoint.success if made.created else 200)

    @router.get("/api/v1/webhooks", summary="Where requests come in that become runs", dependencies=READ)
    async def announced(request: Request) -> dict[str, Any]:
        found, base = await client().aread(engine.announced), client().said_url() or called(request)
        return {"data": [{**each._asdict(), "url": f"{base}{PREFIX}{each.path}"} for each in found]}

    @router.get("/api/v1/webhooks/rejected", summary="Requests that were refused, the newest first", dependencies=READ)
    async def rejected(
        path: str | None = None, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 50
    ) -> dict[str, Any]:
        if "\0" in f"{path}{cursor}":
            raise Refused(400, "There is a NUL character in it")
        found = await client().aread(engine.rejected, path=path, before=cursor, n=limit)
        return {
            "data": [summary(each) for each in found],
            "next_cursor": found[-1].id if len(found) == limit else None,
        }

    @router.get("/api/v1/webhooks/rejected/{id}", summary="A request that was refused, in full", dependencies=READ)
    async def one(id: str) -> dict[str, Any]:
        found = await client().aread(engine.rejected_one, id) if "\0" not in id else None
        if found is None:
            raise Refused(404, "There is no such request, or no longer")
        return {**summary(found), "headers": codec.decode(found.headers), "body": found.body}

    return router


def summary(each: Rejected) -> dict[str, Any]:
    return {name: getattr(each, name) for name in ("id", "at", "path", "reason", "source", "size")}


async def unknown(client: Client, path: str) -> Refused:
    if await client.aread(engine.tasks_at, path):
        return Refused(
            503,
            f"{PREFIX}{path} is known, but this server does not have its app loaded, and so cannot verify requests: "
            "start it as `holdfast server APP`",
            headers={"Retry-After": "60"},
        )
    return Refused(404, "There is no such webhook")


async def read(request: Request, path: str, limit: int) -> WebhookRequest:
    """The request as it came in. Raises Refused."""
    try:
        async with asyncio.timeout(READING_SECONDS):
            body = await limited(request, limit)
    except TimeoutError:
        raise Refused(408, "The body did not come", headers={"Connection": "close"}) from None
    headers = {name.lower(): value for name, value in request.headers.items()}
    return WebhookRequest(path, headers, dict(request.query_params), body, datetime.now(UTC))


def sentence(error: NotVerified) -> str:
    return error.what if error.seen is None else f"{error.what}: {error.seen}"


class Keeping:
    """Keeps what was refused, as far as that is few enough."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self.client, self.limit = client, Limit(read_rate(KEPT_RATE, name="rate"))

    async def keep(self, endpoint: Endpoint, incoming: WebhookRequest, reason: str, request: Request) -> None:
        if not self.limit.count(time.monotonic()).allowed:
            return
        kept = Rejected(
            id=new_id(),
            path=incoming.path,
            reason=storable(reason)[:500],
            source=request.client.host if request.client else "",
            headers=codec.encode({name: value[:1000] for name, value in endpoint.masked(incoming).items()}),
            body=storable(incoming.body[: engine.BODY_BYTES].decode("utf-8", "replace")),
            size=len(incoming.body),
        )
        with contextlib.suppress(DatabaseError):  # then it is refused without a trace
            await asyncio.wrap_future((await self.store()).gather(engine.reject, kept))

    async def store(self) -> Any:
        return await asyncio.to_thread(lambda: self.client().store)
