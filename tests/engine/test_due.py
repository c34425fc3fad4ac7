"""Runs whose wait is over: to whom they go, and that each goes to one."""

from __future__ import annotations

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, claim, due, journal
from holdfast.engine.due import Room, Taken
from holdfast.records import Claimed, Suspension
from holdfast.storage import Store
from tests.engine.making import Hand, between, ids, know, new, queue, record, send, state

SECOND = 1_000


@pytest.fixture
def hand(store: Store) -> Hand:
    know(store, queue("one", 1), tasks=("greet", "part"))
    return Hand(store)


def sleeper(hand: Hand, keeper: str | None = None, **given: object) -> Claimed:
    """A run that sleeps for a second."""
    send(hand.store, new(**given))
    hand.store.run_sync(claim.limits.promote)
    run = hand.claim_one()
    sleep(hand, run, SECOND, keeper)
    return run


def sleep(hand: Hand, run: Claimed, delay_ms: int, keeper: str | None = None) -> None:
    record(hand.store, run, "sleep", "sleep", state="open", delay_ms=delay_ms)
    assert hand.exchange(waits=[Suspension(run.id, run.claim, keeper=keeper)]).suspended == [run.id]


def take(hand: Hand, n: int = 10) -> Taken:
    return hand.store.run_sync(due.take, Room(hand.id, hand.routes, n, hand.version))


def test_a_wait_that_is_over_goes_to_who_has_room(store: Store, clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand)
    clock.advance("999ms")
    assert take(hand) == Taken([], {})
    clock.advance("1ms")
    taken = take(hand)
    (again,) = taken.claimed
    assert (again.id, again.claim, again.payload, state(store, run.id)) == (run.id, run.claim + 1, '"Ada"', "executing")
    (entry,) = taken.recorded[run.id]
    assert (entry.key, entry.state, entry.settled) == ("sleep#1", "done", 1)
    assert hand.end(again) == []
    assert hand.end(run) == [(run.id, run.claim)]


def test_it_is_the_same_run_that_a_claim_from_the_line_would_bring(clock: FrozenClock, hand: Hand) -> None:
    given = {"tags": '["a"]', "metadata": '{"b":1}', "priority_ms": 5, "concurrency_key": "k", "options": '{"c":1}'}
    one, other = sleeper(hand, **given), sleeper(hand, **given)
    clock.advance("1s")
    (straight,) = take(hand, 1).claimed
    hand.store.run_sync(due.go_on)
    (stood,) = hand.claim()
    own = ("id", "created_at", "root_id")
    assert {straight.id, stood.id} == {one.id, other.id}
    for name in set(Claimed._fields).difference(own):
        assert getattr(straight, name) == getattr(stood, name), name


def test_without_room_they_stand_in_line(store: Store, clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand)
    clock.advance("1s")
    assert take(hand, 0) == Taken([], {})
    assert state(store, run.id) == "ready"


def test_those_for_whom_there_is_no_room_wait_for_the_next_look(store: Store, clock: FrozenClock, hand: Hand) -> None:
    runs = [sleeper(hand) for _ in range(3)]
    clock.advance("1s")
    assert ids(take(hand, 2).claimed) == ids(runs[:2])
    assert state(store, runs[2].id) == "waiting"
    assert ids(take(hand, 2).claimed) == ids(runs[2:])


def test_a_run_that_needs_a_slot_of_its_lane_waits_for_one(store: Store, clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand, queue="one")
    clock.advance("1s")
    assert take(hand) == Taken([], {})
    assert state(store, run.id) == "held"
    store.run_sync(claim.limits.promote)
    assert ids(hand.claim()) == [run.id]


def test_what_somebody_else_has_to_carry_out_stands_in_line(store: Store, clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand)
    clock.advance("1s")
    assert take(Hand(store, "part")) == Taken([], {})
    assert state(store, run.id) == "ready"
    assert ids(hand.claim()) == [run.id]


def test_a_run_of_a_paused_queue_stands_in_line(store: Store, clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand)
    store.run_sync(catalogue.pause, "task/greet")
    clock.advance("1s")
    assert take(hand) == Taken([], {})
    assert state(store, run.id) == "ready"


