"""When a schedule fires: its rule as a form has it, and the next times as the clocks of its zone show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from holdfast import recurrence
from holdfast.dashboard.shapes import pretty
from holdfast.dashboard.site import Form
from holdfast.duration import format_ms
from holdfast.errors import InvalidOption
from holdfast.schedule import Cron, Recurring, RRule
from holdfast.scheduled import Schedule

UPCOMING: Final = 10


class Coming(NamedTuple):
    """A slot to come, as the clocks of its zone show it; ``clocks`` says so on a day on which they change."""

    at: int
    local: str
    clocks: str | None


class Written(NamedTuple):
    """A schedule as a form has it."""

    task: str = ""
    rule: str = ""
    timezone: str = "UTC"
    payload: str = ""
    external_id: str = ""
    catch_up: str = "last"
    overlap: str = "allow"
    jitter: str = ""


def previewed(written: Written, now: int) -> dict[str, Any]:
    """What the preview shows: when the rule fires next, or what is wrong with it."""
    if not written.rule:
        return {"coming": [], "wrong": None, "example": False}
    try:
        rule = recurrence.checked(rule_of(written).rule(now), now)
        first = recurrence.first(rule, now)
        at = [] if first is None else [first, *recurrence.upcoming(rule, first, UPCOMING - 1)]
        return {
            "coming": [coming(each, rule.timezone) for each in at],
            "wrong": None,
            "example": recurrence.has_hash(rule),
        }
    except InvalidOption as error:
        return {"coming": [], "wrong": error, "example": False}


def rule_text(rule: Recurring) -> str:
    return rule.expression if isinstance(rule, Cron) else rule.text


def rule_of(written: Written) -> Recurring:
    """The rule that a form says: only one of RFC 5545 has an equals sign or a colon. Raises InvalidOption."""
    said: dict[str, Any] = {"overlap": written.overlap, "catch_up": caught_up(written.catch_up)}
    if written.jitter:
        said["jitter"] = written.jitter
    if "=" in written.rule or ":" in written.rule:
        return RRule(written.rule, timezone=written.timezone or None, **said)
    return Cron(written.rule, timezone=written.timezone or "UTC", **said)


def caught_up(text: str) -> Any:
    return int(text) if text.isdecimal() and text.isascii() else text


def as_written(schedule: Schedule) -> Written:
    rule = schedule.rule
    return Written(
        task=schedule.task,
        rule=rule_text(rule),
        timezone=schedule.timezone,
        payload="" if schedule.payload is None else pretty(schedule.payload),
        external_id=schedule.external_id or "",
        catch_up=str(rule.catch_up),
        overlap=rule.overlap,
        jitter=format_ms(rule.jitter_ms) if rule.jitter_ms else "",
    )


def written_in(form: Form) -> Written:
    said = {name: form.get(name) for name in Written._fields}
    if not said["task"]:
        said["task"] = ""
    return Written(**said | {"payload": form.raw("payload"), "rule": form.raw("rule").strip()})


def coming_of(schedule: Schedule) -> Sequence[Coming]:
    if schedule.next_at is None:
        return []
    first = round(schedule.next_at.timestamp() * 1000)
    rule = schedule.rule.rule(round(schedule.created_at.timestamp() * 1000))
    seeded = recurrence.seeded(rule, schedule.id)
    return [coming(at, rule.timezone) for at in (first, *recurrence.upcoming(seeded, first, UPCOMING - 1))]


def coming(at: int, timezone: str) -> Coming:
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(timezone))
    change = recurrence.change_on_day(timezone, at)
    clocks = None
    if change is not None:
        way = "forward" if change.forward_ms > 0 else "back"
        clocks = f"clocks go {way} by {format_ms(abs(change.forward_ms))} on this day"
    seconds = ":%S" if local.second else ""
    return Coming(at, f"{local:%a %d %b %Y %H:%M{seconds} %Z}", clocks)
