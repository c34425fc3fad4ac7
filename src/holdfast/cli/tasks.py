"""``holdfast tasks``: what can be triggered, and who knows it."""

from __future__ import annotations

from typing import Any

import typer

from holdfast import codec, views
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import NoDatabase, Place, place, using
from holdfast.cli.show import DIM, Column, age, duration, note, now_ms, print_json, print_list, styled
from holdfast.views import TaskView

app = typer.Typer(add_completion=False)


@app.command()
def tasks(database: Database = None, app: App = None, json: Json = False) -> None:
    """List the tasks: those that workers have announced, and those of the app that is here."""
    found = merged(place(database, app))
    if json:
        print_json({"tasks": found})
        return
    print_list(columns(now_ms()), found, none="No tasks. A worker announces those of its app.")
    if not all(each.announced_at for each in found):
        note("What was never announced is in the code, and no worker has run it yet.")


class Listed(TaskView, kw_only=True, frozen=True):
    """A task of the catalogue, of the code that is here, or of both."""

    announced_at: int | None  # type: ignore[assignment]
    in_code: bool


def merged(here: Place) -> list[Listed]:
    """The tasks of the catalogue, and those of the code that are not in it."""
    try:
        with using(here):
            known = {each.id: each for each in here.app.client.read(views.tasks)}
    except NoDatabase:
        if here.name is None:
            raise
        known = {}
    code = here.app.tasks
    found = [
        Listed(**{field: getattr(each, field) for field in each.__struct_fields__}, in_code=each.id in code)
        for each in known.values()
    ]
    found += [in_code(here, task_id) for task_id in code if task_id not in known]
    return sorted(found, key=lambda each: each.id)


def in_code(here: Place, task_id: str) -> Listed:
    """A task that nobody has announced yet."""
    entry = here.app.tasks[task_id].entry()
    return Listed(
        id=entry.id,
        queue=entry.queue,
        workers=0,
        options=codec.decode(entry.options),
        payload_schema=None if entry.schema is None else codec.decode(entry.schema),
        version=entry.version,
        announced_at=None,
        in_code=True,
    )


# -- the table --------------------------------------------------------------------------------------------------------


def columns(now: int) -> list[Column]:
    return [
        Column("TASK", lambda each: each.id, flexible=True, style="bold"),
        Column("QUEUE", lambda each: "" if each.queue == f"task/{each.id}" else each.queue, flexible=True),
        Column("WORKERS", workers, right=True),
        Column("PAYLOAD", lambda each: payload(each.payload_schema), from_width=72, flexible=True),
        Column("TRIES", lambda each: str(each.options.get("max_attempts", "")), from_width=90, right=True),
        Column("MAX", lambda each: duration(each.options.get("max_duration_ms")), from_width=90, right=True),
        Column("TTL", lambda each: duration(each.options.get("ttl_ms")), from_width=110, right=True),
        Column("VERSION", lambda each: each.version, from_width=110),
        Column("ANNOUNCED", lambda each: announced(now, each), right=True, style=DIM),
    ]


def workers(each: Listed) -> Any:
    return styled(str(each.workers), "green" if each.workers else "yellow")


def announced(now: int, each: Listed) -> str:
    return "never" if each.announced_at is None else f"{age(now, each.announced_at)} ago"


def payload(schema: Any) -> str:
    """A payload's type in few words."""
    if schema is None:
        return ""
    if not isinstance(schema, dict):
        return "any"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {payload(schema.get('items', {}))}"
    if "anyOf" in schema:
        return " or ".join(payload(each) for each in schema["anyOf"])
    return str(schema.get("title") or schema.get("type") or "any")
