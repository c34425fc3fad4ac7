"""The worker's side of the zygote: processes that wait for a run, and how those that had one have ended.

A process has its end of the wire before it is there, so it can be told its job at once. A few wait beforehand, that
one need not wait for a fork. The zygote is started when the first is wanted, and again when it has died.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from holdfast.errors import HoldfastError
from holdfast.machine import Machine
from holdfast.storage import Store
from holdfast.worker import leftovers
from holdfast.worker.home import Origin
from holdfast.worker.isolated.wire import Answer, Call, Line
from holdfast.worker.isolated.zygote import EXITED, FORK, KILL, ORDER, REPORT, STARTED, TERM, WATCH, Report
from holdfast.worker.live import said as in_short

log = logging.getLogger("holdfast")

SPARE = 2
ERRORS = 4096  # bytes of what was written to stderr last that are kept
PAUSE_SECONDS = 1.0  # before a zygote that has died is started again
END_SECONDS = 1.0
LOST = Report(EXITED, 0, -1, 0.0, 0, False)  # of a process whose zygote has died


class Process:
    """A process for one run, which may not be there yet."""

    def __init__(self, pool: Pool, number: int) -> None:
        self.pool, self.number = pool, number
        ours, self.theirs = socket.socketpair()
        self.errors, self.writes = os.pipe()
        os.set_blocking(self.errors, False)
        self.heard: Callable[[Any], None] = lambda message: None
        self.ended: Callable[[Report], None] = lambda report: None
        self.line = Line(ours, pool.loop, lambda message: self.heard(message))
        self.tail = b""
        self.pid = 0
        pool.loop.add_reader(self.errors, self.listen)

    def send(self, message: object) -> None:
        self.line.send(message)

    async def answer(self, call: Call, store: Store) -> None:
        """Do what the process wants done with the database."""
        value: Any = None
        failure: BaseException | None = None
        try:
            match call.door:
                case "run":
                    value = await store.run(call.fn, *call.args)
                case "read":
                    value = await store.read(call.fn, *call.args)
                case _:
                    value = await asyncio.wrap_future(store.gather(call.fn, *call.args))
        except HoldfastError as error:
            failure = error
        except Exception as error:  # of a driver: it may not travel
            log.exception("what the process of a run asked of the database has failed")
            do = "See the worker's own log."
            failure = HoldfastError("What the run asked of the database has failed", seen=in_short(error), do=do)
        self.send(Answer(call.number, value, failure))

    def watch(self, machine: Machine) -> None:
        self.pool.tell(WATCH, self.number, machine.memory_bytes)

    def term(self) -> None:
        self.pool.tell(TERM, self.number)

    def kill(self) -> None:
        self.pool.tell(KILL, self.number)

    def listen(self) -> bool:
        """What it writes to stderr goes to ours; its last lines are kept."""
        try:
            some = os.read(self.errors, 65536)
        except BlockingIOError:
            return False
        except OSError:
            some = b""
        if not some:
            self.pool.loop.remove_reader(self.errors)
            return False
        with contextlib.suppress(OSError):
            os.write(2, some)
        self.tail = (self.tail + some)[-ERRORS:]
        return True

    def last_lines(self) -> str:
        return self.tail.decode("utf-8", "replace").strip()

    def over(self, report: Report) -> None:
        """It has ended: hear what it has still said, then that."""
        self.line.drain()
        while self.listen():
            pass
        self.close()
        self.ended(report)

    def close(self) -> None:
        self.line.close()
        self.pool.loop.remove_reader(self.errors)
        with contextlib.suppress(OSError):
            os.close(self.errors)


class Pool:
    """The processes of one worker."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin, self.loop = origin, loop
        self.numbers = itertools.count(1)
        self.there: dict[int, Process] = {}
        self.idle: deque[Process] = deque()
        self.control: socket.socket | None = None
        self.zygote: subprocess.Popen[bytes] | None = None
        self.mark = leftovers.new_mark()
        self.arrived = bytearray()
        self.start_at = 0.0
        self.closed = False
        self.doing: set[asyncio.Task[None]] = set()

    def take(self) -> Process | None:
        """A process for a run; None if none can be had now."""
        if not self.ready():
            return None
        try:
            process = self.idle.popleft() if self.idle else self.fork()
        except OSError as error:  # too many open files
            log.error("no process can be had for a run of its own, which is tried again: %s", error)
            return None
        self.loop.call_soon(self.keep_spare)
        return process

    def warm(self) -> None:
        """Have processes wait for runs that are to come."""
        if self.ready():
            self.keep_spare()

    def keep_spare(self) -> None:
        with contextlib.suppress(OSError):  # who wants one will be told
            while self.control is not None and len(self.idle) < SPARE:
                self.idle.append(self.fork())

    def fork(self) -> Process:
        process = Process(self, next(self.numbers))
        self.there[process.number] = process
        fds = array.array("i", [process.theirs.fileno(), process.writes])
        self.tell(FORK, process.number, fds=fds)
        process.theirs.close()
        os.close(process.writes)
        return process

    def tell(self, what: bytes, number: int, size: int = 0, fds: array.array[int] | None = None) -> None:
        if self.control is None:
            return
        extra = [] if fds is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
        with contextlib.suppress(OSError):  # it has died: its end is told in a moment
            self.control.sendmsg([ORDER.pack(what, number, size)], extra)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Let this go on until it is over."""
        task = self.loop.create_task(work, name="holdfast-answer")
        self.doing.add(task)
        task.add_done_callback(self.doing.discard)

    # the zygote

    def ready(self) -> bool:
        """Whether there is a zygote; it may still be starting."""
        if self.control is None and not self.closed and time.monotonic() >= self.start_at:
            self.start()
        return self.control is not None

    def start(self) -> None:
        ours, theirs = socket.socketpair()
        number = theirs.fileno()
        try:
            self.zygote = subprocess.Popen(
                [sys.executable, "-u", "-c", f"from holdfast.zygote import main; main({number})"],
                pass_fds=(number,),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                env=os.environ | {leftovers.ZYGOTE: self.mark},
            )
        except OSError as error:
            log.error("no process can be started for runs of their own, which is tried again: %s", error)
            self.start_at = time.monotonic() + PAUSE_SECONDS
            ours.close()
            return
        finally:
            theirs.close()
        ours.sendall(msgspec.json.encode(self.origin) + b"\n")
        self.control = ours
        self.arrived.clear()
        self.loop.add_reader(ours, self.read)

    def read(self) -> None:
        assert self.control is not None
        try:
            some = self.control.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            some = b""
        if not some:
            self.bereaved()
            return
        self.arrived += some
        while len(self.arrived) >= REPORT.size:
            report = Report(*REPORT.unpack_from(self.arrived))
            del self.arrived[: REPORT.size]
            self.hear(report)

    def hear(self, report: Report) -> None:
        if report.what == STARTED:
            if (process := self.there.get(report.number)) is not None:
                process.pid = report.value
        elif (process := self.there.pop(report.number, None)) is not None:
            if process in self.idle:
                self.idle.remove(process)
            process.over(report)

    def bereaved(self) -> None:
        """The zygote has died, and all of its processes with it. If it was killed, it has not buried who is left."""
        control, self.control = self.control, None
        if control is not None:
            self.loop.remove_reader(control)
            control.close()
        if self.zygote is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is just burying who is left
                self.zygote.wait(END_SECONDS)
            if not self.closed:
                log.error("the process that starts those of runs has ended: it is started again")
                leftovers.end(self.mark, leftovers.ZYGOTE)
        self.start_at = time.monotonic() + PAUSE_SECONDS
        lost = list(self.there.values())
        self.there.clear()
        self.idle.clear()
        for process in lost:
            process.over(LOST)

    def close(self) -> None:
        """End all of it: the zygote sees that nobody is there, and buries who is left."""
        self.closed = True
        self.bereaved()
