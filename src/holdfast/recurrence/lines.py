"""The lines of a recurrence in iCalendar's words: DTSTART, RRULE, RDATE, EXDATE. All times become local ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

from dateutil.rrule import weekday

from holdfast.errors import InvalidOption

__all__ = ["Parts", "read_parts"]

LONGEST: Final = 20_000
MOST_DATES: Final = 1_000
_LINE: Final = re.compile(r"(DTSTART|RRULE|RDATE|EXDATE)((?:;[A-Z-]+=[^:;]+)*):(.*)", re.IGNORECASE)
_DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY: Final = re.compile(rf"([+-]?[0-9]{{1,2}})?({'|'.join(_DAYS)})")
_MOMENT: Final = re.compile(r"([0-9]{8})(?:T([0-9]{6})(Z?))?")
_WRITE: Final = 'Write it as RFC 5545 has it, such as "FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=9;BYMINUTE=0".'
_FREQUENCIES: Final = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_LARGEST: Final = 1_000_000


@dataclass
class Parts:
    """What the lines say. Times are local and naive; ``dates`` are the parts that decide about days, in dateutil's
    words."""

    text: str
    freq: str | None = None
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    week_start: int = 0
    dates: dict[str, Any] = field(default_factory=dict)
    hours: tuple[int, ...] | None = None
    minutes: tuple[int, ...] | None = None
    seconds: tuple[int, ...] | None = None
    positions: tuple[int, ...] = ()
    dtstart: datetime | None = None
    rdates: list[datetime] = field(default_factory=list)
    exdates: list[date] = field(default_factory=list)  # a plain date is all of that day


def read_parts(text: str, zone: ZoneInfo) -> Parts:
    """Read the lines of a recurrence, or the value of an RRULE alone.

    Raises:
        InvalidOption: a line or a part of one cannot be read, or there is nothing that recurs.
    """
    if len(text) > LONGEST:
        raise InvalidOption(f"This rule is longer than {LONGEST} characters", seen=text, do="Write it shorter.")
    parts = Parts(text)
    unfolded = re.sub(r"\r?\n[ \t]", "", text.strip())
    for line in filter(None, map(str.strip, unfolded.splitlines())):
        read_line(parts, line, zone)
    if parts.freq is None and not parts.rdates:
        refuse(parts, "This is not a recurrence rule: it has no FREQ")
    if max(len(parts.rdates), len(parts.exdates)) > MOST_DATES:
        refuse(parts, f"This rule has more than {MOST_DATES} dates")
    check(parts)
    return parts


def read_line(parts: Parts, line: str, zone: ZoneInfo) -> None:
    if "=" in line.partition(":")[0].partition(";")[0]:  # FREQ=…: the value alone
        return read_rule(parts, line, zone)
    found = _LINE.fullmatch(line)
    if found is None:
        refuse(parts, f"This is not a recurrence rule: the line {line[:60]!r} cannot be read")
    name, parameters, value = found[1].upper(), found[2], found[3]
    named = re.search(r";TZID=([^;]+)", parameters, re.IGNORECASE)
    if named and named[1] != zone.key:
        refuse(parts, f"{name} is in another time zone than {zone.key}")
    if name == "RRULE":
        return read_rule(parts, value, zone)
    if name == "DTSTART":
        if parts.dtstart is not None:
            refuse(parts, "There are two DTSTART")
        parts.dtstart = moment(parts, name, value, zone)
    else:
        read_dates(parts, name, value, zone)
    return None


def read_dates(parts: Parts, name: str, value: str, zone: ZoneInfo) -> None:
    for each in value.split(","):
        at = moment(parts, name, each, zone)
        if name == "RDATE":
            parts.rdates.append(at)
        else:
            parts.exdates.append(at if "T" in each.upper() else at.date())


def read_rule(parts: Parts, value: str, zone: ZoneInfo) -> None:
    if parts.freq is not None:
        refuse(parts, "There are two RRULE: make two schedules")
    seen: set[str] = set()
    for part in filter(None, map(str.strip, value.split(";"))):
        name, _, said = part.partition("=")
        name, said = name.strip().upper(), said.strip().upper()
        if name in seen:
            refuse(parts, f"{name} is given twice")
        seen.add(name)
        if name in ("RDATE", "EXDATE"):  # not RFC 5545, but seen
            read_dates(parts, name, said, zone)
        elif name in _READERS:
            _READERS[name](parts, name, said, zone)
        else:
            refuse(parts, f"{name} is not a part of a recurrence rule")
    if parts.freq is None:
        refuse(parts, "This is not a recurrence rule: it has no FREQ")


def check(parts: Parts) -> None:
    """What does not go together."""
    if parts.count is not None and parts.until is not None:
        refuse(parts, "COUNT and UNTIL are both given", "Keep one of them.")
    numbered = any(each.n for each in parts.dates.get("byweekday", ()))
    if numbered and (parts.freq not in ("MONTHLY", "YEARLY") or "byweekno" in parts.dates):
        refuse(parts, "BYDAY has a number, which means something for MONTHLY and YEARLY only, and without BYWEEKNO")
    others = parts.dates or parts.hours or parts.minutes or parts.seconds
    if parts.positions and not others:
        refuse(parts, "BYSETPOS is given without any other BY… to choose from")


def refuse(parts: Parts, what: str, do: str = _WRITE) -> NoReturn:
    raise InvalidOption(what, seen=parts.text, do=do)


# -- values -----------------------------------------------------------------------------------------------------------


def moment(parts: Parts, name: str, said: str, zone: ZoneInfo, day_end: bool = False) -> datetime:
    """A date, a local time, or a time in UTC, as local time."""
    found = _MOMENT.fullmatch(said.strip().upper())
    try:
        if found is None:
            raise ValueError
        day = datetime.strptime(found[1], "%Y%m%d")
        if found[2] is None:
            return datetime.combine(day, time(23, 59, 59)) if day_end else day
        at = datetime.combine(day, time(int(found[2][:2]), int(found[2][2:4]), min(59, int(found[2][4:]))))
        return at.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None, fold=0) if found[3] else at
    except (ValueError, OverflowError):
        refuse(parts, f"{name} has no date and time that can be read: {said[:40]!r}")


def number(parts: Parts, name: str, said: str, least: int, most: int) -> int:
    value = int(said) if re.fullmatch(r"[+-]?[0-9]{1,9}", said) else None
    if value is None or not least <= value <= most or (least < 0 and value == 0):
        refuse(parts, f"{name} has {said[:40]!r}, which is not from {least} to {most}")
    return value


def numbers(parts: Parts, name: str, said: str, least: int, most: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys(number(parts, name, each.strip(), least, most) for each in said.split(",")))


def read_freq(parts: Parts, name: str, said: str, zone: ZoneInfo) -> None:
    if said not in _FREQUENCIES:
        refuse(parts, f"FREQ is {said[:40]!r}, and not one of {', '.join(_FREQUENCIES)}")
    parts.freq = said


def read_until(parts: Parts, name: str, said: str, zone: ZoneInfo) -> None:
    parts.until = moment(parts, name, said, zone, day_end=True)


def read_days(parts: Parts, name: str, said: str, zone: ZoneInfo) -> None:
    found = [_DAY.fullmatch(each.strip()) for each in said.split(",")]
    if not all(found) or any(each and each[1] and not 1 <= abs(int(each[1])) <= 53 for each in found):
        refuse(parts, f"BYDAY has {said[:40]!r}, which are not days such as MO or -1FR")
    parts.dates["byweekday"] = tuple(
        weekday(_DAYS.index(each[2]), int(each[1]) if each[1] else None) for each in found if each
    )


def read_week_start(parts: Parts, name: str, said: str, zone: ZoneInfo) -> None:
    if said not in _DAYS:
        refuse(parts, f"WKST is {said[:40]!r}, and not one of {', '.join(_DAYS)}")
    parts.week_start = _DAYS.index(said)


_Reader = Callable[[Parts, str, str, ZoneInfo], None]


def one(attribute: str, most: int) -> _Reader:
    return lambda parts, name, said, zone: setattr(parts, attribute, number(parts, name, said, 1, most))


def several(attribute: str, least: int, most: int) -> _Reader:
    return lambda parts, name, said, zone: setattr(parts, attribute, numbers(parts, name, said, least, most))


def of_days(word: str, least: int, most: int) -> _Reader:
    return lambda parts, name, said, zone: parts.dates.__setitem__(word, numbers(parts, name, said, least, most))


_READERS: Final[dict[str, _Reader]] = {
    "FREQ": read_freq,
    "INTERVAL": one("interval", _LARGEST),
    "COUNT": one("count", 10**9),
    "UNTIL": read_until,
    "WKST": read_week_start,
    "BYDAY": read_days,
    "BYMONTH": of_days("bymonth", 1, 12),
    "BYMONTHDAY": of_days("bymonthday", -31, 31),
    "BYYEARDAY": of_days("byyearday", -366, 366),
    "BYWEEKNO": of_days("byweekno", -53, 53),
    "BYHOUR": several("hours", 0, 23),
    "BYMINUTE": several("minutes", 0, 59),
    "BYSECOND": several("seconds", 0, 59),
    "BYSETPOS": several("positions", -366, 366),
}
