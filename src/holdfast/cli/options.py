"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated, Final

import typer

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="The database: postgresql://…, or the path of an SQLite file. Beats the app and HOLDFAST_DATABASE_URL.",
        show_default=False,
    ),
]
App = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="APP",
        help="The app, as in tasks.py, shop.tasks or shop.tasks:app. Default: HOLDFAST_APP, pyproject.toml, tasks.py.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]
Target = Annotated[
    str | None,
    typer.Argument(
        metavar="APP",
        help="The app: tasks.py, shop.tasks or shop.tasks:app. Default: HOLDFAST_APP, pyproject.toml, tasks.py.",
        show_default=False,
    ),
]
PORT: Final = 8765
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to serve.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port to serve; 0 takes any.")]
Concurrency = Annotated[
    int,
    typer.Option("--concurrency", "-c", metavar="N", min=1, max=10_000, help="Runs at a time, in each process."),
]
Processes = Annotated[int, typer.Option("--processes", "-p", metavar="N", min=1, max=256, help="Worker processes.")]
DrainTimeout = Annotated[
    str,
    typer.Option("--drain-timeout", metavar="DURATION", help="How long runs may go on once it is told to stop."),
]
ReadyTimeout = Annotated[
    str,
    typer.Option("--ready-timeout", metavar="DURATION", help="How long a process may take to import the app."),
]
Cpu = Annotated[
    float | None,
    typer.Option(
        "--cpu",
        metavar="N",
        min=0.05,
        max=4096,
        help="vCPUs for runs with machines, in all processes together. Default: what there is.",
        show_default=False,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Memory for runs with machines, as in 8GB, in all processes together. Default: what there is.",
        show_default=False,
    ),
]
Cursor = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="Go on where the last page ended.", show_default=False),
]
Machines = Annotated[
    list[str] | None,
    typer.Option(
        "--machines",
        metavar="NAME,…",
        help="Of the runs with machines take only those with one of these.",
        show_default=False,
    ),
]
MaxRuns = Annotated[
    int | None,
    typer.Option("--max-runs", metavar="N", min=1, help="Replace a process after so many runs.", show_default=False),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory", metavar="SIZE", help="Replace a process that uses more, as in 512MB.", show_default=False
    ),
]


def listed(texts: list[str] | None) -> list[str] | None:
    """The names in an option that may be given several times, each with several of them."""
    return None if not texts else [name for text in texts for name in map(str.strip, text.split(",")) if name]
