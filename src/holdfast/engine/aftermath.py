"""Hooks for runs that ended while no worker carried them out: canceled before they started, expired, crashed, or sent
as requests.

Whoever ends such a run leaves a note in the same transaction, if the catalogue says that its task has hooks for that.
A worker that knows the task takes the note, calls the hooks, and tears it up. A note of a worker that is dead is taken
by another one, so hooks are called at least once. ``(run, claim, worker)`` is a note's fence.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from holdfast.engine import read
from holdfast.records import Ended, LogLine, RunRecord
from holdfast.storage.base import Tx, repeatable

CANCELED, OTHER, COMPLETED = 1, 2, 4  # the bits of ``task.end_hooks``
BITS: Final = {"canceled": CANCELED, "completed": COMPLETED}


class Fence(msgspec.Struct, frozen=True):
    """What shows that a note is held: the columns of ``settle_aftermath``."""

    run_id: str
    claim: int
    worker_id: str


class Owed(NamedTuple):
    """A note that was taken. ``fence.claim`` says for which time; there is no record of a run that was pruned."""

    fence: Fence
    record: RunRecord | None


class Settled(NamedTuple):
    """A note whose hooks were called, and what they have written."""

    fence: Fence
    lines: list[LogLine]


def note(tx: Tx, ids: Sequence[str], status: str) -> None:
    """Leave notes for these runs, which have just ended with this status and without a worker to call their hooks."""
    tx.send("note_aftermath", ids=list(ids), status=status, bit=BITS.get(status, OTHER))


def note_unheard(tx: Tx, ended: Sequence[Ended]) -> None:
    """Leave notes for those of these outcomes, which have just been written, whose hooks nobody has called."""
    owed: dict[str, list[str]] = {}
    for run in ended:
        if run.unheard or run.status == "system_failure":
            owed.setdefault(run.status, []).append(run.id)
    for status, ids in owed.items():
        note(tx, ids, status)


def waits(tx: Tx, me: str, tasks: Sequence[str], known: Collection[str]) -> bool:
    """Whether there is a note for one of these tasks to take; ``known`` are the runs whose notes we hold."""
    row = tx.row("aftermath_waits", me=me, tasks=list(tasks), known=list(known))
    return bool(row and row[0])


def claim(tx: Tx, me: str, tasks: Sequence[str], known: Collection[str], n: int) -> list[Owed]:
    """Take up to ``n`` notes; none if we are not live."""
    taken: dict[str, int] = dict(tx.rows("claim_aftermath", me=me, tasks=list(tasks), known=list(known), n=n))
    records = {record.id: record for record in read.runs(tx, list(taken))} if taken else {}
    return [Owed(Fence(run_id, number, me), records.get(run_id)) for run_id, number in taken.items()]


@repeatable
def settle(tx: Tx, settled: list[Settled]) -> list[None]:
    """Tear up these notes and keep what their hooks have written; of those that are not ours any more, nothing."""
    ours = {row[0] for row in tx.batch("settle_aftermath", [one.fence for one in settled]).rows()}
    lines = [line for one in settled if one.fence.run_id in ours for line in one.lines]
    if lines:
        tx.batch("insert_late_logs", lines)
    return [None] * len(settled)


@repeatable
def hand_back(tx: Tx, fence: Fence) -> None:
    """Let another worker take a note whose hooks were not called to their end."""
    tx.rows("return_aftermath", run_id=fence.run_id, claim=fence.claim, me=fence.worker_id)
