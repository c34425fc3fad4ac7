"""``holdfast audit``: who changed what, when, and from where."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.options import App, Cursor, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import DIM, Column, age, now_ms, print_json, print_list
from holdfast.engine import audit as engine
from holdfast.engine.audit import AuditLine

app = typer.Typer(add_completion=False)


@app.command()
def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1_000, help="At most so many.")] = 50,
    cursor: Cursor = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """List who changed what over HTTP or with the command line, the newest first. It is kept for 400 days."""
    with opened(database, app) as client:
        found = client.read(engine.page, before=cursor, n=limit + 1)
    page = found[:limit]
    more = page[-1].id if len(found) > limit else None
    if json:
        print_json({"changes": [line_document(each) for each in page], "next_cursor": more})
    else:
        print_list(columns(now_ms()), page, none="Nothing was changed yet.", more=more)


def line_document(each: AuditLine) -> dict[str, Any]:
    from holdfast.cli.keys import iso

    return {**each._asdict(), "at": iso(each.at)}


def columns(now: int) -> list[Column]:
    return [
        Column("AGE", lambda each: age(now, each.at), right=True),
        Column("WHO", lambda each: each.actor, flexible=True),
        Column("DID", lambda each: each.verb),
        Column("TO", lambda each: each.subject, flexible=True),
        Column("FROM", lambda each: each.origin, from_width=90, style=DIM),
    ]
