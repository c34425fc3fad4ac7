"""Charts of what has ended: columns of one width, drawn by the template from what is decided here, purely.

Columns stand on round times. Each leads to the runs that it counts. A stretch of a chart is a chart of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from holdfast.dashboard.query import moment
from holdfast.dashboard.shapes import iso
from holdfast.errors import InvalidOption
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
STEPS: Final = (1, 2, 3, 4, 5, 6, 8, 10)


# What a column may be long, where somebody has zoomed in; of what is older than two days only full hours are known.
LENGTHS: Final = tuple(n * MINUTE for n in (1, 2, 5, 10, 15, 30)) + tuple(n * HOUR for n in (1, 2, 4, 8, 24, 168, 720))
COLUMNS: Final = 72  # at most, about
LEAST: Final = 10 * MINUTE
KNOWN: Final = 47 * HOUR


class Window(NamedTuple):
    """The time that a chart is of: columns of ``step``, a mark at each ``every``. One that somebody has chosen by hand
    has no ``range``."""

    range: str
    since: int
    until: int
    step: int
    every: int

    @property
    def days(self) -> bool:
        """Whether its marks are days."""
        return self.every >= DAY

    @property
    def before(self) -> Window:
        """As long, just before."""
        return self._replace(since=self.since - (self.until - self.since), until=self.since)


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
    """Columns of a window; ``top`` is the value at the upper end."""

    window: Window
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


def window(name: str, now: int) -> Window:
    """The window of a range, up to now."""
    length, step, every = RANGES[name]
    until = now // step * step + step
    return Window(name, until - length, until, step, every)


def chosen(since: int, until: int, now: int) -> Window:
    """The window that somebody has chosen, widened to whole columns."""
    until = min(max(until, since + LEAST), now + LEAST)
    since = min(since, until - LEAST)
    known = [each for each in LENGTHS if each >= HOUR or since > now - KNOWN]
    step = next((each for each in known if (until - since) / each <= COLUMNS), LENGTHS[-1])
    since, until = since // step * step, -(-until // step) * step
    every = next((each for each in LENGTHS if (until - since) / each <= 8), LENGTHS[-1])
    return Window("", since, until, step, max(step, every))


def asked(said: Mapping[str, str], usual: str, now: int) -> Window:
    """The window that an address says, with a range or with times; else the usual one."""
    try:
        if "since" in said:
            until = moment(said["until"], now, "until") if "until" in said else now
            return chosen(moment(said["since"], now, "since"), until, now)
    except (InvalidOption, OverflowError):
        pass
    name = said.get("range", usual)
    return window(name if name in RANGES else usual, now)


def chart(window: Window, found: Iterable[Stat]) -> Chart:
    """The chart of a window, from what was counted in it."""
    since, until, step = window.since, window.until, window.step
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 5)
    for each in found:
        place = sums[(each.at - since) // step]
        place[0 if each.status == GOOD else 2 if each.status in NEUTRAL else 1] += each.n
        place[3] += each.ran_ms
        place[4] += each.waited_ms
    columns = [column(since + number * step, step, sums[number]) for number in range((until - since) // step)]
    top = ceiling(max((each.ended for each in columns), default=0))
    first = -(-since // window.every) * window.every
    times = [Mark((at - since) / (until - since), at) for at in range(first, until, window.every)]
    lines = [Mark(1 - part / 2, round(top * part / 2)) for part in (1, 2)] if top > 1 else [Mark(0.0, top)]
    return Chart(window, columns, top, times, lines)


def column(at: int, step: int, sums: Sequence[int]) -> Column:
    good, bad, other, ran, waited = sums
    count = max(1, good + bad + other)
    return Column(at, at + step, good, bad, other, ran // count, waited // count)


def ceiling(value: int) -> int:
    """The next round number that is not less, with a half that is one, too."""
    if value <= 1:
        return 1
    size = int(10 ** math.floor(math.log10(value)))
    return next(step * size for step in STEPS if step * size >= value and step * size % 2 == 0)
