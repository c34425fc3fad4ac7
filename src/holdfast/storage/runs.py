"""The hot operations on runs, each a batch, on either database.

PostgreSQL does each in one statement, with the notes for lanes and the record of attempts in its CTEs. SQLite has no
data-modifying CTE, and no need for one: its statements cost no round trip, so the same is done here, row by row.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from heapq import nsmallest
from operator import attrgetter
from typing import NamedTuple, TypeVar

import msgspec

from holdfast.records import Again, Claimed, Ended, Suspension, Tidings
from holdfast.storage.base import Row, Tx

BLOB_BYTES = 8192  # what is longer does not ride along in hot rows
Fence = tuple[str, int]
NOWHERE: Mapping[int, int] = {}
BEGINNING = -(2**62)
PATIENT_MS = 60_000  # how long younger runs may pass one whose machine does not fit yet


class RunRow(msgspec.Struct, gc=False, omit_defaults=True):
    """A new run with the numbers of its names: the columns of ``insert_runs``. What is None does not travel."""

    id: str
    task: str
    queue_id: int
    route_id: int
    priority_ms: int
    key_lane: int | None = None
    concurrency_key: str | None = None
    due_at: int | None = None
    delay_ms: int | None = None
    ttl_ms: int | None = None
    payload: str | None = None
    options: str | None = None
    metadata: str | None = None
    tags: str | None = None
    version: str | None = None
    idempotency_key: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    batch_id: str | None = None
    parent_key: str | None = None
    depth: int = 0
    here: int | None = None


class LaneNote(msgspec.Struct):
    """A lane in which something changed."""

    queue_id: int
    lane_id: int


class AgainRow(msgspec.Struct, gc=False, omit_defaults=True):
    """The columns of ``put_back``."""

    id: str
    claim: int
    delay_ms: int
    counts: int
    metadata: str | None
    number: int
    worker_id: str
    started_at: int
    outcome: str
    error: str | None
    tidings: Tidings | None = None
    forget: tuple[str, ...] = ()
    begun: int | None = None
    crash: int = 0
    usage: str | None = None
    machine: str | None = None
    options: str | None = None
    woke: bool = False

    @property
    def run_id(self) -> str:
        return self.id


class Holding(msgspec.Struct):
    """A run, the claim under which it was carried out, and by whom."""

    id: str
    claim: int
    worker_id: str


class Blob(msgspec.Struct):
    """A payload too big for a hot row."""

    run_id: str
    name: str
    body: str


class KeyRow(msgspec.Struct):
    """An idempotency key to free."""

    run_id: str
    task: str
    key: str


class Begun(NamedTuple):
    """A new run that was claimed when it was made."""

    id: str
    created_at: int
    sort_at: int
    expire_at: int | None
    version: str | None


def insert(tx: Tx, rows: Sequence[RunRow], *, alone: bool, me: str | None = None) -> Callable[[], list[Begun]]:
    """Send new runs; ``alone`` if they are all of the transaction. ``me`` is the worker that claims those of them that
    are to be carried out here. Returns what waits for the answer, and reads which were."""
    answer = (tx.alone if alone else tx.batch)("insert_runs", rows, me=me)
    if tx.kind == "sqlite":
        leave_notes(tx, ((row[6], row[7]) for row in answer.rows() if row[5] == "held"))
    return lambda: [Begun._make(row[:5]) for row in answer.rows() if row[5] == "executing"]


def leave_notes(tx: Tx, lanes: Iterable[tuple[int, int | None]]) -> None:
    """Say that a slot may be free, or be wanted, in these lanes."""
    notes = [LaneNote(queue, lane) for queue, lane in dict.fromkeys(lanes) if lane is not None]
    if notes:
        tx.batch("leave_notes", notes)


class Home(NamedTuple):
    """What is claimed comes to code of this ``version``: runs that start now remember it, and are bound to ``pin``."""

    version: str | None = None
    pin: str | None = None


NO_HOME = Home()


def claim(
    tx: Tx,
    me: str,
    routes: Sequence[int],
    *,
    n: int,
    each: int,
    suspect: int = 0,
    since: Mapping[int, int] = NOWHERE,
    home: Home = NO_HOME,
) -> Callable[[], list[Row]]:
    """Send a claim of up to ``n`` runs, at most ``each`` from one route. Returns what reads the rows.

    ``suspect`` is which kind of suspects, 0 for what is none. ``since`` tells for a route where its line begins (a
    ``sort_at``), if the caller has just seen it.
    """
    if n <= 0 or not routes:
        return list
    said = home._asdict()
    if tx.kind == "postgres":
        starts = [since.get(route, BEGINNING) for route in routes]
        return tx.send("claim", me=me, routes=list(routes), since=starts, n=n, each=each, suspect=suspect, **said).rows
    heads: dict[int, list[Row]] = {}
    for route, queue in tx.rows("open_routes", routes=list(routes)):
        if found := tx.rows("claim_heads", me=me, route=route, suspect=suspect, n=each):
            heads.setdefault(queue, []).extend(found)
    if not heads:
        return list
    chosen = take_turns(heads, n)
    return tx.send("claim_these", me=me, ids=chosen, **said).rows


class Place(NamedTuple):
    """A route of runs with a machine, and how much each of them takes."""

    route: int
    cpu_millis: int
    memory_bytes: int


class Head(NamedTuple):
    """A run with a machine that stands at the head of its line, and how long it has."""

    id: str
    sort_at: int
    waited_ms: int
    place: Place


def claim_fitting(
    tx: Tx,
    me: str,
    places: Sequence[Place],
    *,
    n: int,
    cpu_millis: int,
    memory_bytes: int,
    suspect: int = 0,
    home: Home = NO_HOME,
) -> tuple[int, Callable[[], list[Row]]]:
    """Send a claim of up to ``n`` runs with machines that fit together into what is free. Returns how many were chosen,
    and what reads the rows."""
    most = max((min(cpu_millis // at.cpu_millis, memory_bytes // at.memory_bytes) for at in places), default=0)
    if min(n, most) <= 0:
        return 0, list
    chosen = fitting(heads_of(tx, me, places, suspect, min(n, most)), cpu_millis, memory_bytes)[:n]
    return len(chosen), tx.send("claim_these", me=me, ids=chosen, **home._asdict()).rows if chosen else list


def heads_of(tx: Tx, me: str, places: Sequence[Place], suspect: int, each: int) -> list[Head]:
    """Up to ``each`` of the runs at the head of each of these lines."""
    at = {place.route: place for place in places}
    if tx.kind == "postgres":
        rows = tx.rows("fitting_heads", me=me, routes=list(at), suspect=suspect, each=each)
        return [Head(run_id, sort_at, waited, at[route]) for run_id, sort_at, waited, route in rows]
    return [
        Head(row[0], row[1], row[2], at[route])
        for route, _ in tx.rows("open_routes", routes=list(at))
        for row in tx.rows("claim_heads", me=me, route=route, suspect=suspect, n=each)
    ]


def fitting(heads: Sequence[Head], cpu_millis: int, memory_bytes: int) -> list[str]:
    """The ids of those that fit together, the oldest first. One that does not fit yet lets younger ones pass, but only
    for a while: then they wait for it, or many small ones would keep a large one waiting for ever."""
    chosen: list[str] = []
    for head in sorted(heads, key=lambda head: (head.sort_at, head.id)):
        if head.place.cpu_millis <= cpu_millis and head.place.memory_bytes <= memory_bytes:
            chosen.append(head.id)
            cpu_millis -= head.place.cpu_millis
            memory_bytes -= head.place.memory_bytes
        elif head.waited_ms > PATIENT_MS:
            break
    return chosen


def take_turns(heads: dict[int, list[Row]], n: int) -> list[str]:
    """The ids of ``n`` of these (id, sort_at) rows: queues take turns, and within a queue the oldest comes first."""
    if sum(map(len, heads.values())) <= n:
        return [row[0] for rows in heads.values() for row in rows]
    places = [
        (place, random.random(), row[0])
        for rows in heads.values()
        for place, row in enumerate(sorted(rows, key=lambda row: (row[1], row[0])))
    ]
    return [run_id for _, _, run_id in nsmallest(n, places)]


def claimed(row: Row) -> Claimed:
    """The record of a claimed row; its queue is still a number, and a payload that is elsewhere is empty."""
    return Claimed._make(row)


class Completed(NamedTuple):
    """What reads how it went, when it is known: the fences that were not ours any more, and how many children have
    ended of each entry that waits for some, by run and key."""

    lost: Callable[[], list[Fence]]
    children: Callable[[], Counter[tuple[str, str]]]


def complete(tx: Tx, ended: list[Ended]) -> Completed:
    """Move runs into history."""
    big = [run for run in ended if run.output is not None and len(run.output) > BLOB_BYTES]
    small = [msgspec.structs.replace(run, output=None) if run in big else run for run in ended] if big else ended
    completed = complete_together(tx, small) if tx.kind == "postgres" else complete_by_row(tx, small)
    if big:
        tx.batch("insert_outputs", big)
    return completed


def complete_together(tx: Tx, ended: list[Ended]) -> Completed:
    answer = tx.batch("complete", in_order(ended))
    rows = cache(answer.rows)
    return Completed(
        lambda: [(row[0], row[1]) for row in rows() if row[2] is None],
        lambda: Counter({(row[0], row[2]): row[1] for row in rows() if row[2] is not None}),
    )


HasId = TypeVar("HasId", Ended, AgainRow)


def in_order(rows: Sequence[HasId]) -> list[HasId]:
    """By id, as whoever needs several rows takes them: a statement locks them as they are sent."""
    return sorted(rows, key=attrgetter("id"))


def complete_by_row(tx: Tx, ended: list[Ended]) -> Completed:
    tx.batch("complete", ended)
    gone = tx.batch("complete_delete", ended).rows()
    if any(row[2] is not None for row in gone):
        leave_notes(tx, ((row[1], row[2]) for row in gone))
    keyed = {row[0]: row for row in gone if row[4] is not None}
    if keyed:
        free_keys(
            tx,
            [
                KeyRow(run.id, keyed[run.id][3], keyed[run.id][4])
                for run in ended
                if run.id in keyed and frees_key(run.status)
            ],
        )
    return Completed(lambda: missing(ended, gone), lambda: Counter((row[5], row[6]) for row in gone if row[6]))


def frees_key(status: str) -> bool:
    """A run that did not do its work, and was not told not to, gives its idempotency key back."""
    return status not in ("completed", "canceled")


def free_keys(tx: Tx, keys: list[KeyRow]) -> None:
    if keys:
        tx.batch("free_keys", keys)


def missing(sent: Sequence[Ended | AgainRow], found: list[Row]) -> list[Fence]:
    """The fences among ``sent`` that no row answers."""
    if len(found) == len(sent):
        return []
    there = {row[0] for row in found}
    return [(run.id, run.claim) for run in sent if run.id not in there]


def put_back(tx: Tx, rows: list[AgainRow]) -> Callable[[], list[Fence]]:
    """Put runs back in line, and record their attempts. Returns what reads the fences that were not ours any more."""
    answer = tx.batch("put_back", in_order(rows))
    if tx.kind == "postgres":
        return lambda: [(row[0], row[1]) for row in answer.rows()]
    put = answer.rows()
    leave_notes(tx, ((queue, lane) for _, queue, lane in put))
    there = {row[0] for row in put}
    tx.batch("insert_attempts", [row for row in rows if row.id in there and row.outcome != "deferred"])
    return lambda: missing(rows, put)


def suspend(tx: Tx, waits: Sequence[Suspension]) -> Callable[[], list[str]]:
    """Let runs give up their slots. Returns what reads the ids of those that did: a run for which something has come
    does not, nor one whose fence is lost. Their rows are locked by the caller."""
    rows = tx.batch("suspend", waits).rows()
    leave_notes(tx, ((queue, lane) for _, queue, lane in rows))
    return lambda: [row[0] for row in rows]


def take_back(tx: Tx, runs: Sequence[Holding]) -> None:
    """Let those of these runs execute again that have given up their slots under these claims and wait. In the same
    transaction they end, or go back in line."""
    tx.batch("take_back", runs)


def again_row(run: Again, me: str, number: int, started_at: int) -> AgainRow:
    """What ``put_back`` needs of a run that goes back in line."""
    return AgainRow(
        run.id,
        run.claim,
        run.delay_ms,
        int(run.counts),
        run.metadata,
        number,
        me,
        started_at,
        run.outcome,
        run.error,
        run.tidings,
        run.forget,
        None if run.begun else 0,
        run.crash,
        run.usage,
        run.machine,
        run.options,
        run.woke,
    )


def wake(tx: Tx, me: str = "") -> None:
    """Runs were made ready, by ``me`` if that is a worker: tell the others that sleep."""
    tx.send("wake_idle", me=me)


class Lane(msgspec.Struct):
    """A lane to promote in, and how many slots it has."""

    queue_id: int
    lane_id: int
    cap: int


def promote(tx: Tx, lanes: list[Lane], grant_ms: int | None = None) -> list[str]:
    """Give the free slots of these lanes to runs they hold; the lanes' locks are ours. Under a rate limit a grant to
    start is good for ``grant_ms``. Answers the promoted runs."""
    return [row[0] for row in tx.batch("promote", lanes, grant_ms=grant_ms).rows()]
