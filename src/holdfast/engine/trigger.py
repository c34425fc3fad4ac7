"""Make runs.

A trigger only appends. It takes no lock of a lane and changes no shared row, since it may be inside a user's
transaction that stays open for minutes. Most triggers are one statement in one round trip; what has an idempotency
key, a parent, tags or a big payload takes a few more, in one transaction.

The caller makes the ids, so that a trigger whose answer was lost can simply be sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from holdfast.engine.debounce import debounce
from holdfast.engine.replay import carry_over
from holdfast.errors import AttemptLost, IdempotencyBusy
from holdfast.ids import hash63
from holdfast.machine import machine_in
from holdfast.records import Claimed, Here, NewRun, Triggered
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Deferred, Row, Tx, repeatable
from holdfast.storage.runs import BLOB_BYTES, Begun, Blob, RunRow

Outcome = Triggered | Exception
Key = tuple[str, str]  # a task and an idempotency key
TRIES = 5
REQUEST = "\x1erequest\x1e"  # before its name, among the keys: nobody can write such a key
REQUEST_MS = 600_000  # clients repeat for less than a minute
PART = 200  # runs in one statement: while the database works on them, the next are made ready here
NOWHERE = Here()


class Tag(msgspec.Struct):
    """A row of the index of tags."""

    tag: str
    run_id: str


class RouteName(NamedTuple):
    """What a route is known by. Those of a version are for runs that are pinned to it."""

    queue: str
    task: str
    machine: str | None = None
    version: str | None = None


def route_name(run: NewRun) -> RouteName:
    """The route that a new run stands in."""
    return RouteName(run.queue, run.task, machine_in(run.options), run.version)


@lru_cache(maxsize=10_000)
def queue_id(queue: str) -> int:
    """The number of a queue: a hash, so that a trigger needs no look-up."""
    return hash63("queue", queue)


@lru_cache(maxsize=10_000)
def route_id(queue: str, task: str, version: str | None, machine: str | None = None) -> int:
    """The number of a route: what decides who may carry a run out."""
    return hash63("route", "task", queue, task, version, *([] if machine is None else [machine]))


def route_number(name: RouteName) -> int:
    """The number of a route that is known by its name."""
    return route_id(name.queue, name.task, name.version, name.machine)


@lru_cache(maxsize=100_000)
def key_lane(queue: str, key: str) -> int:
    """The number of the lane of a concurrency key. The lane of a whole queue has the queue's number."""
    return hash63("lane", queue, key)


class Made(NamedTuple):
    """What came of new runs: for each the run it led to, or its error; and those that were claimed when they were
    made."""

    outcomes: list[Outcome]
    claimed: list[Claimed]


@repeatable
def trigger(tx: Tx, runs: Sequence[NewRun]) -> Deferred[list[Outcome]]:
    """Make these runs. Answers for each the run it led to, or the error that is its own; atomic for all the others.

    Raises nothing for a single item. A run whose parent attempt has lost its run is not made: ``AttemptLost``.
    """
    made = make(tx, runs)
    return Deferred(lambda: made.read().outcomes)


def make(tx: Tx, runs: Sequence[NewRun], here: Here = NOWHERE) -> Deferred[Made]:
    """The same. Those that are to be carried out ``here`` are claimed, but for what may not start now."""
    outcomes: list[Outcome] = [Triggered(run.id, created=True) for run in runs]
    plain = not any(
        run.idempotency_key or run.request or run.parent_claim is not None or run.tags or run.debounce_key or run.kept
        for run in runs
    )
    if not plain:
        refuse_lost_parents(tx, runs, outcomes)
        keep_known_keys(tx, runs, outcomes)
        debounce(tx, runs, outcomes)
    made = [
        run for run, outcome in zip(runs, outcomes, strict=True) if isinstance(outcome, Triggered) and outcome.created
    ]
    if not made:
        return Deferred(lambda: Made(outcomes, []))
    parts = [made[first : first + PART] for first in range(0, len(made), PART)]
    begun = [insert(tx, part, alone=plain and len(parts) == 1, here=here) for part in parts]
    if not plain:
        carry_over(tx, made)

    def read() -> Made:
        claimed = [claimed_of(part, those()) for part, those in zip(parts, begun, strict=True)]
        return Made(outcomes, [run for some in claimed for run in some])

    return Deferred(read)


def claimed_of(made: Iterable[NewRun], begun: Sequence[Begun]) -> list[Claimed]:
    """The claims of those of these new runs that have begun."""
    if not begun:
        return []
    new = {run.id: run for run in made}
    return [claimed_as(new[row.id], row) for row in begun]


def claimed_as(run: NewRun, row: Begun) -> Claimed:
    """A new run as a claim would have read it: its queue is still a number."""
    return Claimed(
        run.id,
        1,
        run.task,
        queue_id(run.queue),  # type: ignore[arg-type]  # as in the row
        run.payload if len(run.payload) <= BLOB_BYTES else None,
        1,
        row.created_at,
        row.created_at,
        run.concurrency_key,
        run.priority_ms,
        run.options,
        run.metadata,
        run.tags,
        row.version,
        run.parent_id,
        run.root_id,
        run.batch_id,
        run.idempotency_key,
        0,
        0,
        row.sort_at,
        False,
        row.created_at,
        row.expire_at,
        run.parent_key is not None,
        depth=run.depth,
    )


