"""``holdfast server``: the HTTP API, and the pusher that sends what is asked of it. It needs no app.

The supervisor of ``holdfast worker`` runs it all: it keeps a pusher alive beside the API, and does the duties of a
host. Without ``HOLDFAST_API_KEY`` only this machine is served.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

import typer

from holdfast.cli.options import PORT, Database, DrainTimeout, Host, Json, Port, Target
from holdfast.cli.place import Place, file_of, place
from holdfast.duration import to_ms
from holdfast.errors import HoldfastError
from holdfast.settings import SERVED_AT

if TYPE_CHECKING:
    import socket

    from holdfast.storage import Store
    from holdfast.worker.channel import Orders

app = typer.Typer(add_completion=False)

FAILED: Final = 2


class KeyMissing(HoldfastError):
    """There is no API key, and others than this machine could call."""


@app.command()
def server(
    target: Target = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    drain_timeout: DrainTimeout = "30s",
    database: Database = None,
    json: Json = False,
) -> int:
    """Serve the HTTP API, and send what is asked of it. Workers run elsewhere: holdfast worker.

    It needs no app. With one it takes the requests of its webhooks, and announces it where it has no workers.

    SIGTERM or Ctrl-C drains. A second one stops at once.
    """
    from holdfast.cli.dev.serve import listen

    here = place(database, target)
    listening = listen(host, port)
    check_key(here, listening)
    return serve(here, listening, orders_for(here, drain_timeout), count=0, json=json, word="holdfast server")


def check_key(here: Place, listening: socket.socket) -> None:
    """Raises KeyMissing: others than this machine could call, and nothing asks for a key."""
    from holdfast.cli.dev.serve import is_loopback, url_of

    if not is_loopback(listening) and not is_keyed(here):
        url = url_of(listening)
        listening.close()
        raise KeyMissing(
            "There is no API key, so only this machine can be served",
            seen=url,
            do="Set HOLDFAST_API_KEY, make a key with holdfast keys create, or leave --host out.",
        )


def is_keyed(here: Place) -> bool:
    """Whether a key is asked for: the operator's, or one in the database."""
    from holdfast import schema
    from holdfast.engine import keys

    if here.app.settings.get("api_key").value is not None:
        return True
    with schema.ready(here.url) as store:
        return store.read_sync(keys.known).any


def orders_for(here: Place, drain_timeout: str, **more: Any) -> Orders:
    """What its processes are told."""
    from holdfast.worker.channel import Orders

    return Orders(
        app=here.name,
        database=here.url,
        queues=None,
        lease_ms=here.app.settings.get("lease").value,
        drain_seconds=to_ms(drain_timeout, name="--drain-timeout") / 1000,
        **{"concurrency": 32, **more},
    )


def serve(here: Place, listening: socket.socket, orders: Orders, *, count: int, json: bool, word: str) -> int:
    """Run a supervisor with so many workers and a pusher, and the API beside it."""
    from holdfast import schema
    from holdfast.cli import room
    from holdfast.cli.dev.serve import Server, url_from_here
    from holdfast.inside import announce
    from holdfast.worker.supervisor import Supervisor

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    check_push_settings(here)
    os.environ[SERVED_AT] = url_from_here(listening)
    with schema.ready(here.url) as store:
        if count == 0 and here.name is not None:
            announce(here.app, store)  # an app may need no workers, or have none yet
        serving = Server(lambda: application(here), listening)
        tell(here, store, listening, word, json=json)
        if not json:
            room.tell(orders, count)
        retention_ms = here.app.settings.get("retention").value
        supervisor = Supervisor(store, orders, count=count, retention_ms=retention_ms, pushing=True, stays=True)
        try:
            code = supervisor.run()
        finally:
            serving.stop()
            here.app.close()
    return FAILED if supervisor.cannot_start else code


def check_push_settings(here: Place) -> None:
    """Say what is wrong with them now, and not in a process of its own again and again."""
    from holdfast.push.pusher import push_settings

    push_settings(here.app.settings)


def application(here: Place) -> object:
    from holdfast.api.app import served

    return served(here.app)


def tell(here: Place, store: Store, listening: socket.socket, word: str, *, json: bool) -> None:
    """One loud line: where it serves, and which database it uses."""
    from rich.text import Text

    from holdfast.cli.dev.serve import url_of
    from holdfast.cli.show import clean, err, masked, print_json

    file = file_of(here.url)
    database = str(file) if file is not None else masked(here.url)
    keyed = is_keyed(here)
    if json:
        print_json({"url": url_of(listening), "database": database, "app": here.name, "key": keyed, "pid": os.getpid()})
        return
    text = Text.assemble(
        (word, "bold reverse"),
        "  API ",
        (url_of(listening), "bold"),
        "  database ",
        (clean(database), "bold"),
        "" if keyed else "  without a key: only this machine is served",
    )
    err().print(text, soft_wrap=True)
