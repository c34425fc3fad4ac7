"""``holdfast schedules create``, ``update``, ``pause``, ``resume``, ``delete`` and ``run``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from holdfast import views
from holdfast.cli.audited import record
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import place, using
from holdfast.cli.schedules.look import Id, as_document, milliseconds, rule_shown
from holdfast.cli.schedules.preview import Timezone, read_rule
from holdfast.cli.show import now_ms, out, print_json, when
from holdfast.cli.trigger import payload_of, read_json, read_text, warn
from holdfast.schedule import CatchUp, Cron, Recurring
from holdfast.scheduled import Schedule

Jitter = Annotated[
    str | None,
    typer.Option("--jitter", metavar="DURATION", help="Fire up to so much later.", show_default=False),
]
CatchUpWord = Annotated[
    str | None,
    typer.Option(
        "--catch-up",
        metavar="none|last|all|N",
        help="Missed slots to make up for. Default: last.",
        show_default=False,
    ),
]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        metavar="allow|skip|queue|cancel",
        help="If the run of an earlier slot has not ended. Default: allow.",
        show_default=False,
    ),
]
ExternalId = Annotated[
    str | None, typer.Option("--external-id", metavar="ID", help="To find it by.", show_default=False)
]
QueueName = Annotated[
    str | None,
    typer.Option("--queue", "-q", metavar="NAME", help="Another queue than the task's.", show_default=False),
]


def create(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The id of the task.")],
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A cron expression, or a rule of RFC 5545.")],
    payload: Annotated[
        str | None,
        typer.Argument(
            metavar="JSON",
            help="The payload of its runs. @FILE reads it from a file, - from standard input.",
            show_default=False,
        ),
    ] = None,
    timezone: Timezone = None,
    jitter: Jitter = None,
    catch_up: CatchUpWord = None,
    overlap: Overlap = None,
    external_id: ExternalId = None,
    deduplication_key: Annotated[
        str | None,
        typer.Option(
            "--deduplication-key", metavar="KEY", help="A schedule with this key is changed.", show_default=False
        ),
    ] = None,
    queue: QueueName = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Make a schedule of a task.

    holdfast schedules create greet "0 9 * * MON-FRI" '"Ada"' --timezone Europe/London
    """
    recurring = read_rule(rule, timezone, jitter=jitter, catch_up=read_catch_up(catch_up), overlap=overlap)
    value = None if payload is None else read_json(read_text(payload), "The payload")
    options: Any = {} if queue is None else {"queue": queue}
    with using(place(database, app), make=True) as here:
        local = here.app.tasks.get(task)
        given = value if local is None else payload_of(local, value)
        if local is None and task not in {each.id for each in here.app.client.read(views.tasks)}:
            warn(f"No worker knows {task} yet. Its runs stay pending_version until one does.")
        made = here.app.schedules.create(
            task, recurring, given, external_id=external_id, deduplication_key=deduplication_key, **options
        )
        record(here.app.client, "schedules create", f"{made.id} of {task}: {rule}")
    tell(made, json=json)


def update(
    schedule: Id,
    rule: Annotated[
        str | None, typer.Argument(metavar="RULE", help="Another rule. Default: as it is.", show_default=False)
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option(
            "--payload",
            metavar="JSON",
            help="Another payload. @FILE reads it from a file, - from standard input.",
            show_default=False,
        ),
    ] = None,
    timezone: Timezone = None,
    jitter: Jitter = None,
    catch_up: CatchUpWord = None,
    overlap: Overlap = None,
    external_id: ExternalId = None,
    queue: QueueName = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Change a schedule; what is not said stays.

    holdfast schedules update 01m80tzsxnertrkeh46exjfrxy "0 8 * * MON-FRI"
    """
    said = {"timezone": timezone, "jitter": jitter, "catch_up": read_catch_up(catch_up), "overlap": overlap}
    options: Any = {} if queue is None else {"queue": queue}
    if payload is not None:
        options["payload"] = read_json(read_text(payload), "The payload")
    if external_id is not None:
        options["external_id"] = external_id
    with using(place(database, app)) as here:
        before = here.app.schedules.retrieve(schedule)
        local = here.app.tasks.get(before.task)
        if "payload" in options and local is not None:
            options["payload"] = payload_of(local, options["payload"])
        anew = rule is not None or any(value is not None for value in said.values())
        recurring = changed(before.rule, rule, said) if anew else None
        tell(here.app.schedules.update(schedule, recurring, **options), json=json)
        record(here.app.client, "schedules update", f"{schedule}: {rule}" if rule else schedule)


def changed(before: Recurring, rule: str | None, said: Mapping[str, Any]) -> Recurring:
    """The rule as it is to be: what is not said is as it was."""
    text = before.expression if isinstance(before, Cron) else before.text
    usual = {"timezone": before.timezone, "jitter": before.jitter, "catch_up": before.catch_up}
    named = {name: value for name, value in said.items() if value is not None}
    options = {**usual, "overlap": before.overlap, **named}
    return read_rule(text if rule is None else rule, options.pop("timezone"), **options)


def pause(schedule: Id, database: Database = None, app: App = None, json: Json = False) -> None:
    """Let a schedule fire no more until it is resumed. Its runs go on."""
    with using(place(database, app)) as here:
        tell(here.app.schedules.pause(schedule), json=json)
        record(here.app.client, "schedules pause", schedule)


def resume(schedule: Id, database: Database = None, app: App = None, json: Json = False) -> None:
    """Let a paused schedule go on, at its next slot. Those of the meantime are not made up for."""
    with using(place(database, app)) as here:
        tell(here.app.schedules.resume(schedule), json=json)
        record(here.app.client, "schedules resume", schedule)


def delete(schedule: Id, database: Database = None, app: App = None, json: Json = False) -> None:
    """Remove a schedule. The runs it has made stay."""
    with using(place(database, app)) as here:
        here.app.schedules.delete(schedule)
        record(here.app.client, "schedules delete", schedule)
    if json:
        print_json({"id": schedule, "deleted": True})
    else:
        out().print(f"{schedule} is deleted", soft_wrap=True)


def run(schedule: Id, database: Database = None, app: App = None, json: Json = False) -> None:
    """Make a run of a schedule at once, whatever its rule says."""
    with using(place(database, app)) as here:
        made = here.app.schedules.run_now(schedule)
        record(here.app.client, "schedules run", f"{schedule}: {made.id}")
    if json:
        print_json({"id": made.id, "schedule_id": schedule})
    else:
        out().print(made.id, soft_wrap=True)


def read_catch_up(text: str | None) -> CatchUp | None:
    """A word or a number; what is neither is refused with the rest of the rule."""
    if text is None:
        return None
    words: Any = text
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else words


def tell(schedule: Schedule, *, json: bool) -> None:
    """How the schedule is now."""
    if json:
        print_json(as_document(schedule))
        return
    following = "" if schedule.next_at is None else f", next {when(now_ms(), milliseconds(schedule.next_at))}"
    out().print(
        f"{schedule.id} is {schedule.status}: {schedule.task}, {rule_shown(schedule)}{following}", soft_wrap=True
    )
