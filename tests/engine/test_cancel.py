"""Cancel: at once where no attempt holds the run, a request where one does; a completion that comes first wins."""

from __future__ import annotations

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import cancel, claim, due, reap, replay
from holdfast.storage import Store
from tests.engine.making import Hand, know, look, new, promote, queue, send, state, status, stop


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, queue("one", 1))


@pytest.mark.parametrize("made", [{}, {"delay_ms": 1_000}, {"queue": "one"}], ids=["ready", "delayed", "held"])
def test_a_run_that_no_attempt_holds_is_canceled_at_once(
    store: Store, clock: FrozenClock, made: dict[str, int]
) -> None:
    (run,) = send(store, new(**made))
    clock.advance("5ms")
    assert stop(store, run) == "canceled"
    record = look(store, run)
    assert (record.status, record.finished_at, record.output, record.error) == ("canceled", clock.now(), None, None)
    clock.advance("1h")
    assert (store.run_sync(due.go_on), promote(store), Hand(store).claim()) == (0, 0, [])


def test_a_run_that_is_to_be_retried_is_canceled_at_once(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.retry(hand.claim_one(), delay_ms=1_000)
    assert stop(store, run) == "canceled"
    assert status(store, run) == "canceled"


def test_a_run_that_executes_is_asked(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    claimed = hand.claim_one()
    assert stop(store, run) == "requested"
    assert (status(store, run), look(store, run).cancel_at) == ("executing", clock.now())
    assert store.read_sync(claim.orders, hand.id).cancel == [(run, claimed.claim)]
    assert hand.end(claimed, status="canceled") == []
    assert status(store, run) == "canceled"


def test_asking_twice_changes_nothing(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim_one()
    stop(store, run)
    asked_at = look(store, run).cancel_at
    clock.advance("1s")
    assert stop(store, run) == "requested"
    assert look(store, run).cancel_at == asked_at


def test_a_completion_that_comes_first_wins(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    claimed = hand.claim_one()
    stop(store, run)
    assert hand.end(claimed, output='"done"') == []
    assert (look(store, run).status, look(store, run).output) == ("completed", '"done"')


def test_the_slot_of_a_run_that_was_asked_is_free_only_when_it_has_ended(store: Store) -> None:
    hand = Hand(store)
    first, second = send(store, new(queue="one"), new(queue="one"))
    promote(store)
    claimed = hand.claim_one()
    stop(store, first)
    assert (promote(store), state(store, second)) == (0, "held")
    hand.end(claimed, status="canceled")
    assert (promote(store), state(store, second)) == (1, "ready")


@pytest.mark.parametrize("again", ["retry", "give_back"])
def test_what_was_asked_to_stop_and_put_back_in_line_ends_with_the_next_sweep(store: Store, again: str) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    claimed = hand.claim_one()
    stop(store, run)
    getattr(hand, again)(claimed)
    assert hand.claim() == []
    assert store.run_sync(reap.sweep).canceled == [run]
    assert status(store, run) == "canceled"


def test_what_was_asked_to_stop_and_backs_off_ends_with_the_next_sweep(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    claimed = hand.claim_one()
    stop(store, run)
    hand.retry(claimed, delay_ms=60_000)
    assert store.run_sync(reap.sweep).canceled == [run]


def test_a_run_that_was_asked_and_lost_its_worker_is_canceled(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim_one()
    stop(store, run)
    hand.gone()
    swept = store.run_sync(reap.sweep)
    assert (swept.canceled, swept.recovered) == ([run], [])
    assert status(store, run) == "canceled"


def test_what_is_final_or_unknown_is_called_that(store: Store) -> None:
    hand = Hand(store)
    done, waiting = send(store, new(), new(delay_ms=1))
    hand.end(hand.claim_one())
    told = store.run_sync(cancel.cancel, [done, "nobody", waiting, done, waiting])
    assert told == {done: "final", "nobody": "unknown", waiting: "canceled"}
    assert stop(store, waiting) == "final"
    assert store.run_sync(cancel.cancel, []) == {}


def test_hundreds_are_canceled_in_one_call(store: Store) -> None:
    hand = Hand(store)
    made = send(store, *(new() for _ in range(500)))
    hand.claim(100)
    told = store.run_sync(cancel.cancel, made)
    assert list(told.values()).count("requested") == 100
    assert list(told.values()).count("canceled") == 400


def test_canceled_runs_of_other_workers_are_not_ones_orders(store: Store) -> None:
    one, other = Hand(store), Hand(store)
    (run,) = send(store, new())
    one.claim_one()
    stop(store, run)
    assert store.read_sync(claim.orders, other.id).cancel == []


# once more


def test_a_copy_repeats_what_was_asked_and_not_when_or_under_which_key(store: Store) -> None:
    said = {"payload": "[1]", "tags": '["x"]', "options": '{"max_attempts":5}', "metadata": "{}", "version": None}
    (run,) = send(
        store,
        new(queue="one", concurrency_key="ada", priority_ms=7, idempotency_key="k", delay_ms=1_000, ttl_ms=5, **said),
    )
    (copy,) = store.read_sync(replay.copies, [run]).values()
    assert {name: getattr(copy, name) for name in said} == said
    assert (copy.task, copy.queue, copy.concurrency_key, copy.priority_ms) == ("greet", "one", "ada", 7)
    assert (copy.idempotency_key, copy.delay_ms, copy.due_at, copy.ttl_ms, copy.batch_id) == (
        None,
        None,
        None,
        None,
        None,
    )
    (again,) = send(store, copy)
    assert again != run
    assert state(store, again) == "held"


def test_a_run_that_is_unknown_has_no_copy(store: Store) -> None:
    (run,) = send(store, new())
    assert len(store.read_sync(replay.copies, ["nobody", run])) == 1
