"""Rules of RFC 5545: RRULE with DTSTART, RDATE and EXDATE, expanded in naive local time.

    DTSTART;TZID=Europe/Berlin:20260105T090000        the first line may be all there is: FREQ=WEEKLY;BYDAY=MO
    RRULE:FREQ=WEEKLY;BYDAY=MO;BYHOUR=9,17
    EXDATE:20260406T090000

A rule is *days* and *times*. The days are dateutil's; the times of a day are a sorted list, and what recurs more often
than daily is arithmetic. So the cost of the next time does not grow with what lies behind: the search begins in the
period it is asked for, and a COUNT is turned into an UNTIL once. Nothing is endless: years are folded into the last
four hundred before 9999, after which the calendar repeats itself and dateutil gives up.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from dateutil import rrule as dateutil

from holdfast.errors import InvalidOption
from holdfast.recurrence import zones
from holdfast.recurrence.lines import Parts, read_parts

__all__ = ["Recurrence", "read"]

MOST_COUNTED: Final = 50_000
MOST_LOOKED_AT: Final = 20_000  # periods shorter than a day, before a rule takes too long
CYCLE: Final = 400  # years after which the calendar repeats itself …
CYCLE_DAYS: Final = timedelta(days=146_097)  # … which are whole weeks
FREQUENCIES: Final[dict[str, Literal[0, 1, 2, 3]]] = {
    "YEARLY": dateutil.YEARLY,
    "MONTHLY": dateutil.MONTHLY,
    "WEEKLY": dateutil.WEEKLY,
    "DAILY": dateutil.DAILY,
}
UNITS: Final = {
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
    "SECONDLY": timedelta(seconds=1),
}
DAY: Final = timedelta(days=1)
SECOND: Final = timedelta(seconds=1)


def read(text: str, zone: ZoneInfo, start: int) -> Recurrence:
    """Read a rule. One without DTSTART begins at ``start``, in seconds since the epoch.

    Raises:
        InvalidOption: it is none, never fires, or would take too long to expand.
    """
    parts = read_parts(text, zone)
    begins = parts.dtstart or zones.local(start, zones.offset(zone, start))
    rule = None if parts.freq is None else filled(parts, begins)
    if rule is not None and parts.count is not None:
        rule = ended(rule, parts.count, text)
    first = zones.moment(begins, (begins.replace(tzinfo=zone).utcoffset() or timedelta(0)) // SECOND)
    dates = tuple(sorted(parts.rdates if rule is not None or parts.dtstart is None else [begins, *parts.rdates]))
    earliest = min([first, *(zones.moment(each, zones.offset(zone, first)) - zones.DAY for each in dates)])
    return Recurrence(rule, dates, frozenset(parts.exdates), start=earliest - 1)


@dataclass(frozen=True)
class Recurrence:
    """A rule and its exceptions, read."""

    rule: Recur | None
    dates: tuple[datetime, ...]
    exceptions: frozenset[date]
    start: int
    gap: Literal["offset"] = "offset"

    @property
    def every_hour(self) -> bool:
        return self.rule is not None and self.rule.every_hour

    def following(self, shows: datetime) -> datetime | None:
        while (found := self.named_after(shows)) is not None:
            if found.date() in self.exceptions:  # all of that day
                shows = datetime.combine(found, time(23, 59, 59))
            elif found in self.exceptions:
                shows = found
            else:
                return found
        return None

    def named_after(self, shows: datetime) -> datetime | None:
        named = self.dates[bisect.bisect_right(self.dates, shows) :][:1]
        recurring = None if self.rule is None else self.rule.following(shows)
        return min([*named, *([] if recurring is None else [recurring])], default=None)


@dataclass(frozen=True)
class Recur:
    """The RRULE itself, with everything settled that it takes from DTSTART."""

    freq: str
    interval: int
    begins: datetime
    until: datetime | None
    week_start: int
    dates: dict[str, Any]  # what decides about days, in dateutil's words
    hours: tuple[int, ...] | None
    minutes: tuple[int, ...] | None
    seconds: tuple[int, ...] | None
    positions: tuple[int, ...]
    text: str = field(default="", compare=False)

    @property
    def every_hour(self) -> bool:
        unit = UNITS.get(self.freq)
        return unit is not None and self.hours is None and unit * self.interval <= timedelta(hours=1)

    def following(self, shows: datetime) -> datetime | None:
        """The first time after this one."""
        return next(self.after(max(shows, self.begins - SECOND)), None)

    def after(self, shows: datetime) -> Iterator[datetime]:
        """All times after this one, which is not before the beginning."""
        if self.freq in UNITS:
            found = self.by_clock(shows)
        elif self.positions:
            found = self.by_position(shows)
        else:
            found = self.by_day(shows)
        for each in found:
            if self.until is not None and each > self.until:
                return
            if each > shows:
                yield each

    # days and longer

    def by_day(self, shows: datetime) -> Iterator[datetime]:
        times = self.times
        for day in self.days(shows.date()):
            yield from (datetime.combine(day, each) for each in times)

    def by_position(self, shows: datetime) -> Iterator[datetime]:
        """With BYSETPOS, which counts within the whole set of a period."""
        clock = {"byhour": self.hours, "byminute": self.minutes, "bysecond": self.seconds}
        return self.expand(self.freq, self.period_of(shows.date()), bysetpos=self.positions, **clock)

    def days(self, since: date) -> Iterator[date]:
        """The days of the rule from ``since`` on."""
        freq = "DAILY" if self.freq in UNITS else self.freq
        begin = since if self.freq in UNITS else self.period_of(since)
        found = self.expand(freq, begin, byhour=(0,), byminute=(0,), bysecond=(0,))
        return (each.date() for each in found if each.date() >= since)

    def expand(self, freq: str, begin: date, **more: Any) -> Iterator[datetime]:
        """What dateutil finds from a day on, which is the first of a period."""
        if not 1 <= begin.year <= 9998:
            return
        cycles = max(0, (9999 - begin.year - 100) // CYCLE)
        rule = dateutil.rrule(
            FREQUENCIES[freq],
            dtstart=datetime.combine(begin, time()) + cycles * CYCLE_DAYS,
            interval=1 if self.freq in UNITS else self.interval,
            wkst=self.week_start,
            **self.dates,
            **more,
        )
        for each in rule:
            yield each - cycles * CYCLE_DAYS

    def period_of(self, day: date) -> date:
        """The first day of the period that this day is in, or of the last one before it that counts."""
        begins = self.begins.date()
        day = max(day, begins)
        match self.freq:
            case "YEARLY":
                return date(day.year - (day.year - begins.year) % self.interval, 1, 1)
            case "MONTHLY":
                months = day.year * 12 + day.month - 1
                months -= (months - begins.year * 12 - begins.month + 1) % self.interval
                return date(months // 12, months % 12 + 1, 1)
            case "WEEKLY":
                begins -= timedelta(days=(begins.weekday() - self.week_start) % 7)
                return day - timedelta(days=(day - begins).days % (7 * self.interval))
            case _:
                return day - timedelta(days=(day - begins).days % self.interval)

    @cached_property
    def times(self) -> list[time]:
        return times_of(self.hours or (), self.minutes or (), self.seconds or ())

    # hours and shorter

    def by_clock(self, shows: datetime) -> Iterator[datetime]:
        """Periods shorter than a day. One that does not count is left by its largest part."""
        unit = UNITS[self.freq]
        period = self.aligned(shows)
        allowed: date | None = None
        looked = 0
        while looked < MOST_LOOKED_AT:
            looked += 1
            skipped = self.left_out(period)
            if self.dates and period.date() != allowed:
                allowed = next(self.days(period.date()), None)
                if allowed is None:
                    return
                if allowed != period.date():
                    skipped = datetime.combine(allowed, time())
            if skipped is not None:
                period = self.aligned(skipped)
                continue
            for each in self.within(period):
                looked = 0
                yield each
            period += unit * self.interval
        raise InvalidOption(
            "This rule never fires, or would take too long to expand", seen=self.text, do="Write it with another FREQ."
        )

    def aligned(self, shows: datetime) -> datetime:
        """The first period of the rule that does not end before this."""
        unit = UNITS[self.freq]
        begins = floored(self.begins, unit)
        step = unit * self.interval
        behind = max(timedelta(0), floored(shows, unit) - begins)
        return begins + -(-behind // step) * step

    def left_out(self, period: datetime) -> datetime | None:
        """If a period does not count: when to look again."""
        if self.hours is not None and period.hour not in self.hours:
            return period.replace(minute=0, second=0) + timedelta(hours=1)
        if self.freq != "HOURLY" and self.minutes is not None and period.minute not in self.minutes:
            return period.replace(second=0) + timedelta(minutes=1)
        if self.freq == "SECONDLY" and self.seconds is not None and period.second not in self.seconds:
            return period + SECOND
        return None

    def within(self, period: datetime) -> Iterable[datetime]:
        """The times of one period."""
        minutes = (self.minutes or ()) if self.freq == "HOURLY" else (period.minute,)
        seconds = (self.seconds or ()) if self.freq != "SECONDLY" else (period.second,)
        times = [datetime.combine(period, each) for each in times_of((period.hour,), minutes, seconds)]
        return [times[at] for at in chosen(self.positions, len(times))] if self.positions else times


def filled(parts: Parts, begins: datetime) -> Recur:
    """The rule with what it does not say taken from its beginning, as RFC 5545 has it."""
    freq = parts.freq or ""
    dates = dict(parts.dates)
    if not {"byweekno", "byyearday", "bymonthday", "byweekday"} & dates.keys():
        if freq == "YEARLY":
            dates = {"bymonth": (begins.month,)} | dates | {"bymonthday": (begins.day,)}
        elif freq == "MONTHLY":
            dates["bymonthday"] = (begins.day,)
        elif freq == "WEEKLY":
            dates["byweekday"] = (begins.weekday(),)
    return Recur(
        freq=freq,
        interval=parts.interval,
        begins=begins,
        until=parts.until,
        week_start=parts.week_start,
        dates=dates,
        hours=parts.hours if parts.hours or freq in UNITS else (begins.hour,),
        minutes=parts.minutes if parts.minutes or freq in ("MINUTELY", "SECONDLY") else (begins.minute,),
        seconds=parts.seconds if parts.seconds or freq == "SECONDLY" else (begins.second,),
        positions=parts.positions,
        text=parts.text,
    )


def ended(rule: Recur, count: int, text: str) -> Recur:
    """The rule with its COUNT turned into an UNTIL."""
    if count > MOST_COUNTED:
        raise InvalidOption(
            f"A COUNT of more than {MOST_COUNTED} would take too long to expand", seen=text, do="Write UNTIL instead."
        )
    last = rule.begins - SECOND
    for each in itertools.islice(rule.after(last), count):
        last = each
    return replace(rule, until=last)


def times_of(hours: Iterable[int], minutes: Iterable[int], seconds: Iterable[int]) -> list[time]:
    return [time(*each) for each in itertools.product(sorted(hours), sorted(minutes), sorted(seconds))]


def chosen(positions: Iterable[int], count: int) -> list[int]:
    """Where BYSETPOS points to, of so many."""
    places = (position - 1 if position > 0 else count + position for position in positions)
    return sorted({place for place in places if 0 <= place < count})


def floored(shows: datetime, unit: timedelta) -> datetime:
    whole = shows.replace(second=0) if unit > SECOND else shows
    return whole.replace(minute=0) if unit > timedelta(minutes=1) else whole
