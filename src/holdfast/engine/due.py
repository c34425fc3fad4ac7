"""What is due goes on: delayed runs, and runs whose wait is over.

    in line            as ready, or as held where the lane has a limit: whoever stands there before goes first
    at once            to a worker that has room, and that has just seen the line empty

Many waits may be over in the same second. To be made ready, and to be claimed a moment later, costs each of them twice
what it costs to be claimed: where nobody stands in line, nobody is passed, so a worker takes them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.engine import journal
from holdfast.records import Claimed, Entry
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Deferred, Row, Tx

DUE = 500  # in one transaction
KEPT_MS = 200  # how long a worker that has a run in memory goes first


class Room(NamedTuple):
    """What a worker can take that has seen an empty line: ``n`` runs of these routes. They remember ``version``, if
    they have none."""

    me: str
    routes: Sequence[int] = ()
    n: int = 0
    version: str | None = None


class Taken(NamedTuple):
    """The runs that go on here at once, and what is recorded of them, but for those that are in memory here."""

    claimed: list[Claimed]
    recorded: dict[str, list[Entry]]


def go_on(tx: Tx, n: int = DUE) -> int:
    """Let what is due go on, all of it into the line. Answers how many runs that were."""
    heads = tx.rows("due_heads", n=n)
    line_up(tx, heads)
    return len(heads)


def take(tx: Tx, room: Room, n: int = DUE) -> Deferred[Taken]:
    """Let what is due go on: into the line, but for the waits that there is room for."""
    opened = tx.send("open_routes", routes=list(room.routes) if room.n else [])
    found = tx.send("due_heads", n=room.n or n)  # which locks them: what follows sees all that was written before
    routes = {row[0] for row in opened.rows()}
    heads = found.rows()
    mine = [row for row in heads if goes_to(row, room.me, routes)]
    ids, kept = [row[0] for row in mine], {row[0] for row in mine if row[4] == room.me}
    taken = set(ids)
    line_up(tx, [row for row in heads if row[0] not in taken], room.me)
    return claim_over(tx, room, ids, [run_id for run_id in ids if run_id not in kept]) if ids else Deferred(nothing)


def line_up(tx: Tx, heads: Sequence[Row], me: str = "") -> None:
    """These are due, and their rows are locked: make those ready that were delayed, and wake those that waited."""
    if delayed := [row[0] for row in heads if row[1] == "delayed"]:
        store_runs.wake(tx, me)
        store_runs.leave_notes(tx, ((queue, lane) for queue, lane in tx.rows("due_these", ids=delayed)))
    journal.settle_due(tx, sorted(row[0] for row in heads if row[1] == "waiting"))


def goes_to(row: Row, me: str, routes: set[int]) -> bool:
    """Whether this worker may take it: it has no limit to heed, and is not in another one's memory."""
    _, state, route, lane, keeper, late = row
    free = keeper is None or keeper == me or late > KEPT_MS
    return state == "waiting" and lane is None and route in routes and free


def claim_over(tx: Tx, room: Room, ids: Sequence[str], unknown: Sequence[str]) -> Deferred[Taken]:
    """Claim these, whose rows are locked. What is recorded is read in the same journey."""
    tx.send("expire_entries", ids=list(ids))
    claimed = tx.send("claim_over", me=room.me, ids=list(ids), version=room.version)
    entries = tx.send("entries_of", ids=list(unknown))

    def read() -> Taken:
        recorded: dict[str, list[Entry]] = {run_id: [] for run_id in unknown}
        for row in entries.rows():
            recorded[row[0]].append(Entry._make(row))
        return Taken([store_runs.claimed(row) for row in claimed.rows()], recorded)

    return Deferred(read)


def nothing() -> Taken:
    return Taken([], {})
