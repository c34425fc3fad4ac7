"""The scheduler: makes the runs of schedules, on time, and lets declared ones follow the code.

    sleeps until the next slot, and a second at most ─► reads what is due ─► decides ─► fires, a thousand at a time

Every host has one beside its upkeep, and none of them leads: each slot is fired by whoever comes first. An idle one
looks at one index entry a second, however many schedules there are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, NamedTuple

from holdfast.duration import format_ms
from holdfast.engine import schedules, ticks
from holdfast.errors import DatabaseFull, DatabaseReadOnly, DatabaseUnavailable
from holdfast.loops import Loop
from holdfast.storage import Store

log = logging.getLogger("holdfast")

OUTAGES: Final = (DatabaseUnavailable, DatabaseFull, DatabaseReadOnly)
POLL_SECONDS: Final = 1.0  # how soon a schedule is seen that somebody else has just made
WAITING_SECONDS: Final = 0.25  # how soon the run of a waiting slot follows the end of the one before it
BEATEN_SECONDS: Final = 0.05  # after another scheduler was quicker
FOLLOW_SECONDS: Final = 10.0
LOOKED_AT: Final = 10_000  # due schedules that are read at once


class Scheduler:
    """The duties of one host."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.loops = [
            Loop("scheduler", self.turn, POLL_SECONDS, store.outage),
            Loop("declarations", self.follow, FOLLOW_SECONDS, store.outage),
        ]

    def start(self) -> Scheduler:
        for loop in self.loops:
            loop.start()
        return self

    def stop(self) -> None:
        for loop in self.loops:
            loop.stop()

    def turn(self) -> float:
        """Fire what is due; answers for how many seconds nothing will be."""
        outlook = self.store.read_sync(ticks.outlook)
        while outlook.due_in_ms is not None and outlook.due_in_ms <= 0:
            if not fire_due(self.store):
                return BEATEN_SECONDS
            outlook = self.store.read_sync(ticks.outlook)
        while outlook.waiting and len(self.store.run_sync(ticks.follow)) == ticks.DUE:
            pass
        pause = min(POLL_SECONDS, WAITING_SECONDS if outlook.waiting else POLL_SECONDS)
        return pause if outlook.due_in_ms is None else min(pause, outlook.due_in_ms / 1000)

    def follow(self) -> None:
        """Let declared schedules follow the code that lives, as after a roll-back."""
        for app in self.store.read_sync(schedules.out_of_step):
            self.store.run_sync(schedules.step, app)
            log.info("the declared schedules of %s are those of the code that runs now", app)


class Firing(NamedTuple):
    """Schedules that are being fired."""

    due: Sequence[ticks.Due]
    decided: Sequence[ticks.Tick]
    future: Future[ticks.Fired]


def fire_due(store: Store) -> bool:
    """Fire what is due, each thousand while the next one is decided. False if others were quicker."""
    now, due = store.read_sync(ticks.due, n=LOOKED_AT)
    moved, firing = 0, None
    for begin in range(0, len(due), ticks.DUE):
        packet = due[begin : begin + ticks.DUE]
        decided = [ticks.decide(schedule, now) for schedule in packet]
        for tick in decided:
            tell(tick, now)
        moved += fired(store, firing)
        firing = Firing(packet, decided, store.submit(partial(ticks.fire, ticks=decided)))
    return moved + fired(store, firing) > 0


def fired(store: Store, firing: Firing | None) -> int:
    """How many schedules were moved on, once they are. A batch that fails shares no fate."""
    if firing is None:
        return 0
    try:
        return firing.future.result().moved
    except OUTAGES:
        raise
    except Exception:
        return sum(fire_alone(store, schedule, tick) for schedule, tick in zip(firing.due, firing.decided, strict=True))


def fire_alone(store: Store, schedule: ticks.Due, tick: ticks.Tick) -> int:
    """Fire one schedule; if what it makes is refused, it does not go on. Answers how many were moved on."""
    try:
        return store.run_sync(ticks.fire, [tick]).moved
    except OUTAGES:
        raise
    except Exception as error:
        log.exception("the run of schedule %s cannot be made", schedule.id)
        return store.run_sync(ticks.fire, [ticks.broken(schedule, f"Its run cannot be made: {error}")]).moved


def tell(tick: ticks.Tick, now: int) -> None:
    if tick.problem is not None:
        log.error("schedule %s does not go on: %s", tick.id, tick.problem)
    elif now - tick.slot_at > ticks.ON_TIME_MS and len(tick.slots) != 1:
        log.warning(
            "schedule %s has missed slots, the first %s ago; %d are made up for",
            tick.id,
            format_ms(now - tick.slot_at),
            len(tick.slots),
        )
