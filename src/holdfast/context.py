"""What a task's code sees of the run it carries out.

    Attempt        one attempt, as the worker makes it from what it claimed
    running        the attempt whose code is running here, if any: how a trigger inside a task knows its parent
    Context        what a ``def`` task is handed
    AsyncContext   what an ``async def`` task is handed: the same facts, and what can wait is awaited
    Teller         what its code tells of itself, in telling.py

Making a context costs next to nothing: the facts are read from the claimed record when they are asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar, cast, overload

from holdfast import codec
from holdfast.clock import utc
from holdfast.durable import AsyncOperations, Durable, Operations, in_step
from holdfast.errors import NotBound, NotDurable
from holdfast.idempotency import shown_key
from holdfast.machine import Machine, machine_in, machine_of
from holdfast.model import Usage
from holdfast.options import NO_PARENT, Parent
from holdfast.progress import atracked, tracked
from holdfast.records import Claimed
from holdfast.schedule import Slot, slot_of
from holdfast.stream import NoPast
from holdfast.telling import Past, Stirs, Teller, Tells

__all__ = ["AsyncContext", "Attempt", "AttemptFacts", "Context", "RunFacts", "TaskFacts", "parent_of", "running"]

T = TypeVar("T")


class Attempt:
    """One attempt at a run, from its claim to its end.

    ``home`` is what the run's triggers go through: a trigger through anything else (another app, another database) has
    no parent there. The worker sets `running` to it in the context of the task's code. ``stirs`` is told when that has
    told something, and ``told_by`` is what it has told; None if it never did.
    """

    __slots__ = ("_durable", "_open", "_past", "claimed", "home", "in_thread", "root", "stirs", "told_by")

    def __init__(
        self,
        claimed: Claimed,
        home: Any = None,
        stirs: Stirs | None = None,
        open_durable: Callable[[], Durable] | None = None,
        past: Past | None = None,
    ) -> None:
        self.claimed = claimed
        self.home = home
        self.stirs = stirs
        self.told_by: Teller | None = None
        self.root: asyncio.Task[Any] | None = None  # the asyncio task in which an ``async def`` task's code begins
        self.in_thread = False  # whether the code of a ``def`` task runs
        self._open = open_durable
        self._past = past
        self._durable: Durable | None = None

    @property
    def teller(self) -> Teller:
        if self.told_by is None:
            self.told_by = Teller(self.claimed, self.stirs, self._past)
        return self.told_by

    @property
    def durable(self) -> Durable:
        """What its code does durably.

        Raises:
            NotDurable: nobody carries it out.
        """
        if self._durable is None:
            if self._open is None:
                raise NotDurable(
                    "Nobody carries this attempt out", seen=f"run {self.claimed.id}", do="Trigger the task."
                )
            self._durable = self._open()
        return self._durable

    def let_go(self) -> None:
        """Its code has returned. Forget who carries it out, who has it in turn: only a search for garbage would find
        such a pair, and there is one for every run."""
        if self._durable is None or self._durable.let_go():
            self._durable = self._open = self._past = self.root = None

    def records(self) -> bool:
        """Whether what is triggered here is recorded: what its own code triggers, not what its steps and hooks do."""
        return self._open is not None and in_step.get() is None and self._is_its_code()

    def _is_its_code(self) -> bool:
        if self.root is None:
            return self.in_thread
        task = asyncio.current_task() if asyncio._get_running_loop() is not None else None
        return task is self.root or (self._durable is not None and self._durable.knows(task))

    @property
    def opened(self) -> Durable | None:
        """The same, if there has been anything durable."""
        return self._durable

    def metadata_text(self) -> str | None:
        """The metadata as JSON text, as it is now."""
        if self.told_by is None:
            return self.claimed.metadata
        try:
            return codec.encode(dict(self.told_by.metadata))
        except Exception:  # it was changed into what cannot be kept; whoever writes it down will say so
            return self.claimed.metadata

    def usage(self) -> Usage:
        """What it has used until now."""
        return (self._past or NoPast()).usage()

    def as_parent(self) -> Parent:
        """This attempt as the parent of what its code triggers."""
        claimed = self.claimed
        return Parent(claimed.id, claimed.claim, claimed.root_id or claimed.id, claimed.attempt, claimed.depth + 1)


running: Final[ContextVar[Attempt | None]] = ContextVar("holdfast_running", default=None)


def parent_of(home: object) -> Parent:
    """The attempt that is running here as the parent of what goes through ``home``, if its own triggers do so, too."""
    attempt = running.get()
    return attempt.as_parent() if attempt is not None and attempt.home is home else NO_PARENT


class RunFacts(NamedTuple):
    """The run: what does not change while it is carried out."""

    id: str
    created_at: datetime
    tags: list[str]
    idempotency_key: str | None
    priority: float
    parent_id: str | None
    root_id: str | None
    batch_id: str | None
    queue: str
    concurrency_key: str | None
    version: str | None


class AttemptFacts(NamedTuple):
    """The attempt: its ``number`` counts from 1; a crash or a deploy does not raise it."""

    number: int
    started_at: datetime


class TaskFacts(NamedTuple):
    """The task."""

    id: str


class _Facts(Tells):
    """What both colours know."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt | None = None, /) -> None:
        self._attempt = attempt

    @property
    def run(self) -> RunFacts:
        """The run: id, created_at, tags, idempotency_key, priority (seconds), parent_id, root_id, batch_id, queue,
        concurrency_key, version."""
        claimed = self._claimed
        return RunFacts(
            id=claimed.id,
            created_at=_at(claimed.created_at),
            tags=cast("list[str]", codec.decode(claimed.tags)) if claimed.tags else [],
            idempotency_key=shown_key(claimed.idempotency_key),
            priority=claimed.priority_ms / 1000,
            parent_id=claimed.parent_id,
            root_id=claimed.root_id,
            batch_id=claimed.batch_id,
            queue=claimed.queue,
            concurrency_key=claimed.concurrency_key,
            version=claimed.version,
        )

    @property
    def attempt(self) -> AttemptFacts:
        """This attempt: number (from 1) and started_at."""
        return AttemptFacts(self._claimed.attempt, _at(self._claimed.started_at))

    @property
    def task(self) -> TaskFacts:
        """The task: id."""
        return TaskFacts(self._claimed.task)

    @property
    def queue(self) -> str:
        """The name of the queue the run stood in."""
        return self._claimed.queue

    @property
    def machine(self) -> Machine | None:
        """The machine that the run asked for, and has; None if it asked for none."""
        word = machine_in(self._claimed.options)
        return None if word is None else machine_of(word)

    def usage(self) -> Usage:
        """What this attempt has used until now: cpu_seconds, wall_seconds, peak_memory (bytes), children that have
        ended included. CPU and memory are None for a run that shares the worker's process.

        >>> if ctx.usage().wall_seconds > 600:
        ...     raise RetryAfter("1h")
        """
        return self._bound.usage()

    @property
    def slot(self) -> Slot | None:
        """The slot of a schedule that the run was made for; None if it was triggered."""
        options = self._claimed.options
        facts = codec.decode(options).get("slot") if options else None
        return None if facts is None else slot_of(facts)

    @property
    def _teller(self) -> Teller:
        return self._bound.teller

    @property
    def _durable(self) -> Durable:
        return self._bound.durable

    @property
    def _bound(self) -> Attempt:
        if self._attempt is None:
            raise NotBound("This context belongs to no run", do="Take the one that the task is handed.")
        return self._attempt

    @property
    def _claimed(self) -> Claimed:
        return self._bound.claimed

    def __repr__(self) -> str:
        of = f"run {self._attempt.claimed.id}" if self._attempt else "no run"
        return f"<{type(self).__name__} of {of}>"


