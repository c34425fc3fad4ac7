"""Notes for the hooks of runs that ended without a worker: one for each, held by one worker at a time, lost by none."""

from __future__ import annotations

import json
from contextlib import closing

from holdfast.clock import FrozenClock
from holdfast.engine import aftermath, catalogue, reap
from holdfast.engine.aftermath import Fence, Owed, Settled
from holdfast.records import LogLine, TaskEntry
from holdfast.storage import Store
from tests.engine.making import Hand, new, said, send, status, stop


def know(store: Store, end_hooks: int, task: str = "greet") -> None:
    entry = TaskEntry(id=task, queue=f"task/{task}", options='{"max_crashes":1}', end_hooks=end_hooks)
    store.run_sync(catalogue.announce, [entry], [])


def take(store: Store, hand: Hand, n: int = 10, known: tuple[str, ...] = ()) -> list[Owed]:
    return store.run_sync(aftermath.claim, hand.id, hand.tasks, known, n)


def runs(owed: list[Owed]) -> list[str]:
    return [one.fence.run_id for one in owed]


def settle(store: Store, *settled: Settled) -> None:
    store.run_sync(aftermath.settle, list(settled))


def test_a_task_without_such_hooks_leaves_no_note(store: Store) -> None:
    know(store, 0)
    stop(store, *send(store, new()))
    assert take(store, Hand(store)) == []


def test_only_the_ends_that_its_hooks_are_for(store: Store, clock: FrozenClock) -> None:
    know(store, aftermath.CANCELED, "canceling")
    know(store, aftermath.OTHER, "failing")
    hand = Hand(store, "canceling", "failing")
    canceled = send(store, new("canceling"), new("failing"))
    expired = send(store, new("canceling", ttl_ms=10), new("failing", ttl_ms=10))
    for run in canceled:
        stop(store, run)
    clock.advance(1)
    store.run_sync(reap.sweep)
    assert runs(take(store, hand)) == [canceled[0], expired[1]]


def test_every_end_without_a_worker_leaves_one(store: Store, clock: FrozenClock) -> None:
    know(store, 3)
    delayed, expiring = send(store, new(delay_ms=60_000), new(ttl_ms=10, delay_ms=1))
    stop(store, delayed)
    clock.advance(1)
    store.run_sync(reap.sweep)
    crashing, canceled = send(store, new(), new())
    for _ in range(2):  # the second death is its own
        hand = Hand(store)
        hand.claim_suspects()
        hand.claim()
        hand.gone()
        store.run_sync(reap.sweep)
        hand = Hand(store)
    hand = Hand(store)
    hand.claim_suspects()
    stop(store, canceled)
    hand.gone()
    store.run_sync(reap.sweep)
    assert {status(store, run) for run in (delayed, canceled)} == {"canceled"}
    assert (status(store, expiring), status(store, crashing)) == ("expired", "crashed")
    assert sorted(runs(take(store, Hand(store)))) == sorted([delayed, expiring, crashing, canceled])


def test_what_a_worker_ends_leaves_none_but_a_failure_of_ours(store: Store) -> None:
    """Its hooks have been called there; of what Holdfast could not go on with, nobody's hooks were."""
    know(store, 3)
    fine, failed, broken = send(store, new(), new(), new())
    hand = Hand(store)
    claimed = {run.id: run for run in hand.claim()}
    hand.end(claimed[fine])
    hand.end(claimed[failed], status="failed")
    hand.end(claimed[broken], status="system_failure")
    assert runs(take(store, hand)) == [broken]


def test_a_failure_of_ours_that_came_too_late_leaves_none(store: Store) -> None:
    know(store, 3)
    (run,) = send(store, new())
    hand = Hand(store)
    claimed = hand.claim_one()
    hand.end(claimed)
    assert hand.end(claimed, status="system_failure") == [(run, claimed.claim)]
    assert take(store, hand) == []


def test_a_note_is_held_by_one_at_a_time(store: Store) -> None:
    know(store, 3)
    ids = send(store, *(new() for _ in range(4)))
    for run in ids:
        stop(store, run)
    one, other = Hand(store), Hand(store)
    assert runs(take(store, one, 2)) == ids[:2]
    assert runs(take(store, other)) == ids[2:]
    assert take(store, one, known=tuple(ids)) == take(store, other, known=tuple(ids)) == []
    assert not store.read_sync(aftermath.waits, one.id, one.tasks, ids[:2])