def insert(tx: Tx, runs: Sequence[NewRun], *, alone: bool = False, here: Here = NOWHERE) -> Callable[[], list[Begun]]:
    """Send new runs that nothing speaks against; ``alone`` if they are all of the transaction. Returns what waits for
    the answer."""
    big = [run for run in runs if len(run.payload) > BLOB_BYTES]
    if big:
        tx.batch("insert_blobs", [Blob(run.id, "payload", run.payload) for run in big])
    if tags := [Tag(tag, run.id) for run in runs if run.tags for tag in msgspec.json.decode(run.tags, type=list[str])]:
        tx.batch("insert_tags", tags)
    rows = [row(run, 1 if run.id in here.ids else None) for run in runs]
    return store_runs.insert(tx, rows, alone=alone and not big, me=here.worker_id)


def row(run: NewRun, here: int | None = None) -> RunRow:
    """The columns of a new run."""
    queue = run.queue
    return RunRow(
        run.id,
        run.task,
        queue_id(queue),
        route_number(route_name(run)),
        run.priority_ms,
        None if run.concurrency_key is None else key_lane(queue, run.concurrency_key),
        run.concurrency_key,
        run.due_at,
        run.delay_ms,
        run.ttl_ms,
        run.payload if len(run.payload) <= BLOB_BYTES else None,
        run.options,
        run.metadata,
        run.tags,
        run.version,
        run.idempotency_key,
        run.parent_id,
        run.root_id,
        run.batch_id,
        run.parent_key,
        run.depth,
        here,
    )


def refuse_lost_parents(tx: Tx, runs: Sequence[NewRun], outcomes: list[Outcome]) -> None:
    """The fence: what an attempt triggers is only made while it holds its run, and the lock keeps it so until the
    commit."""
    fences = {(run.parent_id, run.parent_claim) for run in runs if run.parent_claim is not None}
    if not fences:
        return
    held = set(tx.rows("hold_parents", ids=sorted({str(parent) for parent, _ in fences})))
    for index, run in enumerate(runs):
        if run.parent_claim is not None and (run.parent_id, run.parent_claim) not in held:
            outcomes[index] = AttemptLost(
                "this attempt no longer holds its run, so it may not trigger",
                seen=f"run {run.parent_id}, claim {run.parent_claim}",
                do="let it end: the run has been taken over, or is finished",
            )


def keep_known_keys(tx: Tx, runs: Sequence[NewRun], outcomes: list[Outcome]) -> None:
    """Whoever inserts a key has it; the others are told which run does. Within a batch the first one wins."""
    keyed = [
        (index, keyed_by(run))
        for index, run in enumerate(runs)
        if (run.idempotency_key is not None or run.request is not None) and isinstance(outcomes[index], Triggered)
    ]
    if not keyed:
        return
    owners = take_keys(tx, {(run.task, run.idempotency_key or ""): run for _, run in reversed(keyed)})
    for index, run in keyed:
        owner = owners[run.task, run.idempotency_key or ""]
        outcomes[index] = Triggered(owner, created=owner == run.id)


def keyed_by(run: NewRun) -> NewRun:
    """A run by its idempotency key, or else by the name of the request: that is no key of the run's, nor shown."""
    if run.idempotency_key is not None or run.request is None:
        return run
    key = f"{REQUEST}{run.request}"
    return msgspec.structs.replace(run, idempotency_key=key, idempotency_ttl_ms=REQUEST_MS, unique_until_end=False)


def take_keys(tx: Tx, wanted: dict[Key, NewRun]) -> dict[Key, str]:
    """The run that has each of these keys, which is the one that wants it where nobody has it. The name of a request is
    hardly ever there, so it is not looked for first."""
    owners: dict[Key, str] = {}
    named = all(run.request is not None for run in wanted.values())
    looks = (insert_keys, read_keys, renew_keys) if named else (read_keys, insert_keys, renew_keys)
    for _ in range(TRIES):
        for look in looks:
            missing = [run for key, run in sorted(wanted.items()) if key not in owners]
            if not missing:
                return owners
            owners |= {(task, key): run_id for task, key, run_id in look(tx, missing)}
    raise IdempotencyBusy(  # it was there when we inserted, and gone when we read, every time
        "This idempotency key is taken and freed all the time",
        seen=str(sorted(wanted.keys() - owners.keys())),
        do="Try again, or use keys that fewer runs share.",
    )


def insert_keys(tx: Tx, runs: list[NewRun]) -> list[Row]:
    return tx.batch("take_keys", runs).rows()


def renew_keys(tx: Tx, runs: list[NewRun]) -> list[Row]:
    if passing := [run for run in runs if run.unique_until_end]:
        tx.batch("lock_keys", passing).rows()
    return tx.batch("renew_keys", runs).rows()


def reset_key(tx: Tx, task: str, key: str) -> bool:
    """Free an idempotency key, whatever became of its run: the next trigger with it makes a new one. False if it was
    free."""
    return bool(tx.rows("reset_key", task=task, key=key))


def read_keys(tx: Tx, runs: list[NewRun]) -> list[Row]:
    if tx.kind == "postgres":
        return tx.rows("keys", tasks=[run.task for run in runs], names=[run.idempotency_key for run in runs])
    return tx.rows("keys", keys=[[run.task, run.idempotency_key] for run in runs])
