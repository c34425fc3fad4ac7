"""What a supervisor and its worker process say to each other: lines of JSON over a socket pair.

This module imports next to nothing, for the supervisor does not load what a worker needs: it is small, and stays.
"""

from __future__ import annotations

import contextlib
import socket
import threading

import msgspec

from holdfast.worker.capacity import Room

CHANNEL = 3  # the child's end, as a file descriptor
CANNOT_START = 78  # EX_CONFIG, the exit code of a child that it would not help to start again


class Orders(msgspec.Struct, kw_only=True):
    """What a supervisor tells a child. ``None`` leaves a setting to the app, the environment and the default. ``push``
    makes it a pusher, which needs no app. A child that is not ready after ``ready_seconds`` is killed; one that has
    carried out ``max_runs``, or whose memory exceeds ``max_memory`` bytes, is replaced. ``room`` is what it has for
    runs with machines, of which it takes all, or these ``machines``. The ``variables`` stand beneath its
    environment."""

    app: str | None
    database: str | None
    concurrency: int
    queues: list[str] | None
    lease_ms: int | None
    drain_seconds: float
    push: bool = False
    ready_seconds: float = 60.0
    max_runs: int | None = None
    max_memory: int | None = None
    room: Room | None = None
    machines: list[str] | None = None
    variables: dict[str, str] = {}


class News(msgspec.Struct, kw_only=True):
    """What a child tells its supervisor: the worker it is now, why it cannot start, why it should be replaced, or which
    of its runs are in processes of their own, by pid."""

    worker: str | None = None
    error: str | None = None
    spent: str | None = None
    apart: dict[int, str] | None = None
    tasks: list[str] = []
    database: str | None = None


class Beaten(msgspec.Struct):
    """What a supervisor tells a child each time it has beaten for it: somebody is there, and reaches the database."""

    at: float


class Channel:
    """Lines of JSON between a child and its supervisor."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.lines = end.makefile("rb")
        self.lock = threading.Lock()

    def tell(self, message: msgspec.Struct) -> None:
        with self.lock, contextlib.suppress(OSError):
            self.end.sendall(msgspec.json.encode(message) + b"\n")

    def hint(self, message: msgspec.Struct) -> None:
        """Tell what the other side can do without: nobody waits for one that does not listen."""
        with self.lock, contextlib.suppress(OSError):
            self.end.send(msgspec.json.encode(message) + b"\n", socket.MSG_DONTWAIT)

    def hear(self) -> bytes:
        """The next line; empty when the other side is gone."""
        with contextlib.suppress(OSError):
            return self.lines.readline()
        return b""
