"""Who serves what: the facts behind ``pending_version``.

A run is queued whether or not anybody can carry it out. Whether somebody can is a fact about its task and queue and
the workers of this moment, so it is never stored, but derived wherever a run is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from holdfast.engine.states import shown
from holdfast.storage import Tx

QUEUED = frozenset({"held", "ready", "queued"})  # as stored, and as users see them


class Served:
    """What live workers serve, from rows of a task, the queues its workers are bound to as JSON, and their number."""

    def __init__(self, rows: Iterable[tuple[str, str | None, int]]) -> None:
        self.everywhere: set[str] = set()
        self.somewhere: defaultdict[str, set[str]] = defaultdict(set)
        self.workers: Counter[str] = Counter()
        for task, queues, count in rows:
            self.workers[task] += count
            if queues is None:
                self.everywhere.add(task)
            else:
                self.somewhere[task].update(msgspec.json.decode(queues, type=list[str]))

    def serves(self, task: str, queue: str) -> bool:
        """Whether a live worker knows the task and takes from the queue."""
        return task in self.everywhere or (task in self.somewhere and queue in self.somewhere[task])

    def status(self, state: str, task: str, queue: str) -> str:
        """The word that users see for a run in this state."""
        if state in QUEUED:
            return "queued" if self.serves(task, queue) else "pending_version"
        return shown(state)


def served(tx: Tx) -> Served:
    """Read what live workers serve."""
    return Served((task, queues, count) for task, queues, count in tx.rows("serving"))
