"""Lanes: who may have a free slot.

A lane is a queue, or a queue and a concurrency key. In a lane with a limit a run is *held* until it is promoted to
*ready*, and the slots in use are the lane's rows in ready or executing: counted, never kept, so that there is nothing
to leak. Whoever frees a slot or adds to a lane leaves a note in the same transaction; promotion takes notes, locks
their lanes, and only in the next statement looks, for what a statement sees is older than the lock it waited for.

Under a rate limit a promotion is also a grant to start, counted in ``start`` and good for a moment only: who does not
start in time gives it back unused. A window is counted longer by as much as a start can be later than its grant, so
that no window of real starts ever holds more than the limit, whichever worker dies in between.

A promoted run gets a fresh place in line, so that lanes take turns and one busy customer does not starve the rest.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from holdfast.engine.trigger import key_lane
from holdfast.engine.workers import Serving
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Tx
from holdfast.storage.runs import Lane

NOTES = 200  # lanes in one promotion: bounds how long their locks are held
UNLIMITED = 1000  # promoted at once from a lane that has lost its limit
HIGHEST = 2**63 - 1
GRANT_MS = 150  # a grant to start is good for so long
START_MS = 50  # and a worker starts what it claimed within so long, or hands it back
SLACK_MS = GRANT_MS + 2 * START_MS  # so starts are at most this much later than they were counted: windows are longer


class Limit(NamedTuple):
    """The limits of a queue, as they are in force: slots, and starts in any window, for itself and for each key."""

    queue_id: int
    cap: int | None = None
    cap_per_key: int | None = None
    rate: int | None = None
    rate_ms: int | None = None
    rate_per_key: int | None = None
    rate_per_key_ms: int | None = None

    @property
    def whole(self) -> bool:
        """Whether the queue itself has a limit."""
        return self.cap is not None or self.rate is not None

    @property
    def keyed(self) -> bool:
        """Whether each key has a limit."""
        return self.cap_per_key is not None or self.rate_per_key is not None

    @property
    def rated(self) -> bool:
        """Whether starts are counted, and not only slots."""
        return self.rate is not None or self.rate_per_key is not None

    def of(self, lane: int) -> tuple[int | None, int | None, int | None]:
        """The cap, the rate and its window that hold for a lane."""
        if lane == self.queue_id:
            return self.cap, self.rate, self.rate_ms
        return self.cap_per_key, self.rate_per_key, self.rate_per_key_ms


class Relaned(msgspec.Struct):
    """A run and the lane it belongs to now."""

    id: str
    lane_id: int | None


class Start(msgspec.Struct):
    """A grant to start, counted in a lane."""

    lane_id: int
    run_id: str


class LateNote(msgspec.Struct):
    """Look at this lane again after so long."""

    queue_id: int
    lane_id: int
    wait_ms: int


def promote(tx: Tx, me: str = "") -> int:
    """Take notes, give free slots to the held runs of their lanes, and wake who sleeps. Returns how many were
    promoted."""
    promoted = take_notes(tx)
    if promoted:
        store_runs.wake(tx, me)
    return promoted


def take_notes(tx: Tx) -> int:
    store_runs.leave_notes(tx, ((queue, lane) for queue, lane in tx.rows("ungrant", n=NOTES)))
    notes: dict[int, set[int]] = defaultdict(set)
    for queue, lane in tx.rows("take_notes", n=NOTES):
        notes[queue].add(lane)
    if not notes:
        return 0
    limits = {queue: Limit(queue) for queue in notes}
    limits |= {row[0]: Limit(*row) for row in tx.rows("queue_limits", ids=sorted(notes))}
    wanted = {lane for queue, lanes in notes.items() for lane in locks(limits[queue], lanes)}
    tx.rows("lock_lanes", lanes=sorted(wanted))
    promoted, plain = 0, []
    for queue, lanes in notes.items():
        limit = limits[queue]
        if limit.whole and limit.keyed:
            promoted += walk(tx, limit)
        elif limit.rated:
            promoted += sum(promote_rated(tx, limit, lane) for lane in lanes)
        else:
            plain += [Lane(queue, lane, UNLIMITED if (cap := limit.of(lane)[0]) is None else cap) for lane in lanes]
    return promoted + (len(store_runs.promote(tx, plain)) if plain else 0)


def locks(limit: Limit, lanes: set[int]) -> set[int]:
    """A queue that limits itself and its keys is promoted as a whole, under one lock; else each lane has its own."""
    return {limit.queue_id} if limit.whole and limit.keyed else lanes


def promote_rated(tx: Tx, limit: Limit, lane: int) -> int:
    """Promote as many of a lane as its slots and its rate allow, and look again when the rate allows more."""
    free = allowance(tx, limit, lane)
    promoted = len(grant(tx, limit, lane, free)) if free > 0 else 0
    if tx.row("lane_waits", queue_id=limit.queue_id, lane_id=lane):
        look_again(tx, limit, lane)
    return promoted


def walk(tx: Tx, limit: Limit) -> int:
    """Fill a queue that limits both itself and its keys: round after round over its lanes, one of each."""
    free = allowance(tx, limit, limit.queue_id)
    promoted, progress = 0, True
    full = {limit.queue_id} if free <= 0 else set[int]()
    while promoted < free and progress:
        progress = False
        for lane in circle(tx, limit.queue_id):
            if lane != limit.queue_id and allowance(tx, limit, lane) <= 0:
                full.add(lane)
            elif grant(tx, limit, lane, 1):
                promoted, progress = promoted + 1, True
            if promoted >= free:
                full.add(limit.queue_id)
                break
    for lane in full:
        look_again(tx, limit, lane)
    return promoted


def circle(tx: Tx, queue: int) -> Iterator[int]:
    """Every lane of a queue that holds runs, once, from a random place on: so that none is always first."""
    start = random.getrandbits(62)
    for lower, upper in ((start, HIGHEST), (-1, start)):
        after = lower
        while (row := tx.row("next_lane", queue_id=queue, after=after, upto=upper)) is not None:
            after = row[0]
            yield after


def allowance(tx: Tx, limit: Limit, lane: int) -> int:
    """How many of a lane may be promoted now."""
    cap, rate, window = limit.of(lane)
    free = UNLIMITED if cap is None else cap - used(tx, limit, lane)
    if rate is None or window is None:
        return free
    tx.rows("forget_starts", lane_id=lane, window_ms=window + SLACK_MS)
    return min(free, rate - int(tx.rows("starts", lane_id=lane, window_ms=window + SLACK_MS)[0][0]))


def look_again(tx: Tx, limit: Limit, lane: int) -> None:
    """Leave a note for when the rate of this lane allows the next start, if a rate is what it waits for."""
    window = limit.of(lane)[2]
    if window is not None:
        count, wait = tx.rows("starts", lane_id=lane, window_ms=window + SLACK_MS)[0]
        if count:
            tx.batch("leave_late_notes", [LateNote(limit.queue_id, lane, max(1, wait))])


def used(tx: Tx, limit: Limit, lane: int) -> int:
    """The slots in use: of a whole queue, or of one of its lanes."""
    if lane == limit.queue_id and limit.keyed:
        return int(tx.rows("queue_used", queue_id=lane)[0][0])
    return int(tx.rows("lane_used", queue_id=limit.queue_id, lane_id=lane)[0][0])


def grant(tx: Tx, limit: Limit, lane: int, n: int) -> list[str]:
    """Promote ``n`` runs of a lane, and count their starts where starts are limited."""
    there = int(tx.rows("lane_used", queue_id=limit.queue_id, lane_id=lane)[0][0])
    runs = store_runs.promote(tx, [Lane(limit.queue_id, lane, there + n)], GRANT_MS if limit.rated else None)
    counted = [one for one in {lane, limit.queue_id} if limit.of(one)[1] is not None]
    if counted and runs:
        tx.batch("insert_starts", [Start(one, run) for one in counted for run in runs])
    return runs


def note_held(tx: Tx) -> None:
    """Leave a note for every lane that holds runs: the sweep's proof that no wake-up was lost."""
    store_runs.leave_notes(tx, ((queue, lane) for queue, lane in tx.rows("held_lanes")))


