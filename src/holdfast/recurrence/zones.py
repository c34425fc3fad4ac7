"""Time zones: what their clocks show, and when those are changed. Moments are whole seconds since the epoch."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from holdfast.errors import InvalidOption, shown

__all__ = ["DAY", "change", "local", "moment", "offset", "zone", "zone_named_in"]

DAY: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1)


@lru_cache(maxsize=1000)
def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        InvalidOption: there is none with this name.
    """
    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = zoneinfo.available_timezones()
    close = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=1)
    near = [each for each in known if each.lower() in close]
    raise InvalidOption(
        "There is no such time zone",
        seen=shown(name),
        do=f'Did you mean "{near[0]}"?' if near else 'Write an IANA name, such as "Europe/Berlin".',
    )


def zone_named_in(text: str) -> str | None:
    """The TZID of DTSTART, if there is one."""
    found = re.search(r"^DTSTART[^:\n]*;TZID=([^:;\n]+)", text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else None


def offset(zone: ZoneInfo, at: int) -> int:
    """How far ahead of UTC its clocks are then, in seconds."""
    ahead = datetime.fromtimestamp(at, zone).utcoffset()
    return 0 if ahead is None else ahead // timedelta(seconds=1)


def local(at: int, ahead: int) -> datetime:
    """What clocks show that are so far ahead of UTC, without a time zone."""
    return _EPOCH + timedelta(seconds=at + ahead)


def moment(shows: datetime, ahead: int) -> int:
    """The moment at which clocks that are so far ahead of UTC show this."""
    return (shows - _EPOCH) // timedelta(seconds=1) - ahead


def change(zone: ZoneInfo, since: int, until: int) -> int | None:
    """The first moment after ``since``, and not after ``until``, at which the clocks show something else than they
    would have. Two changes within a day are taken for none, if they undo each other."""
    usual = offset(zone, since)
    while since < until:
        step = min(since + DAY, until)
        if offset(zone, step) != usual:
            return bisected(zone, since, step)
        since = step
    return None


def bisected(zone: ZoneInfo, before: int, behind: int) -> int:
    """The change between two moments with different offsets."""
    usual = offset(zone, before)
    while behind - before > 1:
        middle = (before + behind) // 2
        if offset(zone, middle) == usual:
            before = middle
        else:
            behind = middle
    return behind
