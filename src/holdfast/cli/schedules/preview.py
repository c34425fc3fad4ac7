"""``holdfast schedules preview``: when a rule fires, before anything is made; needs no database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from holdfast import recurrence
from holdfast.cli.options import Json
from holdfast.cli.show import Column, note, now_ms, print_json, print_table, styled
from holdfast.cli.trigger import read_moment
from holdfast.duration import format_ms
from holdfast.recurrence import Change
from holdfast.schedule import Cron, Recurring, RRule

Timezone = Annotated[
    str | None,
    typer.Option("--timezone", "-z", metavar="ZONE", help="An IANA name. Default: UTC.", show_default=False),
]


def preview(
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help='A cron expression, or a rule of RFC 5545: "FREQ=WEEKLY;BYDAY=MO".')
    ],
    timezone: Timezone = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, max=1000, help="So many slots.")] = 10,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Seen from then. Default: now.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Print when a rule fires next, with a mark on the days on which the clocks change.

    holdfast schedules preview "0 2 * * *" --timezone Europe/Berlin
    """
    now = now_ms() if since is None else int(read_moment(since, "--from").timestamp() * 1000)
    recurring = read_rule(rule, timezone)
    found = recurrence.checked(recurring.rule(now), now)
    first = recurrence.first(found, now)
    slots = [] if first is None else [first, *recurrence.upcoming(found, first, count - 1)]
    if recurrence.has_hash(found):
        note("H is another number in each schedule; this is an example.")
    if json:
        print_json(
            {"rule": rule, "timezone": found.timezone, "slots": [as_document(each, found.timezone) for each in slots]}
        )
    else:
        print_slots(slots, found.timezone, now)


def read_rule(text: str, timezone: str | None, **options: Any) -> Recurring:
    """A rule as it is written on the command line: only those of RFC 5545 have an equals sign or a colon."""
    said = {name: value for name, value in {"timezone": timezone, **options}.items() if value is not None}
    if "=" in text or ":" in text:
        return RRule(text.replace("\\n", "\n"), **said)
    return Cron(text, **said)


def as_document(slot: int, timezone: str) -> dict[str, Any]:
    change = recurrence.change_on_day(timezone, slot)
    return {
        "at": datetime.fromtimestamp(slot / 1000, UTC).isoformat().replace("+00:00", "Z"),
        "local": local(slot, timezone).isoformat(),
        "clocks": None if change is None else told(change, timezone),
    }


def print_slots(slots: Iterable[int], timezone: str, now: int) -> None:
    columns = [
        Column("SLOT", lambda slot: f"{local(slot, timezone):%a %Y-%m-%d %H:%M:%S}", style="bold"),
        Column("ZONE", lambda slot: f"{local(slot, timezone):%Z}"),
        Column("UTC", lambda slot: f"{datetime.fromtimestamp(slot / 1000, UTC):%Y-%m-%d %H:%M}", from_width=72),
        Column("IN", lambda slot: format_ms(max(0, slot - now)), right=True),
        Column("CLOCKS", lambda slot: clocks(slot, timezone), flexible=True),
    ]
    print_table(columns, list(slots))


def clocks(slot: int, timezone: str) -> Any:
    change = recurrence.change_on_day(timezone, slot)
    return "" if change is None else styled(told(change, timezone), "yellow")


def told(change: Change, timezone: str) -> str:
    """A change of clocks, by what they show before it."""
    before = datetime.fromtimestamp((change.at - 1000) / 1000, ZoneInfo(timezone))
    at = (before.hour * 60 + before.minute + 1) % 1440
    how = "forward" if change.forward_ms > 0 else "back"
    return f"{how} by {format_ms(abs(change.forward_ms))} at {at // 60:02}:{at % 60:02}"


def local(slot: int, timezone: str) -> datetime:
    return datetime.fromtimestamp(slot / 1000, ZoneInfo(timezone))
