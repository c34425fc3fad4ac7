"""``holdfast migrate``: take the database's tables to this version, or print the SQL for whoever may."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast import schema
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import file_of, place
from holdfast.cli.show import note, out, print_json
from holdfast.errors import HoldfastError

app = typer.Typer(add_completion=False)


@app.command()
def migrate(
    sql: Annotated[
        bool, typer.Option("--sql", metavar="", help="Print what would be run, and change nothing.")
    ] = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Take the database's tables to this version. Workers of the version before go on working."""
    url = place(database, app).url
    if sql:
        print_script(url)
        return
    with schema.opened(url) as store:
        applied = schema.migrate(store)
        now = schema.read(store)
        where = store.url
    if json:
        print_json({"database": where, "applied": applied, "version": now.version})
        return
    for name in applied:
        out().print(f"applied {name}", soft_wrap=True)
    out().print(f"{where} is at schema {now.version}" + ("" if applied else ": nothing to do"), soft_wrap=True)


def print_script(url: str) -> None:
    """The SQL from where the database is; from nothing if it cannot be asked."""
    kind = "sqlite" if url.startswith("sqlite:") else "postgres"
    file = file_of(url)
    since, where = 0, "the database"
    if file is None or file.exists():
        try:
            with schema.opened(url) as store:
                since, where = schema.read(store).version, store.url
        except HoldfastError as error:
            note(f"The database could not be asked how far it is, so this starts from nothing: {error}")
    script = schema.script(kind, since)
    typer.echo(script or f"-- {where} is at schema {since}: nothing to do.\n", nl=False)
