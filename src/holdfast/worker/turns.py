"""Whose turn it is: results are handed to the code of an attempt in the order in which they were recorded.

While several branches run, one at a time, and the next one when all is quiet again; so a race goes the same way when
the run is replayed. When every branch waits and nothing is left to hand out, the run can give up its slot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from holdfast.errors import Suspended
from holdfast.records import Entry
from holdfast.worker.quiet import Wait, quiet, waiting

if TYPE_CHECKING:
    from holdfast.worker.limits import Limits
    from holdfast.worker.live import Live

PATIENCE_SECONDS: Final = 0.25  # for a branch that is busy, before the next result is handed out all the same
LOOK_SECONDS: Final = (0.002, 0.5)  # between looks whether every branch waits
LATE_SECONDS: Final = 1.0  # before a time is asked for again


class Turns:
    """What waits to be handed out, and who waits for it. ``entries`` are those settled before the attempt began."""

    limits: Limits

    def __init__(self, live: Live, entries: Iterable[Entry]) -> None:
        self.live, self.host = live, live.host
        self.pending = {entry.key: entry for entry in in_order(filter(is_settled, entries))}
        self.waits: dict[str, Wait] = {}  # asked for, and not handed out
        self.writing: set[str] = set()  # recorded now: their branches are about to wait for them
        self.branches: set[asyncio.Task[Any]] = set()  # that have not ended
        self.left: set[str] = set()  # was asked for, and is not any more
        self.inside: dict[asyncio.Task[Any] | None, int] = {}  # tasks that carry out an operation …
        self.stepping: set[asyncio.Task[Any] | None] = set()  # … those of them that are in the body of a step
        self.timers: set[asyncio.TimerHandle] = set()
        self.looking: asyncio.Handle | None = None
        self.busy_since = 0.0
        self.pause = LOOK_SECONDS[0]
        self.dropped = False
        last, stood = live.claimed.stood or (0, None)
        self.stood = stood  # the last result that the code was handed before the run gave up its slot …
        self.rehearses = stood is not None  # … before it is handed a later one, it only does what it has done
        self.at_once = last + 1 == live.claimed.claim  # … and nothing was carried out since

    # branches

    def add(self, task: asyncio.Task[Any]) -> None:
        self.branches.add(task)
        if task is not self.live.work:  # with which the attempt ends
            task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[Any]) -> None:
        self.branches.discard(task)
        if self.waits:
            self.look_again()

    def alone(self) -> bool:
        """Whether there is only one branch, so that nothing can race."""
        return len(self.branches) <= 1 and not self.waits

    @contextmanager
    def operating(self) -> Iterator[None]:
        """While the caller carries out an operation, nobody takes it for waiting, or for code that may go on."""
        task = asyncio.current_task()
        self.inside[task] = self.inside.get(task, 0) + 1
        try:
            yield
        finally:
            self.inside[task] -= 1
            if not self.inside[task]:
                del self.inside[task]
            if self.waits:
                self.look_again()

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """While the caller is in the body of a step."""
        task = asyncio.current_task()
        with self.operating():
            self.stepping.add(task)
            try:
                yield
            finally:
                self.stepping.discard(task)

    @contextmanager
    def write(self, key: str) -> Iterator[None]:
        """While an entry is being recorded, whose branch then waits for its turn."""
        self.writing.add(key)
        try:
            yield
        finally:
            self.writing.discard(key)

    def operating_now(self) -> bool:
        """Whether somebody carries out an operation, and is neither in a step nor waiting."""
        return bool(self.inside.keys() - self.stepping)

    # handing out

    def give_at_once(self, entry: Entry) -> bool:
        """Hand this entry out here and now, if it is settled and nothing can come before it. False if not."""
        if entry.state == "open" or not self.alone():
            return False
        self.give(entry)
        return True

    async def take(self, entry: Entry) -> Entry:
        """This entry, or what it comes to, when it is settled and it is its turn."""
        wait = self.waits[entry.key] = Wait(loop=self.host.loop)
        self.set_timer(entry)
        self.look_again()
        try:
            return cast("Entry", await wait)
        except asyncio.CancelledError:
            self.leave(entry.key)
            raise
        finally:
            self.waits.pop(entry.key, None)
            del wait  # an error in it has this frame, which has it

    def leave(self, key: str) -> None:
        """Nobody waits for this any more, nor will anybody."""
        self.left.add(key)
        self.waits.pop(key, None)
        self.pending.pop(key, None)

    def give(self, entry: Entry) -> None:
        """It is handed to the code. If it came after the run had given up its slot, what follows is new."""
        self.strike(entry)
        if self.stood is not None and (entry.settled or 0) > self.stood:
            self.rehearses = False
            if self.at_once:
                self.live.lines.replayed = False

    def strike(self, entry: Entry) -> None:
        """It is handed out. After the last one the code goes where it has not been before."""
        self.pending.pop(entry.key, None)
        if not self.pending:
            self.live.lines.replayed = False

    def settle(self, entry: Entry) -> None:
        """An entry has settled; the last one to do so is handed out last."""
        self.pending.pop(entry.key, None)
        if is_settled(entry) and entry.key not in self.left:
            self.pending[entry.key] = entry

    def look_again(self) -> None:
        """Something has changed: see whether a result can be handed out, or the run can give up its slot."""
        if self.looking is not None:
            self.looking.cancel()
        self.pause = LOOK_SECONDS[0]
        self.look_at_once()

    def look_at_once(self) -> None:
        self.looking = self.host.loop.call_soon(self.look, context=self.host.context)

    def look(self) -> None:
        self.looking = None
        if self.dropped or self.live.over or self.live.parked or not self.waits:
            return
        branches = self.branches - self.inside.keys()
        asked = (entry for key, entry in self.pending.items() if key in self.waits or key in self.writing)
        next_one = next(filter(self.limits.may_have_turn, asked), None)
        if next_one is not None and next_one.key in self.writing:
            return  # its branch has not heard yet that it is recorded: what came later has to wait for it
        if next_one is not None:
            self.hand_out(next_one, branches)
        elif not self.inside and waiting(branches):
            if not self.limits.unsaid():
                self.live.suspend()
        else:  # a branch is busy with what is not durable
            self.pause = min(LOOK_SECONDS[1], self.pause * 2)
            self.looking = self.host.loop.call_later(self.pause, self.look, context=self.host.context)

    def hand_out(self, entry: Entry, branches: set[asyncio.Task[Any]]) -> None:
        now = time.monotonic()
        self.busy_since = self.busy_since or now
        if not quiet(branches) and now - self.busy_since < PATIENCE_SECONDS:
            self.look_at_once()
            return
        self.busy_since = 0.0
        self.give(entry)
        wait = self.waits.pop(entry.key)
        if not wait.done():
            wait.set_result(entry)
        self.look_again()

    # times

    def set_timer(self, entry: Entry) -> None:
        """A time that is over while other branches are at work is seen here; that of a run that waits, by the sweep."""
        if entry.due_at is not None and not is_settled(entry):
            self.watch_time(entry.key, max(0.0, (entry.due_at - self.live.now()) / 1000))

    def set_timers(self, entries: Mapping[str, Entry]) -> None:
        """After it has waited in memory."""
        for key in self.waits:
            self.set_timer(entries[key])

    def watch_time(self, key: str, seconds: float) -> None:
        self.timers.add(self.host.loop.call_later(seconds, self.time_over, key, context=self.host.context))

    def time_over(self, key: str) -> None:
        """The database decides whether it is, by its own clock."""
        if key in self.waits and not self.live.parked:
            self.host.overdue(self.live)
            self.watch_time(key, LATE_SECONDS)

    # leaving

    def drop(self) -> None:
        """The attempt leaves memory: wherever its code waits, that is raised."""
        self.dropped = True
        self.interrupt(Suspended)

    def interrupt(self, error: type[BaseException]) -> None:
        """Raise this wherever the code waits."""
        self.rest()
        for wait in list(self.waits.values()):
            if not wait.done():
                wait.set_exception(error())

    def rest(self) -> None:
        """Look no more."""
        if self.looking is None and not self.timers:
            return
        for handle in (*self.timers, *([self.looking] if self.looking else ())):
            handle.cancel()
        self.timers.clear()
        self.looking = None


def is_settled(entry: Entry) -> bool:
    return entry.state != "open"


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The same in the order in which they settled."""
    found = list(entries)
    return sorted(found, key=place) if len(found) > 1 else found


def place(entry: Entry) -> tuple[int, int, str, int]:
    """Where an entry stands in the order in which entries were settled."""
    return entry.settled or 0, entry.due_at or 0, entry.branch, entry.seq
