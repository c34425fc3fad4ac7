"""What is due goes on: delayed runs, and runs whose wait is over.

    in line            as ready, or as held where the lane has a limit: whoever stands there before goes first
    at once            to a worker that has room, and that has just seen the line empty

Many waits may be over in the same second. To be made ready, and to be claimed a moment later, costs each of them twice
what it costs to be claimed: where nobody stands in line, nobody is passed, so a worker takes them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.engine import claim, journal
from holdfast.records import Claimed, Entry
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Deferred, Row, Tx

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


def take(tx: Tx, room: Room, n: int = journal.DUE) -> Deferred[Taken]:
    """Let what is due go on: into the line, but for the waits that there is room for."""
    opened = tx.send("open_routes", routes=list(room.routes) if room.n else [])
    found = tx.send("due_heads", n=room.n or n)  # which locks them: what follows sees all that was written before
    routes = {row[0] for row in opened.rows()}
    heads = found.rows()
    if delayed := [row[0] for row in heads if row[1] == "delayed"]:
        claim.make_ready(tx, tx.rows("due_these", ids=delayed), room.me)
    waits = [row for row in heads if row[1] == "waiting"]
    mine = [row for row in waits if goes_to(row, room.me, routes)]
    ids, kept = [row[0] for row in mine], {row[0] for row in mine if row[4] == room.me}
    others = {row[0] for row in waits}.difference(ids)
    journal.settle_due(tx, sorted(others))
    return claim_over(tx, room, ids, [run_id for run_id in ids if run_id not in kept]) if ids else Deferred(nothing)


def goes_to(wait: Row, me: str, routes: set[int]) -> bool:
    """Whether this worker may take it: it has no limit to heed, and is not in another one's memory."""
    _, _, route, lane, keeper, late = wait
    return lane is None and route in routes and (keeper is None or keeper == me or late > KEPT_MS)


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
