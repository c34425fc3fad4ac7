"""Streams as they are written from outside of their runs: a person's answers to a run that asks, say, or what another
program makes for it.

    PUT  /realtime/v1/streams/{run}/{target}/{key}          says how it is written: ``v1``, which is POST
    POST /realtime/v1/streams/{run}/{target}/{key}          pieces, one JSON value a line, for as long as they come
    POST /realtime/v1/streams/{run}/{target}/{key}/append   one piece: the body
    HEAD /realtime/v1/streams/{run}/{target}/{key}          how many of this writer's pieces have arrived

The ``target`` is ``self``, or the run's ``parent`` or ``root``. A writer has a name (``X-Client-Id``) and numbers its
pieces, so that it goes on after a connection was lost with what is missing (``X-Resume-From-Chunk``). A body that is
not JSON is a piece of text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import codec
from holdfast.api.auth import caller_of, needs, unchanged
from holdfast.api.refused import Refused
from holdfast.api.v1 import wire
from holdfast.api.v1.documents import answered, body_of, documented
from holdfast.client import Client
from holdfast.engine import outside, read
from holdfast.errors import PayloadInvalid
from holdfast.ids import new_id
from holdfast.sizes import CHUNK_LIMIT, check_size, size_of

LONGEST_NAME: Final = 200
PLACE: Final = "/realtime/v1/streams/{run_id}/{target}/{key}"
REQUEST: Final = "x-trigger-request-idempotency-key"
REFUSALS: Final = {
    "ended": (400, "The run has ended: nothing can be added to its streams any more"),
    "own": (422, "The run writes to this stream itself: take another name"),
}


class Made(msgspec.Struct):
    """How the stream is written."""

    version: Literal["v1"]


class Added(msgspec.Struct):
    """That it was added."""

    ok: bool


class Stream(NamedTuple):
    """A stream, and who writes to it."""

    run_id: str
    name: str
    writer: str


def writing(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter()
    may = needs("write", run="run_id")

    told = documented("Begin to write to a stream", needs=may, answer=Made, status=202, refusals=[400, 404])

    @router.put(PLACE, **told)
    async def begin(request: Request, run_id: str, target: str, key: str) -> Response:
        await stream_of(client(), request, run_id, target, key)
        return answered(Made("v1"), 202)

    told = documented("How far a stream is", needs=may, answer=None, refusals=[400, 404])
    for each in told["responses"].values():
        del each["content"]  # an answer to HEAD has none

    @router.head(PLACE, **told)
    async def far(request: Request, run_id: str, target: str, key: str) -> Response:
        stream = await stream_of(client(), request, run_id, target, key)
        found = await client().aread(outside.standing, *stream)
        return Response(headers={"X-Last-Chunk-Index": str(found.mine - 1)})

    told = documented("Write to a stream", needs=may, answer=Added, refusals=[400, 404, 413, 422])
    told["openapi_extra"]["requestBody"] = {"content": {"application/json": {"schema": {}}}}

    @router.post(PLACE, **told)
    async def write(request: Request, run_id: str, target: str, key: str) -> Response:
        stream = await stream_of(client(), request, run_id, target, key)
        place = first_of(request)
        async for values in lines(request):
            await add(client(), stream, place, values)
            place += len(values)
        return answered(Added(ok=True))

    @router.post(PLACE + "/append", **{**told, "summary": "Add a piece to a stream"})
    async def append(request: Request, run_id: str, target: str, key: str) -> Response:
        stream = await stream_of(client(), request, run_id, target, key)
        await add(client(), stream, 0, [value_of(await body_of(request, CHUNK_LIMIT))])
        return answered(Added(ok=True))

    return router


async def stream_of(client: Client, request: Request, run_id: str, target: str, key: str) -> Stream:
    """The stream that a call is about. It is no change for the audit log: what is added is a record of its own.
    Raises Refused (400, 403, 404)."""
    if len(key) > LONGEST_NAME or not key.isprintable():
        raise Refused(400, "This is not the name of a stream", "key")
    unchanged(request)
    record = await client.aread(read.run, wire.bare("run", run_id))
    if record is None or target not in ("self", "parent", "root"):
        raise wire.unknown("run")
    found = {"self": record.id, "parent": record.parent_id, "root": record.root_id or record.id}[target]
    if found is None:
        raise wire.unknown("run")
    caller_of(request).check("write", "run", found)
    said = request.headers.get("x-client-id") or request.headers.get(REQUEST)
    return Stream(found, key, new_id() if said is None or not said.isprintable() else said[:LONGEST_NAME])


def first_of(request: Request) -> int:
    """The number of the first piece that comes."""
    said = request.headers.get("x-resume-from-chunk", "0")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0


async def lines(request: Request) -> AsyncIterator[list[str]]:
    """The pieces of a body as they come. Raises Refused (413, 422)."""
    rest = b""
    async for part in request.stream():
        *whole, rest = (rest + part).split(b"\n")
        if len(rest) > CHUNK_LIMIT:
            raise Refused(413, f"A piece is larger than {CHUNK_LIMIT} bytes", headers={"Connection": "close"})
        if values := [value_of(line) for line in whole if line.strip()]:
            yield values
    if rest.strip():
        yield [value_of(rest)]


def value_of(body: bytes) -> str:
    """A piece as it is kept: JSON, or else text. Raises Refused (422), TooLarge."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(422, "The piece is not UTF-8") from None
    try:
        value = codec.encode(codec.decode(text))
    except PayloadInvalid:
        value = codec.encode(text)
    check_size(size_of(value), CHUNK_LIMIT, what="The piece of a stream", limit="the limit for one piece")
    return value


async def add(client: Client, stream: Stream, first: int, values: list[str]) -> None:
    """Raises Refused (400, 404, 422), TooLarge."""
    outcome = await client.awrite(outside.add, *stream, first, values)
    if outcome == "unknown":
        raise wire.unknown("run")
    if not isinstance(outcome, int):
        raise Refused(*REFUSALS[outcome])
