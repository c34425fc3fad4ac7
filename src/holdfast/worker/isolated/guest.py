"""The process of one run: an ordinary attempt, whose worker is at the other end of a wire.

An ``async def`` task has the main thread with its event loop; a ``def`` task has it for itself, and the loop a thread
beside it, so that a ``def`` task can be interrupted here: SIGTERM raises in its code, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import logging
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from types import FrameType, SimpleNamespace
from typing import Any, cast

from holdfast.engine import claim, read
from holdfast.machine import machine_in, machine_of
from holdfast.model import Usage
from holdfast.records import Claimed, LogLine
from holdfast.task import Task, define
from holdfast.worker import branches
from holdfast.worker.aftermath import Aftermath
from holdfast.worker.home import Home, Settings
from holdfast.worker.hooks import wrapping_of
from holdfast.worker.isolated import confine
from holdfast.worker.isolated.bereaved import Bereaved
from holdfast.worker.isolated.wire import (
    Answer,
    Begun,
    Call,
    Goes,
    Hear,
    Interrupt,
    Job,
    Leave,
    Over,
    Overdue,
    Owes,
    Trusts,
    Used,
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


def carry(end: socket.socket, home: Home, settings: Settings) -> None:
    """Wait for a job, and carry it out. The process ends after it."""
    wire = Wire(end)
    job = wire.receive()
    if job is None:
        return
    began = time.monotonic()
    if (word := machine_in(job.options)) is not None:
        confine.confine(machine_of(word), os.getppid(), job.number)
    faulthandler.enable(file=2)
    wire.send(Begun())
    os.register_at_fork(after_in_child=partial(be_mortal, wire))
    if isinstance(job, Owes):
        go(After(wire, job, home, settings, began))
    else:
        attempt(wire, job, home, settings, began)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    logging.shutdown()


def attempt(wire: Wire, job: Job, home: Home, settings: Settings, began: float) -> Guest:
    """Carry an attempt out; answers what did, whose loop is still open."""
    if job.fallen is not None or home.tasks[job.claimed.task].signature.is_async:
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # an interrupt comes by the wire
        guest = Guest(wire, job, home, settings, ThreadPoolExecutor(4, "holdfast-task"), began)
        go(guest)
    else:
        main = MainThread()
        guest = Guest(wire, job, home, settings, main, began)
        beside(main, guest)
    return guest


def go(guest: Correspondent) -> None:
    """Run the loop until the attempt is over. Nobody closes it: the process ends."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(guest.work())


def be_mortal(wire: Wire) -> None:
    """What code forks ends by SIGTERM, like any process, and does not speak for the run, whatever it goes on with."""
    wire.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def beside(main: MainThread, guest: Guest) -> None:
    """The loop in a thread, and the code here."""
    signal.signal(signal.SIGTERM, main.signalled)

    def loop() -> None:
        try:
            go(guest)
        finally:
            main.orders.put(None)

    thread = threading.Thread(target=loop, name="holdfast-loop", daemon=True)
    thread.start()
    main.run()
    thread.join()


class MainThread(Executor):
    """Calls functions in the main thread, where a signal can raise in them."""

    def __init__(self) -> None:
        self.orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self.in_code = self.stopping = self.stopped = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.orders.put((lambda: fn(*args, **kwargs), future))
        return future

    def run(self) -> None:
        while (order := self.orders.get()) is not None:
            fn, future = order
            try:
                self.in_code = True
                try:
                    value = fn()
                finally:
                    self.in_code = False
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)

    def stop(self) -> None:
        """Raise in the code that runs."""
        self.stopping = True
        os.kill(os.getpid(), signal.SIGTERM)

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """The code hears of it once: its ``finally`` should not be interrupted again."""
        if self.stopping and self.in_code and not self.stopped:
            self.stopped = True
            raise asyncio.CancelledError


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
        self.wire.send(Over(None, used(self.began)))


class Guest(Correspondent):
    """What an attempt needs of the worker that carries it: here, and at the other end of the wire."""

    def __init__(self, wire: Wire, job: Job, home: Home, settings: Settings, threads: Executor, began: float) -> None:
        super().__init__(wire, home, settings, began)
        self.job, self.threads = job, threads
        self.recorded: dict[str, Any] = {job.claimed.id: job.entries}
        self.outbox = SimpleNamespace(me=job.me)
        self.lines: deque[LogLine] = Sent(wire)
        self.held: dict[str, Live] = {}
        self.live: Live

    async def work(self) -> None:
        self.listen()
        self.over = asyncio.Event()
        self.scope = WorkerScope(self.home.overrides)
        self.reports = Reports(self.store, self.held, self.loop)
        restore = branches.follow(self.loop)
        claimed = self.job.claimed
        task = self.home.tasks[claimed.task]
        wrapping = wrapping_of(task)
        if wrapping is None:
            self.live = Live(claimed, task, self)
        elif self.job.fallen is None:
            self.live = Wrapped(claimed, task, self, wrapping)
        else:
            self.live = Bereaved(claimed, task, self, wrapping, self.job.fallen)
        self.held[claimed.id] = self.live
        self.live.start()
        await self.over.wait()
        restore()
        self.reports.stop()
        await self.scope.close(self.settings.hook_seconds)

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
        self.wire.send(Over(outcome, used(self.began)))
        self.over.set()

    def freed(self) -> None:
        pass

    def used(self) -> Usage:
        cpu, wall, memory = used(self.began)
        return Usage(cpu, wall, memory)

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


def used(began: float) -> Used:
    """What this process has used, and those of its children that have ended."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
    unit = 1024 if confine.LINUX else 1
    return Used(cpu, time.monotonic() - began, max(own.ru_maxrss, others.ru_maxrss) * unit)


# -- before any job ---------------------------------------------------------------------------------------------------


REHEARSALS = 10  # the interpreter adapts code that runs often, and writes to less memory then: each page costs a child


async def rehearsal(number: int) -> int:
    """A task that nobody triggers."""
    return number


def rehearsal_here(number: int) -> int:
    """Another one."""
    return number


def rehearse(home: Home) -> None:
    """Do in the zygote what every process would otherwise do anew: whatever is made when it is first used is made here,
    by attempts at nothing, and by looking at each task."""
    for task in home.tasks.values():
        with contextlib.suppress(Exception):  # whatever it is, the run is told
            task.entry()
            wrapping_of(task)
            task.secrets("null")
            task.output_codec.dump(task.load("null"))
    before = signal.getsignal(signal.SIGTERM)
    for task in (define(rehearsal, {}), define(rehearsal_here, {})):
        for _ in range(REHEARSALS):
            attempt_at_nothing(task, home)
    signal.signal(signal.SIGTERM, before)
    asyncio.set_event_loop(None)


def attempt_at_nothing(task: Task[Any, Any], home: Home) -> None:
    """An attempt like others, with nobody at the other end of the wire."""
    nothing: dict[str, Any] = dict.fromkeys(Claimed._fields, 0)
    claimed = Claimed(**nothing)._replace(id="rehearsal", task=task.id, payload="1", options=None, metadata=None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = Wire(ours)
        Wire(theirs).send(Job(claimed, (), "", 0))
        job = wire.receive()
        attempt(wire, job, home._replace(tasks={task.id: task}), Settings(), time.monotonic()).loop.close()
