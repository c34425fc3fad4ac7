"""A worker inside another process: a web app, a script, a notebook.

    async with …    on the caller's own event loop, so that tasks can share its pools and clients
    with …          on a loop in a thread of its own

There is no supervisor here, so a thread of this process beats. It does not depend on the event loop, but it ends with
the process: whoever wants workers that outlive a crash of the app runs ``holdfast worker`` beside it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from holdfast.engine import workers
from holdfast.loops import Loop
from holdfast.storage import Store
from holdfast.upkeep import Upkeep
from holdfast.worker import capture
from holdfast.worker.worker import Home, Settings, Worker

BEAT_SECONDS = 1.0


class Embedded:
    """Runs a worker for as long as it is entered; leaving drains it. Enter it once, either way.

    Raises what registering raises: a database that cannot be reached, or is not ours.
    """

    def __init__(self, home: Home, store: Store, settings: Settings, *, retention_ms: int) -> None:
        self.store, self.settings = store, settings
        self.ready: Future[str] = Future()
        self.worker = Worker(home, store, settings, registered=self.registered)
        self.beating = Loop("beat", self.beat, BEAT_SECONDS)
        self.upkeep = Upkeep(store, retention_ms=retention_ms)
        self.thread: threading.Thread | None = None
        self.task: asyncio.Task[None] | None = None

    def registered(self, me: str) -> None:
        if not self.ready.done():
            self.ready.set_result(me)

    def beat(self) -> None:
        if self.worker.me:
            self.store.run_sync(workers.beat, [self.worker.me])

    def start_duties(self) -> None:
        self.restore = capture.install()
        self.beating.start()
        self.upkeep.start()

    def stop_duties(self) -> None:
        self.beating.stop()
        self.upkeep.stop()
        self.restore()

    # in a thread

    def __enter__(self) -> Self:
        self.start_duties()
        self.thread = threading.Thread(target=self.work, name="holdfast-worker", daemon=True)
        self.thread.start()
        try:
            self.ready.result()
        except BaseException:
            self.stop_duties()
            raise
        return self

    def work(self) -> None:
        try:
            asyncio.run(self.worker.run())
        except BaseException as error:
            if not self.ready.done():
                self.ready.set_exception(error)
            else:
                raise

    def __exit__(self, *_: object) -> None:
        self.worker.loop.call_soon_threadsafe(self.worker.drain)
        if self.thread is not None:
            self.thread.join(self.settings.drain_seconds + 5)
        self.stop_duties()

    # on the caller's loop

    async def __aenter__(self) -> Self:
        self.start_duties()
        self.task = asyncio.create_task(self.worker.run(), name="holdfast-worker")
        ready = asyncio.wrap_future(self.ready)
        try:
            either: list[asyncio.Future[Any]] = [self.task, ready]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await self.task  # raises what kept it from starting
        except BaseException:
            ready.cancel()
            await asyncio.to_thread(self.stop_duties)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.worker.drain()
        if self.task is not None:
            await self.task
        await asyncio.to_thread(self.stop_duties)
