"""``holdfast schedules list`` and ``show``: what is scheduled, when it fires, and how it went on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from holdfast import codec, recurrence
from holdfast.cli.options import App, Cursor, Database, Json
from holdfast.cli.place import place, using
from holdfast.cli.schedules.preview import print_slots
from holdfast.cli.show import DIM, Column, duration, now_ms, out, print_json, print_list, print_table, styled, when
from holdfast.schedule import Cron
from holdfast.scheduled import FiredSlot, Schedule

SLOTS: Final = 10
UPCOMING: Final = 5
COLOURS: Final = {"active": "green", "paused": "bold yellow", "ended": DIM}
Id = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The id of the schedule.")]


def list_schedules(
    task: Annotated[
        str | None, typer.Option("--task", "-t", metavar="TASK", help="Of this task.", show_default=False)
    ] = None,
    external_id: Annotated[
        str | None,
        typer.Option("--external-id", metavar="ID", help="With this external id.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=10_000, help="At most so many.")] = 50,
    cursor: Cursor = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """List schedules, the newest first."""
    with using(place(database, app)) as here:
        found = here.app.schedules.list(task=task, external_id=external_id, limit=limit, before=cursor)
    more = found[-1].id if len(found) == limit else None
    if json:
        print_json({"schedules": [as_document(each) for each in found], "next_cursor": more})
    else:
        none = "No schedules. A task has one by @app.task(schedule=…), or by holdfast schedules create."
        print_list(columns(now_ms()), found, none=none, more=more)


def show_schedule(schedule: Id, database: Database = None, app: App = None, json: Json = False) -> None:
    """Show a schedule: its rule and policies, its next slots, and the last ones it has had."""
    with using(place(database, app)) as here:
        found = here.app.schedules.retrieve(schedule)
        slots = list(here.app.schedules.slots(schedule, limit=SLOTS))
    if json:
        next_ones = [written(datetime.fromtimestamp(each / 1000, UTC)) for each in next_slots(found)]
        print_json({**as_document(found), "upcoming": next_ones, "slots": [slot_document(each) for each in slots]})
        return
    print_facts(found)
    if upcoming := next_slots(found):
        out().print()
        print_slots(upcoming, found.timezone, now_ms())
    if slots:
        out().print()
        print_table(slot_columns(), slots)


def next_slots(schedule: Schedule) -> list[int]:
    if schedule.next_at is None:
        return []
    first = milliseconds(schedule.next_at)
    rule = schedule.rule.rule(milliseconds(schedule.created_at))
    return [first, *recurrence.upcoming(rule, first, UPCOMING - 1)]


# -- documents --------------------------------------------------------------------------------------------------------


def as_document(schedule: Schedule) -> dict[str, Any]:
    rule = schedule.rule
    return {
        "id": schedule.id,
        "task": schedule.task,
        "status": schedule.status,
        "cron": rule.expression if isinstance(rule, Cron) else None,
        "rrule": None if isinstance(rule, Cron) else rule.text,
        "timezone": schedule.timezone,
        "jitter_ms": rule.jitter_ms,
        "catch_up": rule.catch_up,
        "overlap": rule.overlap,
        "payload": schedule.payload,
        "external_id": schedule.external_id,
        "deduplication_key": schedule.deduplication_key,
        "declared": schedule.declared,
        "next_at": written(schedule.next_at),
        "previous_at": written(schedule.previous_at),
        "last_run_id": schedule.last_run_id,
        "paused_at": written(schedule.paused_at),
        "problem": schedule.problem,
        "created_at": written(schedule.created_at),
    }


def slot_document(slot: FiredSlot) -> dict[str, Any]:
    return {"at": written(slot.at), "outcome": slot.outcome, "run_id": slot.run_id}


def written(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


# -- for people -------------------------------------------------------------------------------------------------------


def columns(now: int) -> list[Column]:
    return [
        Column("SCHEDULE", lambda each: each.id, style=DIM),
        Column("STATUS", lambda each: styled(each.status, COLOURS[each.status])),
        Column("TASK", lambda each: each.task, flexible=True, style="bold"),
        Column("RULE", rule_shown, flexible=True),
        Column("ZONE", lambda each: each.timezone, from_width=100, flexible=True),
        Column("NEXT", lambda each: next_shown(now, each), right=True),
        Column("FROM", lambda each: "code" if each.declared else "", from_width=110, style=DIM),
        Column("EXTERNAL ID", lambda each: each.external_id, from_width=120, flexible=True),
        Column("NOTE", lambda each: each.problem or "", from_width=84, flexible=True, style="red"),
    ]


def slot_columns() -> list[Column]:
    return [
        Column("HAD", lambda each: f"{each.at.astimezone():%Y-%m-%d %H:%M:%S}", style="bold"),
        Column("OUTCOME", lambda each: styled(each.outcome, "green" if each.outcome == "made" else "yellow")),
        Column("RUN", lambda each: each.run_id, style=DIM),
    ]


def rule_shown(schedule: Schedule) -> str:
    rule = schedule.rule
    return rule.expression if isinstance(rule, Cron) else rule.text


def next_shown(now: int, schedule: Schedule) -> str:
    return "" if schedule.next_at is None else f"in {duration(milliseconds(schedule.next_at) - now)}"


def print_facts(schedule: Schedule) -> None:
    rule, now = schedule.rule, now_ms()
    facts: dict[str, Any] = {
        "schedule": schedule.id,
        "task": schedule.task,
        "status": styled(schedule.status, COLOURS[schedule.status]),
        "rule": rule_shown(schedule),
        "timezone": schedule.timezone,
        "policies": f"catch_up {rule.catch_up}, overlap {rule.overlap}"
        + (f", jitter up to {duration(rule.jitter_ms)}" if rule.jitter_ms else ""),
        "declared": "in code" if schedule.declared else None,
        "external id": schedule.external_id,
        "key": schedule.deduplication_key,
        "payload": None if schedule.payload is None else codec.encode(schedule.payload),
        "problem": schedule.problem,
        "last run": schedule.last_run_id,
        "next": None if schedule.next_at is None else when(now, milliseconds(schedule.next_at)),
        "made": when(now, milliseconds(schedule.created_at)),
    }
    heads: list[Callable[[Any], Any]] = [lambda each: each[0], lambda each: each[1]]
    rows = [(name, value) for name, value in facts.items() if value is not None]
    print_table([Column("", heads[0], style=DIM), Column("", heads[1], flexible=True)], rows)
