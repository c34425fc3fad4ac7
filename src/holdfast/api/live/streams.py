"""What a run says piece by piece, as server-sent events: ``id`` is the time and the offset of a piece, ``data`` its
JSON.

``Last-Event-ID`` is such an id, or the plain offset of the last piece that was had. The answer ends with the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from holdfast.api.live.events import HEADERS, PING, PING_SECONDS, SSE, disconnected, write
from holdfast.client import Client
from holdfast.records import Chunk

LONGEST_SECONDS: Final = 600.0


class Pieces(Response):
    """The pieces of a stream, from a place on."""

    media_type = SSE

    def __init__(self, client: Client, run_id: str, name: str, start: int, seconds: float) -> None:
        super().__init__(headers={**HEADERS, "Access-Control-Expose-Headers": "*"})
        self.client, self.run_id, self.name, self.start, self.seconds = client, run_id, name, start, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [each for each in self.raw_headers if each[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        woken = asyncio.Event()
        gone = asyncio.create_task(disconnected(receive, woken))
        telling = asyncio.create_task(self.tell(send))
        try:
            await asyncio.wait({gone, telling}, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            telling.cancel()
            await asyncio.wait({telling})
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            telling.cancel()

    async def tell(self, send: Send) -> None:
        await write(send, PING)
        pieces = aiter(self.client.achunks(self.run_id, self.name, self.start))
        following: asyncio.Task[tuple[int, Chunk] | None] | None = None
        try:
            while True:
                following = following or asyncio.ensure_future(next_of(pieces))
                done, _ = await asyncio.wait({following}, timeout=PING_SECONDS)
                if not done:
                    await write(send, PING)
                    continue
                found, following = following.result(), None
                if found is None:
                    return
                await write(send, piece(*found))
        finally:
            if following is not None:
                following.cancel()


async def next_of(pieces: AsyncIterator[tuple[int, Chunk]]) -> tuple[int, Chunk] | None:
    return await anext(pieces, None)


def piece(offset: int, chunk: Chunk) -> bytes:
    return f"id: {chunk.at}-{offset}\ndata: {chunk.value}\n\n".encode("utf-8", "surrogatepass")


def start_of(request: Request) -> int:
    """The offset of the first piece that is wanted."""
    said = request.headers.get("last-event-id", "").rpartition("-")[2]
    return int(said) + 1 if said.isascii() and said.isdigit() and len(said) < 16 else 0


def patience(request: Request) -> float:
    """How long the client wants to read, in seconds."""
    said = request.headers.get("timeout-seconds", "")
    return min(LONGEST_SECONDS, float(said)) if said.isascii() and said.isdigit() and len(said) < 9 else 86_400.0
