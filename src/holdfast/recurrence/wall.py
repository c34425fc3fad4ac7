"""From local times to moments, on the days on which the clocks change, too.

Times of day (a rule that names hours) have exactly one moment each:

    a time that comes twice     the first one
    a time that is left out     cron: as soon as the clocks have been put forward, as Debian's cron does it
                                rrule: by the offset before that, as RFC 5545 (3.3.5) says: 02:30 becomes 03:30

What then falls on the same moment is one slot. A rule that fires in every hour follows the clock on the wall instead:
it fires whenever that shows a time it names, so an hour that comes twice is two hours, and one that is left out takes
no time. Where clocks are put forward by less than an hour, a time that is left out is made up for, as above.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, Protocol
from zoneinfo import ZoneInfo

from holdfast.errors import InvalidOption
from holdfast.recurrence import zones

__all__ = ["Expansion", "after"]

HOUR: Final = 3600
SECOND: Final = timedelta(seconds=1)


class Expansion(Protocol):
    """A rule that was read: the local times it names."""

    @property
    def every_hour(self) -> bool:
        """Whether it fires in each hour of the days it fires on."""
        ...

    @property
    def gap(self) -> Literal["end", "offset"]:
        """Where a time of day goes that is left out: to the end of the gap, or by the offset before it."""
        ...

    @property
    def start(self) -> int | None:
        """A moment before its first one, if it has a beginning."""
        ...

    def following(self, shows: datetime) -> datetime | None:
        """The first local time it names after this one."""
        ...


def after(zone: ZoneInfo, rule: Expansion, at: int) -> int | None:
    """The first moment of a rule after ``at``, in seconds since the epoch."""
    try:
        if rule.start is not None:
            at = max(at, rule.start)
        return shown_after(zone, rule, at) if rule.every_hour else placed_after(zone, rule, at)
    except InvalidOption:
        raise
    except (OverflowError, ValueError):  # past the year 9999
        return None


def shown_after(zone: ZoneInfo, rule: Expansion, at: int) -> int | None:
    """The next moment at which the clock on the wall shows a time of the rule: from one change to the next."""
    ahead = zones.offset(zone, at)
    since = zones.local(at, ahead)
    while (found := rule.following(since)) is not None:
        moment = zones.moment(found, ahead)
        changed = zones.change(zone, at, moment)
        if changed is None:
            return moment
        at, before, ahead = changed, ahead, zones.offset(zone, changed)
        since = zones.local(changed, ahead) - SECOND
        if found <= since and ahead - before < HOUR:
            return changed
    return None


def placed_after(zone: ZoneInfo, rule: Expansion, at: int) -> int | None:
    """The next moment of a rule of times of day. A time that was moved by a gap may come after later ones."""
    ahead = min(zones.offset(zone, at), zones.offset(zone, at - zones.DAY))
    found, best = zones.local(at, ahead), None
    while (following := rule.following(found)) is not None:
        found = following
        moment = placed(zone, found, rule.gap)
        if moment > at and (best is None or moment < best):
            best = moment
        if best is not None and (rule.gap == "end" or zones.moment(found, zones.offset(zone, best)) >= best):
            return best
    return best


def placed(zone: ZoneInfo, shows: datetime, gap: Literal["end", "offset"]) -> int:
    """The one moment of a time of day."""
    ahead = [shows.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1)]
    first, second = (zones.moment(shows, each // SECOND) for each in ahead)
    if gap == "offset" or second >= first:  # no gap: in one, what is after it is further ahead
        return first
    return zones.bisected(zone, second, first)
