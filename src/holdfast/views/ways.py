"""Along which indexes a list of runs can be read.

Whatever a list is filtered by, it is read along indexes, and what an index does not know is sifted. Each part of a
filter that has an index is a *way*: one source, or several, in which all runs are that are wanted. Of several ways the
one is taken whose runs are the fewest, and that is seen from its beginning: the first few of what is rare reach further
back than those of what is common. So a rare tag is found among many failures, and a rare failure among many tags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from holdfast.engine.trigger import queue_id
from holdfast.model import FINAL
from holdfast.storage import Tx
from holdfast.views.filter import Filter
from holdfast.views.sieve import LAST

MANY: Final = 20  # for more of them than that, not each has its index read


class Source(NamedTuple):
    """A statement to read along, and its parameter."""

    statement: str
    name: str = ""
    value: str = ""

    @property
    def dear(self) -> int:
        """What it costs to look at one run along it: those that lead to both sides look each run up in its table."""
        return 4 if self.statement in ("list_tagged", "list_of_schedule") else 1

    @property
    def parameters(self) -> dict[str, str]:
        return {self.name: self.value} if self.name else {}


Way = tuple[Source, ...]


def ways(tx: Tx, wanted: Filter) -> list[Way]:
    """The ways to what is wanted. Within each the hot side goes first: what ends meanwhile is found on the other."""
    hot = tuple(hot_sources(wanted))
    if wanted.statuses and not wanted.statuses & FINAL:
        done: list[Way] = [()]
    else:
        done = list(done_ways(tx, wanted)) or [(Source("list_done"),)]
    return [*both_ways(wanted), *(hot + each for each in done)]


def both_ways(wanted: Filter) -> Iterator[Way]:
    """Of what has both sides in one index."""
    yield from ((Source("list_tagged", "tag", tag),) for tag in wanted.tags)
    if wanted.any_tags:
        yield tuple(Source("list_tagged", "tag", tag) for tag in sorted(wanted.any_tags))
    if wanted.schedule is not None:
        yield (Source("list_of_schedule", "schedule", wanted.schedule),)


def hot_sources(wanted: Filter) -> Iterator[Source]:
    statuses = wanted.statuses - FINAL
    if wanted.error is not None or (wanted.statuses and not statuses):
        return
    if wanted.batch is not None:
        yield Source("list_hot_of_batch", "batch", wanted.batch)
    elif statuses and statuses <= {"executing", "delayed", "waiting"}:
        if "executing" in statuses:
            yield Source("list_executing")
        yield from (Source("list_put_off", "state", state) for state in sorted(statuses - {"executing"}))
    else:
        yield Source("list_hot")


def done_ways(tx: Tx, wanted: Filter) -> Iterator[Way]:
    if wanted.error is not None:
        yield (Source("list_done_of_error", "fingerprint", wanted.error),)
    if wanted.batch is not None:
        yield (Source("list_done_of_batch", "batch", wanted.batch),)
    if wanted.concurrency_key is not None:
        yield (Source("list_done_of_key", "key", wanted.concurrency_key),)
    statuses = wanted.statuses & FINAL
    for statement, name, values in (
        ("list_done_of_status", "status", statuses if "completed" not in statuses else frozenset[str]()),
        ("list_done_of_version", "version", wanted.versions),
        ("list_done_of_task", "task", wanted.tasks),
    ):
        if 0 < len(values) <= MANY:
            yield tuple(Source(statement, name, value) for value in sorted(values))
    if wanted.queues and not wanted.tasks:
        tasks = tasks_of(tx, wanted.queues)
        if len(tasks) <= MANY:
            yield tuple(Source("list_done_of_task", "task", task) for task in sorted(tasks))


def tasks_of(tx: Tx, queues: frozenset[str]) -> set[str]:
    """The tasks that have had runs in these queues; some of them, if there are many."""
    found: set[str] = set()
    for queue in queues:
        found |= {row[0] for row in tx.rows("tasks_of_queue", queue_id=queue_id(queue), n=MANY + 1)}
    return found


def shortest(among: list[Way], reach: Callable[[Source], str], *, back: bool = False) -> Way:
    """The way whose beginning reaches the furthest. ``reach`` tells it of a source: the id that its first few runs end
    with, or what is beyond all ids if those are all."""
    if len(among) == 1:
        return among[0]
    known = {source: reach(source) for way in among for source in way}
    if back:
        return max(among, key=lambda way: min((known[source] for source in way), default=LAST))
    return min(among, key=lambda way: max((known[source] for source in way), default=""))
