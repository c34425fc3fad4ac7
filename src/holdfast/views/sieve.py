"""Keeps of the runs that are read along an index those that are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from holdfast import codec
from holdfast.clock import SystemClock
from holdfast.engine.trigger import queue_id
from holdfast.ids import least_id
from holdfast.storage import Tx
from holdfast.views.filter import Filter
from holdfast.views.served import QUEUED, Served, pins

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
LAST: Final = "~"  # greater than every id
SLACK_MS: Final = 3_600_000  # how far the clock of who made an id may be behind ours
AHEAD_MS: Final = 120_000  # … or ahead: runs made meanwhile are read in vain


class Candidate(NamedTuple):
    """What is read of a run to decide whether it is meant."""

    id: str
    state: str
    task: str
    queue_id: int
    created_at: int
    version: str | None
    concurrency_key: str | None
    batch_id: str | None
    fingerprint: str | None


class Sieve:
    """Keeps the runs that are wanted."""

    def __init__(self, tx: Tx, wanted: Filter, live: Served, far: int) -> None:
        self.tx, self.wanted, self.live, self.far = tx, wanted, live, far
        self.queues = {queue_id(name) for name in wanted.queues}
        self.floor = "" if wanted.since is None else least_id(wanted.since - SLACK_MS - ahead_ms(tx))
        self.names: dict[int, str] = {}

    def begin(self, before: str | None) -> str:
        """Where to begin: at the cursor, or at what is made after the latest that is wanted."""
        if self.wanted.until is None:
            return before or LAST
        behind = max(0, SystemClock().now() - self.tx.now())
        return min(before or LAST, least_id(self.wanted.until + AHEAD_MS + behind))

    def counted(self, rows: Sequence[Candidate]) -> int:
        """How many of these rows count as looked at: not those that were made too late."""
        until = self.wanted.until
        return len(rows) if until is None else sum(row.created_at <= until for row in rows)

    def keep(self, rows: Sequence[Candidate], known: Mapping[str, str] = NOTHING) -> list[Candidate]:
        """Those of these rows that are wanted; ``known`` is what they all have, since they were read along it."""
        wanted = self.wanted
        kept = [
            row
            for row in rows
            if row.state  # a tag can outlive its run for a moment
            and (not wanted.tasks or row.task in wanted.tasks)
            and (not self.queues or row.queue_id in self.queues)
            and (wanted.since is None or row.created_at >= wanted.since)
            and (wanted.until is None or row.created_at <= wanted.until)
            and (not wanted.versions or row.version in wanted.versions)
            and wanted.concurrency_key in (None, row.concurrency_key)
            and wanted.batch in (None, row.batch_id)
            and wanted.error in (None, row.fingerprint)
        ]
        return self.with_told(self.with_schedule(self.with_tags(self.with_status(kept), known), known))

    def with_status(self, rows: list[Candidate]) -> list[Candidate]:
        wanted = self.wanted.statuses
        if not wanted or not rows:
            return rows
        if any(row.state in QUEUED for row in rows) and len(wanted & {"queued", "pending_version"}) == 1:
            self.learn_names({row.queue_id for row in rows})
            pinned = pins(self.tx, [row.id for row in rows if row.state in QUEUED])
            return [row for row in rows if self.status(row, pinned.get(row.id)) in wanted]
        words = wanted | QUEUED if "queued" in wanted else wanted
        return [row for row in rows if row.state in words]

    def status(self, row: Candidate, pin: str | None) -> str:
        return self.live.status(row.state, row.task, self.names.get(row.queue_id, ""), pin)

    def learn_names(self, queues: set[int]) -> None:
        unknown = queues.difference(self.names)
        if unknown:
            self.names.update((number, name) for number, name in self.tx.rows("queue_names", ids=sorted(unknown)))

    def with_tags(self, rows: list[Candidate], known: Mapping[str, str]) -> list[Candidate]:
        tag = known.get("tag")
        tags = frozenset(self.wanted.tags) - {tag}
        any_tags = frozenset[str]() if tag in self.wanted.any_tags else self.wanted.any_tags
        if not (tags or any_tags) or not rows:
            return rows
        has: dict[str, set[str]] = {}
        for run_id, tag in self.tx.rows("tags_of", ids=[row.id for row in rows]):
            has.setdefault(run_id, set()).add(tag)
        none: set[str] = set()
        return [
            row for row in rows if tags <= has.get(row.id, none) and (not any_tags or any_tags & has.get(row.id, none))
        ]

    def with_schedule(self, rows: list[Candidate], known: Mapping[str, str]) -> list[Candidate]:
        if self.wanted.schedule is None or "schedule" in known or not rows:
            return rows
        made = {row[0] for row in self.tx.rows("made_by", schedule=self.wanted.schedule, ids=[row.id for row in rows])}
        return [row for row in rows if row.id in made]

    def with_told(self, rows: list[Candidate]) -> list[Candidate]:
        told = self.wanted.told
        if told is None or not rows:
            return rows
        options: dict[str, str] = dict(self.tx.rows("told_at_trigger", ids=[row.id for row in rows]))
        nothing = told({})
        return [row for row in rows if (told(codec.decode(options[row.id])) if row.id in options else nothing)]


def ahead_ms(tx: Tx) -> int:
    """How far the database's clock is ahead of the one that ids are made by: far, where a test has moved it."""
    return max(0, tx.now() - SystemClock().now())
