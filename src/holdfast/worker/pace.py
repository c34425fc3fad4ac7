"""How a worker knows what to ask for: how fast runs end here, and where the lines begin."""

from __future__ import annotations

import time
from collections.abc import Mapping

from holdfast.engine.trigger import route_id
from holdfast.machine import machine_in
from holdfast.records import Claimed

AHEAD = 1500  # runs claimed ahead of free slots, at most
AHEAD_SECONDS = 0.1  # … and never more than will start within this
LOOK = 0.05  # seconds between two looks at the pace …
ENOUGH = 64  # … or so many ends
INSTANT = 1e-6  # seconds that something takes at least
LOOK_SECONDS = 0.25
NEVER = float("inf")
RECENT_SECONDS = 1.0  # how long the pace of before a sleep is one to go by


class Pace:
    """How fast runs end here, to know how many may be claimed ahead of their slots.

    Runs that sleep for a second and end together are no more a second than there are slots, whenever somebody looks.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.since, self.ended, self.took, self.rate = time.monotonic(), 0, 0.0, 0.0
        self.last = 0.0  # when a run has ended

    def begin(self) -> None:
        """The worker has slept and has nothing: what was a while before says nothing of how long the next runs take."""
        now = time.monotonic()
        if now - self.last > RECENT_SECONDS:
            self.rate = 0.0
        self.since, self.ended, self.took = now, 0, 0.0

    def count(self, seconds: float) -> None:
        """A run has ended that had its slot for so long."""
        self.last = time.monotonic()
        self.ended += 1
        self.took += seconds

    def ahead(self) -> int:
        """Runs that will start within a tenth of a second, at the pace of the last while."""
        now = time.monotonic()
        passed = now - self.since
        if passed > LOOK or self.ended >= ENOUGH:
            rate = self.ended / max(passed, self.took / self.slots, INSTANT)
            self.rate = rate if rate > self.rate else 0.7 * self.rate + 0.3 * rate
            self.since, self.ended, self.took = now, 0, 0.0
        return min(AHEAD, int(self.rate * AHEAD_SECONDS))


class Heads:
    """Where the line of each route began when it last gave something, so that a claim need not step over what is gone.

    What comes in before that, for its priority or because it was handed back, is found a quarter of a second later at
    most, when the lines are looked at from their beginning.
    """

    def __init__(self) -> None:
        self.since: dict[int, int] = {}
        self.looked_at = 0.0  # from their beginning
        self.partial = False  # the last look was not

    def known(self) -> Mapping[int, int]:
        """Where to look from, now."""
        now = time.monotonic()
        if now - self.looked_at > LOOK_SECONDS:
            self.looked_at, self.partial = now, False
            return {}
        self.partial = bool(self.since)
        return self.since

    def patience(self) -> float:
        """How long it may be until the next look, in seconds."""
        return max(0.0, self.looked_at + LOOK_SECONDS - time.monotonic()) if self.partial else NEVER

    def learn(self, claimed: list[Claimed], names: Mapping[int, str]) -> int:
        """Note the heads; answers how many routes gave something."""
        since: dict[int, int] = {}
        for run in claimed:
            route = route_id(names.get(run.queue, ""), run.task, None, machine_in(run.options))  # type: ignore[call-overload]
            since[route] = min(run.sort_at, since.get(route, run.sort_at))
        self.since |= since
        return len(since)
