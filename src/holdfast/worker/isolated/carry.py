"""The process of one run: it waits for its job, carries it out, and ends.

An attempt is an ordinary one, whose worker is at the other end of a wire. An ``async def`` task has the main thread
with its event loop; a ``def`` task has it for itself, so that it can be interrupted: SIGTERM raises in its code, once.

Each page of memory that such a process writes to is copied from the zygote, which is most of what it costs. So what
every process would do anew is done in the zygote (`rehearse`), and what is not needed is not done.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from holdfast.machine import machine_in, machine_of
from holdfast.records import Claimed
from holdfast.task import Task, define
from holdfast.worker.capture import CaptureStream
from holdfast.worker.home import Home, Settings
from holdfast.worker.hooks import wrapping_of
from holdfast.worker.isolated import confine
from holdfast.worker.isolated.alone import Alone
from holdfast.worker.isolated.guest import After, Guest
from holdfast.worker.isolated.main_thread import MainThread
from holdfast.worker.isolated.wire import Begun, Fallen, Job, Owes, Wire


class Process:
    """What this process has to say things with, who hears of SIGTERM, and whether anything was logged."""

    def __init__(self) -> None:
        self.wire: Wire | None = None
        self.signalled: Callable[[int, FrameType | None], None] = ignored
        self.logged = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.signalled(number, frame)


def ignored(number: int, frame: FrameType | None) -> None:
    """Of an ``async def`` task: there an interrupt comes by the wire."""


process = Process()


def carry(end: int, home: Home, settings: Settings) -> None:
    """Wait for a job, and carry it out. The process ends after it."""
    wire = Wire(end)
    job = wire.receive()
    if job is None:
        return
    began = time.monotonic()
    if (word := machine_in(job.options)) is None:
        os.setsid()
    else:
        confine.confine(machine_of(word), os.getppid(), job.number)
    wire.send(Begun())
    process.wire = wire
    if isinstance(job, Owes):
        After(wire, job, home, settings, began).go()
    else:
        attempt(wire, job, home, settings, began)
    end_well()


def end_well() -> None:
    """Let go what is still to be written. The standard streams keep nothing, unless they were replaced."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, CaptureStream):
            with contextlib.suppress(Exception):
                stream.flush()
    if process.logged:
        logging.shutdown()


def attempt(wire: Wire, job: Job | Fallen, home: Home, settings: Settings, began: float) -> Guest:
    """Carry an attempt out; answers what did, whose loop is still open if it had one."""
    if isinstance(job, Fallen) or home.tasks[job.claimed.task].signature.is_async:
        guest = Guest(wire, job, home, settings, ThreadPoolExecutor(4, "holdfast-task"), began)
        guest.go()
        return guest
    if job.claimed.payload is not None and wrapping_of(home.tasks[job.claimed.task]) is None:
        alone = Alone(wire, job, home, settings, began)
        process.signalled = alone.signalled
        alone.carry()
        return alone
    main = MainThread(wire)
    guest = Guest(wire, job, home, settings, main, began)
    beside(main, guest)
    return guest


def beside(main: MainThread, guest: Guest) -> None:
    """The loop in a thread, and the code here."""
    process.signalled = main.signalled

    def loop() -> None:
        try:
            guest.go()
        finally:
            main.orders.put(None)

    thread = threading.Thread(target=loop, name="holdfast-loop", daemon=True)
    thread.start()
    main.run()
    thread.join()


# -- before any job ---------------------------------------------------------------------------------------------------


REHEARSALS = 40  # the interpreter adapts code that runs often, and writes to less memory then: each page costs a child


def prepare() -> None:
    """What those that are forked inherit."""
    faulthandler.enable(file=2)
    signal.signal(signal.SIGTERM, process.hear)
    heed_logging()
    os.register_at_fork(after_in_child=be_mortal)


def be_mortal() -> None:
    """What code forks ends by SIGTERM, like any process, and does not speak for the run, whatever it goes on with."""
    if process.wire is not None:
        process.wire.close()
        process.wire = None
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def heed_logging() -> None:
    """Notice that a process logs, so that its handlers are to be flushed at its end."""
    make = logging.getLogRecordFactory()

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        process.logged = True
        return make(*args, **kwargs)

    logging.setLogRecordFactory(made)


async def rehearsal(number: int) -> int:
    """A task that nobody triggers."""
    return number


def rehearsal_here(number: int) -> int:
    """Another one."""
    return number


def rehearse(home: Home) -> None:
    """Attempts at nothing, and a look at each task: whatever is made when it is first used is made here."""
    for task in home.tasks.values():
        with contextlib.suppress(Exception):  # whatever it is, the run is told
            task.entry()
            wrapping_of(task)
            task.secrets("null")
            task.output_codec.dump(task.load("null"))
    for task in (define(rehearsal, {}), define(rehearsal_here, {})):
        for _ in range(REHEARSALS):
            contextvars.copy_context().run(attempt_at_nothing, task, home)
    process.signalled = ignored
    asyncio.set_event_loop(None)
    process.logged = False


def attempt_at_nothing(task: Task[Any, Any], home: Home) -> None:
    """An attempt like others, with nobody at the other end of the wire."""
    nothing: dict[str, Any] = dict.fromkeys(Claimed._fields, 0)
    claimed = Claimed(**nothing)._replace(id="rehearsal", task=task.id, payload="1", options=None, metadata=None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = Wire(ours.fileno())
        Wire(theirs.fileno()).send(Job(claimed, (), "", 0))
        job = wire.receive()
        guest = attempt(wire, job, home._replace(tasks={task.id: task}), Settings(), time.monotonic())
        if "loop" in vars(guest):
            guest.loop.close()
