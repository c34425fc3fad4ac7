"""Lanes: who may have a free slot.

A lane is a queue, or a queue and a concurrency key. In a lane with a limit a run is *held* until it is promoted to
*ready*, and the slots in use are the lane's rows in ready or executing: counted, never kept, so that there is nothing
to leak. Whoever frees a slot or adds to a lane leaves a note in the same transaction; promotion takes notes, locks
their lanes, and only in the next statement looks, for what a statement sees is older than the lock it waited for.

A promoted run gets a fresh place in line, so that lanes take turns and one busy customer does not starve the rest.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from holdfast.engine.trigger import key_lane
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Tx

NOTES = 400  # lanes in one promotion: bounds how long their locks are held
UNLIMITED = 1000  # promoted at once from a lane that has lost its limit
HIGHEST = 2**63 - 1


class Limit(NamedTuple):
    """The two limits of a queue, as they are in force."""

    queue_id: int
    cap: int | None
    cap_per_key: int | None


class Relaned(msgspec.Struct):
    """A run and the lane it belongs to now."""

    id: str
    lane_id: int | None


def promote(tx: Tx) -> int:
    """Take notes and give free slots to the held runs of their lanes. Returns how many were promoted."""
    notes: dict[int, set[int]] = defaultdict(set)
    for queue, lane in tx.rows("take_notes", n=NOTES):
        notes[queue].add(lane)
    if not notes:
        return 0
    limits = {row[0]: Limit(*row) for row in tx.rows("queue_limits", ids=sorted(notes))}
    tx.rows(
        "lock_lanes",
        lanes=sorted(lane for queue, lanes in notes.items() for lane in locks(limits.get(queue), queue, lanes)),
    )
    promoted, plain = 0, []
    for queue, lanes in notes.items():
        limit = limits.get(queue) or Limit(queue, None, None)
        if limit.cap is not None and limit.cap_per_key is not None:
            promoted += walk(tx, limit)
        else:
            plain += [{"queue_id": queue, "lane_id": lane, "cap": lane_cap(limit, lane)} for lane in lanes]
    promoted += store_runs.promote(tx, plain) if plain else 0
    return promoted


def locks(limit: Limit | None, queue: int, lanes: set[int]) -> set[int]:
    """A queue with both limits is promoted as a whole, under its own lock; otherwise each lane has its own."""
    both = limit is not None and limit.cap is not None and limit.cap_per_key is not None
    return {queue} if both else lanes


def lane_cap(limit: Limit, lane: int) -> int:
    """How many slots a lane has."""
    cap = limit.cap if lane == limit.queue_id else limit.cap_per_key
    return UNLIMITED if cap is None else cap


def walk(tx: Tx, limit: Limit) -> int:
    """Fill a queue that limits both itself and its keys: round after round over its lanes, a slot each."""
    free = (limit.cap or 0) - tx.rows("queue_used", queue_id=limit.queue_id)[0][0]
    promoted, progress = 0, True
    while promoted < free and progress:
        progress = False
        for lane in circle(tx, limit.queue_id):
            if promote_one(tx, limit, lane):
                promoted, progress = promoted + 1, True
            if promoted >= free:
                break
    return promoted


def circle(tx: Tx, queue: int) -> Iterator[int]:
    """Every lane of a queue that holds runs, once, from a random place on: so that none is always first."""
    start = random.getrandbits(62)
    for lower, upper in ((start, HIGHEST), (-1, start)):
        after = lower
        while (row := tx.row("next_lane", queue_id=queue, after=after, upto=upper)) is not None:
            after = row[0]
            yield after


def promote_one(tx: Tx, limit: Limit, lane: int) -> bool:
    """Promote the head of a lane if its key has a free slot; the lock of the queue is ours."""
    cap = HIGHEST if lane == limit.queue_id else limit.cap_per_key or 0
    used = tx.rows("lane_used", queue_id=limit.queue_id, lane_id=lane)[0][0]
    return used < cap and store_runs.promote(tx, [{"queue_id": limit.queue_id, "lane_id": lane, "cap": used + 1}]) > 0


def note_held(tx: Tx) -> None:
    """Leave a note for every lane that holds runs: the sweep's proof that no wake-up was lost."""
    store_runs.leave_notes(tx, ((queue, lane) for queue, lane in tx.rows("held_lanes")))


def relane(tx: Tx, queue: str, queue_id: int, after: str = "", n: int = 1000) -> str | None:
    """Give the runs of a queue the lanes its limits ask for, ``n`` at a time; answers where to go on, None at the end.

    Needed when a queue is given its first limit, or loses one. Runs that execute keep on, and count from now on.
    """
    limits = [Limit(*row) for row in tx.rows("queue_limits", ids=[queue_id])]
    limit = limits[0] if limits else Limit(queue_id, None, None)
    rows = tx.rows("unlaned", queue_id=queue_id, after=after, n=n)
    moved = [Relaned(run_id, lane) for run_id, key, old in rows if (lane := lane_of(limit, queue, key)) != old]
    if moved:
        tx.batch("set_lanes", moved)
        store_runs.leave_notes(tx, {(queue_id, run.lane_id) for run in moved})
    store_runs.leave_notes(tx, {(queue_id, lane_of(limit, queue, key)) for _, key, _ in rows})
    return rows[-1][0] if len(rows) == n else None


def lane_of(limit: Limit, queue: str, key: str | None) -> int | None:
    """The lane of a run under these limits; the same rule as in ``insert_runs``."""
    if key is not None and limit.cap_per_key is not None:
        return key_lane(queue, key)
    return limit.queue_id if limit.cap is not None else None


def return_unserved(tx: Tx, served: set[str]) -> int:
    """Take slots back from promoted runs whose task no live worker knows. Returns how many."""
    routes = [route for route, task, _, _ in tx.rows("all_routes") if task not in served]
    if not routes:
        return 0
    rows = tx.rows("return_unserved", routes=routes)
    store_runs.leave_notes(tx, ((queue, lane) for queue, lane in rows))
    return len(rows)
