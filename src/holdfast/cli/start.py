"""``holdfast start``: everything in one command, on one machine: API, pusher, workers, the duties of a host."""

from __future__ import annotations

import typer

from holdfast.cli.options import (
    PORT,
    Concurrency,
    Cpu,
    Database,
    DrainTimeout,
    Host,
    Json,
    Machines,
    MaxMemory,
    MaxRuns,
    Memory,
    Port,
    Processes,
    ReadyTimeout,
    Target,
    listed,
)
from holdfast.cli.room import offer
from holdfast.cli.server import check_key, orders_for, serve
from holdfast.duration import to_ms
from holdfast.sizes import to_bytes

app = typer.Typer(add_completion=False)


@app.command()
def start(
    target: Target = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    concurrency: Concurrency = 32,
    processes: Processes = 1,
    drain_timeout: DrainTimeout = "30s",
    ready_timeout: ReadyTimeout = "60s",
    max_runs: MaxRuns = None,
    max_memory: MaxMemory = None,
    cpu: Cpu = None,
    memory: Memory = None,
    machines: Machines = None,
    database: Database = None,
    json: Json = False,
) -> int:
    """Serve the HTTP API, send requests, and carry out the app's tasks: all of it on this machine.

    SIGTERM or Ctrl-C drains. A second one stops at once.
    """
    from holdfast.cli.dev.serve import listen
    from holdfast.cli.place import place
    from holdfast.cli.worker import looked

    ready_seconds = to_ms(ready_timeout, name="--ready-timeout") / 1000
    limit = None if max_memory is None else to_bytes(max_memory, name="--max-memory")
    room = offer(cpu, memory, listed(machines), processes)
    looked(target, database, ready_seconds)  # elsewhere: what is wrong with the app is said in a sentence
    here = place(database, target, need_app=True)
    listening = listen(host, port)
    check_key(here, listening)
    how = {"concurrency": concurrency, "ready_seconds": ready_seconds, "max_runs": max_runs, "max_memory": limit}
    orders = orders_for(here, drain_timeout, **how, **room._asdict())
    return serve(here, listening, orders, count=processes, json=json, word="holdfast start")
