"""``holdfast variables``: environment variables that are kept for all workers."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import Column, note, out, print_json, print_list
from holdfast.engine import variables as engine
from holdfast.engine.variables import Variable
from holdfast.errors import HoldfastError, InvalidOption
from holdfast.secret import STARS

app = typer.Typer(no_args_is_help=True, add_completion=False)
LATER = "Workers have it from their next start on."

Name = Annotated[str, typer.Argument(metavar="NAME", help="The variable.")]


class VariableUnknown(HoldfastError):
    """There is no such variable."""


@app.command("list")
def list_variables(database: Database = None, app: App = None, json: Json = False) -> None:
    """List the variables by name, with stars for those that are secret."""
    with opened(database, app) as client:
        found = [document(each) for each in client.read(engine.every)]
    if json:
        print_json({"variables": found})
        return
    columns = [
        Column("NAME", lambda each: each["name"]),
        Column("VALUE", lambda each: each["value"], flexible=True),
        Column("SECRET", lambda each: "yes" if each["secret"] else ""),
    ]
    print_list(columns, found, none="No variables.")


@app.command("set")
def set_variable(
    name: Name,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its value; - reads it from stdin.")],
    secret: Annotated[
        bool | None,
        typer.Option(
            "--secret/--no-secret",
            metavar="",
            help="Show it to nobody again. Default: as it was.",
            show_default=False,
        ),
    ] = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Keep a variable for all workers, or give it another value.

    pass show smtp | holdfast variables set SMTP_PASSWORD - --secret
    """
    from holdfast.cli.audited import record

    said = sys.stdin.read().removesuffix("\n") if value == "-" else value
    check(name, said)
    with opened(database, app, make=True) as client:
        there = [each.name for each in client.read(engine.every)]
        if name not in there and len(there) >= engine.MOST:
            raise InvalidOption(f"There are {len(there)} variables", do=f"Remove one: there can be {engine.MOST}.")
        client.write(engine.put, {name: said}, secret=secret, override=True)
        record(client, "variables set", name)
        (made,) = [each for each in client.read(engine.every) if each.name == name]
    if json:
        print_json(document(made))
    else:
        out().print(f"{name} is set.", soft_wrap=True, markup=False, highlight=False)
        note(LATER)


@app.command("remove")
def remove_variable(name: Name, database: Database = None, app: App = None, json: Json = False) -> None:
    """Keep a variable no more. Workers that have it go on with it until they are started anew."""
    from holdfast.cli.audited import record

    with opened(database, app) as client:
        if not client.write(engine.remove, name):
            raise VariableUnknown("There is no such variable", seen=name, do="See holdfast variables list.")
        record(client, "variables remove", name)
    if json:
        print_json({"name": name, "removed": True})
    else:
        out().print(f"{name} is removed.", soft_wrap=True, markup=False, highlight=False)


def check(name: str, value: str) -> None:
    """Raises InvalidOption: this is no variable that a worker can be given."""
    if (problem := engine.problem(name, value)) is not None:
        raise InvalidOption(
            problem.what,
            seen=name if problem.part == "name" else None,
            do="Write NAME in letters, digits and _, and a VALUE of at most 32 KiB of text.",
        )


def document(each: Variable) -> dict[str, Any]:
    return {"name": each.name, "value": STARS if each.secret else each.value, "secret": each.secret}
