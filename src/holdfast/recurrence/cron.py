"""Cron expressions: five fields, or six of which the first is seconds, or ``@daily`` and its like.

Reading and searching is cronsim's, which knows names (MON, JAN), ``L`` (last), ``LW``, ``5L`` and ``MON#2``. Where
a day of the month and a day of the week are both given, either will do, as in Debian's cron.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from cronsim import CronSim, CronSimError

from holdfast.errors import InvalidOption

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


def read(text: str) -> Expression:
    """Read a cron expression.

    Raises:
        InvalidOption: it is none, or never fires.
    """
    written = text.strip()
    if written.startswith("@") and written.lower() not in ALIASES:
        raise InvalidOption("There is no such alias", seen=text, do=f"There are {', '.join(ALIASES)}.")
    if len(written) > LONGEST or not written.isascii():
        raise InvalidOption("This is not a cron expression", seen=text, do=_WRITE)
    try:
        fields = CronSim(ALIASES.get(written.lower(), written), _BEGINNING)
    except CronSimError as error:
        raise InvalidOption(f"This is not a cron expression: {wrong(str(error))}", seen=text, do=_WRITE) from None
    expression = Expression(fields, every_hour=len(fields.hours) == 24)
    if expression.following(_BEGINNING) is None:
        raise InvalidOption("This schedule never fires", seen=text, do="Choose days that there are.")
    return expression


def wrong(said: str) -> str:
    """What cronsim says is wrong, in a sentence of ours."""
    field = said.removeprefix("Bad ")
    return f"its {field} cannot be" if field != said else "it has neither five fields nor six"
