"""What the demo shows while it goes, and in the end: alive on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from index import Look, Visit
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from verdict import Kill, Verdict

QUIET = 5
COLORS = {"retry": "yellow", "SIGKILL": "bold red", "recovered": "bold green", "worker": "cyan"}


class Show:
    """The terminal's side of the demo. ``total`` files; ``where`` names the database as it may be shown."""

    def __init__(self, folder: Path, total: int, processes: int, limit: int, where: str) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.total, self.limit = total, limit
        self.began = time.monotonic()
        self.quiet: list[Text] = []
        self.retries = self.recovered = 0
        self.fifths = 0  # of the files, as told in a pipe
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self.console.print(heading(folder, total, processes, limit, where))

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    # what happens

    def retried(self, visit: Visit) -> None:
        self.retries += 1
        said = f"{visit.file}: the archive was busy, attempt {visit.attempt + 1} follows"
        self.event("retry", said, loud=self.live is None and self.retries <= 3)

    def killed(self, kill: Kill) -> None:
        names = ", ".join(short(visit.file) for visit in kill.cut) or "nothing"
        self.event("SIGKILL", f"worker {kill.pid}, in the middle of {names}")

    def taken_up(self, visit: Visit, after: float) -> None:
        self.recovered += 1
        self.event("recovered", f"{visit.file}: goes on in worker {visit.pid}, {after:.1f} s after the kill")

    def arrived(self, pid: int) -> None:
        self.event("worker", f"{pid} is at work")

    def event(self, word: str, said: str, *, loud: bool = True) -> None:
        """Something happened. What is not ``loud`` is seen on a terminal for a while, and not told in a pipe."""
        line = one_line((f"{self.seconds:6.1f} s  ", "dim"), (f"{word:<10}", COLORS[word]), said)
        if loud:
            self.say(line)
        else:
            self.quiet = [*self.quiet, line][-QUIET:]

    def say(self, text: Text) -> None:
        """A line that stays, above what moves."""
        if self.live:
            self.console.print(text, no_wrap=True, overflow="ellipsis")
        else:
            self.console.print(text.plain, soft_wrap=True)

    def progress(self, look: Look) -> None:
        if self.live:
            self.live.update(self.frame(look), refresh=True)
        elif (fifths := look.done * 5 // self.total) > self.fifths:
            self.fifths = fifths
            done, retries = f"{look.done} of {plural(self.total, 'file')}", plural(self.retries, "retry")
            self.say(Text(f"{self.seconds:6.1f} s  {done}, {retries}, {self.recovered} recovered"))

    def frame(self, look: Look) -> RenderableType:
        width = max(20, self.console.width - 44)
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(self.total, look.done, width=width, complete_style="cyan", finished_style="green"),
            Text.assemble((f"{look.done}", "bold"), f" of {self.total}"),
            Text(plural(self.retries, "retry"), "yellow"),
            Text(f"{self.seconds:.1f} s", "dim"),
        )
        return Group(bar, Text(), *self.hands(look), Text(), *self.quiet)

    def hands(self, look: Look) -> list[Text]:
        """What each worker has in hand."""
        by_pid: dict[int, list[str]] = {}
        for visit in look.in_hand:
            by_pid.setdefault(visit.pid, []).append(short(visit.file))
        width = 2 * self.limit
        lines = [
            one_line((f"worker {pid:<8}", "cyan"), ("● " * len(names)).ljust(width), (", ".join(names), "dim"))
            for pid, names in sorted(by_pid.items())
        ]
        return lines + [Text()] * (3 - len(lines))

    # the end

    def verdict(self, verdict: Verdict, seconds: float, kills: list[Kill]) -> None:
        self.console.print(numbers(verdict, seconds, kills, self.limit))
        for wrong in verdict.wrong[:10]:
            self.console.print(Text.assemble(("  ✗ ", "bold red"), wrong), soft_wrap=True)
        if verdict.good:
            said = "A worker died in the middle. Every run finished, and every file is in the index exactly once."
            self.console.print(Text.assemble(("  ✓ ", "bold green"), said), soft_wrap=True)

    def look_further(self, report: Path, index: Path, log: Path) -> None:
        grid = Table.grid(padding=(0, 2))
        for word, path in (("report", report), ("index", index), ("workers' log", log)):
            grid.add_row(Text(f"  {word}", "dim"), Text(str(path), overflow="fold"))
        self.console.print(grid)


def heading(folder: Path, total: int, processes: int, limit: int, where: str) -> RenderableType:
    lines = Text.assemble(
        (plural(total, "file"), "bold"),
        f" of {folder}\nA run for each, in {processes} worker processes, {limit} at once\n",
        (f"Database {where}", "dim"),
    )
    return Panel(lines, title="Holdfast at work", title_align="left", border_style="cyan", padding=(0, 1))


def numbers(verdict: Verdict, seconds: float, kills: list[Kill], limit: int) -> Table:
    """The small table that the demo ends with."""
    table = Table(show_header=False, border_style="cyan", padding=(0, 1))
    table.add_column(style="bold")
    table.add_column(justify="right", style="cyan")
    table.add_column(style="dim")
    pids = " and ".join(str(kill.pid) for kill in kills) or "none"
    for row in (
        ("runs", verdict.runs, "one for each file"),
        ("attempts", verdict.attempts, "runs + retries + recovered"),
        ("retries", verdict.retries, "the archive was busy and was asked again"),
        ("recovered", verdict.recovered, f"in the hands of worker {pids} when it was killed"),
        ("results", verdict.entries, "entries in the app's own index"),
        ("at once", verdict.at_once, f"at most; the queue allows {limit}"),
        ("time", f"{seconds:.1f} s", f"{verdict.runs / seconds:.1f} files a second, at the archive's pace"),
    ):
        table.add_row(*map(str, row))
    return table


def one_line(*parts: str | tuple[str, str]) -> Text:
    """Text that ends where the terminal does."""
    return Text.assemble(*parts, overflow="ellipsis", no_wrap=True)


def plural(count: int, one: str) -> str:
    more = f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"
    return f"{count} {one if count == 1 else more}"


def short(file: str) -> str:
    return file.rpartition("/")[2]
