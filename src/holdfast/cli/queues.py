"""``holdfast queues``: list, pause, resume, limit."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from holdfast import views
from holdfast.cli.audited import record
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import DIM, Column, age, document, duration, now_ms, out, print_json, print_list, styled
from holdfast.client import Client
from holdfast.errors import InvalidOption, shown
from holdfast.queues import Limit, Queues
from holdfast.views import COUNTED, QueueView

app = typer.Typer(no_args_is_help=True, add_completion=False)

NONE: Final = "none"
Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue. A task that names none has task/<its id>.")]


@app.command("list")
def list_queues(database: Database = None, app: App = None, json: Json = False) -> None:
    """List the queues: their limits, what executes and what stands in line."""
    with opened(database, app) as client:
        found = client.read(views.queues)
    if json:
        print_json({"queues": [queue_document(each) for each in found]})
    else:
        none = "No queues. They are made by the first trigger, or by a worker that knows them."
        print_list(columns(now_ms()), found, none=none)


@app.command()
def pause(name: Name, database: Database = None, app: App = None, json: Json = False) -> None:
    """Let no run of a queue start until it is resumed. Those that execute go on."""
    with opened(database, app) as client:
        Queues(client).pause(name)
        record(client, "queues pause", name)
        tell(client, name, json=json)


@app.command()
def resume(name: Name, database: Database = None, app: App = None, json: Json = False) -> None:
    """Let a paused queue go on."""
    with opened(database, app) as client:
        Queues(client).resume(name)
        record(client, "queues resume", name)
        tell(client, name, json=json)


@app.command()
def limit(
    name: Name,
    at_once: Annotated[
        str | None,
        typer.Argument(metavar="N|none", help="Runs at a time. none: as the code says.", show_default=False),
    ] = None,
    per_key: Annotated[
        str | None,
        typer.Option("--per-key", metavar="N|none", help="Runs at a time of each concurrency key.", show_default=False),
    ] = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Limit how many runs of a queue execute at a time. Without a number it shows the limits.

    It is stronger than what the code says, until it is set to none. Runs that execute are not stopped.
    """
    at_once_limit, per_key_limit = read_limit(at_once, "The limit"), read_limit(per_key, "--per-key")
    with opened(database, app) as client:
        if at_once is not None or per_key is not None:
            Queues(client).limit(name, at_once_limit, concurrency_limit_per_key=per_key_limit)
            record(client, "queues limit", f"{name}: {at_once or 'as it is'}, per key {per_key or 'as it is'}")
        tell(client, name, json=json)


def read_limit(text: str | None, option: str) -> Limit:
    """A limit as it is written: None gives the code its say back, and what is not written stays."""
    if text is None:
        return ...
    if text.lower() == NONE:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise InvalidOption(
            f"{option} is not a whole number of at least 1",
            seen=shown(text),
            do="Write 1 or more, or none for what the code says; to stop a queue, pause it.",
        )
    return int(text)


def tell(client: Client, name: str, *, json: bool) -> None:
    """How the queue is now."""
    found = client.read(views.queue, name)
    if found is None:
        Queues(client).retrieve(name)  # raises, and names one that is spelt alike
        return
    if json:
        print_json(queue_document(found))
        return
    state = "paused" if found.paused_at is not None else "open"
    out().print(f"{name} is {state}; at a time: {limit_told(found)}", soft_wrap=True)


def limit_told(each: QueueView) -> str:
    parts = [
        limit_of(each.concurrency_limit, each.overriding_limit, each.declared_limit, ""),
        limit_of(
            each.concurrency_limit_per_key, each.overriding_limit_per_key, each.declared_limit_per_key, " per key"
        ),
    ]
    return ", ".join(part for part in parts if part) or "no limit"


def limit_of(value: int | None, said: int | None, declared: int | None, of: str) -> str:
    if value is None:
        return ""
    code = "no limit" if declared is None else str(declared)
    return f"{value}{of}" + (f" (the code says {code})" if said is not None else "")


def queue_document(each: QueueView) -> dict[str, Any]:
    """The queue without the number that it has in the tables."""
    return {name: value for name, value in document(each).items() if name != "id"}


# -- the table --------------------------------------------------------------------------------------------------------


def columns(now: int) -> list[Column]:
    return [
        Column("QUEUE", lambda each: each.name, flexible=True, style="bold"),
        Column("STATE", lambda each: styled("paused", "bold yellow") if each.paused_at is not None else "open"),
        Column("LIMIT", limit_shown),
        Column("PER KEY", per_key_shown, from_width=72),
        Column("RATE", rate_shown, from_width=110),
        Column("EXECUTING", lambda each: number(each.executing), right=True),
        Column("QUEUED", lambda each: number(each.queued), right=True),
        Column("PENDING", lambda each: number(each.pending_version), right=True, style="yellow"),
        Column("DELAYED", lambda each: number(each.delayed), right=True, from_width=90),
        Column("OLDEST", lambda each: age(now, each.oldest_queued_at), right=True, from_width=72, style=DIM),
    ]


def number(count: int) -> str:
    return "" if not count else f"{COUNTED:,}+" if count >= COUNTED else f"{count:,}"


def limit_shown(each: QueueView) -> Any:
    return overridden(each.concurrency_limit, each.overriding_limit)


def per_key_shown(each: QueueView) -> Any:
    return overridden(each.concurrency_limit_per_key, each.overriding_limit_per_key)


def overridden(value: int | None, said: int | None) -> Any:
    """A limit; one that an operator has set is marked."""
    if value is None:
        return ""
    return styled(f"{value} *", "bold") if said is not None else str(value)


def rate_shown(each: QueueView) -> str:
    parts = []
    if each.rate is not None:
        parts.append(f"{each.rate} in {duration(each.rate_ms)}")
    if each.rate_per_key is not None:
        parts.append(f"{each.rate_per_key} in {duration(each.rate_per_key_ms)} per key")
    return ", ".join(parts)
