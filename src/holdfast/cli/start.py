"""``holdfast start``: everything in one command, on one machine: API, pusher, workers, the duties of a host."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.options import Database, Json
from holdfast.cli.server import PORT, Host, Port, check_key, serve

app = typer.Typer(add_completion=False)


@app.command()
def start(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="APP",
            help="The app: tasks.py, shop.tasks or shop.tasks:app. Default: HOLDFAST_APP, pyproject.toml, tasks.py.",
            show_default=False,
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", "-c", metavar="N", min=1, max=10_000, help="Runs at a time, in each process."),
    ] = 32,
    processes: Annotated[
        int, typer.Option("--processes", "-p", metavar="N", min=1, max=256, help="Worker processes.")
    ] = 1,
    drain: Annotated[
        str, typer.Option("--drain", metavar="DURATION", help="How long runs may go on once it is told to stop.")
    ] = "30s",
    database: Database = None,
    json: Json = False,
) -> int:
    """Serve the HTTP API, send requests, and carry out the app's tasks: all of it on this machine.

    SIGTERM or Ctrl-C drains. A second one stops at once.
    """
    from holdfast.cli.dev.serve import listen
    from holdfast.cli.place import place
    from holdfast.cli.worker import looked

    looked(target, database)  # in a process of its own: what is wrong with the app is said in a sentence
    here = place(database, target, need_app=True)
    listening = listen(host, port)
    check_key(here, listening)
    return serve(
        here, listening, count=processes, drain=drain, json=json, word="holdfast start", concurrency=concurrency
    )
