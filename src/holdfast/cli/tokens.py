"""``holdfast tokens``: list, show, create, complete."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from holdfast.cli.audited import record
from holdfast.cli.options import App, Cursor, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import DIM, Column, age, note, now_ms, out, print_json, print_list, styled, when
from holdfast.cli.trigger import read_json, read_text
from holdfast.clock import moment_ms
from holdfast.errors import TokenUnknown
from holdfast.tokens import Tokens, TokenState

app = typer.Typer(no_args_is_help=True, add_completion=False)

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the token.")]
STYLES: Final = {"open": "yellow", "completed": "green", "expired": "bright_black"}
WHY_NOT: Final = {
    "already": "It was completed before, and keeps that value.",
    "expired": "Its time is over: nothing has changed.",
}


@app.command("list")
def list_tokens(
    status: Annotated[
        str | None, typer.Option("--status", "-s", metavar="STATUS", help="open, completed or expired.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="With this tag; with all of them, if several are given."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1_000, help="At most so many.")] = 50,
    cursor: Cursor = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """List tokens, the newest first."""
    with opened(database, app) as client:
        page = Tokens(client).list(status=status, tag=tag or None, limit=limit, cursor=cursor)  # type: ignore[arg-type]
    if json:
        print_json({"tokens": [token_document(each) for each in page], "next_cursor": page.next_cursor})
    else:
        print_list(columns(now_ms()), page, none="No tokens.", more=page.next_cursor)


@app.command()
def show(token_id: Id, database: Database = None, app: App = None, json: Json = False) -> None:
    """Show a token: how it stands, its value, and the URL that completes it."""
    with opened(database, app) as client:
        found = Tokens(client).retrieve(token_id)
    if json:
        print_json({**token_document(found), "url": found.url})
    else:
        print_token(found)


@app.command()
def create(
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="How long it can be completed.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="To find it by; several may be given.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="The same key gives the earlier token."),
    ] = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Make a token that no run has made. Prints its id and its URL."""
    with opened(database, app, make=True) as client:
        made = Tokens(client).create(timeout=timeout, tags=tag or (), idempotency_key=idempotency_key)
        record(client, "tokens create", made.id)
    if json:
        print_json({"id": made.id, "url": made.url})
    else:
        out().print(made.id, soft_wrap=True)
        note(made.url)


@app.command()
def complete(
    token_id: Id,
    value: Annotated[
        str,
        typer.Argument(
            metavar="JSON", help="Its value. @FILE reads it from a file, - from standard input.", show_default=False
        ),
    ] = "null",
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Complete a token. Exits with 1 if it was completed before, or its time is over.

    holdfast tokens complete 01m8… '{"by": "Ada"}'
    """
    said = read_json(read_text(value), "The value")
    with opened(database, app) as client:
        outcome = Tokens(client).complete(token_id, said)
        if outcome == "completed":
            record(client, "tokens complete", token_id)
    if outcome == "unknown":
        raise TokenUnknown("There is no such token, or no longer", seen=token_id, do="See holdfast tokens list.")
    if json:
        print_json({"id": token_id, "status": outcome})
    elif outcome == "completed":
        out().print(f"{token_id} is completed.", soft_wrap=True)
    else:
        note(WHY_NOT[outcome])
    if outcome != "completed":
        raise typer.Exit(1)


# -- showing ----------------------------------------------------------------------------------------------------------


def token_document(each: TokenState[Any]) -> dict[str, Any]:
    """A token without its URL, which is for those only who are to complete it."""
    times = {
        name: None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for name, at in (
            ("created_at", each.created_at),
            ("expires_at", each.expires_at),
            ("completed_at", each.completed_at),
        )
    }
    return {
        "id": each.id,
        "status": each.status,
        "value": each.value,
        "tags": each.tags,
        "run_id": each.run_id,
        "idempotency_key": each.idempotency_key,
        **times,
    }


def columns(now: int) -> list[Column]:
    return [
        Column("TOKEN", lambda each: each.id, style=DIM),
        Column("STATUS", lambda each: styled(each.status, STYLES[each.status])),
        Column("TAGS", lambda each: ", ".join(each.tags), flexible=True),
        Column("RUN", lambda each: each.run_id, from_width=90, style=DIM),
        Column("AGE", lambda each: age(now, milliseconds(each.created_at)), right=True),
        Column("UNTIL", lambda each: when(now, milliseconds(each.expires_at)), from_width=72, right=True),
    ]


def print_token(each: TokenState[Any]) -> None:
    from rich.text import Text

    from holdfast.cli.show import clean
    from holdfast.cli.show import show as show_line

    now = now_ms()
    show_line(Text(each.id, style="bold").append("  ").append(each.status, style=STYLES[each.status]))
    facts = {
        "url": each.url if each.status == "open" else None,
        "run": each.run_id,
        "tags": ", ".join(each.tags) or None,
        "key": each.idempotency_key,
        "made": when(now, milliseconds(each.created_at)),
        "until": when(now, milliseconds(each.expires_at)) or None,
        "completed": when(now, milliseconds(each.completed_at)) or None,
    }
    for name, value in facts.items():
        if value is not None:
            out().print(Text(f"  {name:<10}", style=DIM).append(clean(value)), soft_wrap=True)
    if each.status == "completed":
        print_json(each.value)


def milliseconds(at: Any) -> int | None:
    return None if at is None else moment_ms(at, option="at")
