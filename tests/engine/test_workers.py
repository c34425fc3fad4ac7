"""A worker beats, and is dead only when somebody has seen its beat stand still, or its process exit."""

from __future__ import annotations

from holdfast.clock import FrozenClock
from holdfast.engine import claim, workers
from holdfast.engine.workers import Beat, Serving
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, queue, send


def state_of(store: Store, hand: Hand) -> str | None:
    return store.read_sync(claim.orders, hand.id).state


def seen(store: Store, hand: Hand) -> Beat:
    return next(beat for beat in store.read_sync(workers.beats) if beat.id == hand.id)


def test_a_new_worker_is_live_and_has_not_beaten(store: Store) -> None:
    hand = Hand(store, lease_ms=12_000)
    assert state_of(store, hand) == "live"
    assert seen(store, hand) == Beat(hand.id, 0, 12_000)


def test_every_beat_counts_one_for_each(store: Store) -> None:
    one, other = Hand(store), Hand(store)
    assert store.run_sync(workers.beat, [one.id, other.id]) == {one.id: False, other.id: False}
    assert store.run_sync(workers.beat, [one.id]) == {one.id: False}
    assert (seen(store, one).beat, seen(store, other).beat) == (2, 1)


def test_a_beat_that_has_stood_still_is_taken_for_death(store: Store) -> None:
    hand = Hand(store)
    assert store.run_sync(workers.declare_lost, [seen(store, hand)]) == [hand.id]
    assert state_of(store, hand) == "lost"


def test_a_beat_that_came_in_between_saves_its_worker(store: Store) -> None:
    hand = Hand(store)
    before = seen(store, hand)
    store.run_sync(workers.beat, [hand.id])
    assert store.run_sync(workers.declare_lost, [before]) == []
    assert state_of(store, hand) == "live"


def test_of_several_watchers_one_declares(store: Store) -> None:
    hand = Hand(store)
    before = seen(store, hand)
    assert [store.run_sync(workers.declare_lost, [before]) for _ in range(2)] == [[hand.id], []]


def test_only_the_silent_are_declared(store: Store) -> None:
    silent, alive = Hand(store), Hand(store)
    both = store.read_sync(workers.beats)
    store.run_sync(workers.beat, [alive.id])
    assert store.run_sync(workers.declare_lost, both) == [silent.id]


def test_who_was_declared_lost_beats_no_more_and_is_told(store: Store) -> None:
    lost, alive = Hand(store), Hand(store)
    lost.gone()
    assert store.run_sync(workers.beat, [lost.id, alive.id]) == {alive.id: False}
    assert [beat.id for beat in store.read_sync(workers.beats)] == [alive.id]


def test_a_worker_whose_exit_was_seen_is_lost_at_once(store: Store) -> None:
    hand = Hand(store)
    assert store.run_sync(workers.declare_gone, hand.id)
    assert not store.run_sync(workers.declare_gone, hand.id)
    assert not store.run_sync(workers.declare_gone, "nobody")
    assert state_of(store, hand) == "lost"


def test_who_drains_still_beats_and_who_has_stopped_does_not(store: Store) -> None:
    hand = Hand(store)
    assert store.run_sync(workers.drain, hand.id)
    assert store.run_sync(workers.beat, [hand.id]) == {hand.id: False}
    assert store.run_sync(workers.stop, hand.id)
    assert store.run_sync(workers.beat, [hand.id]) == {}
    assert state_of(store, hand) == "stopped"


def test_who_is_asked_to_drain_takes_nothing_and_is_told_with_its_beat(store: Store) -> None:
    """Also if it drains already; and its own drain is no such wish."""
    asked, drains = Hand(store), Hand(store)
    know(store)
    send(store, new())
    store.run_sync(workers.drain, drains.id)
    assert store.run_sync(workers.ask_to_drain, asked.id)
    assert asked.claim(1) == []
    assert store.run_sync(workers.beat, [asked.id, drains.id]) == {asked.id: True, drains.id: False}
    assert store.run_sync(workers.ask_to_drain, drains.id)
    assert store.run_sync(workers.beat, [drains.id]) == {drains.id: True}
    store.run_sync(workers.stop, asked.id)
    assert not store.run_sync(workers.ask_to_drain, asked.id)


def test_nobody_comes_back_from_the_dead(store: Store) -> None:
    hand = Hand(store)
    hand.gone()
    assert not store.run_sync(workers.drain, hand.id)
    assert not store.run_sync(workers.stop, hand.id)
    assert state_of(store, hand) == "lost"


def test_no_clock_is_compared(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    clock.advance("365d")
    assert state_of(store, hand) == "live"
    clock.set(0)
    assert store.run_sync(workers.beat, [hand.id]) == {hand.id: False}


def test_a_worker_finds_the_routes_of_its_tasks(store: Store) -> None:
    know(store, queue("slow", 1), queue("fast"), tasks=("greet", "part"))
    both = store.read_sync(workers.routes, ["greet"], None)
    assert sorted(route.queue for route in both) == ["fast", "slow", "task/greet"]
    assert [route.queue for route in store.read_sync(workers.routes, ["greet", "part"], ["slow"])] == ["slow", "slow"]
    assert store.read_sync(workers.routes, ["unknown"], None) == []


def test_what_is_served_is_what_live_workers_know(store: Store) -> None:
    Hand(store, "greet")
    bound = Hand(store, "part", queues=["slow"])
    assert sorted(store.read_sync(workers.served)) == [Serving("greet"), Serving("part", '["slow"]')]
    bound.gone()
    assert store.read_sync(workers.served) == [Serving("greet")]


def test_a_worker_reads_what_it_is_said_to_hold(store: Store, clock: FrozenClock) -> None:
    know(store)
    hand = Hand(store)
    first, second = send(store, new(), new())
    one = hand.claim_one()
    clock.advance("6s")
    other = hand.claim_one()
    assert sorted(store.read_sync(claim.held, hand.id)) == [(first, one.claim), (second, other.claim)]
    hand.end(one)
    assert store.read_sync(claim.orders, hand.id).held == [(second, other.claim)]
