"""Lists of runs: newest first, page by page, whatever they are filtered by.

A run is in ``run`` while it is not final and in ``done`` afterwards, so a list has two sides, and each is read along
an index (`ways`). What that index does not know is sifted (`sieve`), chunk by chunk, and no further than `FAR` runs: a
search for what hardly exists says how far it has come and where to go on, instead of reading ten million rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdfast import codec
from holdfast.storage import Tx
from holdfast.views.filter import Filter
from holdfast.views.served import QUEUED, Served, pins, served
from holdfast.views.sieve import LAST, Candidate, Sieve
from holdfast.views.ways import Source, shortest, ways

FAR = 5_000  # runs looked at along one index, for who waits for an answer
FAR_OFF: Final = 100_000  # … and for who asks until there is nothing left
CHUNK: Final = 200
LARGEST_CHUNK: Final = 5_000


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
    way = shortest(ways(tx, wanted), reaching(tx, sieve, begin))
    sides = [look(tx, source, sieve, limit + 1, begin) for source in way]
    floor = max((side.reach for side in sides), default="")
    ids = sorted({run.id for side in sides for run in side.found if run.id >= floor}, reverse=True)
    previous = ids[0] if ids and before is not None else before
    if len(ids) > limit:
        return Found(ids[:limit], ids[limit - 1], previous, complete=True)
    return Found(ids, floor or None, previous, complete=not floor)


def search_back(tx: Tx, wanted: Filter, sieve: Sieve, limit: int, after: str) -> Found:
    """The same in the other direction: those that are newer, and of them the ones next to the cursor."""
    way = shortest(ways(tx, wanted), reaching(tx, sieve, after, back=True), back=True)
    sides = [look(tx, source, sieve, limit + 1, after, back=True) for source in way]
    ceiling = min((side.reach for side in sides if side.reach), default=LAST)
    ids = sorted({run.id for side in sides for run in side.found if run.id <= ceiling})
    more = len(ids) > limit or ceiling != LAST
    ids = ids[:limit][::-1]
    complete = not more or len(ids) == limit
    newest = ids[0] if ids and complete else ceiling
    return Found(ids, ids[-1] if ids else after, newest if more else None, complete)


def reaching(tx: Tx, sieve: Sieve, before: str, *, back: bool = False) -> Callable[[Source], str]:
    """How far the first few runs of a source reach."""

    def reach(source: Source) -> str:
        rows = read(tx, source, sieve, before, CHUNK, back=back)
        return rows[-1].id if len(rows) == CHUNK else LAST if back else ""

    return reach


def read(tx: Tx, source: Source, sieve: Sieve, before: str, n: int, *, back: bool) -> list[Candidate]:
    statement = f"{source.statement}_back" if back else source.statement
    rows = tx.rows(statement, before=before, floor=sieve.floor, n=n, **source.parameters)
    return list(map(Candidate._make, rows))


def look(tx: Tx, source: Source, sieve: Sieve, enough: int, before: str, *, back: bool = False) -> Side:
    """Read along one index until there is enough, nothing is left, or it has been far enough."""
    found: list[Candidate] = []
    seen, chunk = 0, max(CHUNK, enough)
    while True:
        rows = read(tx, source, sieve, before, chunk, back=back)
        found += sieve.keep(rows, source.parameters)
        seen += sieve.counted(rows) * source.dear
        if len(rows) < chunk:
            return Side(found, "")
        before = rows[-1].id
        if len(found) >= enough or seen >= sieve.far:
            return Side(found, before)
        chunk = min(chunk * 2, LARGEST_CHUNK)


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
