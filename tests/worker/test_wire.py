"""What a worker and the process of a run say to each other, without either."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from typing import Any

import pytest

from holdfast.records import Again, Claimed, Ended, Entry, LogLine, Note, Tidings
from holdfast.worker.isolated.main_thread import MainThread
from holdfast.worker.isolated.wire import Begun, Frames, Interrupt, Job, Over, Wire, Wrote, framed

TIDINGS = Tidings([Note(1, "run", "set", "key", '"\\ud800"')], [])
LINE = LogLine("run", 1, 1, 0, "INFO", 1, "stdout", '"\\u0000 ü"')
ENTRY = Entry("run", "key", 1, "", "step", "name", None, "done", 1, None, None, 0, "1e400", None)
CLAIMED = Claimed(*[0 if kind == "int" else "text" for kind in Claimed.__annotations__.values()])


@pytest.mark.parametrize(
    "message",
    [
        Begun(),
        Interrupt("canceled"),
        Job(CLAIMED, [ENTRY], "me", 7),
        Over(None),
        Over(Ended("run", 1, "completed", "[1]", tidings=TIDINGS, unheard=True)),
        Over(Again("run", 1, 5, False, "returned", forget=("a", "b"), begun=False)),
        Wrote([LINE, LINE]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_said_is_heard_as_it_was(message: Any) -> None:
    frames = Frames()
    for byte in framed(message) * 2:
        frames.buffer.append(byte)
    heard = [frames.take(), frames.take()]
    assert heard == [message, message]
    assert [type(each) for each in heard] == [type(message)] * 2
    assert frames.take() is None


def test_code_is_interrupted_after_what_it_just_says() -> None:
    """Fails where the interrupt is raised at once: half a message would spoil all that come after it."""
    ours, theirs = socket.socketpair()
    frames = Frames()

    def listen() -> None:
        frames.buffer += theirs.recv(1000)  # it writes, and waits for room
        main.stop()
        while some := theirs.recv(1 << 20):
            frames.buffer += some

    with ours, theirs:
        wire = Wire(ours.fileno())
        main = MainThread(wire)
        before = signal.signal(signal.SIGTERM, main.signalled)
        listening = threading.Thread(target=listen)
        listening.start()
        try:
            with pytest.raises(asyncio.CancelledError):
                main.call(wire.send, Wrote([LogLine("run", 1, 1, 0, "INFO", 1, "stdout", "x" * 5_000_000)]))
        finally:
            signal.signal(signal.SIGTERM, before)
            ours.shutdown(socket.SHUT_WR)
            listening.join()
    assert len(frames.take().lines[0].message) == 5_000_000
