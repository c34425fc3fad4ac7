"""What a worker has to tell the database: outcomes and log lines, gathered until the next round takes them along.

An outcome shares no fate with the others. When the database refuses a round, its outcomes are written one by one, and
only the bad one is told; when it is away, they wait here. Log lines go with the outcome of their run, or every half
second.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from holdfast.engine import claim
from holdfast.engine.claim import Ask
from holdfast.errors import DatabaseFull, DatabaseReadOnly, DatabaseUnavailable, IdempotencyBusy
from holdfast.records import Claimed, Ended, Invocation, LogLine, Suspension
from holdfast.storage import Store
from holdfast.storage.base import RowBusy, is_outage
from holdfast.storage.runs import AgainRow, Fence, again_row
from holdfast.worker.live import said
from holdfast.worker.outcome import Outcome, system_failure, unbegun

log = logging.getLogger("holdfast")

LINES_SECONDS = 0.5
LINES_AT_ONCE = 2_000
ASIDE_SECONDS = 5.0  # until what was locked is tried again
LATER = (DatabaseUnavailable, DatabaseFull, DatabaseReadOnly, IdempotencyBusy)  # what passes: the same again, later
BUSY = (RowBusy, IdempotencyBusy)  # … which only some of it has to wait for


class Parcel(NamedTuple):
    """What one round takes along."""

    ended: list[Ended]
    again: list[AgainRow]
    lines: list[LogLine]
    invocations: list[Invocation]
    waits: list[Suspension]


class Outbox:
    """Everything that is not in the database yet. ``me`` is the worker whose name it is said in."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.me = ""
        self.ended: list[Ended] = []
        self.again: list[AgainRow] = []
        self.invocations: list[Invocation] = []  # those of the outcomes above
        self.waits: list[Suspension] = []  # runs that wait, and would give up their slots
        self.aside: deque[Ended | AgainRow] = deque()  # outcomes that somebody's lock is in the way of
        self.aside_at = 0.0
        self.lines: deque[LogLine] = deque()  # threads append to it
        self.lines_at = 0.0
        self.repeated: set[str] = set()  # runs whose outcome was in a lost answer

    def __bool__(self) -> bool:
        return bool(self.ended or self.again or self.waits or self.aside or self.lines)

    def note(self, run: Claimed, outcome: Outcome | None) -> None:
        """Take in how an attempt ended."""
        if isinstance(outcome, Ended):
            outcome.awaited = run.awaited
            self.ended.append(outcome)
        elif outcome is not None:
            self.again.append(again_row(outcome, self.me, run.attempt, run.started_at))

    def give_up(self, run: Claimed, message: str) -> None:
        """Holdfast itself cannot go on with this run."""
        self.note(run, system_failure(run.id, run.claim, message))

    def send_back(self, run_id: str, number: int) -> None:
        """A run that the database says is held here, and that nobody here knows, goes back in line."""
        self.again.append(again_row(unbegun(run_id, number), self.me, 0, 0))

    def reported(self) -> set[str]:
        """The runs whose outcome is here."""
        return {one.id for one in (*self.ended, *self.again, *self.aside)}

    def clear(self) -> None:
        """Nothing of this is ours to tell any more."""
        self.ended, self.again, self.invocations, self.waits = [], [], [], []
        self.aside.clear()
        self.lines.clear()

    # rounds

    def take(self) -> Parcel:
        """What the next round takes along."""
        parcel = Parcel(self.ended, self.again, self.take_lines(), self.invocations, self.waits)
        self.ended, self.again, self.invocations, self.waits = [], [], [], []
        return parcel

    def take_lines(self) -> list[LogLine]:
        """The log lines to send now: those of running attempts every half second, all of them with an outcome."""
        now = time.monotonic()
        if not self.lines or not (self.ended or self.again or self.waits or now - self.lines_at >= LINES_SECONDS):
            return []
        self.lines_at = now
        return [self.lines.popleft() for _ in range(len(self.lines))]

    def keep(self, parcel: Parcel) -> None:
        """The round's answer was lost, or the database is away: all of it again, later."""
        self.ended, self.again = parcel.ended + self.ended, parcel.again + self.again
        self.invocations = parcel.invocations + self.invocations
        self.waits = parcel.waits + self.waits
        self.lines.extendleft(reversed(parcel.lines))
        self.repeated.update([run.id for run in parcel.ended] + [row.id for row in parcel.again])

    def hear(self, lost: Iterable[Fence]) -> None:
        """A round was written, but for what had moved on."""
        for run_id, number in lost:
            if run_id not in self.repeated:
                log.warning("run %s has moved on: what claim %d had to report is discarded", run_id, number)
        self.repeated.clear()

    # when a round is refused

    async def one_by_one(self, parcel: Parcel, error: Exception) -> None:
        """The round was refused: write each outcome alone, so that only the bad one is told, and forget none."""
        self.waits = parcel.waits + self.waits
        if not any(parcel[:3]):
            raise error
        log.warning("the database refused a round, its outcomes are written one by one: %s", error)
        left: deque[Ended | AgainRow] = deque([*parcel.ended, *parcel.again])
        said_by = by_run(parcel.lines)
        sent_by = {sent.run_id: sent for sent in parcel.invocations}
        try:
            while left:
                await self.write_alone(left[0], said_by.pop(left[0].id, []), sent_by.get(left[0].id))
                left.popleft()
        finally:
            for one in left:
                (self.ended if isinstance(one, Ended) else self.again).append(one)  # type: ignore[arg-type]
            self.invocations += [sent_by[one.id] for one in left if one.id in sent_by]
        for some in said_by.values():
            await self.write_lines(some)

    async def write_alone(self, one: Ended | AgainRow, lines: list[LogLine], sent: Invocation | None = None) -> None:
        """Write an outcome; if it cannot be stored, that; if somebody else's lock is in the way, put it aside."""
        await self.write_lines(lines)
        try:
            await self.tell(one, sent)
        except BUSY as error:
            log.warning("the outcome of run %s has to wait: %s", one.id, error)
            self.aside.append(one)
            self.aside_at = time.monotonic()
        except Exception as error:
            if is_outage(error):
                raise
            log.exception("the outcome of run %s cannot be stored", one.id)
            message = f"The outcome of this run could not be stored: {said(error)}"
            instead = system_failure(one.id, one.claim, message)
            instead.awaited = getattr(one, "awaited", True)
            await self.tell(instead)

    async def retry_aside(self) -> None:
        """Try what was locked: until it is locked again, for that takes the time of everything else."""
        due = self.aside and time.monotonic() - self.aside_at >= ASIDE_SECONDS
        for _ in range(len(self.aside) if due else 0):
            one, waiting = self.aside.popleft(), len(self.aside)
            try:
                await self.write_alone(one, [])
            except BaseException:
                self.aside.appendleft(one)
                raise
            if len(self.aside) > waiting:
                return

    async def tell(self, one: Ended | AgainRow, sent: Invocation | None = None) -> None:
        ended, again = ([one], []) if isinstance(one, Ended) else ([], [one])
        await self.store.run(claim.exchange, Ask(self.me), ended, again, [], [sent] if sent else [])

    async def write_surplus(self) -> None:
        """A great many lines go by themselves, before a round that would be slow for them."""
        while len(self.lines) > LINES_AT_ONCE:
            await self.write_lines([self.lines.popleft() for _ in range(LINES_AT_ONCE)])

    async def write_lines(self, lines: list[LogLine]) -> None:
        """Write log lines by themselves. What the database refuses is given up: no run should fail for its log."""
        if not lines:
            return
        try:
            await self.store.run(claim.write_logs, lines)
        except Exception as error:
            if is_outage(error):
                self.lines.extendleft(reversed(lines))
                raise
            log.exception("%d log lines cannot be stored, of run %s", len(lines), lines[0].run_id)


def by_run(lines: Iterable[LogLine]) -> dict[str, list[LogLine]]:
    found: dict[str, list[LogLine]] = {}
    for line in lines:
        found.setdefault(line.run_id, []).append(line)
    return found
