"""An app that receives requests: it answers what the test says, and remembers what came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web
from multidict import CIMultiDict

Answerer = Callable[["Received"], Awaitable[web.StreamResponse] | web.StreamResponse]


class Received(NamedTuple):
    """A request as it came in."""

    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes
    http: web.Request


class Receiver:
    """Serves on loopback. ``answers`` decides what is said; default is 200 with ``ok``."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: Answerer = lambda _: web.Response(text="ok")
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = CIMultiDict(request.headers)
        one = Received(request.method, request.path_qs, headers, await request.read(), request)
        self.received.append(one)
        answer = self.answers(one)
        return await answer if isinstance(answer, Awaitable) else answer

    async def came(self, count: int, timeout: float = 60.0) -> list[Received]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(timeout):
            while len(self.received) < count:  # noqa: ASYNC110 - it is for tests
                await asyncio.sleep(0.01)
        return self.received


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on the running loop."""
    receiver = Receiver()
    server = web.Server(receiver.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