class Misplaced(NamedTuple):
    """A run in another lane than its queue's limits ask for."""

    id: str
    queue_id: int
    queue: str
    concurrency_key: str | None


def mend(tx: Tx, n: int = 500) -> int:
    """Give runs the lanes they belong to: a trigger that was under way while its queue was given its first limit knew
    nothing of it. Returns how many there were; call again while n."""
    found = [Misplaced._make(row) for row in tx.rows("misplaced", n=n)]
    if not found:
        return 0
    limits = {row[0]: Limit(*row) for row in tx.rows("queue_limits", ids=sorted({run.queue_id for run in found}))}
    lanes = [lane_of(limits[run.queue_id], run.queue, run.concurrency_key) for run in found]
    tx.batch("set_lanes", [Relaned(run.id, lane) for run, lane in zip(found, lanes, strict=True)])
    store_runs.leave_notes(tx, {(run.queue_id, lane) for run, lane in zip(found, lanes, strict=True)})
    return len(found)


def relane(tx: Tx, queue: str, queue_id: int, after: str = "", n: int = 1000) -> str | None:
    """Give the runs of a queue the lanes its limits ask for, ``n`` at a time; answers where to go on, None at the end.

    Needed when a queue is given its first limit, or loses one. Runs that execute keep on, and count from now on.
    """
    limits = [Limit(*row) for row in tx.rows("queue_limits", ids=[queue_id])]
    limit = limits[0] if limits else Limit(queue_id)
    rows = tx.rows("unlaned", queue_id=queue_id, after=after, n=n)
    moved = [Relaned(run_id, lane) for run_id, key, old in rows if (lane := lane_of(limit, queue, key)) != old]
    if moved:
        tx.batch("set_lanes", moved)
        store_runs.leave_notes(tx, {(queue_id, run.lane_id) for run in moved})
    store_runs.leave_notes(tx, {(queue_id, lane_of(limit, queue, key)) for _, key, _ in rows})
    if rows:
        store_runs.wake(tx)
    return rows[-1][0] if len(rows) == n else None


def lane_of(limit: Limit, queue: str, key: str | None) -> int | None:
    """The lane of a run under these limits; the same rule as in ``insert_runs``."""
    if key is not None and limit.keyed:
        return key_lane(queue, key)
    return limit.queue_id if limit.whole else None


def return_unserved(tx: Tx, live: Sequence[Serving]) -> int:
    """Take slots back from promoted runs that nobody of these takes: for their task, their version, or their machine.
    Returns how many."""
    routes = [route for route, *what in tx.rows("all_routes") if not any(each.takes(*what) for each in live)]
    if not routes:
        return 0
    rows = tx.rows("return_unserved", routes=routes)
    store_runs.leave_notes(tx, ((queue, lane) for queue, lane in rows))
    return len(rows)
