"""Back in line: a retry counts and waits its turn; a run that is handed back keeps its place and its attempt."""

from __future__ import annotations

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine.due import go_on
from holdfast.records import Again, Ended
from holdfast.storage import Store
from tests.engine.making import Hand, ids, know, look, new, promote, queue, send, state, status


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, queue("slow", 1))


def due(store: Store) -> int:
    return store.run_sync(go_on)


def attempts(store: Store, run: str) -> list[tuple[object, ...]]:
    return store.read_sync(lambda tx: tx.rows("attempts", run_id=run))


def test_a_retry_is_the_next_attempt(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    assert hand.retry(hand.claim_one()) == []
    assert look(store, run).attempts == 2
    assert hand.claim_one().attempt == 2


def test_what_became_of_an_attempt_is_kept(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    first = hand.claim_one()
    clock.advance("3s")
    hand.retry(first, error='{"type":"Oops"}')
    hand.give_back(hand.claim_one())
    hand.end(hand.claim_one())
    first_row, (claim2, number2, *_, outcome2, error2, _) = attempts(store, run)
    claim1, number1, worker1, started, finished, outcome1, error1, _ = first_row
    assert (claim1, number1, worker1, outcome1, error1) == (1, 1, hand.id, "failed", '{"type":"Oops"}')
    assert (int(str(finished)) - int(str(started))) == 3_000
    assert (claim2, number2, outcome2, error2) == (2, 2, "returned", None)


def test_a_run_that_needed_one_attempt_has_no_record_of_attempts(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.end(hand.claim_one())
    assert attempts(store, run) == []


def test_a_retry_that_backs_off_is_delayed_until_it_is_due(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.retry(hand.claim_one(), delay_ms=5_000)
    assert (status(store, run), look(store, run).due_at) == ("delayed", clock.now() + 5_000)
    assert (hand.claim(), due(store)) == ([], 0)
    assert hand.exchange().due_in_ms == 5_000
    clock.advance("5s")
    assert (due(store), due(store)) == (1, 0)
    assert ids(hand.claim()) == [run]
    assert look(store, run).due_at is None


def test_a_retry_goes_to_the_end_of_the_line_and_a_hand_back_keeps_its_place(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    retried, returned = send(store, new(), new())
    one, other = sorted(hand.claim(), key=lambda run: run.id)
    clock.advance("1s")
    (third,) = send(store, new())
    clock.advance("1s")
    hand.retry(one)
    hand.give_back(other)
    assert [hand.claim_one().id for _ in range(3)] == [returned, third, retried]


def test_a_hand_back_costs_no_attempt(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.give_back(hand.claim_one())
    assert look(store, run).attempts == 1
    assert hand.claim_one().attempt == 1


def test_a_retry_frees_its_slot_and_a_hand_back_keeps_it(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    first, second = send(store, new(queue="slow"), new(queue="slow"))
    promote(store)
    claimed = hand.claim_one()
    hand.give_back(claimed)
    assert (promote(store), state(store, first), state(store, second)) == (0, "ready", "held")
    clock.advance("1s")
    hand.retry(hand.claim_one())
    assert (state(store, first), promote(store)) == ("held", 1)
    assert (state(store, first), state(store, second)) == ("held", "ready")


def test_what_backs_off_holds_no_slot(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    first, second = send(store, new(queue="slow"), new(queue="slow"))
    promote(store)
    hand.retry(hand.claim_one(), delay_ms=5_000)
    assert (promote(store), ids(hand.claim())) == (1, [second])
    clock.advance("5s")
    assert due(store) == 1
    assert (state(store, first), promote(store)) == ("held", 0)


def test_metadata_goes_along_with_a_retry(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new(metadata='{"n":0}'))
    hand.retry(hand.claim_one(), metadata='{"n":1}')
    assert look(store, run).metadata == '{"n":1}'
    hand.retry(hand.claim_one())
    assert hand.claim_one().metadata == '{"n":1}'


def test_what_is_due_becomes_so_in_the_order_of_its_time(store: Store, clock: FrozenClock) -> None:
    late, soon, later = send(store, new(delay_ms=20), new(delay_ms=10), new(delay_ms=1_000))
    clock.advance("30ms")
    assert store.run_sync(go_on, 1) == 1
    assert (status(store, soon), status(store, late)) == ("queued", "delayed")
    assert store.run_sync(go_on, 10) == 1
    assert (status(store, late), status(store, later)) == ("queued", "delayed")


def test_what_was_due_long_ago_goes_before_what_was_triggered_since(store: Store, clock: FrozenClock) -> None:
    (waited,) = send(store, new(delay_ms=1_000))
    clock.advance("2s")
    send(store, new())
    due(store)
    assert Hand(store).claim_one().id == waited


def test_many_outcomes_of_all_kinds_go_in_one_report(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    made = send(store, *(new() for _ in range(30)))
    claimed = sorted(hand.claim(), key=lambda run: run.id)
    answer = hand.exchange(
        ended=[Ended(run.id, run.claim, "completed", "1") for run in claimed[:10]],
        again=[(run, Again(run.id, run.claim, 1_000, True)) for run in claimed[10:20]]
        + [(run, Again(run.id, run.claim, 0, False)) for run in claimed[20:]],
    )
    assert answer.lost == []
    shown = [status(store, run) for run in made]
    assert shown == ["completed"] * 10 + ["delayed"] * 10 + ["queued"] * 10
