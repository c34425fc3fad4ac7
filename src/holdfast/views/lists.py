"""Lists of runs: newest first, page by page, whatever they are filtered by.

A run is in ``run`` while it is not final and in ``done`` afterwards, so a list has two sides, and each is read along
one index: by id, by task, by tag, by batch, or those that did not complete. What that index does not know is sifted
here, chunk by chunk, and no further than `FAR` runs: a search for what hardly exists says how far it has come and
where to go on, instead of reading ten million rows. The hot side is read first, for a run that ends meanwhile is then
found on the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdfast import codec
from holdfast.clock import SystemClock
from holdfast.engine.trigger import queue_id
from holdfast.model import FINAL
from holdfast.storage import Tx
from holdfast.views.served import QUEUED, Served, pins, served

FAR = 100_000  # runs looked at in one search, on either side
MANY_TASKS: Final = 20  # for more of them than that, not each has its index read
CHUNK: Final = 200
LARGEST_CHUNK: Final = 5_000
LAST: Final = "~"  # greater than every id
SLACK_MS: Final = 3_600_000  # how far the clock of who made an id may be off
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


# Each of the statements that lists are read along, and its twin that is read from the other end.
BACK: Final = {
    "list_hot": "list_hot_back",
    "list_executing": "list_executing_back",
    "list_hot_of_batch": "list_hot_of_batch_back",
    "list_done": "list_done_back",
    "list_done_bad": "list_done_bad_back",
    "list_done_of_task": "list_done_of_task_back",
    "list_done_of_batch": "list_done_of_batch_back",
    "list_tagged": "list_tagged_back",
    "list_of_schedule": "list_of_schedule_back",
    "list_done_of_error": "list_done_of_error_back",
}


class Filter(msgspec.Struct, kw_only=True, frozen=True):
    """Which runs. What is empty or None says nothing.

    They have any of these ``statuses``, ``tasks``, ``queues`` and ``versions``, this ``concurrency_key``, all of these
    ``tags`` and any of ``any_tags``; were made by this ``schedule``, ``since`` then at the earliest and ``until`` then
    at the latest; ended with the ``error`` of this fingerprint; and ``told`` is true of the options that they were
    triggered with.
    """

    statuses: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    concurrency_key: str | None = None
    tags: tuple[str, ...] = ()
    any_tags: frozenset[str] = frozenset()
    batch: str | None = None
    schedule: str | None = None
    error: str | None = None
    since: int | None = None
    until: int | None = None
    told: Callable[[Mapping[str, Any]], bool] | None = None


class Failure(msgspec.Struct, frozen=True):
    """What ended a run, in short."""

    type: str
    message: str


class Listed(msgspec.Struct, kw_only=True, frozen=True):
    """A run as it stands in a list."""

    id: str
    status: str
    task: str
    queue: str
    attempts: int
    created_at: int
    started_at: int | None
    finished_at: int | None
    due_at: int | None
    concurrency_key: str | None
    tags: list[str]
    batch_id: str | None
    parent_id: str | None
    worker_id: str | None
    cancel_requested_at: int | None
    error: Failure | None


class Page(msgspec.Struct, kw_only=True, frozen=True):
    """A page of runs. ``next_cursor`` goes on after it, ``previous_cursor`` before it; a search that ended before the
    page was full is not ``complete``."""

    runs: list[Listed]
    next_cursor: str | None
    complete: bool
    previous_cursor: str | None = None


class Candidate(NamedTuple):
    """What is read of a run to decide whether it is meant."""

    id: str
    state: str
    task: str
    queue_id: int
    created_at: int


class Found(NamedTuple):
    """The ids that were found, newest first, and where to go on in either direction if that is not all."""

    ids: list[str]
    next: str | None
    previous: str | None
    complete: bool


class Side(NamedTuple):
    """What was found along one index, which is known in full as far as ``reach``; empty: to its end."""

    found: list[Candidate]
    reach: str


def page(
    tx: Tx,
    wanted: Filter,
    *,
    limit: int = 50,
    before: str | None = None,
    after: str | None = None,
    far: int | None = None,
) -> Page:
    """A page of the runs that are wanted: the newest, those that come after the cursor ``before``, or those that come
    before the cursor ``after`` in the list, which are newer. It looks at ``far`` runs at most, else at `FAR`."""
    found = search(tx, wanted, Sieve(tx, wanted, served(tx), far or FAR), limit, before, after)
    runs = listed_runs(tx, found.ids)
    kept = [run for run in runs if not wanted.statuses or run.status in wanted.statuses]  # it may have moved meanwhile
    return Page(runs=kept, next_cursor=found.next, complete=found.complete, previous_cursor=found.previous)


def listed_runs(tx: Tx, ids: Sequence[str]) -> list[Listed]:
    """These runs as they stand in a list, in the order asked for; the unknown are left out."""
    live = served(tx)
    rows = {row[0]: row for row in tx.rows("listed", ids=list(ids))} if ids else {}
    pinned = pins(tx, [row[0] for row in rows.values() if row[1] in QUEUED])
    return [listed(rows[run_id], live, pinned.get(run_id)) for run_id in ids if run_id in rows]


def search(tx: Tx, wanted: Filter, sieve: Sieve, limit: int, before: str | None, after: str | None = None) -> Found:
    """Look along each index, and put together what is known of all in full."""
    if after is not None:
        return search_back(tx, wanted, sieve, limit, after)
    begin = sieve.begin(before)
    sides = [look(tx, source, sieve, limit + 1, begin) for source in sources(wanted)]
    floor = max((side.reach for side in sides), default="")
    ids = sorted({run.id for side in sides for run in side.found if run.id >= floor}, reverse=True)
    previous = ids[0] if ids and before is not None else before
    if len(ids) > limit:
        return Found(ids[:limit], ids[limit - 1], previous, complete=True)
    return Found(ids, floor or None, previous, complete=not floor)


def search_back(tx: Tx, wanted: Filter, sieve: Sieve, limit: int, after: str) -> Found:
    """The same in the other direction: those that are newer, and of them the ones next to the cursor."""
    sides = [look(tx, source, sieve, limit + 1, after, back=True) for source in sources(wanted)]
    ceiling = min((side.reach for side in sides if side.reach), default=LAST)
    ids = sorted({run.id for side in sides for run in side.found if run.id <= ceiling})
    more = len(ids) > limit or ceiling != LAST
    ids = ids[:limit][::-1]
    complete = not more or len(ids) == limit
    newest = ids[0] if ids and complete else ceiling
    return Found(ids, ids[-1] if ids else after, newest if more else None, complete)


def sources(wanted: Filter) -> Iterator[tuple[str, dict[str, Any]]]:
    """The statements to read along, the hot side first, with their parameters."""
    if wanted.batch is None and (narrow := narrow_sources(wanted)):
        yield from narrow
        return
    if not wanted.statuses or wanted.statuses - FINAL:
        yield hot_source(wanted)
    if not wanted.statuses or wanted.statuses & FINAL:
        yield from done_sources(wanted)


def narrow_sources(wanted: Filter) -> list[tuple[str, dict[str, Any]]]:
    """What has both sides in one index, or one side only."""
    if wanted.tags:
        return [("list_tagged", {"tag": wanted.tags[0]})]
    if wanted.schedule is not None:
        return [("list_of_schedule", {"schedule": wanted.schedule})]
    if wanted.error is not None:
        return [("list_done_of_error", {"fingerprint": wanted.error})]
    return [("list_tagged", {"tag": tag}) for tag in sorted(wanted.any_tags)]


def hot_source(wanted: Filter) -> tuple[str, dict[str, Any]]:
    if wanted.batch is not None:
        return "list_hot_of_batch", {"batch": wanted.batch}
    return "list_executing" if wanted.statuses - FINAL == {"executing"} else "list_hot", {}


def done_sources(wanted: Filter) -> Iterator[tuple[str, dict[str, Any]]]:
    if wanted.batch is not None:
        yield "list_done_of_batch", {"batch": wanted.batch}
    elif wanted.statuses and "completed" not in wanted.statuses:
        yield "list_done_bad", {}  # fewer than all runs of a task, as a rule
    elif 0 < len(wanted.tasks) <= MANY_TASKS:
        yield from (("list_done_of_task", {"task": task}) for task in sorted(wanted.tasks))
    else:
        yield "list_done", {}


def look(
    tx: Tx, source: tuple[str, dict[str, Any]], sieve: Sieve, enough: int, before: str, *, back: bool = False
) -> Side:
    """Read along one index until there is enough, nothing is left, or it has been far enough."""
    statement, parameters = BACK[source[0]] if back else source[0], source[1]
    found: list[Candidate] = []
    seen, chunk = 0, max(CHUNK, enough)
    while True:
        rows = [Candidate(*row) for row in tx.rows(statement, before=before, floor=sieve.floor, n=chunk, **parameters)]
        found += sieve.keep(rows)
        seen += len(rows)
        if len(rows) < chunk:
            return Side(found, "")
        before = rows[-1].id
        if len(found) >= enough or seen >= sieve.far:
            return Side(found, before)
        chunk = min(chunk * 2, LARGEST_CHUNK)


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
        return min(before or LAST, least_id(self.wanted.until + SLACK_MS + behind))

    def keep(self, rows: Sequence[Candidate]) -> list[Candidate]:
        """Those of these rows that are wanted."""
        wanted = self.wanted
        kept = [
            row
            for row in rows
            if row.state  # a tag can outlive its run for a moment
            and (not wanted.tasks or row.task in wanted.tasks)
            and (not self.queues or row.queue_id in self.queues)
            and (wanted.since is None or row.created_at >= wanted.since)
            and (wanted.until is None or row.created_at <= wanted.until)
        ]
        return self.with_error(self.with_told(self.with_schedule(self.with_tags(self.with_status(kept)))))

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

    def with_tags(self, rows: list[Candidate]) -> list[Candidate]:
        wanted = self.wanted
        along = "" if wanted.batch is not None else (narrow_sources(wanted) or [("", {})])[0][0]
        tags = set(wanted.tags[1:] if along == "list_tagged" else wanted.tags)
        any_tags = frozenset() if along == "list_tagged" and not wanted.tags else wanted.any_tags
        if not (tags or any_tags) or not rows:
            return rows
        has: dict[str, set[str]] = {}
        for run_id, tag in self.tx.rows("tags_of", ids=[row.id for row in rows]):
            has.setdefault(run_id, set()).add(tag)
        none: set[str] = set()
        return [
            row for row in rows if tags <= has.get(row.id, none) and (not any_tags or any_tags & has.get(row.id, none))
        ]

    def with_schedule(self, rows: list[Candidate]) -> list[Candidate]:
        along = self.wanted.batch is None and not self.wanted.tags
        if self.wanted.schedule is None or along or not rows:
            return rows
        made = {row[0] for row in self.tx.rows("made_by", schedule=self.wanted.schedule, ids=[row.id for row in rows])}
        return [row for row in rows if row.id in made]

    def with_error(self, rows: list[Candidate]) -> list[Candidate]:
        if self.wanted.error is None or not rows:
            return rows
        ids = [row.id for row in rows]
        have = {row[0] for row in self.tx.rows("fingerprints", fingerprint=self.wanted.error, ids=ids)}
        return [row for row in rows if row.id in have]

    def with_told(self, rows: list[Candidate]) -> list[Candidate]:
        wanted = self.wanted
        if not (wanted.versions or wanted.concurrency_key or wanted.told) or not rows:
            return rows
        known = {row[0]: row[1:] for row in self.tx.rows("told_at_trigger", ids=[row.id for row in rows])}
        return [row for row in rows if row.id in known and self.was_told(*known[row.id])]

    def was_told(self, version: str | None, key: str | None, options: str | None) -> bool:
        wanted = self.wanted
        if (wanted.versions and version not in wanted.versions) or wanted.concurrency_key not in (None, key):
            return False
        return wanted.told is None or wanted.told(codec.decode(options or "{}"))


def ahead_ms(tx: Tx) -> int:
    """How far the database's clock is ahead of the one that ids are made by: far, where a test has moved it."""
    return max(0, tx.now() - SystemClock().now())


