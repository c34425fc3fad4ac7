"""What happens to a run that waits while something else happens, on either side of every moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest

from holdfast import storage
from holdfast.clock import FrozenClock
from holdfast.engine import claim, due, journal, reap, tokens
from holdfast.records import Again, Claimed, Suspension
from holdfast.storage import Store
from tests.durable.telling import (
    child,
    ending,
    entry,
    keys,
    stands,
    suspend,
    token,
    waits_for,
    waits_on,
    write,
)
from tests.engine.making import Hand, know, new, send, state, status, stop


@pytest.fixture
def hand(store: Store) -> Hand:
    know(store)
    return Hand(store)


@pytest.fixture
def parent(store: Store, hand: Hand) -> Claimed:
    """A run that executes."""
    send(store, new())
    return hand.claim_one()


def both(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Do both at the same time."""
    start, errors = threading.Barrier(2), []

    def act(which: Callable[[], object]) -> None:
        start.wait(20)
        try:
            which()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(which,)) for which in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors, errors


# -- children


@pytest.mark.parametrize("times", [150, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_two_children_that_end_at_the_same_instant_wake_their_parent(
    database_url: str, store: Store, hand: Hand, times: int
) -> None:
    """Whoever ends second sees that the first one has."""
    with closing(storage.open(database_url)) as elsewhere:
        other = Hand(elsewhere)
        for _ in range(times):
            send(store, new())
            run = hand.claim_one()
            write(store, waits_for(run, child(run, "child#1"), child(run, "child#1")))
            assert suspend(hand, run)
            one, two = hand.claim_one(), other.claim_one()
            both(partial(hand.exchange, ended=[ending(one)]), partial(other.exchange, ended=[ending(two)]))
            assert state(store, run.id) == "ready", stands(store, run, "child#1")
            hand.end(hand.claim_one())


@pytest.mark.parametrize("times", [60, pytest.param(5_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_two_branches_whose_children_end_at_the_same_instant(
    database_url: str, store: Store, hand: Hand, times: int
) -> None:
    """Each has its own place in the order of what has settled. Fails on PostgreSQL with not locking the parent: both
    had one place, and what its worker had not heard of did not keep the run from being suspended."""
    with closing(storage.open(database_url)) as elsewhere:
        other = Hand(elsewhere)
        for _ in range(times):
            send(store, new())
            run = hand.claim_one()
            branches = ["child#1", "child#2"]
            write(store, *(waits_for(run, child(run, key), key=key) for key in branches))
            assert suspend(hand, run)
            one, two = hand.claim_one(), other.claim_one()
            both(partial(hand.exchange, ended=[ending(one)]), partial(other.exchange, ended=[ending(two)]))
            assert state(store, run.id) == "ready"
            assert {stands(store, run, key).settled for key in branches} == {1, 2}
            hand.end(hand.claim_one())


def test_a_child_that_ends_before_its_parent_is_suspended(store: Store, hand: Hand, parent: Claimed) -> None:
    """It is not suspended, but told."""
    write(store, waits_for(parent, child(parent, "child#1")))
    hand.exchange(ended=[ending(hand.claim_one())])
    answer = hand.exchange(waits=[Suspension(parent.id, parent.claim, 0)])
    assert (answer.suspended, answer.told, state(store, parent.id)) == ([], True, "executing")
    assert suspend(hand, parent, seen=1)  # what it knows does not keep it


def test_children_that_are_made_anew_and_end_one_by_one(store: Store, hand: Hand, parent: Claimed) -> None:
    """The number of the end is greater than that of the first one, which the attempt knows, or it is suspended for
    ever."""
    write(store, waits_for(parent, child(parent, "child#1")))
    hand.exchange(ended=[ending(hand.claim_one(), "failed")])
    known = stands(store, parent, "child#1").settled
    hand.retry(parent, forget=("child#1",))
    again = hand.claim_one()
    write(store, waits_for(again, child(again, "child#1"), child(again, "child#1")))
    for run in hand.claim(2):
        hand.exchange(ended=[ending(run)])
    assert (known, stands(store, parent, "child#1").settled) == (1, 2)
    assert not suspend(hand, again, seen=1)


def test_news_that_were_taken_and_not_heard(store: Store, hand: Hand, parent: Claimed) -> None:
    """Its worker lost the answer: the run must not be suspended over it. Fails with asking only for the mark."""
    write(store, waits_for(parent, child(parent, "child#1")))
    hand.exchange(ended=[ending(hand.claim_one())])
    assert list(store.run_sync(journal.take_news, hand.id)) == [parent.id]
    assert not suspend(hand, parent, seen=0)


@pytest.mark.parametrize("copies", [2, 3])
def test_items_that_lead_to_one_earlier_run(store: Store, hand: Hand, parent: Claimed, copies: int) -> None:
    """However many items have its key, it ends once. Fails with waiting for as many ends as there are items."""
    write(store, waits_for(parent, *(child(parent, "child#1", idempotency_key="same") for _ in range(copies))))
    assert suspend(hand, parent)
    hand.exchange(ended=[ending(hand.claim_one())])
    assert state(store, parent.id) == "ready"


def test_a_run_of_somebody_else_is_waited_for(store: Store, hand: Hand, parent: Claimed) -> None:
    """Two items lead to an earlier run, which is not a child: its end is told at once."""
    send(store, new(idempotency_key="same"))
    write(store, waits_for(parent, *(child(parent, "child#1", idempotency_key="same") for _ in range(2))))
    assert suspend(hand, parent)
    earlier = hand.claim_one()
    assert earlier.awaited
    hand.exchange(ended=[ending(earlier)])
    assert (state(store, parent.id), stands(store, parent, "child#1").state) == ("ready", "done")
    assert store.run_sync(journal.settle_others) == 0


def test_a_run_that_is_being_carried_out_is_waited_for(store: Store, hand: Hand, parent: Claimed) -> None:
    """Its worker is told that somebody waits; if it ends before that is heard, a sweep tells."""
    for heard in (True, False):
        send(store, new(idempotency_key=f"{heard}"))
        earlier = hand.claim_one()
        key = f"child#{heard}"
        write(store, waits_for(parent, child(parent, key, idempotency_key=f"{heard}"), key=key))
        assert store.run_sync(journal.take_news, hand.id) == {earlier.id: True}
        hand.exchange(ended=[ending(earlier._replace(awaited=heard))])
        assert stands(store, parent, key).state == ("done" if heard else "open")
        assert store.run_sync(journal.settle_others) == (not heard)
        assert stands(store, parent, key).state == "done"
        store.run_sync(journal.take_news, hand.id)


def test_a_run_that_has_ended_is_waited_for(store: Store, hand: Hand, parent: Claimed) -> None:
    """There is nothing to wait for. Its key is still its own."""
    send(store, new(idempotency_key="same"))
    hand.end(hand.claim_one())
    write(store, waits_for(parent, child(parent, "child#1", idempotency_key="same")))
    assert stands(store, parent, "child#1").state == "done"
    assert not suspend(hand, parent)


def test_two_who_wait_for_one_run(store: Store, hand: Hand) -> None:
    """A parent waits for its child, and somebody else for the same run: both are told."""
    send(store, new(), new())
    parent, other = hand.claim(2)
    write(store, waits_for(parent, child(parent, "child#1", idempotency_key="same")))
    below = hand.claim_one()
    write(store, waits_for(other, child(other, "child#1", idempotency_key="same")))
    assert suspend(hand, parent)
    assert suspend(hand, other)
    hand.exchange(ended=[ending(below)])
    assert {state(store, run.id) for run in (parent, other)} == {"ready"}


def test_two_sweeps_tell_an_end_once(database_url: str, store: Store, hand: Hand) -> None:
    """Fails with counting an end in each: the run went on before the other one that it waits for had ended."""
    with closing(storage.open(database_url)) as elsewhere:
        for n in range(15):
            keys = f"one {n}", f"other {n}"
            send(store, *(new(idempotency_key=key) for key in keys), new())
            claimed = {run.idempotency_key: run for run in hand.claim(3)}
            one, other, run = (claimed[key] for key in (*keys, None))
            write(store, waits_for(run, *(child(run, "child#1", idempotency_key=key) for key in keys)))
            assert suspend(hand, run)
            hand.end(one)  # it ended before its worker heard that somebody waits
            both(partial(store.run_sync, journal.settle_others), partial(elsewhere.run_sync, journal.settle_others))
            assert stands(store, run, "child#1").state == "open"
            hand.exchange(ended=[ending(other._replace(awaited=True))])
            assert stands(store, run, "child#1").state == "done"
            hand.end(hand.claim_one())


def test_entries_that_settle_together_are_numbered(store: Store, hand: Hand, parent: Claimed) -> None:
    one, two = child(parent, "a#1"), child(parent, "b#1")
    write(store, waits_for(parent, one, key="a#1"), waits_for(parent, two, key="b#1", seq=2))
    hand.exchange(ended=[ending(run) for run in hand.claim(2)])
    assert {stands(store, parent, key).state for key in ("a#1", "b#1")} == {"done"}


# -- tokens


def test_a_token_that_is_completed_before_it_is_waited_for(store: Store, parent: Claimed, hand: Hand) -> None:
    name = token(store)
    assert store.run_sync(tokens.complete, name, "7") == "completed"
    (answer,) = write(store, waits_on(parent, name))
    assert (answer.entry.state, answer.entry.result, answer.entry.settled) == ("done", "7", 1)


def test_a_token_is_completed_while_it_begins_to_be_waited_for(
    database_url: str, store: Store, parent: Claimed
) -> None:
    """Either the entry is settled when it is written, or the completion finds it."""
    with closing(storage.open(database_url)) as elsewhere:
        for n in range(1, 60):
            name = token(store)
            both(
                lambda n=n, name=name: write(store, waits_on(parent, name, f"wait#{n}")),
                lambda name=name: elsewhere.run_sync(tokens.complete, name, "7"),
            )
            assert stands(store, parent, f"wait#{n}").state == "done"


def test_a_token_that_nobody_completes_in_time(store: Store, clock: FrozenClock, hand: Hand, parent: Claimed) -> None:
    name = token(store, timeout_ms=1000)
    write(store, waits_on(parent, name))
    assert suspend(hand, parent)
    clock.advance("999ms")
    assert store.run_sync(due.go_on) == 0
    clock.advance("1ms")
    assert store.run_sync(tokens.complete, name, "7") == "expired"
    assert store.run_sync(due.go_on) == 1
    assert (stands(store, parent, "wait#1").state, state(store, parent.id)) == ("expired", "ready")


def test_a_time_limit_that_races_with_a_completion(
    database_url: str, store: Store, clock: FrozenClock, hand: Hand, parent: Claimed
) -> None:
    """One of them wins, and the token and the entry say the same."""
    with closing(storage.open(database_url, clock=clock)) as elsewhere:
        for n in range(1, 40):
            name = token(store, timeout_ms=1000)
            write(store, waits_on(parent, name, f"wait#{n}"))
            said: list[str] = []
            both(
                lambda: (clock.advance("1s"), store.run_sync(journal.expire, [parent.id])),
                lambda name=name, said=said: said.append(elsewhere.run_sync(tokens.complete, name, "7")),
            )
            store.run_sync(journal.expire, [parent.id])
            there = stands(store, parent, f"wait#{n}")
            assert there.state == ("done" if said == ["completed"] else "expired"), said


# -- cancels


def test_a_cancel_that_races_with_a_completion(database_url: str, store: Store, hand: Hand) -> None:
    """Whoever comes first wins; a parent is told either way."""
    with closing(storage.open(database_url)) as elsewhere:
        for _ in range(40):
            send(store, new())
            run = hand.claim_one()
            write(store, waits_for(run, child(run, "child#1")))
            assert suspend(hand, run)
            one = hand.claim_one()
            both(lambda one=one: hand.exchange(ended=[ending(one)]), lambda one=one: stop(elsewhere, one.id))
            assert status(store, one.id) == "completed"  # it was executing: the cancel was a wish
            assert state(store, run.id) == "ready"
            hand.end(hand.claim_one())


def test_a_cancel_of_one_that_waits_races_with_what_it_waits_for(database_url: str, store: Store, hand: Hand) -> None:
    """It is resumed once, and told that it is canceled. Fails with ending at once what had just been woken."""
    with closing(storage.open(database_url)) as elsewhere:
        for _ in range(40):
            send(store, new())
            run = hand.claim_one()
            name = token(store)
            write(store, waits_on(run, name))
            assert suspend(hand, run)
            both(
                lambda name=name: store.run_sync(tokens.complete, name, "7"),
                lambda run=run: stop(elsewhere, run.id),
            )
            again = hand.claim_one()
            assert (again.id, again.claim, again.canceling) == (run.id, 2, True)
            hand.end(again, status="canceled")


def test_a_run_that_was_woken_hears_of_its_cancel(store: Store, hand: Hand, parent: Claimed) -> None:
    """It is in the middle of an attempt, so its code is to end as it would have. After a retry it is not."""
    name = token(store)
    write(store, waits_on(parent, name))
    assert suspend(hand, parent)
    store.run_sync(tokens.complete, name, "7")
    assert stop(store, parent.id) == "requested"
    again = hand.claim_one()
    assert again.canceling
    hand.retry(again)
    assert stop(store, parent.id) == "canceled"


def test_a_cancel_reaches_all_below(store: Store, hand: Hand, parent: Claimed) -> None:
    write(store, waits_for(parent, child(parent, "child#1")))
    below = hand.claim_one()
    write(store, waits_for(below, child(below, "child#1"), key="child#1"))
    assert suspend(hand, parent)
    assert suspend(hand, below)
    (lowest,) = [run.id for run in hand.claim(5)]
    stop(store, parent.id)
    told = {run.id: run.canceling for run in hand.claim(5)}
    assert told == {parent.id: True, below.id: True}
    assert lowest in {run for run, _ in store.read_sync(claim.orders, hand.id).cancel}


# -- what is said twice, or too late


def test_an_entry_that_is_sent_twice(store: Store, hand: Hand, parent: Claimed) -> None:
    """The first answer was lost: the second is the same, and no run is made twice."""
    said = waits_for(parent, child(parent, "child#1"))
    first, second = write(store, said) + write(store, said)
    assert first.entry == second.entry
    assert len(hand.claim(5)) == 1
    done = entry(parent, "step#1", 2, result="1")
    assert [answer.entry.result for answer in write(store, done)] == ["1"]
    assert [answer.entry.result for answer in write(store, entry(parent, "step#1", 2, result="2"))] == ["1"]


def test_a_suspension_that_is_sent_twice(store: Store, hand: Hand, parent: Claimed) -> None:
    write(store, waits_for(parent, child(parent, "child#1")))
    assert suspend(hand, parent)
    assert not suspend(hand, parent)
    assert state(store, parent.id) == "waiting"


def test_what_has_lost_its_run_forgets_nothing(store: Store, hand: Hand, parent: Claimed) -> None:
    """A worker that was declared lost reports a failure. Fails with forgetting without the fence."""
    write(store, entry(parent, "step#1", state="failed", error="{}"))
    hand.give_back(parent)
    assert hand.claim_one().claim == 2
    late = Again(parent.id, parent.claim, 0, True, "failed", forget=("step#1",))
    assert hand.exchange(again=[(parent, late)]).lost == [(parent.id, 1)]
    assert keys(store, parent) == ["step#1"]


def test_a_failure_that_ends_an_attempt_is_forgotten(store: Store, hand: Hand, parent: Claimed) -> None:
    write(store, entry(parent, "a#1", result="1"), entry(parent, "b#1", 2, state="failed", error="{}"))
    hand.exchange(again=[(parent, Again(parent.id, parent.claim, 0, True, "failed", forget=("b#1",)))])
    assert keys(store, parent) == ["a#1"]


# -- suspects, lanes


def test_a_new_entry_clears_suspicion(store: Store, hand: Hand, parent: Claimed) -> None:
    """Who gets on is not what killed its process. Fails with leaving the mark."""
    write(store, entry(parent, "a#1", result="1"))
    hand.gone()
    next_hand = Hand(store)
    store.run_sync(reap.sweep)
    (again,) = next_hand.claim_suspects()
    assert again.suspect
    with pytest.raises(Exception, match="no longer holds"):
        write(store, entry(parent, "b#1", 2))
    write(store, entry(again, "a#1"))  # nothing new
    next_hand.give_back(again)
    (again,) = next_hand.claim_suspects()
    write(store, entry(again, "b#1", 2))
    next_hand.give_back(again)
    assert not next_hand.claim_one().suspect


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_workers_whose_children_and_parents_cross(
    database_url: str, store: Store, hand: Hand, order: tuple[int, int]
) -> None:
    """Each ends a child of a run that the other one suspends: neither waits for ever."""
    with closing(storage.open(database_url)) as elsewhere:
        hands = (hand, Hand(elsewhere))
        for _ in range(25):
            parents, children = [], []
            for which in hands:
                send(store, new())
                parents.append(which.claim_one())
            for which, run in zip(reversed(hands), parents, strict=True):
                write(store, waits_for(run, child(run, "child#1")))
                children.append(which.claim_one())
            said = [
                partial(
                    hands[i].exchange,
                    ended=[ending(children[1 - i])],
                    waits=[Suspension(parents[i].id, parents[i].claim, 0)],
                )
                for i in order
            ]
            both(*said)
            for which, run in zip(hands, parents, strict=True):
                if state(store, run.id) == "ready":
                    (run,) = which.claim(1)
                which.end(run)
