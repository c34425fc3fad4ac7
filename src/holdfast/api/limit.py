"""How many calls are answered: at most so many in any window, of each key.

Off unless ``HOLDFAST_API_RATE`` says so (``1000/s``). Who brings no key is counted by address. A client of Mergent
calls five times at once when it is refused, so what is refused costs next to nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Final, NamedTuple

from holdfast.rate import Rate

MOST: Final = 10_000  # callers that are remembered; who called longest ago is forgotten first


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


class Limits:
    """A window for each caller."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.callers: OrderedDict[str, Limit] = OrderedDict()

    def count(self, who: str, now: float) -> Verdict:
        """Take in a call."""
        limit = self.callers.get(who)
        if limit is None:
            limit = self.callers[who] = Limit(self.rate)
        self.callers.move_to_end(who)
        if len(self.callers) > MOST:
            self.callers.popitem(last=False)
        return limit.count(now)
