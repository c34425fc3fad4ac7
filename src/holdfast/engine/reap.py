"""What time does: the runs of lost workers, TTLs, retention.

Everything here is a sweep: idempotent, repeated every few seconds by every host, and safe for several at once. The
sweep takes every executing run whose worker is not alive, not only those of a worker just declared lost: a claim can
commit while its worker is being declared dead.

A crash does not use up an attempt. The runs a dead process held are suspects, and go first: all of them at once after
the first death, for most are innocent and may take long; ten at a time after the second; and alone before a death that
would end them. So a death condemns nobody's neighbours. Only deaths as a suspect count; and where processes die that
did not hold a run, its own deaths say less: then it takes twice as many.
A request is no suspect: nobody's code runs in a pusher.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from holdfast.engine import journal
from holdfast.engine.cancel import finish
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Tx

SWEEP = 500
MAX_CRASHES = 3
GROUPS = (1, 10, 1_000)  # how many suspects of a kind a process may hold at once: the last number means all
STORM_MS = 300_000  # a death that is longer ago says nothing of the weather
CIRCUIT_MS = 600_000  # after its next try was due, a circuit that nobody has renewed is forgotten
UNWIND_MS = 60_000  # for a canceled run that is to be resumed, before it ends without its code
KEPT = (  # the run's own row comes last: others are found by it
    "prune_keys",
    "prune_attempts",
    "prune_logs",
    "prune_chunks",
    "prune_tags",
    "prune_blobs",
    "prune_invocations",
    "prune_aftermath",
    "prune_journal",
    "prune_waiters",
    "prune_tokens",
    "prune_done",
)
GRACE_MS = 2_000  # how much longer than its last life a suspect must live to be trusted


class Orphan(NamedTuple):
    """An executing run whose worker is not alive."""

    id: str
    claim: int
    suspect: int
    crashes: int
    cancel_at: int | None
    claimed_at: int
    worker_id: str
    options: str | None
    task: str
    queue_id: int
    lane_id: int | None
    attempt: int
    seen_at: int | None
    kind: str | None

    @property
    def deaths(self) -> int:
        """Deaths that count, with this one."""
        return self.crashes + self.counts

    @property
    def counts(self) -> int:
        """1 if this death counts: the first one might have been anybody's."""
        return min(self.suspect, 1)


class Recovery(msgspec.Struct):
    """The columns of ``recover``."""

    id: str
    claim: int
    suspect: int
    crashes: int
    lived_ms: int


class CrashedAttempt(msgspec.Struct):
    """The record of an attempt that died with its process."""

    run_id: str
    claim: int
    number: int
    worker_id: str
    started_at: int
    outcome: str
    error: str | None
    usage: str | None = None


class Options(msgspec.Struct):
    """What the sweep reads of the options of a run or a task."""

    max_crashes: int | None = None


class Swept(NamedTuple):
    """What a sweep did."""

    recovered: list[str]
    crashed: list[str]
    canceled: list[str]
    expired: list[str]


def sweep(tx: Tx) -> Swept:
    """One pass: orphans are recovered, or end as crashed or canceled; overdue runs expire."""
    recovered, crashed, canceled = sweep_orphans(tx)
    asked = [row[0] for row in tx.rows("canceled", n=SWEEP, patience_ms=UNWIND_MS)]
    finish(tx, asked, "canceled")
    expired = [row[0] for row in tx.rows("expired", n=SWEEP)]
    finish(tx, expired, "expired")
    journal.settle_others(tx)
    return Swept(recovered, crashed, canceled + asked, expired)


def sweep_orphans(tx: Tx) -> tuple[list[str], list[str], list[str]]:
    orphans = [Orphan._make(row) for row in tx.rows("orphans", n=SWEEP)]
    if not orphans:
        return [], [], []
    canceled = [orphan for orphan in orphans if orphan.cancel_at is not None]
    alive = [orphan for orphan in orphans if orphan.cancel_at is None]
    limits = crash_limits(tx, alive)
    crashed = [orphan for orphan in alive if is_condemned(tx, orphan, limits[orphan.id])]
    recovered = [orphan for orphan in alive if orphan not in crashed]
    tx.batch("insert_attempts", [crashed_attempt(orphan) for orphan in recovered])
    tx.batch("recover", [recovery(orphan, limits[orphan.id]) for orphan in recovered])
    if recovered:
        store_runs.wake(tx)
    store_runs.leave_notes(tx, ((orphan.queue_id, orphan.lane_id) for orphan in recovered))
    finish(tx, ids(canceled), "canceled")
    for orphan in crashed:
        finish(tx, [orphan.id], "crashed", crash_error(orphan), deaths=orphan.counts)
    return ids(recovered), ids(crashed), ids(canceled)


