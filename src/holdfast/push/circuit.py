"""Hosts that are down.

After some failures in a row that the host is to blame for (nobody listens, nobody answers, a gateway says 502, 503 or
504), its circuit opens: what is to be sent there waits, and uses up no attempt. After a pause one request is tried. If
that is answered the circuit closes, else the pause doubles. Pure: it is told what happened and when.
"""

from __future__ import annotations

import random
from typing import Final, Literal

FAILURES: Final = 10  # in a row
PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 60.0
GATEWAY: Final = frozenset((502, 503, 504))

Change = Literal["opened", "closed"] | None


class Circuit:
    """What is known of one host: the failures in a row, and until when nothing is sent there."""

    __slots__ = ("failures", "pause", "probing", "reason", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.pause = PAUSE_SECONDS
        self.until: float | None = None  # None: closed
        self.probing = False
        self.reason = ""

    @property
    def open(self) -> bool:
        return self.until is not None

    def lets_through(self, now: float) -> bool:
        """Whether a request may be sent: any while it is closed, one when its pause is over."""
        if self.until is None:
            return True
        if self.probing or now < self.until:
            return False
        self.probing = True
        return True

    def wait(self, now: float) -> float:
        """How many seconds a request has to wait that was not let through. Not all come back at once."""
        rest = max(0.0, (self.until or now) - now)
        return rest + random.uniform(0.2, 1.0) * min(self.pause, PAUSE_SECONDS)

    def answered(self) -> Change:
        """The host has answered, whatever it said."""
        was_open = self.open
        self.failures, self.pause, self.until, self.probing = 0, PAUSE_SECONDS, None, False
        return "closed" if was_open else None

    def failed(self, reason: str, now: float) -> Change:
        """Nobody was there."""
        self.failures += 1
        self.reason = reason
        if self.open:
            if not self.probing:  # one that was under way when it opened
                return None
            self.pause = min(LONGEST_PAUSE_SECONDS, self.pause * 2)
        elif self.failures < FAILURES:
            return None
        self.probing = False
        self.until = now + self.pause * random.uniform(0.9, 1.0)
        return "opened"

    def gave_up(self) -> None:
        """The request that was tried was stopped before it could tell: another one may be."""
        self.probing = False
