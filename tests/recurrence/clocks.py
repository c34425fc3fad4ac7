"""Time zones as tests see them: by walking along the time line and looking at the clock on the wall."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

# They are changed at one, two and three o'clock and at midnight, by half an hour, an hour and two, in either season.
ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Europe/London",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/Santiago",
    "Asia/Beirut",
    "Antarctica/Troll",
    "Africa/Cairo",
    "Pacific/Auckland",
)


def at(zone: str, text: str, fold: int = 0) -> int:
    """The moment at which a clock shows this, in milliseconds."""
    shows = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(shows.timestamp() * 1000)


def shown(zone: str, moments: list[int]) -> list[str]:
    """What a clock shows at these moments, with its offset."""
    return [datetime.fromtimestamp(each / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M %z") for each in moments]


@cache
def changes(name: str) -> list[datetime]:
    """When the clocks of a zone are changed within that year, to the minute, found by looking every hour."""
    zone, found, each = ZoneInfo(name), [], YEAR
    while each.year == YEAR.year:
        if each.astimezone(zone).utcoffset() != (each + HOUR).astimezone(zone).utcoffset():
            minute = each
            while minute.astimezone(zone).utcoffset() == each.astimezone(zone).utcoffset():
                minute += MINUTE
            found.append(minute)
        each += HOUR
    return found


@cache
def changing() -> list[str]:
    """All zones whose clocks are changed within that year."""
    return [name for name in sorted(zoneinfo.available_timezones()) if changes(name)]


def minutes(since: datetime, until: datetime, name: str) -> list[tuple[datetime, datetime]]:
    """Every minute of a stretch: the moment, and what the clock on the wall shows."""
    zone, found, each = ZoneInfo(name), [], since
    while each < until:
        found.append((each, each.astimezone(zone).replace(tzinfo=None, fold=0)))
        each += MINUTE
    return found
