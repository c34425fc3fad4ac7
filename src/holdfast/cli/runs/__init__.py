"""``holdfast runs``: list, show, tail, cancel, replay."""

from __future__ import annotations

import typer

from holdfast.cli.runs.change import cancel, replay
from holdfast.cli.runs.list import list_runs
from holdfast.cli.runs.show import show_run
from holdfast.cli.runs.tail import tail

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command("list")(list_runs)
app.command("show")(show_run)
app.command("tail")(tail)
app.command("cancel")(cancel)
app.command("replay")(replay)
