"""An attempt of a ``def`` task with nothing around it, in a process of its own: its code is called here and now.

It has an event loop once its code asks for one, by the first thing that it does durably, in a thread beside it: a loop
and a thread are a third of the memory that a fork would copy for a run. Until then whoever stops the run says so on the
wire, and wakes it by SIGTERM; its worker keeps all times.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from functools import cached_property
from types import FrameType
from typing import Any, cast

from holdfast.records import Claimed
from holdfast.task import Task
from holdfast.worker.home import Home, Settings
from holdfast.worker.isolated.guest import Guest
from holdfast.worker.isolated.main_thread import MainThread
from holdfast.worker.isolated.wire import Job, Over, Wire
from holdfast.worker.live import Live
from holdfast.worker.outcome import Outcome


class Alone(Guest):
    """A guest that has no loop before somebody asks for it."""

    def __init__(self, wire: Wire, job: Job, home: Home, settings: Settings, began: float) -> None:
        self.main = MainThread(wire)
        super().__init__(wire, job, home, settings, self.main, began)
        self.reports: Any = Later(self)
        self.lock = threading.RLock()
        self.ready: Future[asyncio.AbstractEventLoop] = Future()
        self.beside: threading.Thread | None = None

    def carry(self) -> None:
        """Carry it out, in the main thread."""
        claimed = self.job.claimed
        live = self.live = Here(claimed, self.home.tasks[claimed.task], self)
        self.held[claimed.id] = live
        work = live.carry()
        try:
            work.send(None)
        except StopIteration:
            self.let_go()
        else:
            self.loop.call_soon_threadsafe(self.go_on, work)
        if self.beside is not None:
            self.beside.join()

    def done(self, live: Live, outcome: Outcome | None) -> None:
        self.wire.send(Over(outcome))
        self.let_go()

    # its loop

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:  # type: ignore[override]
        """Begins it. From then on it is what hears the worker."""
        with self.lock:
            if self.beside is None:
                self.beside = threading.Thread(target=self.go, name="holdfast-loop", daemon=True)
                self.beside.start()
        return self.ready.result()

    async def work(self) -> None:
        self.open()
        self.ready.set_result(self.loop)
        await self.close()

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """What is left once its code has returned is done where its journal is."""
        self.live.work = asyncio.Task(work, loop=self.loop, context=contextvars.copy_context())

    def let_go(self) -> None:
        if self.beside is not None:
            self.loop.call_soon_threadsafe(self.over.set)

    # whoever stops it

    def signalled(self, number: int, frame: FrameType | None) -> None:
        with self.lock:
            while self.beside is None and self.wire.readable():
                self.read()
        self.main.hear()

    def stop_thread(self) -> bool:
        if threading.current_thread() is threading.main_thread():
            self.main.stopping = True  # it is heard of at the end of what SIGTERM does
        else:
            self.main.stop()
        return True


class Here(Live):
    """Its attempt."""

    __slots__ = ()

    def __init__(self, claimed: Claimed, task: Task[Any, Any], host: Alone) -> None:
        super().__init__(claimed, task, cast("Any", host))
        self.work = cast("asyncio.Task[None]", self)  # that there is some says that it has begun

    async def call_in_thread(self, payload: Any) -> Any:
        host = cast("Alone", self.host)
        self.in_thread = True
        try:
            if self.reason is not None:
                raise asyncio.CancelledError
            return host.main.call(self.call_here, payload)
        finally:
            if host.beside is not None:
                await elsewhere()
            self.left_thread()

    def cancel(self) -> None:
        """Its code has not begun, and hears of it when it would; or it has returned."""

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Its worker keeps the time."""


class Later:
    """Its reports, which are made with the loop."""

    def __init__(self, guest: Alone) -> None:
        self.guest = guest

    def stir_notes(self) -> None:
        if self.guest.loop is not None:
            self.guest.reports.stir_notes()

    def stir_chunks(self) -> None:
        if self.guest.loop is not None:
            self.guest.reports.stir_chunks()


@types.coroutine
def elsewhere() -> Generator[None, None, None]:
    """Whoever carries this coroutine leaves the rest to the loop."""
    yield
