"""The scheduler: makes the runs of schedules, on time, and lets declared ones follow the code.

    sleeps until the next slot, and a second at most ─► reads what is due ─► decides ─► fires, a thousand at a time

Every host has one beside its upkeep, and none of them leads: each slot is fired by whoever comes first. An idle one
looks at one index entry a second, however many schedules there are.
"""

from __future__ import annotations

import logging
from typing import Final

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


def fire_due(store: Store) -> bool:
    """Fire up to a thousand schedules that are due. False if others were quicker."""
    now, due = store.read_sync(ticks.due)
    decided = [ticks.decide(schedule, now) for schedule in due]
    for tick in decided:
        tell(tick, now)
    if not decided:
        return False
    try:
        return store.run_sync(ticks.fire, decided).moved > 0
    except OUTAGES:
        raise
    except Exception:  # a batch shares no fate
        return sum(fire_alone(store, schedule, tick) for schedule, tick in zip(due, decided, strict=True)) > 0


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
