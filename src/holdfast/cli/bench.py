"""``holdfast bench``: what this machine can do.

Nothing of an app is needed or touched: the tasks that are measured are Holdfast's own, and erased in the end. Without
``--database`` the measurement has an SQLite file to itself, whatever HOLDFAST_DATABASE_URL says, so that nobody
measures in production by accident.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.options import Json
from holdfast.cli.show import err, print_json, show

if TYPE_CHECKING:
    from holdfast.bench.measure import Figures

app = typer.Typer(add_completion=False)

KINDS: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


@app.command()
def bench(
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            help="Measure in this database; all that is made is erased. Default: an SQLite file that is removed.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=10, help="No-op runs to carry out.")] = 50_000,
    processes: Annotated[int, typer.Option("--processes", metavar="N", min=1, help="Worker processes.")] = 1,
    json: Json = False,
) -> None:
    """Measure what this machine can do: triggers, runs, latency, memory."""
    from holdfast.bench.measure import measure
    from holdfast.settings import absolute_url

    url = None if database is None else absolute_url(database, Path.cwd())
    with telling() as say:
        figures = measure(url, runs=runs, processes=processes, say=say)
    if json:
        print_json(figures)
    else:
        print_figures(figures)


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is being measured."""
    console = err()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield lambda text: status.update(f"Measuring: {text}")


def print_figures(figures: Figures) -> None:
    """The figures as one reads them."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right", style="cyan")
    table.add_column(style="bright_black")
    for row in rows(figures):
        table.add_row(*row)
    show(Text(heading(figures), style="bold"))
    show(table)


def heading(figures: Figures) -> str:
    versions = figures.versions
    where = (
        f"{KINDS[figures.database]} {versions['database']}, Python {versions['python']}, {os.cpu_count()} processors"
    )
    return f"Holdfast {versions['holdfast']} on {where}, load {os.getloadavg()[0]:.1f}"


def rows(figures: Figures) -> list[tuple[str, str, str]]:
    latency = figures.latency_ms
    processes = f"{figures.processes} worker process{'' if figures.processes == 1 else 'es'}"
    ratio = figures.concurrent_trigger_per_s / figures.trigger_per_s
    share = figures.children_per_s / figures.drain_per_s
    return [
        ("triggers, one caller", f"{figures.trigger_per_s:,.0f}/s", "each on disk before the next"),
        ("triggers, 64 callers", f"{figures.concurrent_trigger_per_s:,.0f}/s", f"{ratio:.1f} times one caller"),
        ("triggers, one batch", f"{figures.batch_trigger_per_s:,.0f}/s", ""),
        ("no-op runs finished", f"{figures.drain_per_s:,.0f}/s", f"{figures.runs:,} runs, {processes}"),
        ("children of a run", f"{figures.children_per_s:,.0f}/s", f"{share:.2f} of the rate of no-op runs"),
        ("trigger to start", f"{latency.p50:.1f} ms", f"idle; p95 {latency.p95:.1f} ms, p99 {latency.p99:.1f} ms"),
        ("memory of a worker", f"{figures.worker_mib:.0f} MiB", "resident"),
    ]
