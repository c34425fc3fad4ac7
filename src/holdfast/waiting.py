"""Waiting for runs to end.

One background thread per client asks the database, for all who wait, which of their runs are final: one statement,
however many wait. How often it asks for a run follows how long that has been waited for: every 2 ms at first, every
200 ms in the end, a tenth of the time waited in between. So an answer is late by a tenth at most, and a long wait costs
little.

Both colours wait on the same `concurrent.futures.Future`: sync code on its ``result()``, async code through
``asyncio.wrap_future``. A future that its waiter cancels is forgotten. A database that is away is waited for.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from holdfast.errors import DatabaseError, HoldfastError, RunNotFound
from holdfast.records import RunRecord

__all__ = ["Finished", "Waiter", "Waiting"]

T = TypeVar("T")
Finished = dict[str, RunRecord]
Read = Callable[[list[str]], Sequence[RunRecord]]

_SHORTEST: Final = 0.002
_LONGEST: Final = 0.2
_SHARE: Final = 0.1
_OUTAGE: Final = 0.5
# A run that does not exist never ends. Nobody asks for one on purpose, so it is enough to notice before people wonder.
_FIRST_CHECK: Final = 1.0
_CHECK_AGAIN: Final = 60.0
_CHECK_AT_ONCE: Final = 100


@dataclass(slots=True, eq=False)
class _Interest:
    """Somebody waits for all of these."""

    missing: dict[str, None]
    since: float
    early: float
    due: float
    check_at: float
    found: Finished = field(default_factory=dict)
    future: Future[Finished] = field(default_factory=Future)

    def pause(self, now: float) -> None:
        pause = min(_LONGEST, max(_SHORTEST, (now - self.since) * _SHARE))
        self.due = now + pause
        self.early = now + pause / 2  # from here on it comes along with those who are due: then they share a question


class Waiter(Protocol):
    """What a client asks for the ends of runs."""

    def watch(self, ids: Sequence[str], /) -> Future[Finished]: ...
    async def awatch(self, ids: Sequence[str], /) -> Finished: ...
    def close(self) -> None: ...


class Waiting:
    """Answers when runs are final.

    ``finished(ids)`` reads those of the runs that are final, ``known(ids)`` all that exist. A DatabaseError of theirs
    is taken as an outage. Threads may share it; a forked child starts with nobody waiting.
    """

    def __init__(self, finished: Read, known: Read) -> None:
        self._finished = finished
        self._known = known
        self._wake = threading.Condition()
        self._interests: list[_Interest] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        _all.add(self)

    def watch(self, ids: Iterable[str]) -> Future[Finished]:
        """A future that has the records of all these runs when the last of them is final.

        It raises RunNotFound when one of them does not exist. Cancel it to stop waiting.
        """
        now = time.monotonic()
        interest = _Interest(dict.fromkeys(ids), now, now, now, now + _FIRST_CHECK)
        if not interest.missing:
            interest.future.set_result({})
            return interest.future
        with self._wake:
            if self._closed:
                raise HoldfastError("The app is closed", do="Wait for results before close().")
            self._interests.append(interest)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="holdfast-waiting", daemon=True)
                self._thread.start()
            self._wake.notify()
        return interest.future

    async def awatch(self, ids: Iterable[str]) -> Finished:
        """`watch` for async code: the records themselves."""
        return await asyncio.wrap_future(self.watch(ids))

    def close(self) -> None:
        """Stop. Who still waits is told so."""
        with self._wake:
            self._closed = True
            left, self._interests = self._interests, []
            self._wake.notify()
        for interest in left:
            settle(
                interest.future,
                HoldfastError("The app was closed while somebody waited for a result", do="Close it afterwards."),
            )

    def _forget(self) -> None:
        # After a fork the thread and the waiters are the parent's, and somebody may have held the lock.
        self._wake = threading.Condition()
        self._interests = []
        self._thread = None

    def _work(self) -> None:
        while (interests := self._next()) is not None:
            if interests:
                self._ask(interests)

    def _next(self) -> list[_Interest] | None:
        """Those to ask for now, perhaps none; None to end. Sleeps until somebody is due."""
        with self._wake:
            if self._closed:
                return None
            self._interests = [interest for interest in self._interests if not interest.future.done()]
            if not self._interests:
                self._wake.wait()
                return []
            now = time.monotonic()
            if (first := min(interest.due for interest in self._interests)) > now:
                self._wake.wait(first - now)
                return []
            return [interest for interest in self._interests if interest.early <= now]

    def _ask(self, interests: list[_Interest]) -> None:
        try:
            self._deliver(interests, self._finished(list({run_id for each in interests for run_id in each.missing})))
            self._check(interests)
        except DatabaseError:
            for interest in interests:
                interest.early = interest.due = time.monotonic() + _OUTAGE
        except Exception as error:  # nobody else would hear of it, and the waiters would wait for ever
            for interest in interests:
                settle(interest.future, error)

    def _deliver(self, interests: list[_Interest], records: Sequence[RunRecord]) -> None:
        finished = {record.id: record for record in records}
        now = time.monotonic()
        for interest in interests:
            interest.pause(now)
            if not finished:
                continue
            for run_id in [run_id for run_id in interest.missing if run_id in finished]:
                interest.found[run_id] = finished[run_id]
                del interest.missing[run_id]
            if not interest.missing:
                settle(interest.future, interest.found)

    def _check(self, interests: list[_Interest]) -> None:
        """Whether what is waited for exists at all."""
        now = time.monotonic()
        for interest in interests:
            if interest.missing and interest.check_at <= now:
                interest.check_at = now + _CHECK_AGAIN
                ids = list(interest.missing)[:_CHECK_AT_ONCE]
                if lost := set(ids).difference(record.id for record in self._known(ids)):
                    settle(interest.future, not_there(min(lost)))


def not_there(run_id: str) -> RunNotFound:
    """What is said of a run that nobody can see."""
    return RunNotFound(
        "There is no run with this id, or no longer",
        seen=run_id,
        do="See holdfast runs list; one that joined a transaction is there when that is committed.",
    )


def settle(future: Future[T], outcome: T | Exception) -> None:
    """Give a future what came of it, unless whoever waits for it has gone away."""
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


_all: weakref.WeakSet[Waiting] = weakref.WeakSet()


def _after_fork() -> None:
    for waiting in list(_all):
        waiting._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
