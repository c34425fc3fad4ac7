"""Lanes: a run holds a slot from its promotion to its end, lanes take turns, and no wake-up is lost."""

from __future__ import annotations

from collections import Counter

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, claim, due, limits, reap, workers
from holdfast.engine.trigger import RouteName, queue_id
from holdfast.engine.workers import Serving
from holdfast.records import Claimed, Ended
from holdfast.sizes import MIB
from holdfast.storage import Store
from holdfast.worker.capacity import Room
from tests.engine.making import (
    Hand,
    ids,
    know,
    new,
    override,
    promote,
    queue,
    relane,
    send,
    state,
    stop,
)


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, queue("three", 3), queue("keys", per_key=1), queue("both", 3, 2), tasks=("greet", "part"))


def fill(store: Store, name: str, *keys: str | None, **more: int) -> list[str]:
    return send(store, *(new(queue=name, concurrency_key=key, **more) for key in keys))


def round_of(store: Store, hand: Hand) -> list[Claimed]:
    promote(store)
    return hand.claim()


def states(store: Store, runs: list[str]) -> list[str | None]:
    return [state(store, run) for run in runs]


# slots


def test_no_more_run_than_the_limit_allows(store: Store) -> None:
    runs = fill(store, "three", *[None] * 8)
    hand = Hand(store)
    assert promote(store) == 3
    assert promote(store) == 0
    assert ids(hand.claim()) == runs[:3]
    assert states(store, runs) == ["executing"] * 3 + ["held"] * 5


def test_a_slot_is_free_when_a_run_ends_and_the_next_one_has_it(store: Store) -> None:
    runs = fill(store, "three", *[None] * 5)
    hand = Hand(store)
    claimed = round_of(store, hand)
    hand.end(claimed[0])
    assert hand.exchange().notes
    assert ids(round_of(store, hand)) == [runs[3]]
    assert not hand.exchange().notes


def test_a_round_gives_the_slot_that_it_frees_to_the_next_run_and_takes_that(store: Store) -> None:
    """One transaction from the end of a run to the start of the next. Fails with promoting after claiming."""
    runs = fill(store, "three", *[None] * 5)
    hand = Hand(store)
    first, *_ = round_of(store, hand)
    ended = [Ended(first.id, first.claim, "completed", "null")]
    ask = claim.Ask(hand.id, hand.routes, 10, 10, promotes=True)
    result = store.run_sync(claim.exchange, ask, ended, [], [])
    assert (ids(result.claimed), result.promoted, result.notes) == ([runs[3]], 1, False)


def test_a_promoted_run_that_nobody_has_claimed_holds_its_slot_too(store: Store) -> None:
    runs = fill(store, "three", *[None] * 4)
    promote(store)
    assert (promote(store), states(store, runs)) == (0, ["ready"] * 3 + ["held"])


def test_every_key_has_slots_of_its_own(store: Store) -> None:
    runs = fill(store, "keys", "ada", "ada", "bob", "bob", "cyd")
    claimed = round_of(store, Hand(store))
    assert sorted(run.concurrency_key or "" for run in claimed) == ["ada", "bob", "cyd"]
    assert states(store, runs) == ["executing", "held", "executing", "held", "executing"]


def test_runs_without_a_key_are_not_limited_where_only_keys_are(store: Store) -> None:
    assert len(fill(store, "keys", *[None] * 10)) == len(round_of(store, Hand(store)))


def test_both_limits_hold_at_once(store: Store) -> None:
    runs = fill(store, "both", "ada", "ada", "ada", "bob", "bob", "cyd", None)
    hand = Hand(store)
    seen: list[str] = []
    while claimed := round_of(store, hand):
        assert len(claimed) <= 3
        counts = Counter(run.concurrency_key for run in claimed)
        assert all(count <= 2 for key, count in counts.items() if key)
        seen += ids(claimed)
        hand.end(*claimed)
    assert sorted(seen) == runs


def test_the_limit_of_a_queue_counts_over_all_its_keys_and_tasks(store: Store) -> None:
    hand = Hand(store, "greet", "part")
    send(store, *(new(task, queue="both", concurrency_key=str(n)) for n in range(4) for task in ("greet", "part")))
    assert len(round_of(store, hand)) == 3
    assert round_of(store, hand) == []


def test_a_limit_of_nothing_lets_nothing_run(store: Store) -> None:
    know(store, queue("closed", 0))
    fill(store, "closed", None, None)
    assert round_of(store, Hand(store)) == []


def test_the_oldest_of_a_lane_is_promoted_first_and_priority_is_a_head_start(store: Store, clock: FrozenClock) -> None:
    old = fill(store, "three", None, None)
    clock.advance("1s")
    young = fill(store, "three", None, None)
    urgent = fill(store, "three", None, priority_ms=5_000)
    assert sorted(ids(round_of(store, Hand(store)))) == [*old, *urgent]
    assert states(store, young) == ["held", "held"]


