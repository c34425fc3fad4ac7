"""What a worker is given: what it needs of an app, and how it should work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from holdfast.records import AlertEntry, NewSchedule, QueueEntry
from holdfast.sizes import MIB
from holdfast.task import Task
from holdfast.worker.capacity import Room

GRACE_SECONDS = 30.0  # for code that was told to stop
HOOK_SECONDS = 60.0  # for one hook, and for closing one provider
BACKOFF_SECONDS = 2.0  # at most, before the database is asked again


class Origin(msgspec.Struct, kw_only=True):
    """Where a fresh process finds the app: what a command was told (None: look for it), from which folder, the database
    that it has here, and where this process looks for modules. ``logs`` if what it logs goes to stderr."""

    app: str | None
    folder: str
    database: str
    logs: bool = False
    path: list[str] = []


class Home(NamedTuple):
    """What a worker needs of an app: its tasks, its queues, what triggers inside a task go through, and a limit in
    bytes. ``overrides`` are handed in instead of what these providers would give: what tests use. ``elsewhere`` are the
    app's HTTP tasks, which it announces and pushers carry out. ``schedules`` are all that its code declares; ``app`` is
    what it is known by. ``origin`` is where processes of their own find it; without one, runs share the worker's."""

    tasks: Mapping[str, Task[Any, Any]]
    queues: list[QueueEntry]
    verbs: object
    output_limit: int = 10 * MIB
    overrides: Mapping[Any, Any] = {}
    stand_ins: Mapping[Callable[..., Any], Callable[..., Any]] = {}
    elsewhere: Sequence[Task[Any, Any]] = ()
    app: str | None = None
    schedules: Sequence[NewSchedule] = ()
    alerts: Sequence[AlertEntry] = ()
    origin: Origin | None = None


class Settings(NamedTuple):
    """How a worker works. Durations in seconds, but for the lease."""

    concurrency: int = 32
    queues: Sequence[str] | None = None
    lease_ms: int = 30_000
    drain_seconds: float = 30.0
    grace_seconds: float = GRACE_SECONDS
    hook_seconds: float = HOOK_SECONDS
    version: str | None = None
    suspend_after: float = 30.0  # how long a run that waits is kept in memory
    suspend_above: int = 64 * MIB  # … and how many bytes all of them may hold
    pins: bool = False  # what starts here goes on only where this version is
    max_runs: int | None = None  # after so many somebody should replace this process
    room: Room | None = None  # for runs with machines; None: they are taken whatever they ask for
    machines: Sequence[str] | None = None  # … and of these only
    still: bool = False  # the database's clock stands still, as in tests: by it, a step takes no time
