"""What is followed: a run, or all runs with some tags or of a batch. All who follow the same share one topic.

A topic keeps no list of what each reader has not had yet. It has a *state*, a number that stands for how all its runs
are, and a short past: which run changed at which state. A reader is a place in that past. One whose place is gone,
since it is slow, or comes from another server, is shown all runs as they are; one whose state is the present one has
missed nothing, on whatever server it was before.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from holdfast.ids import hash63
from holdfast.records import RunRecord
from holdfast.views.followed import MEMBERS, Group
from holdfast.views.marks import Mark

PAST: Final = 256  # changes that a reader may be behind
LINGER_SECONDS: Final = 30.0  # a topic that nobody follows is kept: who polls comes back
DIGITS: Final = (1 << 48) - 1  # of a state: a number that JavaScript can hold
SMALL: Final = 64 * 1024  # characters of a run that is kept with its change; a larger one is read again

Followed = str | Group  # a run, or a group of them


class Change:
    """One run has changed: the state of the topic from then on, and the run as it was then, if it is small. ``forms``
    are what was made of it for those who read it: the same for all."""

    __slots__ = ("forms", "record", "run_id", "state")

    def __init__(self, state: int, record: RunRecord) -> None:
        self.state, self.run_id = state, record.id
        self.record = record if len(record.payload) + len(record.output or "") < SMALL else None
        self.forms: dict[str, bytes] = {}


class Topic:
    """What is followed by some, on one event loop."""

    def __init__(self, followed: Followed) -> None:
        self.followed = followed
        self.marks: dict[str, Mark | None] = {followed: None} if isinstance(followed, str) else {}
        self.open = set(self.marks)  # the runs that may still change
        self.known = False  # whether it has been looked at
        self.looked_at = float("-inf")  # for runs that are new in it
        self.state = 0
        self.past: deque[Change] = deque(maxlen=PAST)
        self.before = 0  # the state before the past
        self.readers = 0
        self.left_at = time.monotonic()
        self.waiting: set[asyncio.Event] = set()
        self.problem: Exception | None = None

    # for the hub

    @property
    def forgotten(self) -> bool:
        return not self.readers and time.monotonic() - self.left_at > LINGER_SECONDS

    def add(self, ids: Iterable[str]) -> None:
        """Runs that belong to it, the oldest first."""
        for run_id in ids:
            if run_id not in self.marks:
                self.marks[run_id] = None
                self.open.add(run_id)
        if len(self.marks) > 2 * MEMBERS:
            ended = [run_id for run_id in self.marks if run_id not in self.open]
            for run_id in ended[: len(self.marks) - MEMBERS]:
                del self.marks[run_id]

    def changed(self, found: Mapping[str, Mark]) -> list[str]:
        """The runs that are not as they were."""
        return [run_id for run_id in self.open if run_id in found and found[run_id] != self.marks[run_id]]

    def take(self, marks: Mapping[str, Mark], records: Iterable[RunRecord]) -> None:
        """Take in what has changed, and tell those who wait."""
        for record in records:
            mark = marks[record.id]
            if len(self.past) == PAST:
                self.before = self.past[0].state
            self.state ^= digest(record.id, self.marks[record.id]) ^ digest(record.id, mark)
            self.marks[record.id] = mark
            if mark.final:
                self.open.discard(record.id)
            self.past.append(Change(self.state, record))
        self.tell()

    def tell(self) -> None:
        for each in self.waiting:
            each.set()

    # for readers

    @property
    def final(self) -> bool:
        """Whether nothing will change any more: it is one run, which has ended."""
        return isinstance(self.followed, str) and self.known and not self.open

    @property
    def unknown(self) -> bool:
        """Whether it is one run, and there is no such run."""
        return isinstance(self.followed, str) and self.known and self.marks.get(self.followed) is None

    def after(self, state: int) -> list[Change] | None:
        """What has changed since this state; None if that is not known any more."""
        if state == self.state:
            return []
        for back, change in enumerate(reversed(self.past)):
            if change.state == state:
                return list(self.past)[len(self.past) - back :]
        return list(self.past) if state == self.before and self.past else None

    async def news(self, state: int, seconds: float, woken: asyncio.Event) -> None:
        """Wait until the state is another one, or ``woken`` is set, or it is time to go on."""
        if self.state != state or woken.is_set():
            return
        self.waiting.add(woken)
        try:
            async with asyncio.timeout(seconds):
                while self.state == state and not woken.is_set():
                    await woken.wait()
        except TimeoutError:
            pass
        finally:
            self.waiting.discard(woken)


def digest(run_id: str, mark: Mark | None) -> int:
    """The share that a run has in the state of a topic."""
    return 0 if mark is None else hash63(run_id, repr(tuple(mark))) & DIGITS
