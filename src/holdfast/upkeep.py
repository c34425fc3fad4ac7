"""Upkeep: the duties that any number of hosts may do side by side, because each is idempotent.

    every 2 s     who has stopped beating; the runs of lost workers; what is overdue; names and errors that are new
    every 5 s     what somebody is to be told of; changes of many runs that nobody goes on with
    every 10 s    how many runs have ended, summed up
    every 30 s    runs in a wrong lane; a note for every lane that holds runs; slots held for tasks that nobody knows
    every 60 s    retention

Who is dead is decided by watching: a worker is declared lost by a process that has itself seen its beat stand still
for the whole lease, on its own monotonic clock, without a gap in its own reads, and while its own writes went through.
So a clock that steps, a database that is away, full or locked, or a watcher that was itself asleep kills nobody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from holdfast import alerting
from holdfast.engine import (
    audit,
    batches,
    bulk_actions,
    catalogue,
    errors,
    limits,
    packets,
    reap,
    stats,
    ticks,
    tokens,
    webhooks,
    workers,
)
from holdfast.engine.workers import Beat, WorkerUsage
from holdfast.loops import Loop
from holdfast.storage import Store, Tx

log = logging.getLogger("holdfast")

SWEEP_SECONDS = 2.0
GAP_SECONDS = 3 * SWEEP_SECONDS
PROMPT_SECONDS = 1.0  # a write that takes longer says that others may have waited, too
LANES_SECONDS = 30.0
STATS_SECONDS = 10.0
ALERTS_SECONDS = 5.0
BULK_SECONDS = 5.0
PRUNE_SECONDS = 60.0
RETENTION_MS = 30 * 24 * 3600 * 1000
AUDIT_MS = 400 * 24 * 3600 * 1000  # a year, and a month to look back on it
WORKERS_MS = 24 * 3600 * 1000


class Seen(NamedTuple):
    """A beat, and since when it has stood still on our own clock."""

    beat: Beat
    since: float


class Watcher:
    """Watches beats. Pure: it is told what was read and when, and says who has been silent for a whole lease."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.read_at: float | None = None

    def observe(self, beats: Iterable[Beat], at: float) -> list[Beat]:
        """Take in a read; answer the beats that stood still for their lease. A gap before it forgets everything."""
        if self.read_at is None or at - self.read_at > GAP_SECONDS:
            self.seen = {}
        self.read_at = at
        self.seen = {beat.id: self.judged(beat, at) for beat in beats}
        return [seen.beat for seen in self.seen.values() if (at - seen.since) * 1000 >= seen.beat.lease_ms]

    def judged(self, beat: Beat, at: float) -> Seen:
        before = self.seen.get(beat.id)
        return before if before is not None and before.beat.beat == beat.beat else Seen(beat, at)

    def forget(self) -> None:
        """The database was in trouble: nothing that was seen before counts."""
        self.seen, self.read_at = {}, None


