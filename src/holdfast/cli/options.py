"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

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
