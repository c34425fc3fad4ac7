"""``receiver``: an app that answers requests. ``pushing``: an app and a pusher for it, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.model import Run
from holdfast.push.pusher import Pusher, PushSettings
from holdfast.request import LOOPBACK_NETWORKS
from holdfast.worker.home import Settings
from tests.push.receiver import Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as here:
        yield here


class Pushing:
    """An app on a fresh database, and pushers for it."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.app = Holdfast(database=database)
        self.pushers: dict[Pusher, asyncio.Task[None]] = {}

    def start(self, **settings: Any) -> Pusher:
        usual: dict[str, Any] = {"allow": LOOPBACK_NETWORKS, "secrets": SECRET}
        worker = Settings(**{name: settings.pop(name) for name in Settings._fields if name in settings})
        pusher = Pusher(self.app.client.store, worker, PushSettings(**(usual | settings)))
        self.pushers[pusher] = asyncio.create_task(pusher.run())
        return pusher

    async def ended(self, handle: Any, timeout: float = 20.0) -> Run[Any]:
        async with asyncio.timeout(timeout):
            async for run in handle.aupdates():
                if run.finished:
                    return await handle.aretrieve()
        raise AssertionError("updates ended before the run did")

    async def drained(self, pusher: Pusher) -> None:
        pusher.drain()
        await asyncio.wait_for(self.pushers.pop(pusher), 20)

    async def close(self) -> None:
        for pusher, task in self.pushers.items():
            if not task.done():
                pusher.abort()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(task, 5)
        await self.app.aclose()


@pytest.fixture
async def pushing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pushing]:
    for pace in ("ORDERS_SECONDS", "ROUTES_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(f"holdfast.worker.worker.{pace}", 0.2)
    here = Pushing(database_url)
    yield here
    await here.close()
