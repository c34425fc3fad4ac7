"""Cron expressions: five fields, or six of which the first is seconds, or ``@daily`` and its like.

Reading and searching is cronsim's, which knows names (MON, JAN), ``L`` (last), ``LW``, ``5L`` and ``MON#2``. Where
a day of the month and a day of the week are both given, either will do, as in Debian's cron.

``H`` stands for a number that a hash makes of the schedule, as in Jenkins: always the same one for a schedule, another
one for the next, so that many do not fire in the same minute. ``H(0-29)`` is one of these, ``H/15`` every 15.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from cronsim import CronSim, CronSimError

from holdfast.errors import InvalidOption
from holdfast.ids import hash63

__all__ = ["Expression", "read"]

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
LONGEST: Final = 500
FIELDS: Final = {  # from the last one on, and what an H in it can be: every month has a 28th
    "weekday": (0, 6),
    "month": (1, 12),
    "day": (1, 28),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
HASH: Final = re.compile(r"H(?:\(([0-9]{1,2})-([0-9]{1,2})\))?(?:/([0-9]{1,2}))?", re.IGNORECASE)
_BEGINNING: Final = datetime(2000, 1, 1)
_WRITE: Final = 'Write minute, hour, day, month and weekday, such as "30 9 * * MON-FRI"; seconds may come before them.'


@dataclass(frozen=True, slots=True)
class Expression:
    """A cron expression that was read."""

    fields: CronSim
    every_hour: bool
    gap: Literal["end"] = "end"
    start: None = None

    def following(self, shows: datetime) -> datetime | None:
        search = copy.copy(self.fields)
        search.dt = shows
        return next(search, None)


def read(text: str, seed: str = "") -> Expression:
    """Read a cron expression. ``seed`` is what an ``H`` in it is worked out from.

    Raises:
        InvalidOption: it is none.
    """
    written = text.strip()
    if written.startswith("@") and written.lower() not in ALIASES:
        raise InvalidOption("There is no such alias", seen=text, do=f"There are {', '.join(ALIASES)}.")
    if len(written) > LONGEST or not written.isascii():
        raise InvalidOption("This is not a cron expression", seen=text, do=_WRITE)
    try:
        fields = CronSim(ALIASES.get(written.lower()) or hashed(written, seed), _BEGINNING)
    except CronSimError as error:
        raise InvalidOption(f"This is not a cron expression: {wrong(str(error))}", seen=text, do=_WRITE) from None
    return Expression(fields, every_hour=len(fields.hours) == 24)


def checked(text: str) -> Expression:
    """The expression, if it ever fires. Raises InvalidOption, also if it cannot be read."""
    expression = read(text)
    if expression.following(_BEGINNING) is None:
        raise InvalidOption("This schedule never fires", seen=text, do="Choose days that there are.")
    return expression


def hashed(written: str, seed: str) -> str:
    """The expression with a number for each H."""
    fields = written.split()
    for place, (field, span) in zip(reversed(range(len(fields))), FIELDS.items(), strict=False):
        if "H" in fields[place].upper():
            items = fields[place].split(",")
            fields[place] = ",".join(number(item, hash63("H", seed, field), span) for item in items)
    return " ".join(fields)


def number(item: str, hashed: int, span: tuple[int, int]) -> str:
    """One item of a field: what an H in it stands for, or the item as it is."""
    found = HASH.fullmatch(item)
    if found is None:
        return item
    least, most, step = (None if each is None else int(each) for each in found.groups())
    first, last = span if least is None or most is None else (least, most)
    if not span[0] <= first <= last <= span[1] or step == 0:
        return item  # which nobody can read
    if step is None:
        return str(first + hashed % (last - first + 1))
    return f"{first + hashed % min(step, last - first + 1)}-{last}/{step}"


def wrong(said: str) -> str:
    """What cronsim says is wrong, in a sentence of ours."""
    field = said.removeprefix("Bad ")
    return f"its {field} cannot be" if field != said else "it has neither five fields nor six"
