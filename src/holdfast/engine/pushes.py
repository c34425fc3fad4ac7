"""HTTP tasks: what the database knows of them beside their runs.

Which tasks they are, the requests that were sent and what came back, the hosts that are down, and the secrets that
requests are signed with. Runs themselves are made, claimed and completed like all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.engine.workers import WorkerTask
from holdfast.records import Invocation, TaskEntry
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
    return [TaskEntry(id=row[0], queue=row[1], options=row[2], kind="http") for row in tx.rows("http_tasks")]


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
