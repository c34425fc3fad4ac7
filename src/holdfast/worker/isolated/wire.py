"""What a worker and the process of one run say to each other: Python objects over a pair of sockets.

Both sides are ours, of one version, on one host. Nobody waits for one that does not listen, but for the process of the
run: what its code writes waits for the worker, when there is more of it than the worker takes.

What is said of every run goes in a form that needs little memory: a process that was just forked copies each page
that it writes to, and pickle writes to many. All else is pickled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import select
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from msgspec import msgpack

from holdfast.engine.aftermath import Owed
from holdfast.records import Again, Claimed, Ended, Entry, LogLine, Tidings
from holdfast.worker.outcome import Outcome, Reason

HEAD = struct.Struct("!BQ")  # in which form, and how many bytes
AT_ONCE = 1 << 18


class Job(NamedTuple):
    """What to carry out: the first thing that such a process is told. ``number`` tells it from all others of its
    worker."""

    claimed: Claimed
    entries: Sequence[Entry]
    me: str
    number: int

    @property
    def options(self) -> str | None:
        """Those of the run."""
        return self.claimed.options


class Fallen(NamedTuple):
    """An attempt whose process has died: another first thing. The hooks that hear of that are to be called; what it
    means if none of them says otherwise is the ``outcome``, and ``last`` the number of the last line it has written."""

    job: Job
    outcome: Outcome
    out_of_memory: bool
    last: int

    @property
    def number(self) -> int:
        return self.job.number

    @property
    def options(self) -> str | None:
        """Those of the run."""
        return self.job.options


class Owes(NamedTuple):
    """The hooks of a run that has ended are to be called: another first thing."""

    owed: Owed
    number: int

    @property
    def options(self) -> str | None:
        """Those of the run."""
        return self.owed.record.options if self.owed.record is not None else None


class Interrupt(NamedTuple):
    """Stop the code, for this reason."""

    reason: Reason


class Hear(NamedTuple):
    """Something may have settled; the run has not given up its slot."""


class Leave(NamedTuple):
    """The run has given up its slot: leave memory."""


class Answer(NamedTuple):
    """What came of a call."""

    number: int
    value: Any
    error: BaseException | None


class Begun(NamedTuple):
    """The process has its job."""


class Call(NamedTuple):
    """Something to be done with the database, in the worker's name: run, read or gather."""

    number: int
    door: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]


class Wrote(NamedTuple):
    """Lines that the run has written."""

    lines: list[LogLine]


class Waits(NamedTuple):
    """Every branch waits: the run may give up its slot."""

    seen: int
    tidings: Tidings | None


class Goes(NamedTuple):
    """Something has come before it did."""


class Trusts(NamedTuple):
    """It has recorded something new."""


class Overdue(NamedTuple):
    """A time that it waits for seems to be over."""


class Over(NamedTuple):
    """The attempt is over, and the process ends."""

    outcome: Outcome | None


PICKLED: Final = 0
BEGUN: Final = 1
JOB: Final = 2
ENDED: Final = 3
AGAIN: Final = 4
LINES: Final = 5

packed = msgpack.Encoder().encode
unpack = msgpack.Decoder().decode
unpack_ended = msgpack.Decoder(Ended).decode
unpack_again = msgpack.Decoder(Again).decode
unpack_lines = msgpack.Decoder(list[LogLine]).decode


def formed(message: object) -> tuple[int, bytes]:
    """A message as bytes, and the form that they have."""
    if isinstance(message, Begun):
        return BEGUN, b""
    if isinstance(message, Over):
        if isinstance(message.outcome, Ended):
            return ENDED, packed(message.outcome)
        if isinstance(message.outcome, Again):
            return AGAIN, packed(message.outcome)
    elif isinstance(message, Wrote):
        return LINES, packed(message.lines)
    elif isinstance(message, Job):
        return JOB, packed(message)
    return PICKLED, pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def read_as(form: int, body: bytes) -> Any:
    """The message that `formed` has made these bytes of."""
    if form == ENDED:
        return Over(unpack_ended(body))
    if form == BEGUN:
        return Begun()
    if form == JOB:
        claimed, entries, me, number = unpack(body)
        return Job(Claimed._make(claimed), [Entry._make(each) for each in entries], me, number)
    if form == LINES:
        return Wrote(unpack_lines(body))
    if form == AGAIN:
        return Over(unpack_again(body))
    return pickle.loads(body)


