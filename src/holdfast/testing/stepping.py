"""A worker that is taken from one thing that is due to the next, and stops where nothing is due any more.

It is the worker of production over a database in memory, with these differences, so that a test goes the same way every
time: runs start one at a time, in the order in which they stand in line (another one starts while one waits for its
result); nothing is polled for; retries back off without jitter; and what the database refuses is raised.

A worker lives as long as one step of the test. What a task left in the memory of the last one is gone, as after a
deploy.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Final

from holdfast.clock import FrozenClock
from holdfast.duration import format_ms
from holdfast.engine import reap
from holdfast.engine.claim import Ask, Round
from holdfast.errors import HoldfastError
from holdfast.records import Claimed
from holdfast.storage import Store
from holdfast.task import Task
from holdfast.testing.answers import Answers
from holdfast.worker.hold import Hold
from holdfast.worker.home import Home, Settings
from holdfast.worker.live import Live
from holdfast.worker.outcome import Outcome
from holdfast.worker.worker import Worker

__all__ = ["Stepped", "Stuck", "settled", "stand_in"]

AHEAD: Final = 500
THREADS: Final = 64
RUNS: Final = 10_000  # in one step: more are taken for a circle
LOOK_SECONDS: Final = 0.02
QUIET: Final = 2  # passes in which nothing happens, before that is taken to be all
LONG_AGO: Final = float("-inf")


class Stuck(HoldfastError):
    """A step of the test does not come to an end."""


class OneByOne(Hold):
    """What a step holds: one run has a slot, and more only while some wait for others. A change moves the step on."""

    def __init__(self, worker: Stepped) -> None:
        super().__init__(worker.home, worker.store, worker.settings, worker.outbox, worker.changed)
        self.settings = worker.settings._replace(concurrency=1)  # the threads for more of them are there
        self.moved, self.carried = worker.moved, 0

    def room(self) -> int:
        return 0 if self.closing else max(0, AHEAD - len(self.held))

    def admit(self, claimed: list[Claimed], queue_names: Mapping[int, str]) -> None:
        self.moved()
        self.carried += len(claimed)
        if self.carried > RUNS:
            raise Stuck(
                "Runs lead to runs without end",
                seen=f"{self.carried:,} in one step, the last ones of {claimed[-1].task}",
                do="Give what triggers itself a delay, and move the clock with jobs.advance().",
            )
        super().admit(claimed, queue_names)

    def done(self, live: Live, outcome: Outcome | None) -> None:
        self.moved()
        super().done(live, outcome)

    def lend(self, count: int) -> None:
        """So many runs wait for others: they lend out their slots meanwhile."""
        self.settings = self.settings._replace(concurrency=1 + count)
        self.moved()
        self.start_waiting()
        self.changed.set()


class Stepped(Worker):
    """Carries out whatever is due, and ends. ``next_due_at`` is then when there is more to do, None if never."""

    def __init__(self, home: Home, store: Store, clock: FrozenClock, answers: Answers, patience_ms: int) -> None:
        super().__init__(home, store, Settings(concurrency=THREADS, suspend_after=0.0, still=True))
        self.clock, self.answers, self.patience_ms = clock, answers, patience_ms
        self.next_due_at: int | None = None
        self.quiet = 0
        self.moved_at = time.monotonic()

    async def register(self) -> None:
        self.hold = one_by_one = OneByOne(self)
        self.answers.step_began(one_by_one)
        await super().register()

    def wake(self) -> None:
        """Wake-ups are for those who sleep."""

    def ask(self) -> Ask:
        asked = super().ask()
        return asked._replace(each=max(1, asked.n))

    async def turn(self) -> None:
        took = await self.exchange()
        await self.look_around()
        await self.answers.look()
        if not took:
            await self.rest()

    def take_in(self, ask: Ask, result: Round) -> None:
        due_in = result.due_in_ms
        self.next_due_at = None if due_in is None else self.clock.now() + due_in
        super().take_in(ask, result)

    def moved(self) -> None:
        self.quiet, self.moved_at = 0, time.monotonic()

    async def rest(self) -> None:
        """Nothing was taken. Wait for what executes, or look around once more; then that was all."""
        self.orders_at = self.routes_at = self.outbox.lines_at = self.hold.aftermath.look_at = LONG_AGO
        if self.changed.is_set() or self.is_due():
            self.changed.clear()
            self.quiet = 0
            return
        stuck = self.answers.all_wait(self.hold.running)
        if self.executes():
            await self.wait()
        if self.executes() and not stuck:
            return
        self.quiet += 1
        if self.quiet <= QUIET:
            if any(await self.store.run(reap.sweep)):
                self.quiet = 0
        elif not self.answers.give_up():
            self.draining = True

    def executes(self) -> bool:
        return bool(self.hold.busy or self.outbox)

    def is_due(self) -> bool:
        return self.notes or (self.next_due_at is not None and self.next_due_at <= self.clock.now())

    async def wait(self) -> None:
        try:
            await asyncio.wait_for(self.changed.wait(), LOOK_SECONDS)
        except TimeoutError:
            if (time.monotonic() - self.moved_at) * 1000 > self.patience_ms:
                self.lose_patience()

    def lose_patience(self) -> None:
        busy = [live for live in self.hold.held.values() if live.work is not None]
        for live in busy:
            live.interrupt("returned")
        raise Stuck(
            f"For {format_ms(self.patience_ms)} nothing has moved",
            seen="; ".join(f"run {live.claimed.id} of {live.claimed.task} executes" for live in busy),
            do="Only the test's clock stands still. Replace what waits outside, or use app.testing(patience=…).",
        )


# -- the tasks it knows -----------------------------------------------------------------------------------------------


def settled(tasks: Mapping[str, Task[Any, Any]]) -> dict[str, Task[Any, Any]]:
    """The tasks as they are carried out in a test: the backoff of a retry is always the same."""
    return {name: without_jitter(task) for name, task in tasks.items()}


def without_jitter(task: Task[Any, Any]) -> Task[Any, Any]:
    retry = task.governing(None).retry
    if not retry.jitter:
        return task
    steady = copy.copy(task)
    steady.rules = dataclasses.replace(task.rules, retry=dataclasses.replace(retry, jitter=False))
    steady._settle()
    return steady


def stand_in(task: Task[Any, Any], output: object) -> Task[Any, Any]:
    """A task that answers ``output`` instead of being carried out, or raises it if it is an exception."""

    async def answer(*_: object, **__: object) -> object:
        if isinstance(output, BaseException) or (isinstance(output, type) and issubclass(output, BaseException)):
            raise output
        return output

    other = without_jitter(copy.copy(task))
    other.signature = task.signature._replace(is_async=True, call=answer, plan=None)
    return other
