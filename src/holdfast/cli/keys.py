"""``holdfast keys``: create, list, revoke."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import DIM, Column, age, note, now_ms, out, print_json, print_list, styled, when
from holdfast.duration import to_ms
from holdfast.engine import keys as engine
from holdfast.engine.keys import KeyRecord
from holdfast.errors import HoldfastError
from holdfast.ids import new_api_key
from holdfast.names import checked_name
from holdfast.scopes import checked_scopes

app = typer.Typer(no_args_is_help=True, add_completion=False)

STYLES: Final = {"active": "green", "expired": "bright_black", "revoked": "red"}


class KeyUnknown(HoldfastError):
    """There is no key with this id."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: it stands in lists and in the audit log.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What it may do: admin, read, trigger, trigger:TASK or run:ID. Several may be given.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="DURATION", help="How long it counts, as in 90d.", show_default=False),
    ] = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Make a key. It is printed this once, and kept nowhere.

    holdfast keys create web --scope trigger:onboard --scope read
    """
    from holdfast.cli.audited import record

    checked_name(name, option="The name of a key")
    scopes = checked_scopes(scope or ())
    lasting_ms = None if expires is None else to_ms(expires, name="--expires")
    key = new_api_key()
    with opened(database, app, make=True) as client:
        made = client.write(engine.create, key, name, scopes, lasting_ms)
        record(client, "keys create", f"{made.id} {name}: {', '.join(scopes)}")
    if json:
        print_json({**key_document(made), "key": key})
    else:
        out().print(key, soft_wrap=True)
        note(f"This is the key {made.id}. It is shown this once: keep it where secrets are kept.")


@app.command("list")
def list_keys(database: Database = None, app: App = None, json: Json = False) -> None:
    """List the keys, the oldest first. The keys themselves are kept nowhere: their last characters tell them apart."""
    with opened(database, app) as client:
        found = client.read(engine.listed)
    if json:
        print_json({"keys": [key_document(each) for each in found]})
    else:
        print_list(columns(now_ms()), found, none="No keys.")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the key, from holdfast keys list.")],
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Let a key count no more. Servers know it a second later."""
    from holdfast.cli.audited import record

    with opened(database, app) as client:
        outcome = client.write(engine.revoke, key_id)
        left = client.read(engine.known).any
        if outcome == "revoked":
            record(client, "keys revoke", key_id)
    if outcome == "unknown":
        raise KeyUnknown("There is no key with this id", seen=key_id, do="See holdfast keys list.")
    if json:
        print_json({"id": key_id, "outcome": outcome, "keys_left": left})
    elif outcome == "revoked":
        out().print(f"{key_id} is revoked.", soft_wrap=True)
        if not left:
            note("No key is left: servers without HOLDFAST_API_KEY now answer any program on their own machine.")
    else:
        note("It was revoked before.")


# -- showing ----------------------------------------------------------------------------------------------------------


def key_document(each: KeyRecord) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at", "used_at")
    return {
        "id": each.id,
        "name": each.name,
        "ending": each.ending,
        "scopes": list(each.scopes),
        "state": each.state,
        **{name: iso(getattr(each, name)) for name in times},
    }


def iso(at: int | None) -> str | None:
    from holdfast.model import at as moment

    return None if at is None else moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def columns(now: int) -> list[Column]:
    return [
        Column("KEY", lambda each: each.id, style=DIM),
        Column("NAME", lambda each: each.name, flexible=True),
        Column("ENDS IN", lambda each: f"…{each.ending}", from_width=90),
        Column("SCOPES", lambda each: ", ".join(each.scopes), flexible=True),
        Column("STATE", lambda each: styled(each.state, STYLES[each.state])),
        Column("USED", lambda each: "never" if each.used_at is None else age(now, each.used_at), right=True),
        Column("UNTIL", lambda each: when(now, each.expires_at), from_width=72, right=True),
    ]
