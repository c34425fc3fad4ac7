"""A worker inside another process: a web app, a script, a notebook.

    async with …    on the caller's own event loop, so that tasks can share its pools and clients
    with …          on a loop in a thread of its own

There is no supervisor here, so a thread of this process beats. It does not depend on the event loop, but it ends with
the process: whoever wants workers that outlive a crash of the app runs ``holdfast worker`` beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from holdfast.engine import pushes
from holdfast.errors import DatabaseError
from holdfast.loops import Loop
from holdfast.scheduler import Scheduler
from holdfast.storage import Store
from holdfast.upkeep import Upkeep
from holdfast.worker import capture
from holdfast.worker.home import Home, Settings
from holdfast.worker.meter import Measured, Meter
from holdfast.worker.worker import Worker

log = logging.getLogger("holdfast")

BEAT_SECONDS = 1.0
LOOK_SECONDS = 0.5
AFTER_DRAIN_SECONDS = 5.0  # for the last words to the database


class Embedded:
    """Runs a worker for as long as it is entered; leaving drains it. Enter it once, either way.

    Raises what registering raises: a database that cannot be reached, or is not ours. A worker that fails later is
    logged at once, and its error is raised when it is left.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        settings: Settings,
        *,
        retention_ms: int,
        pusher: Callable[[], Worker] | None = None,
    ) -> None:
        self.store, self.settings = store, settings
        self.make_pusher = pusher  # called once there is something for one to do
        self.pusher: Worker | None = None
        self.ready: Future[str] = Future()
        self.worker = Worker(home, store, settings, registered=self.registered, apart=self.know_apart)
        self.apart: dict[int, str] = {}  # runs in processes of their own, by pid
        self.meter = Meter()
        self.beating = Loop("beat", self.beat, BEAT_SECONDS, store.outage)
        self.upkeep = Upkeep(store, retention_ms=retention_ms)
        self.scheduler = Scheduler(store)
        self.restore: Callable[[], None] = lambda: None
        self.thread: threading.Thread | None = None
        self.task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def registered(self, me: str) -> None:
        if not self.ready.done():
            self.ready.set_result(me)

    def know_apart(self, there: dict[int, str]) -> None:
        self.apart = there

    def beat(self) -> None:
        living = {each.me: each for each in (self.worker, self.pusher) if each is not None and each.me}
        if not living:
            return
        here = os.getpid()
        apart = {name: self.apart if each is self.worker else {} for name, each in living.items()}
        usage = self.meter.look({name: Measured(here, there) for name, there in apart.items()})
        asked = self.upkeep.beat(list(living), usage)
        for worker in [living[name] for name, drains in asked.items() if drains]:
            with contextlib.suppress(RuntimeError):  # it has just ended
                worker.loop.call_soon_threadsafe(worker.drain)

    def start_duties(self) -> None:
        self.restore = capture.install()
        self.beating.start()
        self.upkeep.start()
        self.scheduler.start()

    def stop_duties(self) -> None:
        self.beating.stop()
        self.scheduler.stop()
        self.upkeep.stop()
        self.restore()

    async def work(self) -> None:
        """Run the worker; what ends it before its time is told, here and where it is left."""
        pushing = asyncio.create_task(self.push(), name="holdfast-pusher")
        try:
            await self.worker.run()
            await self.end_pushing(pushing)
        except Exception as error:
            if self.ready.done():
                log.exception("the worker inside this process has failed: no more runs are carried out here")
                self.failure = error
            else:
                self.ready.set_exception(error)

    async def push(self) -> None:
        """Have a pusher beside the worker, once the database knows an HTTP task."""
        if self.make_pusher is None:
            return
        while not await self.knows_requests():  # noqa: ASYNC110 - other processes make them
            await asyncio.sleep(LOOK_SECONDS)
        self.pusher = self.make_pusher()
        await self.pusher.run()

    async def knows_requests(self) -> bool:
        try:
            return await self.store.read(pushes.any_http_task)
        except DatabaseError:
            return False

    async def end_pushing(self, pushing: asyncio.Task[None]) -> None:
        """Let the pusher drain as the worker has; one that waits for something to do just ends."""
        if self.pusher is None:
            pushing.cancel()
        else:
            self.pusher.drain()
        await asyncio.wait([pushing])
        if not pushing.cancelled() and (error := pushing.exception()) is not None:
            log.error("the pusher inside this process has failed", exc_info=error)

    # in a thread

    def __enter__(self) -> Self:
        self.start_duties()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.work()), name="holdfast-worker", daemon=True)
        self.thread.start()
        try:
            self.ready.result()
        except BaseException:
            self.stop_thread(0)
            self.stop_duties()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop_thread(self.settings.drain_seconds)
        finally:
            self.stop_duties()
        if self.failure is not None and error is None:
            raise self.failure

    def stop_thread(self, seconds: float) -> None:
        with contextlib.suppress(AttributeError, RuntimeError):  # it has ended by itself, or never began
            self.worker.loop.call_soon_threadsafe(self.worker.drain)
        if self.thread is not None:
            self.thread.join(seconds + AFTER_DRAIN_SECONDS)
            if self.thread.is_alive():
                log.warning("a run does not end: its def task keeps a thread of this process")

    # on the caller's loop

    async def __aenter__(self) -> Self:
        self.start_duties()
        self.task = asyncio.create_task(self.work(), name="holdfast-worker")
        try:
            await asyncio.wrap_future(self.ready)
        except BaseException:
            self.task.cancel()
            await self.end_task()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.task is not None and not self.task.done():
            self.worker.drain()
        await self.end_task()
        if self.failure is not None and error is None:
            raise self.failure

    async def end_task(self) -> None:
        """Wait for the worker to end, and for the duties that needed it."""
        ends: list[asyncio.Future[Any]] = [] if self.task is None else [self.task]
        try:
            if ends:
                await asyncio.wait(ends)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.shield(asyncio.to_thread(self.stop_duties))
