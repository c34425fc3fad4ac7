"""Charts of what has ended: columns of one width, drawn by the template from what is decided here, purely.

Columns stand on round times. Each leads to the runs that it counts, so that one zooms by clicking.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from holdfast.views.stats import Stat

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
# How far back, in columns of which length, and every how many of them there is a mark.
RANGES: Final = {
    "1h": (HOUR, MINUTE, 10 * MINUTE),
    "6h": (6 * HOUR, 5 * MINUTE, HOUR),
    "24h": (DAY, 15 * MINUTE, 4 * HOUR),
    "7d": (7 * DAY, 2 * HOUR, DAY),
    "30d": (30 * DAY, 8 * HOUR, 5 * DAY),
}
GOOD: Final = "completed"
NEUTRAL: Final = ("canceled", "expired")
STEPS: Final = (1, 2, 2.5, 5, 10)


class Column(NamedTuple):
    """What ended in a stretch of time: ``good``, ``bad``, and otherwise; how long the good and the bad ran on
    average, and waited to be started."""

    at: int
    until: int
    good: int
    bad: int
    other: int
    ran_ms: int
    waited_ms: int

    @property
    def ended(self) -> int:
        return self.good + self.bad + self.other

    @property
    def since(self) -> str:
        """Its begin as addresses say it."""
        return iso(self.at)

    @property
    def end(self) -> str:
        return iso(self.until)


class Mark(NamedTuple):
    """A mark on an axis: where, as a share of it, and what it says: a time or a number."""

    share: float
    value: int


class Chart(NamedTuple):
    """Columns from ``since`` to ``until``; ``top`` is the value at the upper end."""

    range: str
    since: int
    until: int
    columns: Sequence[Column]
    top: int
    times: Sequence[Mark]
    lines: Sequence[Mark]

    @property
    def good(self) -> int:
        return sum(each.good for each in self.columns)

    @property
    def bad(self) -> int:
        return sum(each.bad for each in self.columns)

    @property
    def ended(self) -> int:
        return sum(each.ended for each in self.columns)

    @property
    def failing(self) -> float:
        """The share of those that ended by themselves, and badly."""
        return self.bad / (self.good + self.bad) if self.good + self.bad else 0.0


def window(name: str, now: int) -> tuple[int, int, int]:
    """Since when, until when, and in which steps a chart of this range asks."""
    length, step, _ = RANGES[name]
    until = now // step * step + step
    return until - length, until, step


def chart(name: str, now: int, found: Iterable[Stat]) -> Chart:
    """The chart of a range, from what was counted in it."""
    since, until, step = window(name, now)
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 5)
    for each in found:
        place = sums[(each.at - since) // step]
        place[0 if each.status == GOOD else 2 if each.status in NEUTRAL else 1] += each.n
        place[3] += each.ran_ms
        place[4] += each.waited_ms
    columns = [column(since + number * step, step, sums[number]) for number in range((until - since) // step)]
    top = ceiling(max((each.ended for each in columns), default=0))
    every = RANGES[name][2]
    first = -(-since // every) * every
    times = [Mark((at - since) / (until - since), at) for at in range(first, until, every)]
    lines = [Mark(1 - part / 2, round(top * part / 2)) for part in (1, 2)] if top > 1 else [Mark(0.0, top)]
    return Chart(name, since, until, columns, top, times, lines)


def column(at: int, step: int, sums: Sequence[int]) -> Column:
    good, bad, other, ran, waited = sums
    count = max(1, good + bad + other)
    return Column(at, at + step, good, bad, other, ran // count, waited // count)


def ceiling(value: int) -> int:
    """The next round number that is not less."""
    if value <= 1:
        return 1
    size = 10 ** math.floor(math.log10(value))
    return int(next(step * size for step in STEPS if step * size >= value and step * size == int(step * size)))


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