class Upkeep:
    """All the duties of one host."""

    def __init__(
        self, store: Store, *, retention_ms: int = RETENTION_MS, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.store, self.retention_ms, self.changed = store, retention_ms, changed
        self.watcher = Watcher()
        self.doubtful = False  # a beat of ours has failed or was late: so may those of others
        self.loops = [
            Loop("sweep", self.sweep, SWEEP_SECONDS, store.outage),
            Loop("lanes", self.lanes, LANES_SECONDS, store.outage),
            Loop("statistics", self.sum_up, STATS_SECONDS, store.outage),
            Loop("alerts", self.alert, ALERTS_SECONDS, store.outage),
            Loop("bulk actions", self.go_on, BULK_SECONDS, store.outage),
            Loop("retention", self.prune, PRUNE_SECONDS, store.outage),
        ]

    def start(self) -> Upkeep:
        for loop in self.loops:
            loop.start()
        return self

    def stop(self) -> None:
        for loop in self.loops:
            loop.stop()

    def sweep(self) -> None:
        """Declare the silent lost, and let their runs go on elsewhere; learn new names."""
        self.declare()
        while self.store.run_sync(catalogue.adopt_names) == reap.SWEEP:
            pass
        while True:
            swept = self.store.run_sync(reap.sweep)
            self.report(swept)
            if max(map(len, swept)) < reap.SWEEP:
                break
        while self.store.run_sync(errors.group) == errors.SWEEP:
            pass

    def beat(self, names: list[str], usage: Mapping[str, WorkerUsage] | None = None) -> dict[str, bool]:
        """Beat for workers of this host, and say what they use; answers those that are still taken to be alive, and
        whether each was asked to drain.

        What keeps our beats from being written keeps those of others, too: after it nobody is judged by what was seen
        before.
        """
        began = time.monotonic()
        try:
            return self.store.run_sync(workers.beat, names, usage or {})
        except BaseException:
            self.doubtful = True
            raise
        finally:
            if time.monotonic() - began > PROMPT_SECONDS:
                self.doubtful = True

    def declare(self) -> None:
        """Declare those lost that have been silent for their lease; anything unusual on the way makes it start anew."""
        try:
            beats = self.store.read_sync(workers.beats)
            if self.doubtful:
                self.doubtful = False
                self.watcher.forget()
            silent = self.watcher.observe(beats, time.monotonic())
            lost = self.store.run_sync(declare_promptly, silent, time.monotonic()) if silent else []
        except BaseException:
            self.watcher.forget()
            raise
        if silent and not lost:
            self.watcher.forget()
        for worker in lost:
            log.warning(
                "worker %s has not beaten for its whole lease: it is lost, and its runs go on elsewhere", worker
            )

    def gone(self, worker_id: str) -> None:
        """A supervisor saw this worker's process exit: nobody need wait for the lease."""
        if self.store.run_sync(workers.declare_gone, worker_id):
            self.report(self.store.run_sync(reap.sweep))

    def report(self, swept: reap.Swept) -> None:
        for run in swept.recovered:
            log.warning("run %s is recovered: the process that held it is gone", run)
        for run in swept.crashed:
            log.error("run %s ends as crashed: it has taken its process down too often", run)
        if swept.recovered or swept.crashed or swept.canceled:
            self.changed()

    def lanes(self) -> None:
        """Prove that no run is in a wrong lane, that no lane waits for a note that was lost, and that no slot waits for
        a task that nobody knows, or a machine that nobody has."""
        while self.store.run_sync(limits.mend) == reap.SWEEP:
            pass
        self.store.run_sync(limits.note_held)
        self.store.run_sync(limits.return_unserved, self.store.read_sync(workers.served))

    def sum_up(self) -> None:
        """Count what has ended, for those who want to know how many."""
        while self.store.run_sync(stats.sum_up):
            pass

    def alert(self) -> None:
        """Look at the alerts that are due."""
        self.store.run_sync(alerting.look)

    def go_on(self) -> None:
        """Go on with the changes of many runs that somebody has asked for, and whose server may be gone."""
        while self.store.run_sync(bulk_actions.go_on):
            pass

    def prune(self) -> None:
        """Forget what ended longer ago than the retention."""
        while self.store.run_sync(reap.prune, self.retention_ms) == reap.SWEEP:
            pass
        while self.store.run_sync(tokens.forget, self.retention_ms) == tokens.FORGET:
            pass
        while self.store.run_sync(batches.forget, self.retention_ms) == batches.FORGET:
            pass
        while self.store.run_sync(bulk_actions.forget, self.retention_ms) == bulk_actions.FORGET:
            pass
        while self.store.run_sync(packets.forget) == packets.FORGET:
            pass
        self.store.run_sync(reap.tidy, WORKERS_MS)
        while self.store.run_sync(stats.fold, self.retention_ms):
            pass
        self.store.run_sync(webhooks.prune)
        self.store.run_sync(errors.prune, self.retention_ms)
        while self.store.run_sync(audit.forget, AUDIT_MS) == audit.FORGET:
            pass
        while self.store.run_sync(ticks.prune, self.retention_ms) == ticks.DUE:
            pass


def declare_promptly(tx: Tx, silent: list[Beat], at: float) -> list[str]:
    """Declare these lost, but not when the database has kept us waiting: their beats may have waited beside us."""
    return workers.declare_lost(tx, silent) if time.monotonic() - at < PROMPT_SECONDS else []
