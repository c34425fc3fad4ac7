"""One key of a task stands for one run: whoever comes later is told which. A run that failed gives its key back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import reap, trigger
from holdfast.records import Triggered
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, send, stop


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, tasks=("greet", "part"))


def test_the_second_is_told_of_the_first(store: Store) -> None:
    first, second = new(idempotency_key="k"), new(idempotency_key="k")
    assert store.run_sync(trigger.trigger, [first]) == [Triggered(first.id, created=True)]
    assert store.run_sync(trigger.trigger, [second]) == [Triggered(first.id, created=False)]
    assert len(Hand(store).claim()) == 1


def test_within_a_batch_the_first_one_wins(store: Store) -> None:
    runs = [new(idempotency_key="k"), new(), new(idempotency_key="k"), new(idempotency_key="other")]
    a, b, c, d = send(store, *runs)
    assert (a, b, c, d) == (runs[0].id, runs[1].id, runs[0].id, runs[3].id)
    assert len(Hand(store).claim()) == 3


def test_the_same_key_of_another_task_is_another_key(store: Store) -> None:
    one, other = send(store, new(idempotency_key="k"), new("part", idempotency_key="k"))
    assert one != other


def test_a_run_that_is_sent_twice_still_has_its_key(store: Store) -> None:
    run = new(idempotency_key="k")
    assert store.run_sync(trigger.trigger, [run]) == store.run_sync(trigger.trigger, [run])
    assert store.run_sync(trigger.trigger, [run]) == [Triggered(run.id, created=True)]


def test_a_key_is_free_again_when_its_time_is_over(store: Store, clock: FrozenClock) -> None:
    (first,) = send(store, new(idempotency_key="k", idempotency_ttl_ms=60_000))
    clock.advance("59s")
    assert send(store, new(idempotency_key="k", idempotency_ttl_ms=60_000)) == [first]
    clock.advance("1s")
    (second,) = send(store, new(idempotency_key="k", idempotency_ttl_ms=60_000))
    assert second != first
    clock.advance("30s")  # the time of the second counts from the second
    assert send(store, new(idempotency_key="k")) == [second]


def test_a_key_without_a_time_holds_for_good(store: Store, clock: FrozenClock) -> None:
    (first,) = send(store, new(idempotency_key="k"))
    clock.advance("365d")
    store.run_sync(reap.tidy, 0)
    assert send(store, new(idempotency_key="k")) == [first]


@pytest.mark.parametrize("status", ["completed", "canceled"])
def test_a_run_that_did_its_work_or_was_told_not_to_keeps_its_key(store: Store, status: str) -> None:
    hand = Hand(store)
    (run,) = send(store, new(idempotency_key="k"))
    hand.end(hand.claim_one(), status=status)
    assert send(store, new(idempotency_key="k")) == [run]


@pytest.mark.parametrize("status", ["failed", "timed_out", "system_failure"])
def test_a_run_that_failed_gives_its_key_back(store: Store, status: str) -> None:
    hand = Hand(store)
    (run,) = send(store, new(idempotency_key="k"))
    hand.end(hand.claim_one(), status=status)
    assert send(store, new(idempotency_key="k")) != [run]


def test_a_run_that_expired_gives_its_key_back(store: Store, clock: FrozenClock) -> None:
    (run,) = send(store, new(idempotency_key="k", ttl_ms=1_000))
    clock.advance("1s")
    assert store.run_sync(reap.sweep).expired == [run]
    assert send(store, new(idempotency_key="k")) != [run]


def test_a_run_that_was_canceled_before_it_started_keeps_its_key(store: Store) -> None:
    (run,) = send(store, new(idempotency_key="k"))
    assert stop(store, run) == "canceled"
    assert send(store, new(idempotency_key="k")) == [run]


def test_a_run_that_is_retried_keeps_its_key(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new(idempotency_key="k"))
    hand.retry(hand.claim_one(), delay_ms=1_000)
    assert send(store, new(idempotency_key="k")) == [run]


def test_a_run_that_failed_leaves_a_key_that_is_somebody_elses_by_now(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    send(store, new(idempotency_key="k", idempotency_ttl_ms=1_000))
    claimed = hand.claim_one()
    clock.advance("1s")
    (second,) = send(store, new(idempotency_key="k"))
    hand.end(claimed, status="failed")
    assert send(store, new(idempotency_key="k")) == [second]


def test_keys_whose_time_is_over_are_tidied_away(store: Store, clock: FrozenClock) -> None:
    (first,) = send(store, new(idempotency_key="k", idempotency_ttl_ms=1_000))
    clock.advance("1s")
    store.run_sync(reap.tidy, 1_000_000)
    assert send(store, new(idempotency_key="k")) != [first]


def test_of_many_at_once_one_makes_the_run_and_all_are_told_which(store: Store) -> None:
    def caller(n: int) -> list[Triggered]:
        keys = [f"key {(n + shift) % 10}" for shift in range(10)]  # each caller in an order of its own
        return [store.gather(trigger.trigger, new(idempotency_key=key)).result(30) for key in keys]

    with ThreadPoolExecutor(8) as pool:
        told = [one for many in pool.map(caller, range(8)) for one in many]
    assert len({one.id for one in told}) == 10
    assert len([one for one in told if one.created]) == 10
    assert len(Hand(store).claim()) == 10
