"""What ended long ago is forgotten, with all that is kept about it; what has not ended never is."""

from __future__ import annotations

import json

import pytest

from holdfast import views
from holdfast.clock import FrozenClock
from holdfast.engine import read, reap, workers
from holdfast.engine.workers import Serving
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, said, send, status

DAY = 24 * 3600 * 1000
BIG = json.dumps("x" * 20_000)


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store)


def rows(store: Store, statement: str, **parameters: object) -> int:
    return len(store.read_sync(lambda tx: tx.rows(statement, **parameters)))


def test_what_ended_longer_ago_is_forgotten_and_the_rest_is_not(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    old, young, waiting = send(store, new(), new(), new(delay_ms=100 * DAY))
    claimed = {run.id: run for run in hand.claim()}
    hand.end(claimed[old])
    clock.advance("20d")
    hand.end(claimed[young])
    clock.advance("11d")
    assert store.run_sync(reap.prune, 30 * DAY) == 1
    assert store.read_sync(read.run, old) is None
    assert (status(store, young), status(store, waiting)) == ("completed", "delayed")


def test_a_run_is_kept_by_its_end_and_not_by_its_beginning(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    claimed = hand.claim_one()
    clock.advance("90d")
    hand.end(claimed)
    assert store.run_sync(reap.prune, 30 * DAY) == 0
    assert status(store, run) == "completed"


def test_nothing_of_it_remains(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new(payload=BIG, tags='["x"]', idempotency_key="k", batch_id="b"))
    hand.retry(hand.claim_one())
    claimed = hand.claim_one()
    hand.say(claimed, "hello")
    hand.end(claimed, output=BIG)
    clock.advance("31d")
    assert store.run_sync(reap.prune, 30 * DAY) == 1
    assert said(store, run) == []
    assert rows(store, "attempts", run_id=run) == 0
    assert rows(store, "fill_blob", ids=[run], name="payload") == 0
    assert rows(store, "fill_blob", ids=[run], name="output") == 0
    assert store.read_sync(read.batch, "b") == []
    assert send(store, new(idempotency_key="k")) != [run]


def test_the_key_of_a_younger_run_is_not_forgotten_with_an_older_one(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    send(store, new(idempotency_key="k", idempotency_ttl_ms=1_000))
    hand.end(hand.claim_one())
    clock.advance("20d")
    (second,) = send(store, new(idempotency_key="k"))
    clock.advance("11d")
    assert store.run_sync(reap.prune, 30 * DAY) == 1
    assert send(store, new(idempotency_key="k")) == [second]


def test_many_are_forgotten_in_steps_the_oldest_first(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    ended = []
    for _ in range(5):
        made = send(store, new(), new())
        hand.end(*hand.claim())
        ended += made
        clock.advance("1s")
    clock.advance("1d")
    assert store.run_sync(reap.prune, DAY, 4) == 4
    assert [store.read_sync(read.run, run) is None for run in ended] == [True] * 4 + [False] * 6
    assert [store.run_sync(reap.prune, DAY, 4) for _ in range(3)] == [4, 2, 0]


def test_workers_that_ended_long_ago_are_forgotten_and_the_living_are_not(store: Store, clock: FrozenClock) -> None:
    gone, live = Hand(store), Hand(store)
    gone.gone()
    clock.advance("1d")
    recently = Hand(store)
    recently.gone()
    store.run_sync(reap.tidy, DAY // 2)
    known = [each.id for each in store.read_sync(views.workers, ended=10)]
    assert sorted(known) == sorted([live.id, recently.id])
    assert store.read_sync(workers.served) == [Serving("greet")]
