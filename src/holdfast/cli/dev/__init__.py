"""``holdfast dev``: all of Holdfast in one command, and again when code changes.

look       what the app is, found out in a process of its own
watch      hears that code has changed
session    looks, runs the workers, and looks again
serve      the HTTP side
tell       what is printed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import PORT, Concurrency, Database, Host, Port, Target
from holdfast.request import LOOPBACK_NETWORKS
from holdfast.settings import SERVED_AT

if TYPE_CHECKING:
    from fastapi import FastAPI

    from holdfast.cli.dev.session import Session

app = typer.Typer(add_completion=False)


@app.command()
def dev(
    target: Target = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    database: Database = None,
    concurrency: Concurrency = 32,
    demo: Annotated[
        bool,
        typer.Option("--demo", metavar="", help="A shop to look at, with a day of runs in a database of its own."),
    ] = False,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", metavar="", help="Start workers anew when code changes.")
    ] = True,
) -> int:
    """Run a worker and a server for development. Code that is saved is loaded; the tables are made as needed."""
    import logging
    import os

    from holdfast.cli.dev.serve import Server, is_loopback, listen, url_from_here, url_of
    from holdfast.cli.dev.session import Session, Wanted
    from holdfast.cli.dev.tell import Tell
    from holdfast.cli.show import note

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    if demo:
        target, database = shop(target, database)
    listening = listen(host, port)
    alone = is_loopback(listening)
    if not alone and not os.environ.get("HOLDFAST_API_KEY"):
        note("There is no HOLDFAST_API_KEY, so the API and its pages are for programs on this machine only.")
    os.environ[SERVED_AT] = url_from_here(listening)
    if "HOLDFAST_PUSH_ALLOW" not in os.environ:  # what one develops against is on this machine
        os.environ["HOLDFAST_PUSH_ALLOW"] = LOOPBACK_NETWORKS
    session = Session(Wanted(target, database, concurrency, reload), Tell(url_of(listening), reload=reload))
    server = Server(lambda: application(session), listening)
    try:
        return session.run()
    finally:
        server.stop()


def shop(target: str | None, database: str | None) -> tuple[str, str]:
    """The demo's app, and a database that its past is in: its own, new each time, or an empty one that is given."""
    import tempfile
    from pathlib import Path

    from holdfast.cli.show import note
    from holdfast.demo.past import fill
    from holdfast.errors import InvalidOption

    if target is not None:
        raise InvalidOption("The demo has an app of its own", seen=target, do="Leave APP or --demo out.")
    database = database or f"sqlite:///{Path(tempfile.mkdtemp(prefix='holdfast-demo-')) / 'holdfast.db'}"
    note("A day in the shop …")
    fill(database)
    return "holdfast.demo.shop", database


def application(session: Session) -> FastAPI:
    """Imported in the server's thread, while the worker starts."""
    from holdfast.api.app import configured
    from holdfast.cli.dev.receive import receiver

    return configured(session.home.settings, lambda: session.client, elsewhere=receiver(session.place))