def test_a_worker_that_does_not_know_the_task_takes_none(store: Store) -> None:
    know(store, 3)
    (run,) = send(store, new())
    stop(store, run)
    assert take(store, Hand(store, "other")) == []
    assert not store.read_sync(aftermath.waits, "w", ["other"], [])


def test_a_note_says_all_that_is_known_of_the_run(store: Store) -> None:
    know(store, 3)
    (run,) = send(store, new(payload=json.dumps("x" * 10_000)))
    stop(store, run)
    (owed,) = take(store, Hand(store))
    assert owed.record is not None
    assert (owed.record.status, len(owed.record.payload)) == ("canceled", 10_002)
    assert owed.fence.claim == 1


def test_a_dead_workers_notes_are_taken_by_another(store: Store) -> None:
    know(store, 3)
    (run,) = send(store, new())
    stop(store, run)
    dead, alive = Hand(store), Hand(store)
    (held,) = take(store, dead)
    assert take(store, alive) == []
    dead.gone()
    assert store.read_sync(aftermath.waits, alive.id, alive.tasks, [])
    (again,) = take(store, alive)
    assert (again.fence.run_id, again.fence.claim) == (run, 2)
    settle(store, Settled(held.fence, [line(run, 1)]))  # from the dead one, after all: it is not its own any more
    assert said(store, run) == []
    settle(store, Settled(again.fence, [line(run, 1)]))
    assert said(store, run) == ["told"]
    assert take(store, Hand(store)) == []


def test_a_dead_worker_takes_none(store: Store) -> None:
    know(store, 3)
    (run,) = send(store, new())
    stop(store, run)
    dead = Hand(store)
    dead.gone()
    assert take(store, dead) == []


def test_a_note_whose_answer_was_lost_is_taken_again(store: Store) -> None:
    know(store, 3)
    (run,) = send(store, new())
    stop(store, run)
    hand = Hand(store)
    (lost,) = take(store, hand)
    assert take(store, hand, known=(run,)) == []
    (found,) = take(store, hand)
    assert found.fence.claim == lost.fence.claim + 1


def test_what_is_handed_back_has_used_up_nothing(store: Store) -> None:
    know(store, 3)
    (run,) = send(store, new())
    stop(store, run)
    one, other = Hand(store), Hand(store)
    (held,) = take(store, one)
    store.run_sync(aftermath.hand_back, held.fence)
    store.run_sync(aftermath.hand_back, held.fence)
    (again,) = take(store, other)
    assert again.fence == Fence(run, 1, other.id)


def test_a_pruned_run_takes_its_note_along(store: Store, clock: FrozenClock) -> None:
    know(store, 3)
    one, other = send(store, new(), new())
    stop(store, one)
    stop(store, other)
    hand = Hand(store)
    (held,) = take(store, hand, 1)
    clock.advance(10)
    assert store.run_sync(reap.prune, 1) == 2
    assert take(store, hand) == []
    settle(store, Settled(held.fence, [line(held.fence.run_id, 1)]))
    assert said(store, held.fence.run_id) == []


def test_several_are_settled_in_one_transaction(store: Store) -> None:
    know(store, 3)
    ids = send(store, *(new() for _ in range(30)))
    for run in ids:
        stop(store, run)
    owed = take(store, Hand(store), 30)
    futures = [store.gather(aftermath.settle, Settled(one.fence, [line(one.fence.run_id, 1)])) for one in owed]
    for future in futures:
        future.result(30)
    assert [said(store, run) for run in ids] == [["told"]] * 30


def test_two_stores_share_the_notes_out(store: Store, database_url: str) -> None:
    from holdfast import storage

    know(store, 3)
    ids = send(store, *(new() for _ in range(50)))
    for run in ids:
        stop(store, run)
    with closing(storage.open(database_url)) as second:
        hands = Hand(store), Hand(second)
        taken: list[str] = []
        while found := [run for hand in hands for run in runs(take(hand.store, hand, 7, tuple(taken)))]:
            taken += found
    assert sorted(taken) == sorted(ids)


def line(run: str, seq: int) -> LogLine:
    return LogLine(run, 1, seq, 1, "INFO", 1, "reef", json.dumps("told"))
