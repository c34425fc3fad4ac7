"""HTTP tasks: what the database knows of them beside their runs.

Which tasks they are, the requests that were sent and what came back, the hosts that are down, and the secrets that
requests are signed with. Runs themselves are made, claimed and completed like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from holdfast.engine import cancel as canceling
from holdfast.engine import catalogue, read, reap
from holdfast.engine import schedules as engine
from holdfast.engine.trigger import queue_id, reset_key, route_id, take_keys
from holdfast.engine.workers import WorkerTask
from holdfast.records import Invocation, NewRun, NewSchedule, QueueEntry, RunRecord, ScheduleRecord, TaskEntry
from holdfast.request import HTTP_TASK
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Tx

OVERLAP_MS = 24 * 3_600_000  # how long a secret goes on being signed with after it was replaced


class CircuitRow(NamedTuple):
    """A host that is down, as a pusher found it. ``until_at`` is when one request is tried."""

    host: str
    failures: int
    reason: str
    since_at: int
    until_at: int
    now: int


class SigningRow(NamedTuple):
    """A secret that requests are signed with; ``ends_at`` is None for the one that stays."""

    secret: str
    made_at: int
    ends_at: int | None


def http_tasks(tx: Tx) -> list[TaskEntry]:
    """The tasks whose runs are requests, as they were announced last."""
    rows = tx.rows("http_tasks")
    return [TaskEntry(id=row[0], queue=row[1], options=row[2], end_hooks=row[3], kind="http") for row in rows]


def any_http_task(tx: Tx) -> bool:
    """Whether there is one."""
    return bool(tx.rows("any_http_task"))


def know(tx: Tx, worker_id: str, tasks: Sequence[str]) -> None:
    """This worker knows these tasks, too."""
    tx.batch("insert_worker_tasks", [WorkerTask(worker_id, task) for task in tasks])


def invocations(tx: Tx, run_id: str, *, limit: int = 100) -> list[Invocation]:
    """The requests of a run, in the order in which they were sent."""
    return [Invocation(*row) for row in tx.rows("invocations", run_id=run_id, n=limit)]


# -- hosts that are down ----------------------------------------------------------------------------------------------


def open_circuit(tx: Tx, host: str, failures: int, reason: str, pause_ms: int, worker_id: str) -> None:
    tx.rows("open_circuit", host=host, failures=failures, reason=reason, pause_ms=pause_ms, worker_id=worker_id)


def close_circuit(tx: Tx, host: str) -> None:
    tx.rows("close_circuit", host=host)


def circuits(tx: Tx, *, limit: int = 100) -> list[CircuitRow]:
    """The hosts that are down, the longest first."""
    return [CircuitRow(*row) for row in tx.rows("circuits", n=limit)]


def circuit(tx: Tx, host: str) -> CircuitRow | None:
    row = tx.row("circuit", host=host)
    return None if row is None else CircuitRow(*row)


# -- secrets ----------------------------------------------------------------------------------------------------------


def signing(tx: Tx, new: str) -> list[str]:
    """The secrets to sign with, the newest first. Where there is none, ``new`` is the first."""
    found = signing_rows(tx)
    if not any(row.ends_at is None for row in found):
        tx.rows("lock_signing")
        tx.rows("insert_signing", secret=new)
        found = signing_rows(tx)
    return [row.secret for row in found]


def signing_rows(tx: Tx) -> list[SigningRow]:
    return [SigningRow(*row) for row in tx.rows("signing")]


def rotate(tx: Tx, new: str, overlap_ms: int = OVERLAP_MS) -> list[SigningRow]:
    """Sign with a new secret, and with those there were for a while yet."""
    tx.rows("lock_signing")
    tx.rows("end_signing", overlap_ms=overlap_ms)
    tx.rows("insert_signing", secret=new)
    return signing_rows(tx)


# -- requests that wait -----------------------------------------------------------------------------------------------

Amended = Literal["amended", "unknown", "busy", "taken"]


class Amendment(NamedTuple):
    """What a request is to be from now on: its payload and options as JSON text, its queue, its name; ``due_at`` is
    when it is sent, None for now, and counts if it is ``timed``."""

    payload: str
    options: str
    queue: str
    name: str | None
    timed: bool
    due_at: int | None


def listed(tx: Tx, before: str, limit: int) -> list[RunRecord]:
    """The requests that belong to no task, newest first."""
    return read.runs(tx, [row[0] for row in tx.rows("list_http", before=before, n=limit)])


def known(tx: Tx, run_id: str) -> RunRecord | None:
    """A request that belongs to no task and was not deleted."""
    record = read.run(tx, run_id)
    there = record is not None and record.task == HTTP_TASK and record.status != "canceled" and record.cancel_at is None
    return record if there else None


def amend(tx: Tx, run_id: str, change: Callable[[RunRecord, int], Amendment]) -> Amended:
    """Make a request that waits what ``change`` says, given what it is and the time. One that is being sent, or has
    ended, is ``busy``; ``taken`` is a name that another one has."""
    row = tx.row("lock_http", id=run_id)
    if row is None:
        return "unknown" if known(tx, run_id) is None else "busy"
    state, due_at, cancel_at, key, now = row
    if cancel_at is not None:
        return "unknown"
    if state not in ("delayed", "held", "ready"):
        return "busy"
    said = change(read.runs(tx, [run_id])[0], now)
    if said.name != key and not rename(tx, run_id, key, said.name):
        return "taken"
    catalogue.ensure_names(tx, [QueueEntry(name=said.queue)], [(said.queue, HTTP_TASK)])
    big = len(said.payload) > store_runs.BLOB_BYTES
    if big:
        tx.batch("insert_blobs", [store_runs.Blob(run_id, "payload", said.payload)])
    tx.rows(
        "amend_http",
        id=run_id,
        options=said.options,
        payload=None if big else said.payload,
        queue_id=queue_id(said.queue),
        route_id=route_id(said.queue, HTTP_TASK, None),
        key=said.name,
        due_at=said.due_at if said.timed else due_at,
        timed=int(said.timed),
    )
    lanes = [(queue, lane) for queue, lane in tx.rows("place_http", id=run_id)]
    store_runs.leave_notes(tx, lanes)
    return "amended"


def rename(tx: Tx, run_id: str, old: str | None, new: str | None) -> bool:
    """Give up a name, and take another. False if another request has it."""
    if new is not None:
        wanted = NewRun(id=run_id, task=HTTP_TASK, queue="", idempotency_key=new, unique_until_end=True)
        if take_keys(tx, {(HTTP_TASK, new): wanted})[HTTP_TASK, new] != run_id:
            return False
    if old is not None:
        reset_key(tx, HTTP_TASK, old)
    return True


def forget(tx: Tx, run_id: str) -> bool:
    """Delete a request: one that waits is never sent, one that is being sent is stopped, one that has ended is
    forgotten. False if there is none."""
    if known(tx, run_id) is None:
        return False
    if canceling.cancel(tx, [run_id])[run_id] == "final":
        reap.forget(tx, [run_id])
    return True


# -- schedules of requests --------------------------------------------------------------------------------------------


def schedule(tx: Tx, new: NewSchedule, http: TaskEntry) -> ScheduleRecord:
    """Make a schedule of requests that belong to no task; whoever makes the first announces what those are."""
    catalogue.ensure_names(tx, [], [], [http])
    return engine.create(tx, new)
