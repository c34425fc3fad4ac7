"""Take tasks out of a database, with all that was ever made of them: what a measurement does when it is over.

It is for tasks whose names are nobody else's, and which no worker carries out any more. Runs that wait for their time
or for a slot are not looked for: call it for tasks without delays and limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.engine.trigger import queue_id, route_id
from holdfast.storage.base import Tx

CHUNK = 1000
KEPT = ("prune_attempts", "prune_logs", "prune_chunks", "prune_tags", "prune_blobs", "prune_journal")


class Erasable(NamedTuple):
    """A task, the queue its runs are in, and the machine that they are for, if they are."""

    task: str
    queue: str
    machine: str | None = None


class Span(NamedTuple):
    """The runs of a task that have ended: how many, how many well, the first start and the last end."""

    ended: int
    completed: int
    started_at: int
    finished_at: int


def runs(tx: Tx, what: Erasable, workers: Sequence[str], n: int = CHUNK) -> int:
    """Erase up to ``n`` ready and ``n`` finished runs, and what these workers still hold. Answers how many; call it
    until there are none."""
    erased = tx.rows("erase_ready", route=route_id(what.queue, what.task, None, what.machine), n=n)
    erased += tx.rows("erase_executing", workers=list(workers), task=what.task)
    erased += tx.rows("erase_done", task=what.task, n=n)
    if ids := [row[0] for row in erased]:
        for statement in KEPT:
            tx.rows(statement, ids=ids)
    return len(ids)


def names(tx: Tx, whats: Sequence[Erasable], workers: Sequence[str]) -> None:
    """Erase the tasks themselves, their routes and queues, and these workers, which must have ended."""
    queues = [queue_id(what.queue) for what in whats]
    for what in whats:
        tx.rows("erase_task_keys", task=what.task)
        tx.rows("take_off_stats", task=what.task)
        tx.rows("erase_stats", task=what.task)
    tx.rows("drop_empty_stats")
    tx.rows("erase_tasks", tasks=[what.task for what in whats])
    tx.rows("erase_routes", routes=[route_id(what.queue, what.task, None, what.machine) for what in whats])
    tx.rows("erase_notes", queues=queues)
    tx.rows("erase_queues", queues=queues)
    tx.rows("erase_worker_tasks", workers=list(workers))
    tx.rows("erase_workers", workers=list(workers))


def span(tx: Tx, task: str) -> Span:
    """When the runs of a task were carried out."""
    ended, completed, started_at, finished_at = tx.rows("task_span", task=task)[0]
    return Span(ended, completed, started_at or 0, finished_at or 0)


def version(tx: Tx) -> str:
    """Which version of the database this is."""
    return str(tx.rows("database_version")[0][0])
