"""How many calls are answered: at most so many in any window, over all that this process serves.

Off unless ``HOLDFAST_API_RATE`` says so (``1000/s``). A client of Mergent calls five times at once when it is refused,
so what is refused costs next to nothing.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from holdfast.rate import Rate


class Verdict(NamedTuple):
    """Whether a call is answered, how many more would be, and in how many seconds there is room again."""

    allowed: bool
    remaining: int
    reset: int


class Limit:
    """A sliding window. Pure: it is told the time, in seconds that only rise."""

    def __init__(self, rate: Rate) -> None:
        self.rate, self.window = rate, rate.window_ms / 1000
        self.calls: deque[float] = deque()

    def count(self, now: float) -> Verdict:
        """Take in a call."""
        while self.calls and self.calls[0] <= now - self.window:
            self.calls.popleft()
        allowed = len(self.calls) < self.rate.starts
        if allowed:
            self.calls.append(now)
        reset = math.ceil(self.calls[0] + self.window - now)
        return Verdict(allowed, self.rate.starts - len(self.calls), max(1, reset))