def ids(orphans: Iterable[Orphan]) -> list[str]:
    return [orphan.id for orphan in orphans]


def is_condemned(tx: Tx, orphan: Orphan, limit: int) -> bool:
    """Whether it has been in so many deaths that it ends: twice as many while processes die that did not hold it."""
    if not limit <= orphan.deaths < 2 * limit:
        return orphan.deaths >= limit
    return tx.row("other_deaths", id=orphan.id, worker=orphan.worker_id, within_ms=STORM_MS) is None


def group(deaths: int, limit: int) -> int:
    """How many like it a process may hold at once, after so many deaths that count: the fewer the later it is."""
    steps = max(deaths, len(GROUPS) - limit + deaths)
    return GROUPS[max(0, len(GROUPS) - 1 - steps)]


def recovery(orphan: Orphan, limit: int) -> Recovery:
    """Back in line; how long it lived is taken from its worker's last beat, for the lease after that was silence."""
    lived = max(0, (orphan.seen_at or orphan.claimed_at) - orphan.claimed_at) + GRACE_MS
    suspect = 0 if orphan.kind == "http" else group(orphan.deaths, limit)
    return Recovery(orphan.id, orphan.claim, suspect, orphan.deaths, lived)


def crashed_attempt(orphan: Orphan) -> CrashedAttempt:
    return CrashedAttempt(
        orphan.id,
        orphan.claim,
        orphan.attempt,
        orphan.worker_id,
        orphan.claimed_at,
        "crashed",
        crash_error(orphan),
    )


def crash_error(orphan: Orphan) -> str:
    """The error of a run whose process died."""
    message = (
        f"the process that held this run died (worker {orphan.worker_id}); "
        f"{orphan.deaths} such deaths were its own. Look for a signal or for memory in the logs of that host."
    )
    return msgspec.json.encode({"type": "RunCrashed", "message": message, "traceback": ""}).decode()


def crash_limits(tx: Tx, orphans: list[Orphan]) -> dict[str, int]:
    """How often each may crash: by its own options, or its task's, or three times."""
    defaults = {task: tx.row("task", id=task) for task in {orphan.task for orphan in orphans}}
    return {
        orphan.id: option(orphan.options) or option(row[2] if (row := defaults[orphan.task]) else None) or MAX_CRASHES
        for orphan in orphans
    }


def option(options: str | None) -> int | None:
    """What stored options say; nothing if they cannot be read, for the sweep has others to look after."""
    try:
        value = msgspec.json.decode(options, type=Options).max_crashes if options else None
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return value if value is not None and value > 0 else None


def prune(tx: Tx, older_ms: int, n: int = SWEEP) -> int:
    """Forget runs that ended longer ago than this, with all that is kept about them. Returns how many; call again while
    n."""
    old = [row[0] for row in tx.rows("prunable", older_ms=older_ms, n=n)]
    forget(tx, old)
    return len(old)


def forget(tx: Tx, ids: list[str]) -> None:
    """Forget these runs, which have ended, with all that is kept about them."""
    for statement in KEPT if ids else ():
        tx.rows(statement, ids=ids)


def tidy(tx: Tx, older_ms: int) -> None:
    """Forget keys whose time is over, workers that ended long ago, and routes of versions that are gone."""
    tx.rows("prune_expired_keys")
    tx.rows("forget_debounce")
    tx.rows("forget_worker_tasks")
    tx.rows("forget_workers", older_ms=older_ms)
    tx.rows("forget_circuits", older_ms=CIRCUIT_MS)
    tx.rows("forget_signing")
    tx.rows("forget_routes")
