"""When something recurs: the next moment after a given one. Pure values; nothing is read but the time zone database.

    Rule            what recurs: a cron expression or an RFC 5545 rule, and the time zone it is written for
    after           its next slot after a moment
    upcoming        its next slots; latest: its last ones before a moment
    first           where it begins, for a schedule that is made now
    readable        whether it can be read, and may ever fire
    checked         the rule, if it has a slot at all
    seeded          the rule, with what its ``H`` stands for
    change_on_day   whether clocks are changed on a day

    cron.py, rrule.py    which local times a rule names
    wall.py              which moments those are, on the days on which the clocks change, too
    zones.py             time zones

A rule is expanded in naive local time and then placed on the time line. Where clocks change, two rules say how:

- A rule that names hours means times of day. Each has exactly one moment: a time that a change of clocks leaves out is
  made up for, one that comes twice counts the first time.
- A rule that fires in every hour follows the clock on the wall: it fires whenever that shows a time it names.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from holdfast.errors import InvalidOption
from holdfast.recurrence import wall, zones
from holdfast.recurrence.wall import Expansion

__all__ = [
    "Change",
    "Rule",
    "after",
    "change_on_day",
    "checked",
    "first",
    "has_hash",
    "latest",
    "readable",
    "seeded",
    "upcoming",
]

_HASH: Final = re.compile(r"(?:^|[\s,])H(?=$|[\s,/(])", re.IGNORECASE)


class Rule(NamedTuple):
    """What recurs. ``text`` is a cron expression, or the lines of an RFC 5545 rule; ``start`` is where a rule without
    DTSTART begins, in milliseconds since the epoch; from ``seed`` comes what the ``H`` of a cron expression is."""

    kind: Literal["cron", "rrule"]
    text: str
    timezone: str = "UTC"
    start: int = 0
    seed: str = ""


def has_hash(rule: Rule) -> bool:
    """Whether it has an ``H``, which stands for another number in each schedule."""
    return rule.kind == "cron" and _HASH.search(rule.text) is not None


def seeded(rule: Rule, seed: str) -> Rule:
    """The rule of the schedule that this is the id of: the same one, unless it has an ``H``."""
    return rule._replace(seed=seed) if has_hash(rule) else rule


def checked(rule: Rule, now: int) -> Rule:
    """The rule, if it has a slot from ``now`` on.

    Raises:
        InvalidOption: it cannot be read, never fires, never fires again, or would take too long to expand.
    """
    if first(rule, now) is None:
        raise InvalidOption(
            "This schedule never fires, or never again",
            seen=rule.text,
            do="Choose days that there are, in the future." if rule.kind == "cron" else "Look at what ends it.",
        )
    return rule


def readable(rule: Rule) -> None:
    """Raises InvalidOption: it cannot be read, or is a cron expression that never fires."""
    if rule.kind == "cron":
        from holdfast.recurrence import cron

        cron.checked(rule.text)
    else:
        expansion(rule)


def first(rule: Rule, now: int) -> int | None:
    """The first slot of a schedule that is made now. A rule without DTSTART has it at once."""
    return after(rule, (now if rule.kind == "cron" else now // 1000 * 1000) - 1)


@lru_cache(maxsize=20_000)
def after(rule: Rule, at: int) -> int | None:
    """The first slot of a rule after ``at``, or None if there is none. Milliseconds since the epoch.

    >>> after(Rule("cron", "0 0 * * *"), 0)
    86400000
    """
    moment = wall.after(zones.zone(rule.timezone), expansion(rule), at // 1000)
    return None if moment is None else moment * 1000


def upcoming(rule: Rule, at: int, n: int) -> list[int]:
    """Up to ``n`` slots of a rule after ``at``, in order."""
    found: list[int] = []
    while len(found) < n and (slot := after(rule, found[-1] if found else at)) is not None:
        found.append(slot)
    return found


@lru_cache(maxsize=20_000)
def expansion(rule: Rule) -> Expansion:
    """The rule, read."""
    # The libraries are much to load for a process that has no schedules.
    if rule.kind == "cron":
        from holdfast.recurrence import cron

        return cron.read(rule.text, rule.seed)
    from holdfast.recurrence import rrule

    return rrule.read(rule.text, zones.zone(rule.timezone), rule.start // 1000)


def latest(rule: Rule, since: int, until: int, n: int) -> list[int]:
    """The last slots of a rule, up to ``n``, that are not before ``since`` and not after ``until``; in order.

    It is looked for backwards, in ever longer stretches: what lies further back than that costs nothing.
    """
    stretch = 1000
    while True:
        begin = max(since, until - stretch)
        found: deque[int] = deque(maxlen=n)
        count, slot = 0, after(rule, begin - 1)
        while slot is not None and slot <= until:
            found.append(slot)
            count, slot = count + 1, after(rule, slot)
        if begin == since or count >= n:
            return list(found)
        stretch *= 2


class Change(NamedTuple):
    """A change of clocks: when, and by how much they are put forward, in milliseconds; less than nothing: back."""

    at: int
    forward_ms: int


def change_on_day(timezone: str, at: int) -> Change | None:
    """The change of clocks on the local day of a moment, if there is one."""
    zone, second = zones.zone(timezone), at // 1000
    day = zones.local(second, zones.offset(zone, second)).replace(hour=0, minute=0, second=0)
    begin, end = (beginning_of(zone, each) for each in (day, day + timedelta(days=1)))
    changed = zones.change(zone, begin - 1, end - 1)
    if changed is None:
        return None
    return Change(changed * 1000, (zones.offset(zone, changed) - zones.offset(zone, changed - 1)) * 1000)


def beginning_of(zone: ZoneInfo, day: datetime) -> int:
    ahead = day.replace(tzinfo=zone).utcoffset()
    return zones.moment(day, 0 if ahead is None else ahead // timedelta(seconds=1))
