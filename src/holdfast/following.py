"""Following runs and their streams: whoever follows is told when there is something new.

One background thread per client asks for the marks of all that is followed, in one question, and answers those whose
mark is not the one they have seen. Where commits of other processes are heard (SQLite), it asks when one is; where they
are not, it asks every 20 ms as long as there is news, and every 100 ms in the end, in between a tenth of how long there
was none. A database that is away is waited for.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Protocol

from holdfast.errors import DatabaseError, HoldfastError
from holdfast.storage import Store
from holdfast.views import Followed, Mark, marks
from holdfast.waiting import settle

__all__ = ["Commits", "Follower", "Following", "Source"]

Answer = Mark | None  # None: there is no such run

_GAP: Final = 0.01  # between two questions, however much happens
_SHORTEST: Final = 0.02
_LONGEST: Final = 0.1
_HEARING: Final = 1.0  # where every commit is heard, asking by the clock is only for what is missed
_SHARE: Final = 0.1
_OUTAGE: Final = 0.5


class Source(Protocol):
    """Where marks come from. ``hear`` has a function called whenever something may have changed, and answers what ends
    that; ``hears`` says whether it is called for everything at present."""

    def marks(self, followed: Sequence[Followed], /) -> Mapping[Followed, Mark]: ...
    def hear(self, changed: Callable[[], None], /) -> Callable[[], None]: ...
    def hears(self) -> bool: ...


class Commits:
    """The marks in a database; where a wake-up comes with every commit, it is heard."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def marks(self, followed: Sequence[Followed]) -> Mapping[Followed, Mark]:
        return self.store.read_sync(marks, followed)

    def hear(self, changed: Callable[[], None]) -> Callable[[], None]:
        if not self.store.wakes_for_all:
            return lambda: None
        self.store.listen()
        return self.store.wakeups.subscribe(changed)

    def hears(self) -> bool:
        return self.store.wakes_for_all and self.store.early


class Follower(Protocol):
    """What a client asks for news of."""

    def news(self, followed: Followed, seen: Answer, /) -> Future[Answer]: ...
    async def anews(self, followed: Followed, seen: Answer, /) -> Answer: ...
    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Interest:
    followed: Followed
    seen: Answer
    since: float
    future: Future[Answer] = field(default_factory=Future)


class Following:
    """Answers when something has changed. Threads may share it; a forked child starts with nobody following."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._unhear: Callable[[], None] | None = None
        self._closed = False
        self._wake = threading.Condition()
        self._interests: list[_Interest] = []
        self._thread: threading.Thread | None = None
        self._due = 0.0
        self._heard = False
        _all.add(self)

    def news(self, followed: Followed, seen: Answer) -> Future[Answer]:
        """A future that has the mark of this when it is another one than was ``seen``. Cancel it to stop following."""
        interest = _Interest(followed, seen, time.monotonic())
        with self._wake:
            if self._closed:
                raise HoldfastError("The app is closed", do="Follow runs before close().")
            self._interests.append(interest)
            if self._thread is None:
                self._unhear = self._source.hear(self._hear)
                self._thread = threading.Thread(target=self._work, name="holdfast-following", daemon=True)
                self._thread.start()
            self._due = 0.0
            self._wake.notify()
        return interest.future

    async def anews(self, followed: Followed, seen: Answer) -> Answer:
        """`news` for async code: the mark itself."""
        return await asyncio.wrap_future(self.news(followed, seen))

    def close(self) -> None:
        """Stop. Who still follows is told so."""
        with self._wake:
            self._closed = True
            left, self._interests = self._interests, []
            self._wake.notify()
            unhear, self._unhear = self._unhear, None
        if unhear is not None:
            unhear()
        for interest in left:
            settle(
                interest.future, HoldfastError("The app was closed while somebody followed a run", do="Close it later.")
            )

    def _forget(self) -> None:
        # After a fork the thread and the followers are the parent's, and somebody may have held the lock.
        self._wake = threading.Condition()
        self._interests = []
        self._thread = None
        self._heard = False

    def _hear(self) -> None:
        """Something was committed. Called from storage threads, for every commit: most find nobody following."""
        if self._interests and not self._heard:
            with self._wake:
                self._heard = True
                self._wake.notify()

    def _work(self) -> None:
        while (interests := self._next()) is not None:
            if interests:
                self._ask(interests)
                time.sleep(_GAP)

    def _next(self) -> list[_Interest] | None:
        """Those to ask for now, perhaps none; None to end."""
        with self._wake:
            if self._closed:
                return None
            self._interests = [interest for interest in self._interests if not interest.future.done()]
            if not self._interests:
                self._wake.wait()
                return []
            if not self._heard and (left := self._due - time.monotonic()) > 0:
                self._wake.wait(left)
                return []
            self._heard = False
            return list(self._interests)

    def _ask(self, interests: list[_Interest]) -> None:
        try:
            found = self._source.marks(list({interest.followed for interest in interests}))
        except DatabaseError:
            self._due = time.monotonic() + _OUTAGE
            return
        except Exception as error:  # nobody else would hear of it, and the followers would wait for ever
            for interest in interests:
                settle(interest.future, error)
            return
        for interest in interests:
            if (mark := found.get(interest.followed)) != interest.seen or mark is None:
                settle(interest.future, mark)
        now = time.monotonic()
        quiet = min((now - interest.since for interest in interests), default=0.0)
        longest = _HEARING if self._source.hears() else _LONGEST
        with self._wake:
            if all(interest in interests for interest in self._interests):  # else somebody has come meanwhile
                self._due = now + min(longest, max(_SHORTEST, quiet * _SHARE))


_all: weakref.WeakSet[Following] = weakref.WeakSet()


def _after_fork() -> None:
    for following in list(_all):
        following._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
