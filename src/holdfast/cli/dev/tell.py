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
from holdfast.cli.show import clean, out

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
                self.console.print(Text.assemble((f"  {name:<10}", "bright_black"), clean(text)), soft_wrap=True)
            self.console.print(Text("\n  Ctrl-C stops it.\n", style="bright_black"))

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
            self.console.print(Text(then, style="bright_black"), soft_wrap=True)

    def line(self, word: str, text: str, style: str) -> None:
        with self.lock:
            clock = time.strftime("%H:%M:%S")
            self.console.print(
                Text.assemble((f"{clock}  ", "bright_black"), (f"{word:<8}", style), text), soft_wrap=True
            )


def names(look: Look) -> str:
    """The tasks, as far as there is room for them."""
    if not look.tasks:
        return "none yet: write @app.task above a function"
    shown = ", ".join(task.id for task in look.tasks[:SHOWN])
    return shown if len(look.tasks) <= SHOWN else f"{shown} and {len(look.tasks) - SHOWN} more"