class Context(_Facts, Operations):
    """What a ``def`` task is handed when it asks for it.

    >>> @app.task
    ... def resize(path: str, ctx: Context) -> None:
    ...     print(ctx.run.id, ctx.attempt.number)
    """

    __slots__ = ()

    @classmethod
    def current(cls) -> Context:
        """The context of the task that is running here, for code deep in the stack.

        Raises:
            NotBound: no task is running here.
        """
        return cls(_current(cls.__name__))

    def track(self, items: Iterable[T], note: str = "", *, total: int | None = None) -> Iterator[T]:
        """Go over these and tell the `progress` of it: how many are done with, of as many as there are if that is known
        beforehand.

        >>> for page in ctx.track(pages, "pages"):
        ...     read(page)
        """
        return tracked(items, note, total, self._teller.progress)


class AsyncContext(_Facts, AsyncOperations):
    """What an ``async def`` task is handed when it asks for it.

    >>> @app.task
    ... async def resize(path: str, ctx: AsyncContext) -> None:
    ...     print(ctx.run.id, ctx.attempt.number)
    """

    __slots__ = ()

    @classmethod
    def current(cls) -> AsyncContext:
        """The context of the task that is running here, for code deep in the stack.

        Raises:
            NotBound: no task is running here.
        """
        return cls(_current(cls.__name__))

    @overload
    def track(self, items: Iterable[T], note: str = "", *, total: int | None = None) -> Iterator[T]: ...
    @overload
    def track(self, items: AsyncIterable[T], note: str = "", *, total: int | None = None) -> AsyncIterator[T]: ...
    def track(
        self, items: Iterable[T] | AsyncIterable[T], note: str = "", *, total: int | None = None
    ) -> Iterator[T] | AsyncIterator[T]:
        """Go over these and tell the `progress` of it: how many are done with, of as many as there are if that is known
        beforehand. What is iterated with ``async for`` stays so.

        >>> for page in ctx.track(pages, "pages"):
        ...     await read(page)
        >>> async for line in ctx.track(response.aiter_lines(), "lines"):
        ...     await keep(line)
        """
        if isinstance(items, AsyncIterable):
            return atracked(items, note, total, self._teller.progress)
        return tracked(items, note, total, self._teller.progress)


def _current(name: str) -> Attempt:
    attempt = running.get()
    if attempt is None:
        raise NotBound(
            f"No task is running here, so there is no {name}.current()",
            do="Call it from a task's code; a thread that it started sees it through contextvars.copy_context().",
        )
    return attempt


def _at(ms: int) -> datetime:
    return utc(ms)
