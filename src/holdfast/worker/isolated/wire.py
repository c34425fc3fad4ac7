"""What a worker and the process of one run say to each other: Python objects over a pair of sockets.

Both sides are ours, of one version, on one host. Nobody waits for one that does not listen, but for the process of the
run: what its code writes waits for the worker, when there is more of it than the worker takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from holdfast.engine.aftermath import Owed
from holdfast.records import Claimed, Entry, LogLine, Tidings
from holdfast.worker.outcome import Outcome, Reason

LENGTH = struct.Struct("!Q")
AT_ONCE = 1 << 18


class Fallen(NamedTuple):
    """How the process of an attempt has died: what that means if no hook says otherwise, and the number of the last
    line that the attempt has written."""

    outcome: Outcome
    out_of_memory: bool
    last: int


class Job(NamedTuple):
    """What to carry out: the first thing that such a process is told. ``number`` tells it from all others of its
    worker. Of an attempt that has ``fallen`` only the hooks that hear of that are to be called."""

    claimed: Claimed
    entries: Sequence[Entry]
    me: str
    number: int
    fallen: Fallen | None = None

    @property
    def options(self) -> str | None:
        """Those of the run."""
        return self.claimed.options


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


class Used(NamedTuple):
    """What a process and its children have used: seconds and bytes."""

    cpu: float
    wall: float
    memory: int


class Over(NamedTuple):
    """The attempt is over, and the process ends."""

    outcome: Outcome | None
    used: Used


class Frames:
    """Takes objects out of what has arrived."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def take(self) -> Any:
        """The next object; None if it has not arrived as a whole."""
        if len(self.buffer) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self.buffer)
        end = LENGTH.size + length
        if len(self.buffer) < end:
            return None
        message = pickle.loads(bytes(memoryview(self.buffer)[LENGTH.size : end]))
        del self.buffer[:end]
        return message


def framed(message: object) -> bytes:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body


class Wire:
    """The run's end. It writes from any thread, and waits while the worker is busy."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.frames = Frames()
        self.lock = threading.Lock()
        self.closed = False

    def send(self, message: object) -> None:
        if self.closed:
            return
        with self.lock, contextlib.suppress(OSError):  # the worker is gone, and this process with it
            self.end.sendall(framed(message))

    def close(self) -> None:
        """Say and hear nothing any more: what code forks is not the run."""
        self.closed = True
        self.end.close()

    def receive(self) -> Any:
        """Wait for the next object; None when the worker is gone."""
        while (message := self.frames.take()) is None:
            if not self.read(0):
                return None
        return message

    def read(self, flags: int = socket.MSG_DONTWAIT) -> bool:
        """Take in what there is; False when there will be nothing any more."""
        try:
            some = self.end.recv(AT_ONCE, flags)
        except BlockingIOError:
            return True
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
        self.closed = False
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
        if self.left:
            self.loop.add_writer(self.fd, self.write)
        else:
            self.loop.remove_writer(self.fd)

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
            self.loop.remove_writer(self.fd)
            self.end.close()
