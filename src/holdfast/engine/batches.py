"""Batches whose items come after them: opened with a number, filled item by item, and sealed when all are there.

What was received is known by its place, so that a client that is not sure sends everything again, and each item is made
once. A batch that was made in one call (``batch_trigger``) has runs and no row here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from holdfast.engine.trigger import trigger
from holdfast.records import NewRun, Triggered
from holdfast.storage.base import Tx, repeatable

FORGET: Final = 500


class BatchRecord(NamedTuple):
    """A batch as it was opened."""

    id: str
    run_count: int
    created_at: int
    sealed_at: int | None


class ItemRecord(NamedTuple):
    """An item that was received: the run it led to, or why there is none."""

    place: int
    run_id: str | None
    task: str
    error: str | None


class Item(NamedTuple):
    """An item to be added: its run, or why there can be none."""

    place: int
    task: str
    run: NewRun | None
    error: str | None = None


class Received(NamedTuple):
    """What came of items: how many are new, how many were there, how many there are, and whether that is all."""

    accepted: int
    known: int
    total: int
    expected: int
    sealed: bool


class ItemRow(msgspec.Struct):
    """The columns of ``insert_batch_items``."""

    batch_id: str
    place: int
    run_id: str | None
    task: str
    error: str | None


@repeatable
def open_batch(tx: Tx, batch_id: str, run_count: int, key: str | None, key_ms: int | None) -> tuple[BatchRecord, bool]:
    """Open a batch. Answers it, and whether it is new: one with this idempotency key may be there."""
    if key is not None:
        tx.rows("free_batch_key", key=key)
    if tx.rows("insert_batch", id=batch_id, run_count=run_count, key=key, key_ms=key_ms):
        return BatchRecord(*tx.rows("one_batch", id=batch_id)[0]), True
    row = tx.row("batch_of_key", key=key) if key is not None else tx.row("one_batch", id=batch_id)
    if row is None:  # forgotten in between
        return open_batch(tx, batch_id, run_count, key, key_ms)
    return BatchRecord(*row), row[0] == batch_id


@repeatable
def add(tx: Tx, batch_id: str, items: Sequence[Item]) -> Received | None:
    """Add items to a batch, and seal it if these were the last. None: there is no such batch."""
    row = tx.row("lock_batch", id=batch_id)
    if row is None:
        return None
    batch = BatchRecord(*row)
    there = {item.place for item in received(tx, batch_id)}
    fresh = {} if batch.sealed_at is not None else {each.place: each for each in items if each.place not in there}
    made = make(tx, [each for each in fresh.values() if each.run is not None])
    rows = [
        ItemRow(batch_id, each.place, *made.get(each.place, (None, each.task, each.error))) for each in fresh.values()
    ]
    if rows:
        tx.batch("insert_batch_items", rows)
    total = len(there) + len(rows)
    sealed = batch.sealed_at is not None or total >= batch.run_count
    if sealed and batch.sealed_at is None:
        tx.rows("seal_batch", id=batch_id)
    return Received(len(rows), len(items) - len(rows), total, batch.run_count, sealed)


def make(tx: Tx, items: Sequence[Item]) -> dict[int, tuple[str | None, str, str | None]]:
    """Make the runs of these items. Answers for each place the run it led to, its task, and what was wrong."""
    runs = [item.run for item in items if item.run is not None]
    outcomes = trigger(tx, runs).read() if runs else []
    made: dict[int, tuple[str | None, str, str | None]] = {}
    for item, outcome in zip(items, outcomes, strict=True):
        told = (outcome.id, None) if isinstance(outcome, Triggered) else (None, str(outcome))
        made[item.place] = (told[0], item.task, told[1])
    return made


def retrieve(tx: Tx, batch_id: str) -> BatchRecord | None:
    row = tx.row("one_batch", id=batch_id)
    return None if row is None else BatchRecord(*row)


def received(tx: Tx, batch_id: str) -> list[ItemRecord]:
    """The items that have come, in their order."""
    return [ItemRecord(*row) for row in tx.rows("batch_items", id=batch_id)]


def unfinished(tx: Tx, ids: Sequence[str]) -> bool:
    """Whether one of these runs is not final."""
    return bool(ids) and bool(tx.rows("batch_runs_open", ids=list(ids)))


def forget(tx: Tx, older_ms: int, n: int = FORGET) -> int:
    """Forget batches that were opened longer ago than this. Their runs are forgotten by themselves. Returns how many;
    call again while n."""
    old = [row[0] for row in tx.rows("old_batches", older_ms=older_ms, n=n)]
    if old:
        tx.rows("forget_batch_items", ids=old)
        tx.rows("forget_batches", ids=old)
    return len(old)