@pytest.mark.parametrize("how", ["canceled", "expired", "crashed", "failed", "retried"])
def test_however_a_run_leaves_its_slot_the_next_one_is_told(store: Store, clock: FrozenClock, how: str) -> None:
    know(store, queue("one", 1), options='{"max_crashes":1}')
    first, second = fill(store, "one", None, None, ttl_ms=60_000)
    promote(store)
    hand = Hand(store)
    match how:
        case "canceled":
            assert stop(store, first) == "canceled"
        case "expired":
            clock.advance("60s")
            store.run_sync(reap.sweep)
            (second,) = fill(store, "one", None)
        case "crashed":
            hand.claim()
            hand.gone()
            store.run_sync(reap.sweep)
            assert (promote(store), state(store, first)) == (0, "ready")  # recovered: it keeps its slot
            heir = Hand(store)
            heir.claim_suspects()
            heir.gone()
            store.run_sync(reap.sweep)
        case "failed":
            hand.end(hand.claim_one(), status="failed")
        case "retried":
            hand.retry(hand.claim_one(), delay_ms=1_000)
    assert promote(store) == 1
    assert state(store, second) == "ready"


def test_a_run_that_becomes_due_asks_for_a_slot(store: Store, clock: FrozenClock) -> None:
    fill(store, "three", None, delay_ms=1_000)
    clock.advance("1s")
    store.run_sync(due.go_on)
    assert promote(store) == 1


# turns


def test_lanes_take_turns_and_one_busy_customer_starves_nobody(store: Store, clock: FrozenClock) -> None:
    fill(store, "keys", *["busy"] * 50)
    clock.advance("1h")
    fill(store, "keys", "ada", "bob")
    hand = Hand(store)
    order = []
    for _ in range(4):
        promote(store)
        claimed = hand.claim_one()
        order.append(claimed.concurrency_key)
        clock.advance("1s")
        hand.end(claimed)
    assert sorted(order[:3], key=str) == ["ada", "bob", "busy"]


def test_with_both_limits_keys_share_the_queue(store: Store) -> None:
    know(store, queue("shared", 4, 4))
    fill(store, "shared", *["busy"] * 20, "ada", "bob", "cyd")
    assert Counter(run.concurrency_key for run in round_of(store, Hand(store))) == {
        "busy": 1,
        "ada": 1,
        "bob": 1,
        "cyd": 1,
    }


def test_one_key_may_fill_a_queue_that_nobody_else_wants(store: Store) -> None:
    fill(store, "both", *["ada"] * 5)
    assert len(round_of(store, Hand(store))) == 2


def test_many_lanes_are_all_promoted_however_many_notes_there_are(store: Store) -> None:
    keys = [f"customer {n}" for n in range(limits.NOTES + 50)]
    fill(store, "keys", *keys, *keys)
    promoted = 0
    while count := promote(store):
        promoted += count
    assert promoted == len(keys)


# limits that change


def test_the_first_limit_of_a_queue_holds_for_the_backlog_it_has(store: Store) -> None:
    hand = Hand(store)
    runs = send(store, *(new() for _ in range(7)), new(delay_ms=60_000))
    executing = ids(hand.claim(3))
    override(store, "task/greet", 4)
    assert states(store, runs).count("held") == 4
    assert len(round_of(store, hand)) == 1  # three execute already, and count
    assert len(executing) == 3
    assert state(store, runs[-1]) == "delayed"


def test_a_first_limit_is_given_to_a_long_backlog_in_steps(store: Store) -> None:
    runs = send(store, *(new(concurrency_key=str(n % 3)) for n in range(25)))
    assert store.run_sync(catalogue.override, "task/greet", None, 1)
    relane(store, "task/greet", n=4)
    assert states(store, runs) == ["held"] * 25
    assert len(round_of(store, Hand(store))) == 3


def lane_of(store: Store, run: str) -> int | None:
    row = store.read_sync(lambda tx: tx.row("state", id=run))
    return row[2] if row else None


def test_a_trigger_that_was_under_way_as_a_queue_got_its_first_limit(store: Store) -> None:
    """What it made stands without a lane, and counts against nothing, until the sweep gives it its place."""
    hand = Hand(store)
    held, *ready = send(store, *(new() for _ in range(4)))
    hand.claim(1)
    assert store.run_sync(catalogue.override, "task/greet", 2, None)  # and nobody moves what they have not seen
    assert (state(store, held), states(store, ready)) == ("executing", ["ready"] * 3)
    assert store.run_sync(limits.mend) == 4
    assert states(store, ready) == ["held"] * 3
    assert {lane_of(store, run) for run in (held, *ready)} == {queue_id("task/greet")}
    assert len(round_of(store, hand)) == 1  # one executes already, and counts
    assert store.run_sync(limits.mend) == 0


def test_a_trigger_that_was_under_way_as_a_limit_was_given_to_each_key(store: Store) -> None:
    fill(store, "three", "a", "a", None)
    promote(store)
    assert store.run_sync(catalogue.override, "three", None, 1)
    assert store.run_sync(limits.mend) == 2  # the one without a key is where it should be
    assert len(round_of(store, Hand(store))) == 2


