"""Server-sent events, as they go over the wire.

    id: 5f3a…          resume with it: Last-Event-ID
    event: run
    data: {"id": "run_…", "status": "EXECUTING", …}

A comment every quarter of a minute keeps the connection open. There is no buffer for each reader: one that takes longer
than the past of its topic lasts is shown the door, comes back, and is shown all as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from fastapi import Response
from starlette.types import Receive, Scope, Send

from holdfast.api.live.hub import Hub
from holdfast.api.live.topics import Change, Followed, Topic
from holdfast.api.v1 import documents, failures, shown
from holdfast.records import RunRecord

PING_SECONDS: Final = 15.0
STUCK_SECONDS: Final = 30.0  # a reader that takes nothing for so long
PING: Final = b": ping\n\n"
RETRY: Final = b"retry: 1000\n\n"
METADATA_BYTES: Final = 64 * 1024
SSE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Told(shown.Run, kw_only=True):
    """A run as an event tells it: without payload and output, which are read with the run itself."""

    error: failures.Error | None = None


class EventStream(Response):
    """An answer that does not end before there is nothing more to say."""

    media_type = SSE

    def __init__(self, hub: Hub, wanted: Followed, state: int | None, seconds: float) -> None:
        super().__init__(headers=HEADERS)
        self.hub, self.wanted, self.seen = hub, wanted, state
        self.until = time.monotonic() + seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [each for each in self.raw_headers if each[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": RETRY, "more_body": True})
        woken = asyncio.Event()
        gone = asyncio.create_task(disconnected(receive, woken))
        try:
            async with self.hub.following(self.wanted) as topic:
                await self.tell(topic, send, woken, gone.done)
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            pass  # it takes nothing
        finally:
            gone.cancel()

    async def tell(self, topic: Topic, send: Send, woken: asyncio.Event, gone: Callable[[], bool]) -> None:
        """Tell what there is, and then what changes, until there is no end of it or nobody to tell."""
        begun = False
        while not gone() and not self.hub.closed and time.monotonic() < self.until:
            changes = None if self.seen is None else topic.after(self.seen)
            if changes is None and begun:
                return  # too slow: it comes back, and begins anew
            state = topic.state
            if changes is None:
                body = b"".join([event(state, each) for each in await self.hub.present(topic)])
            else:
                body = b"".join([await self.event(change) for change in changes])
            self.seen, begun = state, True
            if body:
                await write(send, body)
            if topic.final:
                return
            if topic.state == state:
                woken.clear()
                await topic.news(state, PING_SECONDS, woken)
                if topic.state == state and not woken.is_set():
                    await write(send, PING)

    async def event(self, change: Change) -> bytes:
        """The event of a change, made once for all readers."""
        made = change.forms.get(SSE)
        if made is None:
            record = await self.hub.record(change)
            made = change.forms[SSE] = b"" if record is None else event(change.state, record)
        return made


async def write(send: Send, body: bytes) -> None:
    """Raises TimeoutError: the reader takes nothing."""
    async with asyncio.timeout(STUCK_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def disconnected(receive: Receive, woken: asyncio.Event) -> None:
    """Wait until the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    woken.set()


def event(state: int, record: RunRecord) -> bytes:
    """A run as an event. What would be larger than an event should be is left out."""
    told = Told(**shown.common(record), error=failures.error_of(record))
    if record.metadata is not None and len(record.metadata) > METADATA_BYTES:
        told.metadata = None
    return b"id: %x\nevent: run\ndata: %b\n\n" % (state, documents.encoded(told))


def read_state(text: str | None) -> int | None:
    """The state in a Last-Event-ID; None if it is none."""
    try:
        return int(text, 16) if text and len(text) <= 16 else None
    except ValueError:
        return None
