"""Steps of a change of many runs: each is one transaction over a few of them, and may be made again.

A run is triggered again once, however often its step is made: an idempotency key of our own remembers it for as long as
runs are kept by default. The new run does not carry that key, so however it ends, the key stays; if it fails, it is a
run of its own that may be triggered again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from holdfast.engine import cancel as canceling
from holdfast.engine import replay as replaying
from holdfast.engine.trigger import insert_keys, trigger
from holdfast.records import NewRun
from holdfast.storage.base import Tx, repeatable

MOST_BYTES = 8 * 1024 * 1024  # of payloads in one transaction, unless a single one is larger
REMEMBERED_MS = 30 * 24 * 3600 * 1000


class Changed(NamedTuple):
    """What became of one run: ``canceled``, ``requested`` or ``final``; ``replayed``, as the run ``made``, or
    ``known``, for it has been replayed before; ``unknown``, if it is not there."""

    id: str
    outcome: str
    made: str | None = None


@repeatable
def cancel(tx: Tx, ids: Sequence[str]) -> list[Changed]:
    """Cancel these runs. Answers for each of them."""
    outcomes = canceling.cancel(tx, ids)
    return [Changed(run_id, outcomes[run_id]) for run_id in ids]


@repeatable
def replay(tx: Tx, ids: Sequence[str], batch_id: str) -> list[Changed]:
    """Trigger these runs once more, in a batch. Answers for the first of them, as many as their payloads allow."""
    ids = within(tx, ids)
    copies = replaying.copies(tx, ids)
    for earlier, run in copies.items():
        run.batch_id = batch_id
        run.idempotency_key, run.idempotency_ttl_ms = f"holdfast/replay/{earlier}", REMEMBERED_MS
    won = {row[2] for row in insert_keys(tx, list(copies.values()))} if copies else set()
    fresh = [bare(run) for run in copies.values() if run.id in won]
    if fresh:
        trigger(tx, fresh)
    return [changed(run_id, copies.get(run_id), won) for run_id in ids]


def within(tx: Tx, ids: Sequence[str]) -> Sequence[str]:
    """As many of these as have payloads that fit into one transaction, and one at least."""
    sizes: dict[str, int] = dict(tx.rows("blob_sizes", ids=list(ids), name="payload"))
    total = 0
    for place, run_id in enumerate(ids):
        total += sizes.get(run_id, 0)
        if place and total > MOST_BYTES:
            return ids[:place]
    return ids


def bare(run: NewRun) -> NewRun:
    """The run without the key that remembers it: it would be freed if the run failed."""
    return msgspec.structs.replace(run, idempotency_key=None, idempotency_ttl_ms=None)


def changed(run_id: str, run: NewRun | None, won: set[str]) -> Changed:
    if run is None:
        return Changed(run_id, "unknown")
    return Changed(run_id, "replayed", run.id) if run.id in won else Changed(run_id, "known")
