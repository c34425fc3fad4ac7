"""Who serves what: the facts behind ``pending_version``.

A run is queued whether or not anybody can carry it out. Whether somebody can is a fact about its task and queue and
the workers of this moment, so it is never stored, but derived wherever a run is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

import msgspec

from holdfast.engine.states import shown
from holdfast.storage import Tx

Kind = tuple[str, str | None]  # a task, and the version that a run of it is pinned to
QUEUED = frozenset({"held", "ready", "queued"})  # as stored, and as users see them


class Served:
    """What live workers serve, from rows of a task, the queues its workers are bound to as JSON, their version and
    their number."""

    def __init__(self, rows: Iterable[tuple[str, str | None, str | None, int]]) -> None:
        self.everywhere: set[Kind] = set()
        self.somewhere: defaultdict[Kind, set[str]] = defaultdict(set)
        self.workers: Counter[str] = Counter()
        for task, queues, version, count in rows:
            self.workers[task] += count
            kinds = {(task, None), (task, version)}
            if queues is None:
                self.everywhere |= kinds
            else:
                for kind in kinds:
                    self.somewhere[kind].update(msgspec.json.decode(queues, type=list[str]))

    def serves(self, task: str, queue: str, pin: str | None = None) -> bool:
        """Whether a live worker knows the task and takes from the queue; for a run that is ``pin``ned to a version,
        whether it has that one."""
        kind = task, pin
        return kind in self.everywhere or (kind in self.somewhere and queue in self.somewhere[kind])

    def status(self, state: str, task: str, queue: str, pin: str | None = None) -> str:
        """The word that users see for a run in this state."""
        if state in QUEUED:
            return "queued" if self.serves(task, queue, pin) else "pending_version"
        return shown(state)


def served(tx: Tx) -> Served:
    """What live workers serve, read once in a transaction: a page of many lists asks for each of them."""
    return tx.once(read)


def read(tx: Tx) -> Served:
    return Served((task, queues, version, count) for task, queues, version, count in tx.rows("serving"))


def pins(tx: Tx, ids: Collection[str]) -> dict[str, str]:
    """The versions that these runs are pinned to; those that are to none are left out."""
    return dict(tx.rows("pins", ids=list(ids))) if ids else {}