def least_id(at: int) -> str:
    """The least id that can be made in this millisecond: ids begin with their time, in 10 characters."""
    ms = max(0, at)
    return "".join(ALPHABET[ms >> shift & 31] for shift in range(45, -1, -5))


def made_at(run_id: str) -> int:
    """When an id was made: what `least_id` turns around."""
    ms = 0
    for character in run_id[:10]:
        ms = ms << 5 | max(0, ALPHABET.find(character))
    return ms


def listed(row: tuple[Any, ...], live: Served, pin: str | None) -> Listed:
    """A row of ``listed`` as people see it."""
    (
        run_id,
        state,
        task,
        queue,
        created,
        started,
        finished,
        due,
        attempt,
        key,
        tags,
        batch,
        parent,
        worker,
        cancel,
        error,
    ) = row
    return Listed(
        id=run_id,
        status=live.status(state, task, queue or "", pin),
        task=task,
        queue=queue or "",
        attempts=attempt,
        created_at=created,
        started_at=started,
        finished_at=finished,
        due_at=due,
        concurrency_key=key,
        tags=[] if tags is None else codec.decode(tags),
        batch_id=batch,
        parent_id=parent,
        worker_id=worker,
        cancel_requested_at=cancel,
        error=None if error is None else failure(error),
    )


def failure(text: str) -> Failure:
    stored = codec.decode(text)
    return Failure(stored["type"], stored["message"])
