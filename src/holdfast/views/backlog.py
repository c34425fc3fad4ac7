"""Queues: their limits, and what stands in them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from holdfast.storage import Tx
from holdfast.views.served import Served, served

COUNTED = 10_000  # counts go no further: one that is so large means "or more"


class Waiting(msgspec.Struct, kw_only=True):
    """Runs of one task that stand in a queue: how many, since when the first, and whether a live worker takes them.
    ``version`` is what they are pinned to, and ``machine`` what they ask for, if they do."""

    task: str
    queue: str
    version: str | None
    count: int
    since: int | None
    served: bool
    machine: str | None = None


class QueueView(msgspec.Struct, kw_only=True, frozen=True):
    """A queue. Limits are those in force, None is no limit: an operator's (``overriding_…``), else the code's.
    ``queued`` counts what is ready or waits for a slot, ``pending_version`` what nobody takes."""

    id: int
    name: str
    paused_at: int | None
    concurrency_limit: int | None
    concurrency_limit_per_key: int | None
    declared_limit: int | None
    declared_limit_per_key: int | None
    overriding_limit: int | None
    overriding_limit_per_key: int | None
    rate: int | None
    rate_ms: int | None
    rate_per_key: int | None
    rate_per_key_ms: int | None
    executing: int = 0
    queued: int = 0
    pending_version: int = 0
    delayed: int = 0
    oldest_queued_at: int | None = None


def queues(tx: Tx) -> list[QueueView]:
    """All queues by name, with what stands in them, counted up to `COUNTED`."""
    return standing(tx)[0]


def standing(tx: Tx) -> tuple[list[QueueView], list[Waiting]]:
    """All queues, and what stands in line in them: counted once for both."""
    rows = tx.rows("list_queues")
    names = {row[0]: row[1] for row in rows}
    lines: defaultdict[str, list[Waiting]] = defaultdict(list)
    stand = waiting(tx, names, served(tx))
    for each in stand:
        lines[each.queue].append(each)
    executing: defaultdict[int, int] = defaultdict(int)
    for number, _, count in tx.rows("executing_by_queue"):
        executing[number] += count
    delayed = {row[0]: row[1] for row in tx.rows("delayed_by_queue", bound=COUNTED)}
    return [filled(queue_view(row), lines[row[1]], executing[row[0]], delayed.get(row[0], 0)) for row in rows], stand


def queue_names(tx: Tx) -> list[str]:
    """The names of all queues; nothing is counted."""
    return [row[1] for row in tx.rows("list_queues")]


def queue(tx: Tx, name: str) -> QueueView | None:
    """One queue with its limits; nothing is counted."""
    row = tx.row("one_queue", name=name)
    return None if row is None else queue_view(row)


def waiting(tx: Tx, names: dict[int, str], live: Served) -> list[Waiting]:
    """What stands in line: the ready ones by their routes, then those that have no slot."""
    found = [
        Waiting(
            task=task,
            queue=name,
            version=pin,
            count=count,
            since=since,
            served=live.serves(task, name, pin),
            machine=machine,
        )
        for number, task, pin, machine, count, since in tx.rows("waiting_by_route", bound=COUNTED)
        if count and (name := names.get(number))
    ]
    for number, since in tx.rows("held_by_queue"):
        if name := names.get(number):
            found += [
                Waiting(
                    task=task,
                    queue=name,
                    version=pin,
                    count=count,
                    since=first if first is not None else since,
                    served=live.serves(task, name, pin),
                )
                for task, pin, count, first in tx.rows("held_by_task", queue_id=number, bound=COUNTED)
            ]
    return found


def lines(tx: Tx) -> tuple[list[Waiting], frozenset[str]]:
    """What stands in line, and the names of the queues that are paused."""
    rows = tx.rows("list_queues")
    paused = frozenset(row[1] for row in rows if queue_view(row).paused_at is not None)
    return waiting(tx, {row[0]: row[1] for row in rows}, served(tx)), paused


def queue_view(row: tuple[Any, ...]) -> QueueView:
    number, name, cap, per_key, cap_over, per_key_over, rate, rate_ms, key_rate, key_rate_ms, paused = row
    return QueueView(
        id=number,
        name=name,
        paused_at=paused,
        concurrency_limit=cap if cap_over is None else cap_over,
        concurrency_limit_per_key=per_key if per_key_over is None else per_key_over,
        declared_limit=cap,
        declared_limit_per_key=per_key,
        overriding_limit=cap_over,
        overriding_limit_per_key=per_key_over,
        rate=rate,
        rate_ms=rate_ms,
        rate_per_key=key_rate,
        rate_per_key_ms=key_rate_ms,
    )


def filled(view: QueueView, lines: list[Waiting], executing: int, delayed: int) -> QueueView:
    """The queue with its numbers."""
    firsts = [each.since for each in lines if each.since is not None]
    return msgspec.structs.replace(
        view,
        executing=executing,
        queued=sum(each.count for each in lines if each.served),
        pending_version=sum(each.count for each in lines if not each.served),
        delayed=delayed,
        oldest_queued_at=min(firsts, default=None),
    )
