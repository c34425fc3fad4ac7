"""The suspects a worker holds, and which it asks for next.

A suspect is a run whose process died. Each says how many like it a process may hold at once, and one that may only be
alone is held beside no other suspect: it could be blamed for their doing. What must be alone is asked for first.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from holdfast.engine.reap import GROUPS

PAUSE_SECONDS = 1.0  # before those are asked for again of which none were for us


class Wish(NamedTuple):
    """Up to ``n`` suspects of those of which a process may hold ``group``."""

    group: int = 0
    n: int = 0


NONE = Wish()


class Suspects:
    """The suspects of one worker, with the size of the group that each belongs to."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.turn = 0
        self.again_at = 0.0

    def add(self, run_id: str, group: int) -> None:
        self.held[run_id] = group

    def discard(self, run_id: str) -> None:
        self.held.pop(run_id, None)

    def clear(self) -> None:
        self.held.clear()

    def wish(self, room: int) -> Wish:
        """What to ask for now, if suspects wait and there is room for so many runs."""
        if room <= 0 or 1 in self.held.values() or time.monotonic() < self.again_at:
            return NONE
        while self.turn < len(GROUPS):
            group = GROUPS[self.turn]
            if n := min(room, group - self.beside(group)):
                return Wish(group, n)
            self.turn += 1
        return self.pause()

    def beside(self, group: int) -> int:
        """How many of the places of a group are taken, at most all."""
        taken = len(self.held) if group == 1 else sum(each == group for each in self.held.values())
        return min(group, taken)

    def learn(self, wish: Wish, got: int) -> None:
        """A wish was answered. What brought nothing is not asked for again before all others were."""
        if wish.n and not got:
            self.turn += 1
            if self.turn == len(GROUPS):
                self.pause()

    def pause(self) -> Wish:
        """All were asked for: begin anew in a while."""
        self.turn, self.again_at = 0, time.monotonic() + PAUSE_SECONDS
        return NONE
