"""A batch shares no fate: of five hundred, the one that cannot be stored is told, and the others are done."""

from __future__ import annotations

import pytest

from holdfast.engine import trigger
from holdfast.errors import HoldfastError
from holdfast.records import Claimed, Ended
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, status, statuses

LONE = "a lone \ud800 surrogate, which is no text"


@pytest.mark.parametrize("where", ["payload", "concurrency_key", "idempotency_key", "metadata"])
def test_only_the_item_that_cannot_be_stored_is_told(store: Store, where: str) -> None:
    know(store)
    runs = [new(idempotency_key=f"key {n}" if n % 3 == 0 else None) for n in range(499)]
    bad = new(**{where: LONE})
    futures = [store.gather(trigger.trigger, run) for run in [*runs[:200], bad, *runs[200:]]]
    assert futures.pop(200).exception(30) is not None
    assert [future.result(30).id for future in futures] == [run.id for run in runs]
    assert statuses(store, [run.id for run in runs]) == ["queued"] * 499


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_nul_that_only_postgres_cannot_store_is_told_too(store: Store) -> None:
    know(store)
    runs = [new() for _ in range(100)]
    bad = new(concurrency_key="a\x00b")
    futures = [store.gather(trigger.trigger, run) for run in [*runs[:50], bad, *runs[50:]]]
    assert isinstance(futures.pop(50).exception(30), HoldfastError)
    assert [future.result(30).id for future in futures] == [run.id for run in runs]


def test_a_run_that_cannot_be_stored_leaves_nothing_behind(store: Store) -> None:
    know(store)
    key = "k"
    with pytest.raises(Exception, match="surrogate"):
        store.run_sync(trigger.trigger, [new(idempotency_key=key, tags='["x"]', metadata=LONE)])
    good = new(idempotency_key=key)
    assert store.gather(trigger.trigger, good).result(30).id == good.id


def test_the_outcome_of_a_neighbour_is_not_lost_with_one_that_cannot_be_stored(store: Store) -> None:
    know(store)
    made = [store.gather(trigger.trigger, new()).result(30).id for _ in range(3)]
    hand = Hand(store)
    one, two, three = sorted(hand.claim(), key=lambda run: run.id)
    with pytest.raises(Exception, match="surrogate"):
        hand.exchange(ended=[ended(one), ended(two, LONE), ended(three)])
    assert (
        statuses(store, made) == ["executing"] * 3
    )  # nothing of the report was done: it can be said again, one by one
    assert hand.end(one) == hand.end(three) == []
    assert (status(store, made[0]), status(store, made[1])) == ("completed", "executing")


def ended(run: Claimed, output: str = "null") -> Ended:
    return Ended(run.id, run.claim, "completed", output)
