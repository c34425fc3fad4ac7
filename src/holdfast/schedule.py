"""What users write of schedules: `Cron` and `RRule` say when, and what becomes of slots that are missed or overlap.

    @app.task(schedule=Cron("0 9 * * MON-FRI", timezone="Europe/London"))     declared: kept in step with the code
    app.schedules.create(onboard, Cron("@daily"), ada)                        made at run time

A `Slot` is one of the times of a schedule, as its run is told of it.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from holdfast import recurrence
from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.recurrence import Rule
from holdfast.recurrence.zones import zone, zone_named_in

__all__ = ["CatchUp", "Cron", "Overlap", "RRule", "Slot"]

CatchUp = Literal["none", "last", "all"] | int
Overlap = Literal["allow", "skip", "queue", "cancel"]

MOST: Final = 1000
UPCOMING: Final = 5
_COUNTS: Final = {"none": 0, "last": 1, "all": MOST}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule by a cron expression: minute, hour, day of the month, month, day of the week; of six fields the first
    is seconds. Names (``MON``, ``JAN``), ``L`` (last), ``MON#2``, ``@daily`` and its like can be used, and ``H``: a
    number that is another one in each schedule, always the same.

    Where clocks change, a time that is left out fires as soon as they have been put forward, and one that comes twice
    fires the first time; an expression for every hour follows the clock on the wall.

    - ``timezone``: an IANA name.
    - ``jitter``: each run is made up to so much later, always equally late, so that many do not start at once.
    - ``catch_up``: what to do about slots that were missed while no worker was there: ``"last"`` makes up for the last
      one, ``"none"`` for none, a number for so many, ``"all"`` for up to 1000.
    - ``overlap``: what to do if the run of an earlier slot has not ended: ``"allow"`` another one, ``"skip"`` this
      slot, ``"queue"`` it, so that one slot waits for the end, or ``"cancel"`` the old run.

    Raises:
        InvalidOption: the expression cannot be read or never fires, or an option cannot be used.

    >>> Cron("0 9 * * MON-FRI", timezone="Europe/London", overlap="skip")
    """

    expression: str
    _: KW_ONLY
    timezone: str = "UTC"
    jitter: Duration | None = field(default=None, compare=False)
    catch_up: CatchUp = "last"
    overlap: Overlap = "allow"
    jitter_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_text(self.expression, "The expression of a Cron", 'Write, say, Cron("0 9 * * MON-FRI").')
        _check(self, self.timezone)
        recurrence.readable(self.rule(0))

    def rule(self, start: int) -> Rule:
        """As it is stored. ``start`` is when the schedule was made, in milliseconds since the epoch."""
        return Rule("cron", self.expression.strip(), self.timezone, 0)