def framed(message: object) -> bytes:
    """A message as it travels."""
    form, body = formed(message)
    return HEAD.pack(form, len(body)) + body


class Frames:
    """Takes objects out of what has arrived."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def take(self) -> Any:
        """The next object; None if it has not arrived as a whole."""
        if len(self.buffer) < HEAD.size:
            return None
        form, length = HEAD.unpack_from(self.buffer)
        end = HEAD.size + length
        if len(self.buffer) < end:
            return None
        message = read_as(form, bytes(memoryview(self.buffer)[HEAD.size : end]))
        del self.buffer[:end]
        return message


class Wire:
    """The run's end, a file descriptor. It writes from any thread, and waits while the worker is busy."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.frames = Frames()
        self.lock = threading.Lock()
        self.closed = False
        self.writer = 0  # the thread that just writes; it should not be interrupted before it has
        self.written: Callable[[], None] = lambda: None

    def send(self, message: object) -> None:
        if self.closed:
            return
        left = framed(message)
        with self.lock, contextlib.suppress(OSError):  # the worker is gone, and this process with it
            self.writer = threading.get_ident()
            try:
                while left:
                    left = left[os.write(self.end, left) :]
            finally:
                self.writer = 0
        self.written()

    def close(self) -> None:
        """Say and hear nothing any more: what code forks is not the run."""
        self.closed = True
        os.close(self.end)

    def receive(self) -> Any:
        """Wait for the next object; None when the worker is gone."""
        while (message := self.frames.take()) is None:
            if not self.read():
                return None
        return message

    def readable(self) -> bool:
        """Whether there is something to be read now."""
        look = select.poll()
        look.register(self.end, select.POLLIN)
        return bool(look.poll(0))

    def read(self) -> bool:
        """Take in what there is, and wait for it if there is nothing; False when there will be nothing any more."""
        try:
            some = os.read(self.end, AT_ONCE)
        except OSError:
            return False
        self.frames.buffer += some
        return bool(some)


class Line:
    """The worker's end, on its event loop. It waits for nobody: what does not fit into the socket goes when it does."""

    def __init__(self, end: socket.socket, loop: asyncio.AbstractEventLoop, heard: Callable[[Any], None]) -> None:
        self.end, self.loop, self.heard = end, loop, heard
        end.setblocking(False)
        self.frames = Frames()
        self.left = bytearray()
        self.waits = self.closed = False  # for room in the socket
        self.fd = end.fileno()
        loop.add_reader(self.fd, self.read)

    def send(self, message: object) -> None:
        if self.closed:
            return
        waiting = bool(self.left)
        self.left += framed(message)
        if not waiting:
            self.write()

    def write(self) -> None:
        try:
            sent = self.end.send(self.left)
        except BlockingIOError:
            sent = 0
        except OSError:  # the other end is gone: its end is told by the zygote
            self.left.clear()
            sent = 0
        del self.left[:sent]
        if bool(self.left) != self.waits:
            self.waits = not self.waits
            self.loop.add_writer(self.fd, self.write) if self.waits else self.loop.remove_writer(self.fd)

    def read(self) -> bool:
        """Hear what has arrived; False if there was nothing."""
        try:
            some = self.end.recv(AT_ONCE)
        except BlockingIOError:
            return False
        except OSError:
            some = b""
        if not some:
            self.loop.remove_reader(self.fd)
        self.frames.buffer += some
        while not self.closed and (message := self.frames.take()) is not None:
            self.heard(message)
        return bool(some)

    def drain(self) -> None:
        """The other side has ended: take in what it has still said."""
        while not self.closed and self.read():
            pass

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.remove_reader(self.fd)
            if self.waits:
                self.loop.remove_writer(self.fd)
            self.end.close()
