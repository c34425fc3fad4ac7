"""What an attempt needs of its worker, where the worker is another process, at the other end of a wire.

Correspondent   asks the worker for what is not here: the doors of its store
After           calls the hooks of a run that has ended
Guest           carries an attempt out
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import resource
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import SimpleNamespace
from typing import Any, cast

from holdfast.engine import claim, read
from holdfast.model import Usage
from holdfast.records import LogLine
from holdfast.worker import branches
from holdfast.worker.aftermath import Aftermath
from holdfast.worker.coming import Coming
from holdfast.worker.home import Home, Settings
from holdfast.worker.hooks import wrapping_of
from holdfast.worker.isolated import confine
from holdfast.worker.isolated.bereaved import Bereaved
from holdfast.worker.isolated.main_thread import MainThread
from holdfast.worker.isolated.wire import (
    Answer,
    Call,
    Fallen,
    Goes,
    Hear,
    Interrupt,
    Job,
    Leave,
    Over,
    Overdue,
    Owes,
    Trusts,
    Waits,
    Wire,
    Wrote,
)
from holdfast.worker.live import Live
from holdfast.worker.outcome import Outcome, Reason
from holdfast.worker.reports import Reports
from holdfast.worker.scopes import WorkerScope
from holdfast.worker.wrapped import Wrapped

AGAIN_SECONDS = 0.1


class Correspondent:
    """Whoever does something here, and asks the worker for what is not."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, wire: Wire, home: Home, settings: Settings, began: float) -> None:
        self.wire, self.home, self.settings, self.began = wire, home, settings, began
        self.context = contextvars.copy_context()
        self.calls: dict[int, Future[Any]] = {}
        self.store: Any = Doors(self)

    async def work(self) -> None:
        raise NotImplementedError

    def go(self) -> None:
        """Run the loop until all is over. Nobody closes it: the process ends."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(self.work())

    def listen(self) -> None:
        """Hear what the worker says, from now on."""
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.wire.end, self.read)

    def read(self) -> None:
        if not self.wire.read():
            os._exit(1)  # nobody holds this run any more
        while (message := self.wire.frames.take()) is not None:
            self.hear(message)

    def hear(self, message: object) -> None:
        if isinstance(message, Answer):
            settle(self.calls.pop(message.number), message.value, message.error)


class After(Correspondent):
    """Calls the hooks of a run that has ended, as a worker would."""

    def __init__(self, wire: Wire, job: Owes, home: Home, settings: Settings, began: float) -> None:
        super().__init__(wire, home, settings, began)
        self.owed = job.owed

    async def work(self) -> None:
        self.listen()
        assert self.owed.record is not None
        aftermath = Aftermath(cast("Any", self))
        await aftermath.call_here(self.owed, self.owed.record, lambda line: self.wire.send(Wrote([line])))
        self.wire.send(Over(None))


class Guest(Correspondent):
    """What an attempt needs of the worker that carries it: here, and at the other end of the wire."""

    def __init__(
        self, wire: Wire, job: Job | Fallen, home: Home, settings: Settings, threads: Executor, began: float
    ) -> None:
        super().__init__(wire, home, settings, began)
        self.fallen = job if isinstance(job, Fallen) else None
        self.job = job.job if isinstance(job, Fallen) else job
        self.threads = threads
        self.recorded: dict[str, Any] = {self.job.claimed.id: self.job.entries}
        self.outbox = SimpleNamespace(me=self.job.me)
        self.lines: deque[LogLine] = Sent(wire)
        self.held: dict[str, Live] = {}
        self.coming = Coming()  # nothing does: its children stand in line
        self.live: Live

    async def work(self) -> None:
        self.open()
        self.live = self.attempt()
        self.held[self.live.claimed.id] = self.live
        self.live.start()
        await self.close()

    def open(self) -> None:
        """Have all that an attempt may need of a loop."""
        self.listen()
        self.over = asyncio.Event()
        self.scope = WorkerScope(self.home.overrides)
        self.reports = Reports(self.store, self.held, self.loop)
        self.restore = branches.follow(self.loop)

    async def close(self) -> None:
        await self.over.wait()
        self.restore()
        self.reports.stop()
        await self.scope.close(self.settings.hook_seconds)

    def attempt(self) -> Live:
        claimed = self.job.claimed
        task = self.home.tasks[claimed.task]
        wrapping = wrapping_of(task)
        if wrapping is None:
            return Live(claimed, task, self)
        if self.fallen is None:
            return Wrapped(claimed, task, self, wrapping)
        return Bereaved(self.fallen, task, self, wrapping)

    # what the worker says

    def hear(self, message: object) -> None:
        match message:
            case Interrupt(reason):
                self.stop(reason)
            case Hear():
                self.live.stay()
                self.loop.create_task(self.live.hear(), context=self.context)
            case Leave():
                self.held.clear()  # what it still tells went with its wish
                self.live.park()
                self.live.unwind()
            case _:
                super().hear(message)

    def stop(self, reason: Reason) -> None:
        if reason == "canceled" and self.live.catching_up():
            self.loop.call_later(AGAIN_SECONDS, self.stop, reason)
            return
        self.live.interrupt(reason)

    def interrupt(self, run_id: str, number: int, reason: Reason) -> None:
        self.stop(reason)

    # what the attempt says

    def done(self, live: Live, outcome: Outcome | None) -> None:
        self.wire.send(Over(outcome))
        self.over.set()

    def freed(self) -> None:
        pass

    def used(self) -> Usage:
        return used(self.began)

    def stop_thread(self) -> bool:
        if isinstance(self.threads, MainThread):
            self.threads.stop()
            return True
        return False

    def suspend(self, live: Live) -> None:
        durable = live.operations()
        self.wire.send(Waits(durable.journal.seen if durable is not None else 0, live.tidings()))

    def unsuspend(self, live: Live) -> None:
        self.wire.send(Goes())
        live.stay()

    def unwind(self, live: Live) -> None:
        live.unwind()

    def trust(self, live: Live) -> None:
        self.wire.send(Trusts())

    def overdue(self, live: Live) -> None:
        self.wire.send(Overdue())

    def logs(self, run_id: str) -> list[LogLine]:
        found: list[LogLine] = self.store.read_sync(read.logs, run_id)
        return found

    async def payload(self, run_id: str) -> str | None:
        found: dict[str, str] = await self.store.read(claim.payloads, [run_id])
        return found.get(run_id)


class Sent(deque[LogLine]):
    """Lines go to the worker as they are written: what a process says before it dies is what one wants to know."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def append(self, line: LogLine) -> None:
        self.wire.send(Wrote([line]))


class Doors:
    """The doors of the worker's store, as far as an attempt uses them."""

    def __init__(self, guest: Correspondent) -> None:
        self.guest = guest
        self.number = 0
        self.lock = threading.Lock()

    def ask(self, door: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        with self.lock:
            self.number += 1
            number = self.number
            self.guest.calls[number] = answer
        self.guest.wire.send(Call(number, door, fn, args))
        return answer

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.wrap_future(self.ask("run", fn, *args))

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.wrap_future(self.ask("read", fn, *args))

    def read_sync(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self.ask("read", fn, *args).result()

    def gather(self, fn: Callable[..., Any], item: Any) -> Future[Any]:
        return self.ask("gather", fn, item)


def settle(answer: Future[Any], value: Any, error: BaseException | None) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)


def used(began: float) -> Usage:
    """What this process has used, and those of its children that have ended."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
    unit = 1024 if confine.LINUX else 1
    return Usage(cpu, time.monotonic() - began, max(own.ru_maxrss, others.ru_maxrss) * unit)
