"""What ``holdfast dev`` says: where everything is, and what happens to it. The workers' own lines go to stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.text import Text

from holdfast.cli.dev.look import Look, Trouble
from holdfast.cli.show import COLOURS, DIM, LEVELS, clean, duration, out
from holdfast.views import Listed, LogView

SHOWN = 12  # tasks by name


class Tell:
    """Says it on the console; threads may share one."""

    def __init__(self, server: str, *, reload: bool) -> None:
        self.server, self.reload = server, reload
        self.lock = threading.Lock()
        self.changed_at: float | None = None

    @property
    def console(self) -> Console:
        return out()

    def start(self, look: Look, database: str) -> None:
        """The facts, once the app is known."""
        facts = {
            "Server": self.server,
            "Database": database,
            "App": look.name,
            "Tasks": names(look),
            "Reload": f"when code in {look.project} changes" if self.reload else "off",
        }
        with self.lock:
            self.console.print(Text.assemble(("\n  Holdfast", "bold"), f" {version('holdfast')}"))
            for name, text in facts.items():
                self.console.print(Text.assemble((f"  {name:<10}", DIM), clean(text)), soft_wrap=True)
            self.console.print(Text("\n  Ctrl-C stops it.\n", style=DIM))

    def ready(self, pid: int) -> None:
        took, self.changed_at = self.changed_at, None
        after = f", {time.monotonic() - took:.1f} s after the change" if took is not None else ""
        self.line("ready", f"worker process {pid}{after}", "green")

    def changed(self, paths: Sequence[Path]) -> None:
        self.changed_at = time.monotonic()
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        self.line("changed", clean(", ".join(path.name for path in paths[:3])) + more, "cyan")

    def difference(self, before: Look, after: Look) -> None:
        """Tasks that have come and gone."""
        old, new = ({task.id for task in look.tasks} for look in (before, after))
        if came := sorted(new - old):
            self.line("new", clean(", ".join(came)), "green")
        if went := sorted(old - new):
            self.line("gone", clean(", ".join(went)), "yellow")

    def trouble(self, trouble: Trouble, then: str) -> None:
        """The app does not import, or its workers do not start; ``then`` says what comes of it."""
        self.line("error", "the app cannot be used", "bold red")
        seen = f" ({trouble.seen})" if trouble.seen else ""
        with self.lock:
            self.console.print(Text(clean(f"{trouble.what}{seen}\n{trouble.do or ''}").rstrip()), soft_wrap=True)
            self.console.print(Text(then, style=DIM), soft_wrap=True)

    def run(self, run: Listed) -> None:
        """A run has ended, or waits for a worker that knows its task."""
        took = f" in {duration(run.finished_at - run.started_at)}" if run.finished_at and run.started_at else ""
        attempts = f", attempt {run.attempts}" if run.attempts > 1 else ""
        why = ": no worker knows this task" if run.status == "pending_version" else ""
        self.line(run.task, f"{run.status}{took}{attempts}{why}", COLOURS.get(run.status, ""), f"  {run.id}")

    def said(self, task: str, line: LogView) -> None:
        """A run has printed a line."""
        self.line(task, clean(line.message), LEVELS.get(line.level, "") if line.logger != "stderr" else "")

    def line(self, word: str, text: str, style: str, more: str = "") -> None:
        with self.lock:
            clock = time.strftime("%H:%M:%S")
            parts = ((f"{clock}  ", DIM), (f"{clean(word, one_line=True):<8} ", "bold"), (text, style), (more, DIM))
            self.console.print(Text.assemble(*parts), soft_wrap=True)


def names(look: Look) -> str:
    """The tasks, as far as there is room for them."""
    if not look.tasks:
        return "none yet: write @app.task above a function"
    shown = ", ".join(task.id for task in look.tasks[:SHOWN])
    return shown if len(look.tasks) <= SHOWN else f"{shown} and {len(look.tasks) - SHOWN} more"
