"""Says to pages that something may have changed: they fetch themselves again, and show what is different.

    GET /live    server-sent events: ``pulse`` after a commit, at most seven a second, and ``ping`` in between

Where every commit is heard (SQLite) a pulse follows one; on PostgreSQL the place in its log is looked at while somebody
has a page open. A page that nobody sees asks for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from holdfast import views
from holdfast.client import Client
from holdfast.dashboard.site import READ, Site
from holdfast.errors import DatabaseError
from holdfast.following import Commits

GAP: Final = 0.15  # between two pulses
LOOK: Final = 0.15  # between two looks at the log of PostgreSQL
PING: Final = 15.0
LONGEST: Final = 900.0  # then a page asks anew, with the rights that its key has by then
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/live", dependencies=READ)
    async def live(request: Request) -> StreamingResponse:
        return StreamingResponse(events(site.client), media_type="text/event-stream", headers=HEADERS)

    return router


async def events(client: Callable[[], Client]) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    end = asyncio.get_running_loop().time() + LONGEST
    async with changes(client) as changed:
        yield "event: hello\ndata:\n\n"  # only now: a page that is told looks once, and then waits for what is heard
        while asyncio.get_running_loop().time() < end:
            try:
                await asyncio.wait_for(changed.wait(), PING)
            except TimeoutError:
                yield "event: ping\ndata:\n\n"
                continue
            changed.clear()
            yield "event: pulse\ndata:\n\n"
            await asyncio.sleep(GAP)


@contextlib.asynccontextmanager
async def changes(client: Callable[[], Client]) -> AsyncIterator[asyncio.Event]:
    """An event that is set after commits."""
    changed, loop = asyncio.Event(), asyncio.get_running_loop()

    def heard() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(changed.set)

    commits = Commits(await asyncio.to_thread(lambda: client().store))
    unhear = commits.hear(heard)
    looking = asyncio.create_task(look(client, commits, changed))
    try:
        yield changed
    finally:
        looking.cancel()
        unhear()


async def look(client: Callable[[], Client], commits: Commits, changed: asyncio.Event) -> None:
    """Look by the clock for as long as commits are not heard."""
    seen = ""
    while True:
        await asyncio.sleep(LOOK)
        if commits.hears():
            continue
        with contextlib.suppress(DatabaseError):
            now = await client().aread(views.pulse)
            if now != seen:
                seen = now
                changed.set()