@dataclass(frozen=True, slots=True)
class RRule:
    """A schedule by a rule of RFC 5545: what stands behind ``RRULE:``, or whole lines, with DTSTART, RDATE and EXDATE.

    Times are local times of ``timezone`` (default: the TZID of DTSTART, else UTC). Without a start, by DTSTART or by
    ``dtstart``, it begins when the schedule is made, and its first slot is at once if the rule names that day; what the
    rule does not say (the hour, the minute) is taken from its start. For the other options see `Cron`.

    Where clocks change, a time that is left out is an hour later, and one that comes twice fires the first time; a rule
    that fires in every hour follows the clock on the wall.

    Raises:
        InvalidOption: the rule cannot be read, or an option cannot be used.

    >>> RRule("FREQ=MONTHLY;BYDAY=3TU;BYHOUR=9;BYMINUTE=0;BYSECOND=0", timezone="Europe/London")
    """

    text: str
    _: KW_ONLY
    timezone: str | None = None
    dtstart: datetime | None = None
    jitter: Duration | None = field(default=None, compare=False)
    catch_up: CatchUp = "last"
    overlap: Overlap = "allow"
    jitter_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_text(self.text, "The rule of an RRule", 'Write, say, RRule("FREQ=DAILY;BYHOUR=9;BYMINUTE=0").')
        timezone = self.timezone if self.timezone is not None else zone_named_in(self.text) or "UTC"
        object.__setattr__(self, "timezone", timezone)
        _check(self, timezone)
        recurrence.readable(self.rule(0))

    def rule(self, start: int) -> Rule:
        """As it is stored. ``start`` is when the schedule was made, in milliseconds since the epoch."""
        return Rule("rrule", self._lines(), self.timezone or "UTC", start // 1000 * 1000)

    def _lines(self) -> str:
        if self.dtstart is None:
            return self.text.strip()
        start: object = self.dtstart
        if not isinstance(start, datetime) or "DTSTART" in self.text.upper():
            raise InvalidOption(
                "dtstart is not a datetime, or the rule has a DTSTART of its own",
                seen=shown(self.dtstart),
                do="Keep one of them.",
            )
        local = _shown_in(self.dtstart, self.timezone or "UTC") if self.dtstart.tzinfo else self.dtstart
        text = self.text.strip()
        head = "" if ":" in text.partition("\n")[0] else "RRULE:"
        return f"DTSTART:{local:%Y%m%dT%H%M%S}\n{head}{text}"


def _shown_in(at: datetime, timezone: str) -> datetime:
    try:
        return at.astimezone(zone(timezone))
    except OverflowError:
        raise InvalidOption(
            "dtstart is beyond what a calendar holds", seen=shown(at), do="Write one of these centuries."
        ) from None


Recurring = Cron | RRule


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the times of a schedule. A task that is scheduled takes it as its payload, or looks at ``ctx.slot``.

    ``at`` is the time it stands for, which may be a moment ago; ``previous`` the slot of the run before, None for the
    first one. Both are aware datetimes in UTC. ``timezone`` is the schedule's.

    >>> @app.task(schedule=Cron("@daily"))
    ... def report(slot: Slot) -> None:
    ...     print(slot.at, slot.previous, slot.upcoming)
    """

    at: datetime
    previous: datetime | None = None
    schedule_id: str | None = None
    external_id: str | None = None
    timezone: str = "UTC"
    rule: list[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def upcoming(self) -> list[datetime]:
        """The next slots after this one, up to five."""
        if self.rule is None:
            return []
        at = (self.at - _EPOCH) // timedelta(milliseconds=1)
        rule = msgspec.convert(self.rule, Rule)
        return [_EPOCH + timedelta(milliseconds=each) for each in recurrence.upcoming(rule, at, UPCOMING)]


def slot_of(facts: dict[str, Any]) -> Slot:
    """A slot from what is stored with its run."""
    return msgspec.convert(facts, Slot)


def facts_of(slot: object) -> dict[str, Any]:
    """What is stored of a slot. Raises InvalidOption."""
    if not isinstance(slot, Slot):
        raise InvalidOption(
            "slot is not a Slot", seen=shown(slot), do="Write Slot(at=datetime(2027, 1, 1, tzinfo=UTC))."
        )
    facts: dict[str, Any] = msgspec.to_builtins(slot)
    return facts


def takes_slot(annotation: object) -> bool:
    """Whether a payload with this annotation is a slot: ``Slot``, or ``Slot | None``."""
    return annotation is Slot or Slot in typing.get_args(annotation)


def schedules_in(value: object, option: str = "schedule") -> tuple[Recurring, ...]:
    """What a task's option ``schedule`` says. Raises InvalidOption."""
    found: list[Recurring] = []
    for each in value if isinstance(value, list | tuple) else [value]:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(each, Cron | RRule):
            raise InvalidOption(
                f"{option} is neither a Cron nor an RRule", seen=shown(each), do=f'Write {option}=Cron("0 9 * * *").'
            )
        found.append(each)
    return tuple(found)


def catch_up_count(value: CatchUp) -> int:
    """How many missed slots are made up for."""
    return _COUNTS[value] if isinstance(value, str) else value


def recurring_of(rule: Rule, *, catch_up: int, overlap: str, jitter_ms: int) -> Recurring:
    """The `Cron` or `RRule` that a stored schedule was made from."""
    words: dict[int, CatchUp] = {0: "none", 1: "last", MOST: "all"}
    said: dict[str, Any] = {"catch_up": words.get(catch_up, catch_up), "overlap": overlap, "timezone": rule.timezone}
    said |= {"jitter": jitter_ms / 1000 if jitter_ms else None, "jitter_ms": jitter_ms}
    said["expression" if rule.kind == "cron" else "text"] = rule.text
    kind: type[Recurring] = Cron if rule.kind == "cron" else RRule
    recurring = object.__new__(kind)  # it was checked when it was made
    for each in dataclasses.fields(recurring):
        object.__setattr__(recurring, each.name, said.get(each.name))
    return recurring


def _check(recurring: Recurring, timezone: object) -> None:
    _check_text(timezone, "timezone", 'Write an IANA name, such as timezone="Europe/Berlin".')
    zone(str(timezone))
    late = 0 if recurring.jitter is None else to_ms(recurring.jitter, name="jitter")
    object.__setattr__(recurring, "jitter_ms", late)
    count: object = recurring.catch_up
    number = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST
    if not number and not (isinstance(count, str) and count in _COUNTS):
        raise InvalidOption(
            "catch_up cannot be used", seen=shown(count), do=f'Write "none", "last", "all", or a number up to {MOST}.'
        )
    overlap: object = recurring.overlap
    if not isinstance(overlap, str) or overlap not in typing.get_args(Overlap):
        raise InvalidOption(
            "overlap cannot be used", seen=shown(overlap), do='Write "allow", "skip", "queue" or "cancel".'
        )


def _check_text(value: object, what: str, do: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidOption(f"{what} is no text", seen=shown(value), do=do)
