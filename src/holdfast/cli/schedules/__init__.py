"""``holdfast schedules``: list, show, preview, create, update, pause, resume, delete, run."""

from __future__ import annotations

import typer

from holdfast.cli.schedules.change import create, delete, pause, resume, run, update
from holdfast.cli.schedules.look import list_schedules, show_schedule
from holdfast.cli.schedules.preview import preview

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command("list")(list_schedules)
app.command("show")(show_schedule)
app.command("preview")(preview)
app.command("create")(create)
app.command("update")(update)
app.command("pause")(pause)
app.command("resume")(resume)
app.command("delete")(delete)
app.command("run")(run)
