"""How many runs have ended, when and how, and how long they took: read from sums, whatever there is of history."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.storage import Tx

BUCKETS_MS: Final = (100, 1_000, 10_000, 60_000, 600_000, 3_600_000)


class Stat(NamedTuple):
    """Runs that ended in a stretch of time, which begins ``at``: of one task, or with None of all. ``ran_ms`` and
    ``waited_ms`` are how long they ran, and waited to be started, all together."""

    at: int
    task: str | None
    status: str
    n: int
    ran_ms: int
    waited_ms: int


class Total(NamedTuple):
    """All runs of a task that have ended in this way, ever. ``buckets`` are how many of them ran for no longer than
    each of `BUCKETS_MS`."""

    task: str
    status: str
    n: int
    ran_ms: int
    waited_ms: int
    buckets: tuple[int, ...]


def stats(
    tx: Tx, since: int, until: int, step_ms: int, task: str | None = None, *, by_task: bool = False
) -> list[Stat]:
    """What ended from ``since`` to ``until``, in stretches of ``step_ms``; of all tasks together, of each, or of one.

    Seconds ago is not in it yet. Of what is older than two days only full hours are known.
    """
    said = {"since": since // 60_000, "until": until // 60_000, "step_ms": max(60_000, step_ms)}
    if task is not None:
        return [Stat(*row) for row in tx.rows("stats_of_task", task=task, **said)]
    return [Stat(*row) for row in tx.rows("stats_by_task" if by_task else "stats", **said)]


def totals(tx: Tx) -> list[Total]:
    """What has ended, ever."""
    rows = tx.rows("totals")
    return [Total(row[0], row[1], row[2], row[3], row[4], buckets=tuple(row[5:])) for row in rows]