def test_where_there_is_no_limit_nothing_is_misplaced(store: Store) -> None:
    send(store, new(), new(concurrency_key="a"))
    assert store.run_sync(limits.mend) == 0


def test_a_few_misplaced_runs_are_mended_at_a_time(store: Store) -> None:
    send(store, *(new() for _ in range(7)))
    assert store.run_sync(catalogue.override, "task/greet", 2, None)
    assert [store.run_sync(limits.mend, 5) for _ in range(3)] == [5, 2, 0]


def test_without_its_limit_a_queue_lets_everything_go(store: Store) -> None:
    runs = fill(store, "three", *[None] * 10)
    promote(store)
    know(store, queue("three", None))
    relane(store, "three")
    assert states(store, runs) == ["ready"] * 10
    assert len(Hand(store).claim()) == 10


def test_a_run_that_was_held_as_the_limit_went_is_let_go_by_its_note(store: Store) -> None:
    # A trigger that had not heard of the change: what it made is held, in a lane that has no limit any more.
    fill(store, "three", *[None] * 5)
    know(store, queue("three", None))
    assert promote(store) == 5


def test_an_override_is_stronger_than_the_code_until_it_is_taken_back(store: Store) -> None:
    fill(store, "three", *[None] * 10)
    override(store, "three", 5)
    know(store, queue("three", 3))  # a worker that starts announces its own again
    hand = Hand(store)
    claimed = round_of(store, hand)
    assert len(claimed) == 5
    override(store, "three", None)
    hand.end(*claimed[:3])
    assert len(round_of(store, hand)) == 1


def test_a_higher_limit_lets_more_start_at_once(store: Store) -> None:
    fill(store, "three", *[None] * 10)
    hand = Hand(store)
    assert len(round_of(store, hand)) == 3
    override(store, "three", 5)
    assert len(round_of(store, hand)) == 2


def test_a_lower_limit_waits_until_enough_have_ended(store: Store) -> None:
    fill(store, "three", *[None] * 6)
    hand = Hand(store)
    claimed = round_of(store, hand)
    override(store, "three", 1)
    hand.end(*claimed[:2])
    assert round_of(store, hand) == []
    hand.end(claimed[2])
    assert len(round_of(store, hand)) == 1


def test_announcing_tells_which_limits_have_changed(store: Store) -> None:
    assert store.run_sync(catalogue.announce, [], [queue("three", 3), queue("keys", per_key=2)]) == [
        queue("keys", per_key=2)
    ]


# nothing is lost


def test_the_sweep_leaves_a_note_for_every_lane_that_holds_runs(store: Store) -> None:
    fill(store, "three", *[None] * 4)
    fill(store, "keys", "ada", "ada", "bob")
    store.run_sync(lambda tx: tx.rows("take_notes", n=100))  # whoever took these died before they were served
    assert promote(store) == 0
    store.run_sync(limits.note_held)
    assert promote(store) == 5


def test_a_slot_is_taken_back_from_a_run_whose_task_nobody_knows(store: Store, clock: FrozenClock) -> None:
    know(store, queue("one", 1), tasks=("greet", "part"))
    send(store, new("part", queue="one"))
    promote(store)
    (mine,) = send(store, new("greet", queue="one"))
    hand = Hand(store, "greet")
    assert round_of(store, hand) == []
    clock.advance("11s")
    assert store.run_sync(limits.return_unserved, store.read_sync(workers.served)) == 1
    assert ids(round_of(store, hand)) == [mine]


def test_a_slot_is_taken_back_from_a_run_whose_machine_nobody_has(store: Store, clock: FrozenClock) -> None:
    """Fails with looking at the task alone: one run that fitted nowhere kept its whole queue waiting."""
    know(store, queue("one", 1))
    store.run_sync(catalogue.ensure_names, [], [RouteName("one", "greet", "large-2x")])
    send(store, new(queue="one", options='{"machine":"large-2x"}'))
    promote(store)
    (mine,) = send(store, new(queue="one"))
    hand = Hand(store, room=Room(2000, 4096 * MIB))
    assert round_of(store, hand) == []
    clock.advance("11s")
    assert store.run_sync(limits.return_unserved, store.read_sync(workers.served)) == 1
    assert ids(round_of(store, hand)) == [mine]


def test_a_slot_is_left_to_a_run_whose_task_somebody_knows(store: Store, clock: FrozenClock) -> None:
    (run,) = fill(store, "three", None)
    promote(store)
    clock.advance("1h")
    assert store.run_sync(limits.return_unserved, [Serving("greet")]) == 0
    assert state(store, run) == "ready"


def test_what_was_recovered_goes_first_in_its_lane(store: Store, clock: FrozenClock) -> None:
    know(store, queue("one", 1))
    first, _ = fill(store, "one", None, None)
    promote(store)
    hand = Hand(store)
    hand.claim()
    hand.gone()
    clock.advance("1s")
    store.run_sync(reap.sweep)
    assert promote(store) == 0
    heir = Hand(store)
    assert ids(heir.claim_suspects()) == [first]
