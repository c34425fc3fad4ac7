"""``holdfast worker``: carry out runs until told to stop.

The command itself is the supervisor and never imports the app: a process of its own looks what it is, so that what is
wrong with it is said at once and in a sentence, and the workers are started with the database that was found.
"""

from __future__ import annotations

import logging
import re
from typing import Annotated, Final

import typer

from holdfast import schema
from holdfast.cli import room
from holdfast.cli.dev.look import Look, Trouble, look_at
from holdfast.cli.options import (
    Concurrency,
    Cpu,
    Database,
    DrainTimeout,
    Json,
    Machines,
    MaxMemory,
    MaxRuns,
    Memory,
    Processes,
    ReadyTimeout,
    Target,
    listed,
)
from holdfast.cli.place import AppBroken, file_of
from holdfast.cli.show import clean, complain, err, masked, plural, print_json
from holdfast.duration import format_ms, to_ms
from holdfast.errors import HoldfastError, InvalidOption
from holdfast.sizes import to_bytes
from holdfast.worker.channel import Orders
from holdfast.worker.isolated.confine import enforced
from holdfast.worker.supervisor import Child, Supervisor

app = typer.Typer(add_completion=False)

FAILED: Final = 2
SHORTEST_LEASE_MS: Final = 3_000  # beats come once a second
SHOWN: Final = 20


@app.command()
def worker(
    target: Target = None,
    concurrency: Concurrency = 32,
    processes: Processes = 1,
    queues: Annotated[
        list[str] | None,
        typer.Option("--queues", "-q", metavar="NAME,…", help="Take from these queues only.", show_default=False),
    ] = None,
    lease: Annotated[
        str | None,
        typer.Option(
            "--lease",
            metavar="DURATION",
            help="How long a silent worker keeps its runs. Default: 30s.",
            show_default=False,
        ),
    ] = None,
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
    """Carry out runs until told to stop.

    SIGTERM or Ctrl-C drains: what is not done in time goes back in line. A second one stops at once.
    """
    names = listed(queues)
    lease_ms = None if lease is None else read_lease(lease)
    drain_ms = to_ms(drain_timeout, name="--drain-timeout")
    ready_seconds = to_ms(ready_timeout, name="--ready-timeout") / 1000
    limit = None if max_memory is None else to_bytes(max_memory, name="--max-memory")
    offer = room.offer(cpu, memory, listed(machines), processes)
    look = looked(target, database, ready_seconds)
    orders = Orders(
        app=target,
        database=look.database,
        concurrency=concurrency,
        queues=names,
        lease_ms=look.lease_ms if lease_ms is None else lease_ms,
        drain_seconds=drain_ms / 1000,
        ready_seconds=ready_seconds,
        max_runs=max_runs,
        max_memory=limit,
        room=offer.room,
        machines=offer.machines,
    )
    start = Start(look, orders, processes, json=json)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    with schema.ready(look.database) as store:
        start.tell()
        supervisor = Supervisor(store, orders, count=processes, retention_ms=look.retention_ms, ready=start.ready)
        code = supervisor.run()
    if supervisor.cannot_start:
        complain("The worker cannot start", supervisor.cannot_start, None)
        return FAILED
    return code


def read_lease(text: str) -> int:
    milliseconds = to_ms(text, name="--lease")
    if milliseconds < SHORTEST_LEASE_MS:
        raise InvalidOption(
            "--lease is too short: a worker beats once a second",
            seen=format_ms(milliseconds),
            do=f"Write {format_ms(SHORTEST_LEASE_MS)} or more.",
        )
    return milliseconds


def looked(target: str | None, database: str | None, seconds: float | None = None) -> Look:
    """What the app is, found out elsewhere.

    Raises:
        AppBroken, AppNotFound: it cannot be imported, or there is none, and why.
    """
    found = look_at(target, database, seconds)
    if isinstance(found, Look):
        return found
    raise broken(found)


def broken(trouble: Trouble) -> HoldfastError:
    if trouble.do is not None or trouble.seen is not None:
        return AppBroken(trouble.what, seen=trouble.seen or "", do=trouble.do)
    places = re.findall(r'^  File "(.+)", line (\d+)', trouble.what, re.MULTILINE)
    where = f", at {places[-1][0]}:{places[-1][1]}" if places else ""
    last = trouble.what.rstrip().rpartition("\n")[2]
    return AppBroken("The app cannot be imported", seen=f"{last}{where}", do="Correct it.")


class Start:
    """Says what is started, and when it is ready."""

    def __init__(self, look: Look, orders: Orders, processes: int, *, json: bool) -> None:
        self.look, self.orders, self.processes, self.json = look, orders, processes, json
        self.workers: list[str] = []

    def tell(self) -> None:
        """One loud line: the app, the database, the tasks."""
        from rich.text import Text

        tasks = self.look.tasks
        names = ", ".join(task.id for task in tasks[:SHOWN]) + (", …" if len(tasks) > SHOWN else "")
        text = Text.assemble(
            ("holdfast worker", "bold reverse"),
            "  app ",
            (clean(self.look.name), "bold"),
            "  database ",
            (clean(self.database), "bold"),
            f"  {plural(len(tasks), 'task')}: " if tasks else "  no tasks: write @app.task above a function",
            (clean(names), "bold"),
        )
        err().print(text, soft_wrap=True)

    @property
    def database(self) -> str:
        file = file_of(self.look.database)
        return str(file) if file is not None else masked(self.look.database)

    def ready(self, child: Child) -> None:
        """Once all are ready, say so; those that replace others later are told of in the log."""
        if len(self.workers) == self.processes or child.worker is None:
            return
        self.workers.append(child.worker)
        if len(self.workers) < self.processes:
            return
        if self.json:
            print_json(self.document())
            return
        orders = self.orders
        where = "" if orders.queues is None else f", from {', '.join(orders.queues)}"
        each = " each" if self.processes > 1 else ""
        slots = f"{orders.concurrency} runs at a time{each}"
        processes = plural(self.processes, "process", "processes")
        err().print(f"ready: {processes}, {slots}{clean(where)}", style="green", soft_wrap=True)
        room.tell(orders, self.processes)

    def document(self) -> dict[str, object]:
        return {
            "app": self.look.name,
            "database": self.database,
            "tasks": [task.id for task in self.look.tasks],
            "workers": self.workers,
            "processes": self.processes,
            "concurrency": self.orders.concurrency,
            "queues": self.orders.queues,
            "cpu": None if self.orders.room is None else self.orders.room.cpu_millis / 1000,
            "memory_bytes": None if self.orders.room is None else self.orders.room.memory_bytes,
            "machines": self.orders.machines,
            "enforced": enforced(),
        }
