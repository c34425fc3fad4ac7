"""``holdfast secret``: what the apps that receive requests verify them with."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast import schema
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import check_there, place
from holdfast.cli.show import note, print_json

app = typer.Typer(add_completion=False)


@app.command()
def secret(
    rotate: Annotated[
        bool, typer.Option("--rotate", metavar="", help="Make a new one; the old one is signed with for another day.")
    ] = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Print the secret that requests are signed with, for HOLDFAST_PUSH_SECRET where they are received."""
    import socket

    from holdfast.cli.audited import actor
    from holdfast.engine import audit, pushes
    from holdfast.sign import new_secret

    here = place(database, app)
    if (said := here.app.settings.get("push_secret").value) is not None:
        note("It is HOLDFAST_PUSH_SECRET that counts here: to replace it, set it to the new and the old one.")
        secrets, ends_at = said.replace(",", " ").split(), None
    else:
        check_there(here)
        with schema.ready(here.url) as store:
            if rotate:
                store.run_sync(pushes.rotate, new_secret())
                store.run_sync(audit.write, actor(), "secret --rotate", "", socket.gethostname())
            else:
                store.run_sync(pushes.signing, new_secret())
            rows = store.read_sync(pushes.signing_rows)
        secrets = [row.secret for row in rows]
        ends_at = next((row.ends_at for row in rows if row.ends_at is not None), None)
    if json:
        print_json({"secrets": secrets, "older_end_at": ends_at})
        return
    typer.echo(secrets[0])
    if rotate:
        note("Give it to the apps that receive requests. Until tomorrow these are signed with the old one, too.")
