"""``holdfast workers``: who is alive, what they hold, and how one is drained from afar."""

from __future__ import annotations

import platform
from typing import Annotated, Any, Final

import typer

from holdfast import views
from holdfast.cli.audited import record
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import DIM, Column, duration, note, out, plural, print_json, print_list, styled
from holdfast.engine import workers as engine
from holdfast.errors import HoldfastError, InvalidOption, shown
from holdfast.sizes import MIB
from holdfast.views import WorkerView

app = typer.Typer(add_completion=False)

ALL: Final = 1_000
RECENT: Final = 5
RECENT_MS: Final = 3_600_000


class NoSuchWorker(HoldfastError):
    """There is no such worker, or it has ended."""


@app.callback(invoke_without_command=True)
def workers(
    context: typer.Context,
    all: Annotated[
        bool, typer.Option("--all", "-a", metavar="", help="Those too that ended, for as long as they are known.")
    ] = False,
    here: Annotated[
        bool,
        typer.Option("--here", metavar="", help="Those of this host; exits with 1 if none is alive: a health check."),
    ] = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """List the workers that are live or drain, and those that were lost within the last hour."""
    if context.invoked_subcommand is not None:
        return
    with opened(database, app) as client:
        found = client.read(views.workers, ended=ALL)
    if here:
        found = [each for each in found if each.host == platform.node()]
    shown = found if all else [each for each in found if is_current(each)]
    if json:
        print_json({"workers": shown})
    else:
        tell(shown, hidden=len(found) - len(shown))
    if here and not any(each.alive for each in found):
        raise typer.Exit(1)


@app.command()
def drain(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORKER", help="Their ids, as the list shows them.", show_default=False),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="All that are alive on this host.", show_default=False)
    ] = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Have workers take no more runs, end what they hold, and end. None is replaced.

    What is not done within their --drain-timeout goes back in line.

    A holdfast worker ends when all its processes were drained so.

    To have a process replaced, send it SIGTERM.
    """
    if not ids and host is None:
        raise InvalidOption("No worker is named", seen="", do="Name their ids, or --host; holdfast workers lists them.")
    with opened(database, app) as client:
        alive = [each for each in client.read(views.workers) if each.state in ("live", "draining")]
        wanted = chosen(alive, ids or [], host)
        asked = [each for each in wanted if client.write(engine.ask_to_drain, each.id)]
        for each in asked:
            record(client, "workers drain", each.id)
    if json:
        print_json({"workers": asked})
    for each in asked if not json else ():
        out().print(f"{each.id} drains, and ends: it holds {plural(each.held, 'run')}.", soft_wrap=True)


def chosen(alive: list[WorkerView], ids: list[str], host: str | None) -> list[WorkerView]:
    """Those that are meant. Raises NoSuchWorker before anything is done."""
    see = "holdfast workers lists those there are."
    for missing in set(ids) - {each.id for each in alive}:
        raise NoSuchWorker("There is no such worker, or it has ended", seen=shown(missing), do=see)
    if host is not None and host not in {each.host for each in alive}:
        raise NoSuchWorker("No worker is alive on this host", seen=shown(host), do=see)
    return [each for each in alive if each.id in ids or each.host == host]


def tell(shown: list[WorkerView], *, hidden: int) -> None:
    print_list(columns(), shown, none="No worker is alive. Start one: holdfast worker")
    if hidden:
        note(f"{plural(hidden, 'worker')} that ended: --all")


def is_current(each: WorkerView) -> bool:
    return each.state in ("live", "draining") or (each.state == "lost" and each.silent_ms < RECENT_MS)


def columns() -> list[Column]:
    return [
        Column("WORKER", lambda each: each.id, style=DIM),
        Column("STATE", lambda each: styled("silent" if each.silent else each.state)),
        Column("HOLDS", held, right=True),
        Column("CPU", cpu, right=True, from_width=100),
        Column("MEMORY", memory, right=True, from_width=100),
        Column("BEAT", lambda each: f"{duration(each.silent_ms)} ago", right=True),
        Column("HOST", lambda each: each.host, flexible=True, from_width=72),
        Column("PID", lambda each: str(each.pid), right=True),
        Column(
            "QUEUES",
            lambda each: "all" if each.queues is None else ", ".join(each.queues),
            flexible=True,
            from_width=90,
        ),
        Column("MACHINES", lambda each: each.room, right=True, from_width=100),
        Column("TASKS", lambda each: str(each.tasks), right=True, from_width=90),
        Column("LEASE", lambda each: duration(each.lease_ms), right=True, from_width=110),
        Column("VERSION", lambda each: each.version, from_width=110),
        Column("UP", lambda each: duration(each.seen_at - each.started_at), right=True, from_width=110),
    ]


def cpu(each: WorkerView) -> str | None:
    """Of one CPU, over the last two seconds."""
    share = None if each.usage is None else each.usage.cpu_millis
    return None if share is None else f"{share / 10:.0f}%"


def memory(each: WorkerView) -> str | None:
    return None if each.usage is None else f"{each.usage.memory_bytes / MIB:.0f} MiB"


def held(each: WorkerView) -> Any:
    """Runs and slots; more runs than slots are claimed ahead."""
    return styled(f"{each.held}/{each.concurrency}", "yellow" if each.held >= each.concurrency else "")