def test_whoever_has_it_in_memory_goes_first_for_a_moment(store: Store, clock: FrozenClock, hand: Hand) -> None:
    elsewhere = Hand(store)
    run = sleeper(hand, keeper=elsewhere.id)
    clock.advance("1s")
    assert take(hand) == Taken([], {})
    assert (state(store, run.id), hand.claim(), ids(elsewhere.claim())) == ("ready", [], [run.id])


def test_whoever_has_it_in_memory_reads_what_it_does_not_know(clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand, keeper=hand.id)
    clock.advance("1s")
    taken = take(hand)
    assert (ids(taken.claimed), taken.recorded) == ([run.id], {})


def test_a_run_that_its_keeper_does_not_take_goes_to_another(store: Store, clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand, keeper="gone")
    clock.advance("1201ms")
    taken = take(hand)
    assert (ids(taken.claimed), list(taken.recorded)) == ([run.id], [run.id])


def test_a_worker_that_was_declared_gone_takes_nothing(store: Store, clock: FrozenClock, hand: Hand) -> None:
    run = sleeper(hand)
    clock.advance("1s")
    hand.gone()
    assert take(hand).claimed == []
    assert state(store, run.id) == "waiting"
    other = Hand(store)
    taken = take(other)
    assert ids(taken.claimed) == [run.id]
    assert [entry.state for entry in taken.recorded[run.id]] == ["done"]


def test_what_is_delayed_stands_in_line(store: Store, clock: FrozenClock, hand: Hand) -> None:
    (run,) = send(store, new(delay_ms=SECOND))
    clock.advance("1s")
    assert take(hand) == Taken([], {})
    assert state(store, run) == "ready"


def test_what_is_delayed_and_what_waits_go_on_together(store: Store, clock: FrozenClock, hand: Hand) -> None:
    """In the order of their times: neither has to be looked for among the other."""
    run = sleeper(hand)
    early, late = send(store, new(delay_ms=500), new(delay_ms=2 * SECOND))
    clock.advance("3s")
    assert (ids(take(hand, 2).claimed), state(store, early), state(store, late)) == ([run.id], "ready", "delayed")
    assert (take(hand, 2).claimed, state(store, late)) == ([], "ready")


def test_only_what_is_over_has_settled(clock: FrozenClock, hand: Hand) -> None:
    send(hand.store, new())
    run = hand.claim_one()
    record(hand.store, run, "sleep", "sleep", state="open", delay_ms=5 * SECOND)
    sleep(hand, run, SECOND)
    clock.advance("1s")
    stand = {entry.key: (entry.state, entry.settled) for entry in take(hand).recorded[run.id]}
    assert stand == {"sleep#1": ("open", None), "sleep#2": ("done", 1)}


# -- two at once: the rows are locked when they are found, on PostgreSQL; SQLite lets one write at a time


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_two_workers_that_look_at_once(store: Store, clock: FrozenClock, hand: Hand) -> None:
    """The second looks between what the first finds and what it does: each run goes to one of them."""
    run, elsewhere = sleeper(hand), Hand(store)
    clock.advance("1s")
    taken: list[Taken] = []
    room = Room(hand.id, hand.routes, 10)
    mine = store.run_sync(
        lambda tx: due.take(between(tx, "expire_entries", lambda: taken.append(take(elsewhere))), room)
    )
    assert (ids(mine.claimed), [each.claimed for each in taken]) == ([run.id], [[]])
    assert hand.end(*mine.claimed) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_sweep_wakes_no_run_that_sleeps_anew(store: Store, clock: FrozenClock, hand: Hand) -> None:
    """Another sweep may be quicker, and the run may have gone on and be asleep again: it must not be woken for what is
    over long since."""
    run, elsewhere = sleeper(hand), Hand(store)
    clock.advance("1s")

    def go_on() -> None:
        for again in take(elsewhere).claimed:
            sleep(elsewhere, again, 60 * SECOND)

    store.run_sync(lambda tx: due.go_on(between(tx, "expire_entries", go_on)))
    assert state(store, run.id) == "ready"  # this sweep's: the other found the run's row locked
    assert [entry.key for entry in store.read_sync(journal.of_run, run.id)] == ["sleep#1"]
