"""Debounce: a burst of triggers with one key makes one run, at the end of the burst.

The first trigger makes a delayed run; each of those that follow while it is delayed pushes it back by the delay, but
not beyond the longest delay that the first one set, and gives it its own payload unless the first one is to be kept.
The row of the key is locked for the length of the transaction, so that callers in any number of processes take turns.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.records import NewRun, Triggered
from holdfast.storage.base import Tx
from holdfast.storage.runs import BLOB_BYTES, Blob


def debounce(tx: Tx, runs: Sequence[NewRun], outcomes: list[Triggered | Exception]) -> None:
    """Decide for each run that has a debounce key which run its trigger led to."""
    made: dict[tuple[str, str], NewRun] = {}  # in this very batch, so that there is no row to push back yet
    for index, run in enumerate(runs):
        if run.debounce_key is None or not isinstance(outcomes[index], Triggered):
            continue
        key = (run.task, run.debounce_key)
        if key in made:
            outcomes[index] = Triggered(merged(made[key], run).id, created=False)
            continue
        outcomes[index] = outcome = debounced(tx, run)
        if outcome.created:
            made[key] = run


def merged(first: NewRun, run: NewRun) -> NewRun:
    """The run that is about to be made, after another trigger in the same batch."""
    if not run.debounce_leading:
        first.payload, first.metadata = run.payload, run.metadata or first.metadata
    return first


def debounced(tx: Tx, run: NewRun) -> Triggered:
    """Push back the run that is there for this key, or answer that this one is to be made, delayed."""
    key = {"task": run.task, "key": run.debounce_key, "run_id": run.id, "max_ms": run.debounce_max_ms}
    owner = tx.rows("take_debounce", **key)[0][0]
    not_before = run.due_at
    delay(tx, run)
    if owner == run.id:
        return Triggered(run.id, created=True)
    if push_back(tx, run, not_before):
        replace_blob(tx, owner, run)
        return Triggered(owner, created=False)
    tx.rows("renew_debounce", **key)
    return Triggered(run.id, created=True)


def delay(tx: Tx, run: NewRun) -> None:
    """The run waits for the burst to end, no longer than it was allowed, and for the time it is scheduled for."""
    longest = run.debounce_ms if run.debounce_max_ms is None else min(run.debounce_ms, run.debounce_max_ms)
    if run.due_at is None or run.due_at <= tx.now() + longest:
        run.delay_ms, run.due_at = longest, None


def push_back(tx: Tx, run: NewRun, not_before: int | None) -> bool:
    """Whether there was a delayed run to push back."""
    moved = tx.rows(
        "push_back",
        task=run.task,
        key=run.debounce_key,
        delay_ms=run.debounce_ms,
        not_before=not_before,
        leading=int(run.debounce_leading),
        payload=run.payload if len(run.payload) <= BLOB_BYTES else None,
        metadata=run.metadata,
    )
    return bool(moved)


def replace_blob(tx: Tx, owner: str, run: NewRun) -> None:
    """A payload that is too big for its row is kept beside it."""
    if not run.debounce_leading and len(run.payload) > BLOB_BYTES:
        tx.batch("insert_blobs", [Blob(owner, "payload", run.payload)])
