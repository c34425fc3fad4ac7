"""The whole contract of a database: a transaction, and the doors through which functions of one are run.

Engine and storage code is plain functions ``f(tx, …)``. Nobody below the doors waits for anything but SQL, commits,
or knows whether the caller is sync or async. The doors are

    run_sync(f, …)   await run(f, …)     one write transaction; run again whole when the database says busy or deadlock
    read_sync(f, …)  await read(f, …)    reading only
    gather(f, item)                      f(tx, items) over whatever arrived while the last commit ran: never a timer

One hop to a thread that the store owns, one transaction, one hop back. A door's function may be run more than once,
so it must not do anything but SQL.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from holdfast.clock import Clock
from holdfast.errors import DatabaseFull, DatabaseReadOnly, DatabaseUnavailable, IdempotencyBusy
from holdfast.outage import Outage
from holdfast.storage.statements import Statement

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")
Row = tuple[Any, ...]
Batch = Sequence[Any]
Job = Callable[[], None]

log = logging.getLogger("holdfast")

FORK_SECONDS = 2.0  # how long a fork waits for transactions to end
PATIENT = 2  # callers who wait for somebody's lock at once: they must not take every connection
GROUP = 500  # items in one grouped transaction: past that, a commit costs less than the wait for it


class Pending(Protocol):
    """The answer of a statement that has been sent; reading it waits for it."""

    def rows(self) -> list[Row]: ...


class Tx(ABC):
    """One transaction. Statements are called by the names they have in ``sql/*.sql``."""

    kind: str
    _read: dict[Callable[[Any], Any], Any] | None = None

    @abstractmethod
    def send(self, name: str, /, **parameters: Any) -> Pending:
        """Send a statement; its rows are read later, so that several travel together where the database can do that."""

    @abstractmethod
    def batch(self, name: str, rows: Batch, /, **parameters: Any) -> Pending:
        """Send a statement that has ``{rows(…)}`` over records with attributes of the columns' names."""

    @abstractmethod
    def alone(self, name: str, rows: Batch, /, **parameters: Any) -> Pending:
        """A batch statement that is all of this transaction: it needs no BEGIN and no COMMIT of its own."""

    @abstractmethod
    def script(self, text: str) -> None:
        """Run statements that are not named ones: migrations only."""

    def rows(self, name: str, /, **parameters: Any) -> list[Row]:
        return self.send(name, **parameters).rows()

    def row(self, name: str, /, **parameters: Any) -> Row | None:
        rows = self.send(name, **parameters).rows()
        return rows[0] if rows else None

    def once(self, f: Callable[[Tx], R]) -> R:
        """What ``f(tx)`` reads: once, however many parts of the transaction ask for it."""
        read = self._read = self._read or {}
        if f not in read:
            read[f] = f(self)
        return cast("R", read[f])

    def now(self) -> int:
        """The one clock, in milliseconds since the epoch."""
        row = self.row("now")
        return int(row[0]) if row else 0


class Deferred(Generic[R]):
    """What to read once the transaction is committed: a function that returns one has sent all it had to say."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], R]) -> None:
        self.read = read


def repeatable(f: Callable[P, R]) -> Callable[P, R]:
    """Mark a function of a transaction that may be run again although its first commit may have happened."""
    f.repeatable = True  # type: ignore[attr-defined]
    return f


class RowBusy(DatabaseUnavailable):
    """Another transaction that is still open holds a row that is needed here."""


def is_outage(error: BaseException) -> bool:
    """Whether an error says that nothing can be written at present, by nobody: the same again, later."""
    return isinstance(error, DatabaseUnavailable | DatabaseFull | DatabaseReadOnly) and not isinstance(error, RowBusy)


Results = Sequence[R | Exception] | Deferred[list[R | Exception]]


class Threads:
    """Daemon threads that carry out jobs in order. A job never raises: it settles a future.

    Of those that are idle the last one to work is the next: what it needs, and its connection's server process, is
    still in the processor's caches.
    """

    def __init__(self, count: int, name: str) -> None:
        self.count, self.name = count, name
        self.jobs: deque[Job] = deque()  # that nobody is free for
        self.idle: list[SimpleQueue[Job | None]] = []  # where threads wait for a job; the last one was busy last
        self.lock = threading.Lock()
        self.started: list[threading.Thread] = []
        self.stopped = False

    def submit(self, job: Job) -> bool:
        """Have a job done. False when these threads were told to stop: nobody would ever do it."""
        with self.lock:
            if self.stopped:
                return False
            if self.idle:
                self.idle.pop().put(job)
            elif len(self.started) < self.count:
                self.start_another(job)
            else:
                self.jobs.append(job)
        return True

    def start_another(self, job: Job) -> None:
        thread = threading.Thread(target=self.work, args=(job,), name=f"{self.name}-{len(self.started)}", daemon=True)
        thread.start()
        self.started.append(thread)

    def work(self, job: Job | None) -> None:
        inbox: SimpleQueue[Job | None] = SimpleQueue()
        while job is not None:
            job()
            job = None  # what it answered is not kept while this waits
            job = self.next_job(inbox) or inbox.get()

    def next_job(self, inbox: SimpleQueue[Job | None]) -> Job | None:
        """What waits; if nothing does, this thread is idle from now on, or told to end."""
        with self.lock:
            if self.jobs:
                return self.jobs.popleft()
            if self.stopped:
                inbox.put(None)
            else:
                self.idle.append(inbox)
            return None

    def stop(self, timeout: float = 10) -> None:
        """Do what was submitted, and end."""
        with self.lock:
            self.stopped = True
            for inbox in self.idle:
                inbox.put(None)
        for thread in self.started:
            if thread is not threading.current_thread():
                thread.join(timeout)


class Quiet:
    """Lets a fork wait for a moment in which no thread is inside: what one had locked would be locked in the child for
    ever."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside: set[int] = set()
        self.forking = 0

    def __enter__(self) -> None:
        with self.changed:
            while self.forking:
                self.changed.wait(FORK_SECONDS)
            self.inside.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.inside.discard(threading.get_ident())
            if self.forking:
                self.changed.notify_all()

    def begin(self) -> None:
        """Let nobody in, and wait until nobody is inside; not for long, or a fork would wait for another's lock."""
        with self.changed:
            self.forking += 1
            self.changed.wait_for(lambda: not self.inside - {threading.get_ident()}, FORK_SECONDS)

    def end(self) -> None:
        with self.changed:
            self.forking = max(0, self.forking - 1)
            self.changed.notify_all()


class Wakeups:
    """Who wants to know that there may be work. A wake-up is only a way to be early; polling is what is correct."""

    def __init__(self) -> None:
        self.subscribers: list[Callable[[], None]] = []
        self.lock = threading.Lock()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` from a storage thread when there may be work. Returns what ends it."""
        with self.lock:
            self.subscribers = [*self.subscribers, callback]

        def unsubscribe() -> None:
            with self.lock:
                self.subscribers = [kept for kept in self.subscribers if kept is not callback]

        return unsubscribe

    def wake(self) -> None:
        for callback in self.subscribers:
            try:
                callback()
            except Exception:  # whoever sleeps too long polls; the transaction that woke them has committed and is done
                log.exception("a wake-up was not taken")


class Store(ABC):
    """An open database."""

    kind: str
    wakes_for_all = False  # whether wake-ups, where they arrive, come with every commit of whatever process
    tells_sleepers = False  # whether a trigger looks for workers that sleep, which then have to say so
    url: str
    home: str | None = None  # which database this is, once somebody had to know
    statements: dict[str, Statement]

    def __init__(self, url: str, clock: Clock | None) -> None:
        self.url, self.clock = url, clock
        self.wakeups = Wakeups()
        self.groups: dict[Any, Group[Any, Any]] = {}
        self.lock = threading.Lock()
        self.quiet = Quiet()
        self.outage = Outage()
        _open_stores.add(self)

    @abstractmethod
    def submit(self, f: Callable[[Tx], R], *, write: bool = True, again: bool = False) -> Future[R]:
        """Run ``f`` in a transaction on a thread of ours. ``again``: also after a commit whose answer was lost."""

    @abstractmethod
    def listen(self) -> None:
        """Start to hear what other processes do; safe to call twice."""

    @property
    @abstractmethod
    def early(self) -> bool:
        """Whether wake-ups from other processes arrive at present, so that a slow poll is enough."""

    @abstractmethod
    def close(self) -> None:
        """End the threads and connections. Safe to call twice."""

    @abstractmethod
    def forked(self) -> None:
        """Called in a child process: forget threads and connections without touching them, they are the parent's."""

    def refuse_waiting(self) -> None:  # noqa: B027 - most stores have nothing to refuse
        """Raise where a transaction would wait for one that the same caller has open."""

    @overload
    def run_sync(self, f: Callable[Concatenate[Tx, P], Deferred[R]], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run_sync(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    def run_sync(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.refuse_waiting()
        return self.submit(lambda tx: f(tx, *args, **kwargs), again=hasattr(f, "repeatable")).result()

    @overload
    async def run(self, f: Callable[Concatenate[Tx, P], Deferred[R]], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def run(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def run(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.refuse_waiting()
        return await asyncio.wrap_future(self.submit(lambda tx: f(tx, *args, **kwargs), again=hasattr(f, "repeatable")))

    def read_sync(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self.submit(lambda tx: f(tx, *args, **kwargs), write=False, again=True).result()

    async def read(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.wrap_future(self.submit(lambda tx: f(tx, *args, **kwargs), write=False, again=True))

    def gather(self, f: Callable[[Tx, list[Item]], Results[R]], item: Item) -> Future[R]:
        """Run ``f`` over this item and whatever else arrives before its turn; the future has this item's result.

        An item shares no fate with the others: when the group fails, each is run alone and only the bad one is told.
        """
        self.refuse_waiting()
        group = self.groups.get(f)
        if group is None:
            with self.lock:
                group = self.groups.setdefault(f, Group(self, f))
        return cast("Group[Item, R]", group).submit(item)

    def started(self) -> None:
        """Forget what belonged to the parent, after a fork."""
        self.groups = {}
        self.lock = threading.Lock()
        self.quiet = Quiet()
        self.wakeups = Wakeups()
        self.forked()


class Group(Generic[Item, R]):
    """The items that wait for the next grouped transaction of one function."""

    def __init__(self, store: Store, f: Callable[[Tx, list[Item]], Results[R]]) -> None:
        self.store, self.f = store, f
        self.again = hasattr(f, "repeatable")
        self.lock = threading.Lock()
        self.waiting: deque[tuple[Item, Future[R]]] = deque()
        self.running = False

    def submit(self, item: Item) -> Future[R]:
        future: Future[R] = Future()
        with self.lock:
            self.waiting.append((item, future))
            idle, self.running = not self.running, True
        if idle:
            self.start()
        return future

    def start(self) -> None:
        members: list[tuple[Item, Future[R]]] = []

        def together(tx: Tx) -> Results[R]:
            if not members:  # a transaction that is run again keeps the members it had
                members.extend(self.take())
            return self.f(tx, [item for item, _ in members]) if members else []

        self.store.submit(together, again=self.again).add_done_callback(lambda done: self.finish(members, done))

    def take(self) -> list[tuple[Item, Future[R]]]:
        """The next members; those whose caller has gone away are left out."""
        with self.lock:
            next_ones = [self.waiting.popleft() for _ in range(min(len(self.waiting), GROUP))]
        return [(item, future) for item, future in next_ones if future.set_running_or_notify_cancel()]

    def finish(self, members: list[tuple[Item, Future[R]]], done: Future[Any]) -> None:
        error = done.exception()
        if error is None:
            for (_, future), result in zip(members, done.result(), strict=True):
                settle(future, result)
        else:
            self.divide(members or self.take(), error)  # without members the door did not open at all
        with self.lock:
            more = self.running = bool(self.waiting)
        if more:
            self.start()

    def divide(self, members: list[tuple[Item, Future[R]]], error: BaseException) -> None:
        """The group failed: each member is run alone, unless that could not help."""
        waited = isinstance(error, RowBusy | IdempotencyBusy)
        if len(members) == 1 or (isinstance(error, DatabaseUnavailable) and not waited):
            for _, future in members:
                settle(future, error)
        else:
            rest = deque(members)
            for _ in range(PATIENT if waited else len(members)):
                self.next_alone(rest)

    def next_alone(self, rest: deque[tuple[Item, Future[R]]]) -> None:
        """Run one of these alone, and the next one after it: as many at once as this was called for."""
        if rest:
            item, future = rest.popleft()
            done = self.store.submit(lambda tx: self.f(tx, [item]), again=self.again)
            done.add_done_callback(lambda done: self.told(future, done))
            done.add_done_callback(lambda _: self.next_alone(rest))

    def told(self, future: Future[R], done: Future[Any]) -> None:
        settle(future, done.exception() or done.result()[0])


def settle(future: Future[R], result: R | BaseException) -> None:
    """Give a future its result, or raise it there if it is an error."""
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


_open_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def _before_fork() -> None:
    for store in list(_open_stores):
        store.quiet.begin()


def _after_fork() -> None:
    for store in list(_open_stores):
        store.quiet.end()


def _in_child() -> None:
    for store in list(_open_stores):
        store.started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
