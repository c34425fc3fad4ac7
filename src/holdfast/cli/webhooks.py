"""``holdfast webhooks``: where requests come in, and those that were refused."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.options import App, Cursor, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import DIM, Column, age, clean, now_ms, out, print_json, print_list
from holdfast.errors import HoldfastError
from holdfast.records import Rejected

app = typer.Typer(no_args_is_help=True, add_completion=False)


class NoSuchRequest(HoldfastError):
    """There is no such request."""


@app.command("list")
def list_webhooks(database: Database = None, app: App = None, json: Json = False) -> None:
    """List the paths at which requests become runs, as they were announced last."""
    from holdfast.engine import webhooks

    with opened(database, app) as client:
        found = client.read(webhooks.announced)
        url = client.public_url()
    if json:
        print_json({"webhooks": [{**each._asdict(), "url": f"{url}/webhooks{each.path}"} for each in found]})
    else:
        now = now_ms()
        columns = [
            Column("URL", lambda each: f"{url}/webhooks{each.path}", flexible=True),
            Column("TASK", lambda each: each.task),
            Column("VERIFIED BY", lambda each: each.verified_by),
            Column("ANNOUNCED", lambda each: age(now, each.seen_at), right=True, from_width=80, style=DIM),
        ]
        none = "No webhooks: workers announce those of their app, and a server those of one without workers."
        print_list(columns, found, none=none)


@app.command()
def rejected(
    path: Annotated[
        str | None, typer.Option("--path", metavar="PATH", help="At this path only: /stripe.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1_000, help="At most so many.")] = 50,
    cursor: Cursor = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """List requests that were refused, the newest first. They are kept for a week."""
    from holdfast.engine import webhooks

    with opened(database, app) as client:
        found = client.read(webhooks.rejected, path=path, before=cursor, n=limit)
    more = found[-1].id if len(found) == limit else None
    if json:
        print_json({"rejected": [summary(each) for each in found], "next_cursor": more})
    else:
        print_list(columns(now_ms()), found, none="No request was refused.", more=more)


@app.command()
def show(
    request_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a request that was refused.")],
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Show a request that was refused: why, its headers, and the beginning of its body."""
    from holdfast import codec
    from holdfast.engine import webhooks

    with opened(database, app) as client:
        found = client.read(webhooks.rejected_one, request_id)
    if found is None:
        raise NoSuchRequest("There is no such request, or no longer", seen=request_id, do="See webhooks rejected.")
    headers: dict[str, str] = codec.decode(found.headers)
    if json:
        print_json({**summary(found), "headers": headers, "body": found.body})
        return
    for line in (f"{found.id}  {found.path}", found.reason, f"{found.size} bytes from {found.source}"):
        out().print(clean(line), soft_wrap=True, markup=False, highlight=False)
    for name, value in headers.items():
        out().print(clean(f"  {name}: {value}"), soft_wrap=True, markup=False, highlight=False)
    out().print(clean(found.body), soft_wrap=True, markup=False, highlight=False)


def summary(each: Rejected) -> dict[str, Any]:
    return {name: getattr(each, name) for name in ("id", "at", "path", "reason", "source", "size")}


def columns(now: int) -> list[Column]:
    return [
        Column("REQUEST", lambda each: each.id, style=DIM),
        Column("PATH", lambda each: each.path),
        Column("WHY", lambda each: each.reason, flexible=True),
        Column("FROM", lambda each: each.source, from_width=100, style=DIM),
        Column("AGE", lambda each: age(now, each.at), right=True),
    ]
