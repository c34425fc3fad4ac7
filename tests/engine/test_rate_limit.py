"""A rate limit is never exceeded in any sliding window of real starts, however promotion and claim interleave."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, claim, limits, reap, trigger, workers
from holdfast.engine.claim import Ask
from holdfast.ids import new_id
from holdfast.records import Claimed, Ended, NewRun, QueueEntry, TaskEntry
from holdfast.storage import Store

WINDOW_MS = 10_000


def queue(**limits: int | None) -> QueueEntry:
    return QueueEntry(name="q", **limits)  # type: ignore[arg-type]


def prepare(store: Store, declared: QueueEntry) -> str:
    store.run_sync(catalogue.announce, [TaskEntry(id="t", queue="q", options="{}")], [declared])
    me = new_id()
    entry = workers.WorkerEntry(id=me, lease_ms=30_000, host="h", pid=1, concurrency=10)
    store.run_sync(workers.register, entry, ["t"])
    return me


def make(store: Store, count: int, keys: list[str | None]) -> None:
    runs = [NewRun(id=new_id(), task="t", queue="q", concurrency_key=random.choice(keys)) for _ in range(count)]
    store.run_sync(trigger.trigger, runs)


def take(store: Store, me: str, n: int = 100) -> list[Claimed]:
    routes = [route.id for route in store.read_sync(workers.routes, ["t"], None)]
    return store.run_sync(claim.exchange, Ask(me, routes, n, n), [], [], []).claimed


def finish(store: Store, me: str, runs: list[Claimed]) -> None:
    store.run_sync(claim.exchange, Ask(me), [Ended(run.id, run.claim, "completed", "null") for run in runs], [], [])


def worst(starts: list[int]) -> int:
    """The most starts in any window that is open at its end."""
    starts = sorted(starts)
    return max((bisect_left(starts, at + WINDOW_MS) - index for index, at in enumerate(starts)), default=0)


@pytest.mark.parametrize("seed", range(3))
def test_no_window_holds_more_starts_than_the_rate(store: Store, clock: FrozenClock, seed: int) -> None:
    random.seed(seed)
    me = prepare(store, queue(rate=5, rate_ms=WINDOW_MS, rate_per_key=2, rate_per_key_ms=WINDOW_MS))
    make(store, 60, ["a", "b", "c", None])
    starts: list[tuple[str | None, int]] = []
    while len(starts) < 60:
        store.run_sync(limits.promote)
        clock.advance(random.choice([0, 0, 0.05, 0.2]))
        claimed = take(store, me, random.choice([1, 3, 100]))
        starts += [(run.concurrency_key, clock.now()) for run in claimed]
        finish(store, me, claimed)
        clock.advance(random.choice([0.01, 0.5, 3]))
    assert worst([at for _, at in starts]) <= 5
    for key in ("a", "b", "c"):
        assert worst([at for of, at in starts if of == key]) <= 2


def test_a_grant_that_nobody_uses_in_time_is_given_back_and_the_run_still_starts(
    store: Store, clock: FrozenClock
) -> None:
    me = prepare(store, queue(rate=1, rate_ms=WINDOW_MS))
    make(store, 1, [None])
    assert store.run_sync(limits.promote) == 1
    clock.advance("1s")
    assert take(store, me) == []
    assert store.run_sync(limits.promote) == 0  # the unused start still counts
    clock.advance("11s")
    assert store.run_sync(limits.promote) == 1
    assert len(take(store, me)) == 1


def test_a_worker_is_told_when_the_rate_allows_the_next_start(store: Store, clock: FrozenClock) -> None:
    me = prepare(store, queue(rate=1, rate_ms=WINDOW_MS))
    make(store, 2, [None])
    store.run_sync(limits.promote)
    take(store, me)
    due = store.run_sync(claim.exchange, Ask(me), [], [], []).due_in_ms
    assert due is not None
    assert WINDOW_MS <= due <= WINDOW_MS + limits.SLACK_MS
    clock.advance(due / 1000 + 0.001)
    assert store.run_sync(claim.exchange, Ask(me), [], [], []).notes
    assert store.run_sync(limits.promote) == 1


def test_a_run_handed_back_needs_a_new_grant(store: Store, clock: FrozenClock) -> None:
    me = prepare(store, queue(rate=2, rate_ms=WINDOW_MS))
    make(store, 1, [None])
    store.run_sync(limits.promote)
    (run,) = take(store, me)
    store.run_sync(workers.declare_gone, me)
    store.run_sync(reap.sweep)
    other = prepare(store, queue(rate=2, rate_ms=WINDOW_MS))
    assert take(store, other) == []
    store.run_sync(limits.note_held)
    store.run_sync(limits.promote)
    routes = [route.id for route in store.read_sync(workers.routes, ["t"], None)]
    again = store.run_sync(claim.exchange, Ask(other, routes, 10, 10, reap.GROUPS[-1], 1), [], [], []).claimed
    assert [one.id for one in again] == [run.id]


def test_a_rate_per_key_leaves_other_keys_alone(store: Store, clock: FrozenClock) -> None:
    me = prepare(store, queue(rate_per_key=1, rate_per_key_ms=WINDOW_MS))
    for key in ("a", "a", "b", "c"):
        make(store, 1, [key])
    store.run_sync(limits.promote)
    assert sorted(str(run.concurrency_key) for run in take(store, me)) == ["a", "b", "c"]
