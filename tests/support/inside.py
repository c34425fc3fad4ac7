"""Workers in the test's own process, on its event loop: for what needs no process to be shown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from holdfast import Holdfast
from holdfast.clock import Clock
from holdfast.engine import reap
from holdfast.inside import home_of
from holdfast.model import Run
from holdfast.storage import Store
from holdfast.worker import capture
from holdfast.worker.home import Settings
from holdfast.worker.worker import Worker


class Inside:
    """An app on a fresh database, and workers for it. Its tasks are defined by the test, on ``app``."""

    def __init__(self, database: str, clock: Clock | None = None) -> None:
        self.database, self.clock = database, clock
        self.app = Holdfast(database=database)
        self.app.client._clock = clock
        self.workers: dict[Worker, asyncio.Task[None]] = {}
        self.capturing: Callable[[], None] | None = None

    @property
    def store(self) -> Store:
        return self.app.client.store

    def worker(self, store: Store | None = None, **settings: Any) -> Worker:
        """A worker that knows the tasks defined so far; it does nothing yet."""
        home = home_of(self.app)
        return Worker(home, store or self.store, Settings(**settings))

    def start(self, worker: Worker | None = None, **settings: Any) -> Worker:
        """Start a worker on the running loop, and capture what runs write, as a worker process does."""
        self.capturing = self.capturing or capture.install()
        worker = worker or self.worker(**settings)
        self.workers[worker] = asyncio.create_task(worker.run())
        return worker

    async def run(self, task: Any, payload: Any = None, *, timeout: float = 60.0, **options: Any) -> Run[Any]:
        """Trigger a run, wait for its end, and answer its snapshot."""
        handle = await task.atrigger(payload, **options)
        return await self.ended(handle, timeout)

    async def ended(self, handle: Any, timeout: float = 60.0) -> Run[Any]:
        async with asyncio.timeout(timeout):
            async for run in handle.aupdates():
                if run.finished:
                    return await handle.aretrieve()  # with its log, read without blocking
        raise AssertionError("updates ended before the run did")

    async def sweeping(self, seconds: float = 0.02) -> None:
        """What upkeep does every few seconds, all the time. Cancel it."""
        while True:
            await self.store.run(reap.sweep)
            await asyncio.sleep(seconds)

    async def drained(self, worker: Worker, timeout: float = 30.0) -> None:
        """Let a worker drain, and wait for its end."""
        worker.drain()
        await asyncio.wait_for(self.workers.pop(worker), timeout)

    async def close(self) -> None:
        for worker, task in self.workers.items():
            if not task.done():
                worker.abort()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(task, 30)
        if self.capturing is not None:
            self.capturing()
        await self.app.aclose()
