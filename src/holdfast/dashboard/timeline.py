"""When a run did what, to scale: delayed, queued, its attempts, its steps and waits, and the runs that it made.

Each row is a bar on one axis, from the moment the run was made to its end, or to now. Decided purely, from what was
read; the template draws it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from holdfast.duration import format_ms
from holdfast.views import AttemptView, EntryView, RunView

TICKS: Final = 5
STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000)
LONG_STEPS: Final = (300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000)
KINDS: Final = {"sleep": "wait", "wait": "wait", "child": "child", "children": "child", "trigger": "child"}


class Bar(NamedTuple):
    """A row: what it was, from when to when. ``open`` has not ended; ``entry`` or ``attempt`` is what there is to
    tell of it."""

    kind: str  # delayed queued attempt step wait child
    name: str
    status: str
    start: int
    end: int
    open: bool
    depth: int
    entry: EntryView | None = None
    attempt: AttemptView | None = None

    @property
    def took(self) -> int:
        return self.end - self.start


class Tick(NamedTuple):
    """A mark on the axis."""

    at: int
    text: str


class Timeline(NamedTuple):
    """The rows, and the axis they stand on, in milliseconds."""

    start: int
    length: int
    bars: Sequence[Bar]
    ticks: Sequence[Tick]


def timeline(run: RunView) -> Timeline:
    """The rows of a run, the first one first."""
    bars = [*before(run), *carried_out(run), *recorded(run)]
    end = max([run.finished_at or run.now, *(bar.end for bar in bars)])
    length = max(1, end - run.created_at)
    return Timeline(run.created_at, length, bars, ticks(length))


def before(run: RunView) -> Iterator[Bar]:
    """What there was before the first attempt."""
    first = min([each.started_at for each in run.attempts if each.started_at is not None], default=run.started_at)
    end = first or run.finished_at or run.now
    ready = min(end, max(run.created_at, run.due_at or 0)) if first is None or run.due_at else run.created_at
    if run.attempt > 1 or (first is not None and run.due_at is not None and run.due_at > first):
        ready = run.created_at  # it is the time of a retry
    if ready > run.created_at:
        yield Bar("delayed", "Delayed", "delayed", run.created_at, ready, ready == run.now, 0)
    if end > ready:
        word = "pending_version" if run.status == "pending_version" else "queued"
        yield Bar("queued", "Queued", word, ready, end, first is None and run.finished_at is None, 0)


def carried_out(run: RunView) -> Iterator[Bar]:
    """The attempts, and between them what it waited to be tried again."""
    last = None
    for attempt in run.attempts:
        started = attempt.started_at or last or run.started_at or run.created_at
        if last is not None and started > last:
            yield Bar("delayed", f"Until attempt {attempt.number}", "delayed", last, started, False, 0)
        ended = attempt.finished_at or run.now
        going = attempt.finished_at is None
        yield Bar("attempt", f"Attempt {attempt.number}", attempt.outcome, started, ended, going, 0, attempt=attempt)
        last = attempt.finished_at
    if run.status == "waiting" and run.started_at is not None:
        yield Bar("attempt", f"Attempt {run.attempt}", "waiting", last or run.started_at, run.now, True, 0)
    elif last is not None and run.finished_at is None and run.now > last and run.status != "executing":
        yield Bar("delayed", f"Until attempt {run.attempt}", run.status, last, run.now, True, 0)


def recorded(run: RunView) -> Iterator[Bar]:
    for entry in run.journal:
        ended = entry.finished_at or run.finished_at or run.now
        start = max(run.created_at, entry.started_at)
        yield Bar(
            KINDS.get(entry.kind, "step"),
            entry.name or entry.kind,
            entry.status,
            start,
            max(start, ended),
            entry.finished_at is None and run.finished_at is None,
            1 + entry.branch.count("/"),
            entry=entry,
        )


def ticks(length: int) -> list[Tick]:
    """Marks at round times, about five."""
    steps = (*STEPS, *LONG_STEPS)
    day = 86_400_000
    step = next((each for each in steps if length / each <= TICKS), day * max(1, round(length / day / TICKS)))
    return [Tick(at, format_ms(at) if at else "0") for at in range(0, length, step)]
