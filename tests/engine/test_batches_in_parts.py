"""Batches whose items come after them: each is made once, whoever sends it how often."""

from __future__ import annotations

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import batches, read
from holdfast.engine.batches import Item
from holdfast.ids import new_id
from holdfast.storage import Store
from tests.engine.making import Hand, know, new

DAY = 86_400_000


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store)


def opened(store: Store, count: int, key: str | None = None) -> str:
    return store.run_sync(batches.open_batch, new_id(), count, key, DAY)[0].id


def item(place: int, batch_id: str, **given: str) -> Item:
    return Item(place, "greet", new(batch_id=batch_id, **given))


def test_what_was_there_is_not_made_again(store: Store) -> None:
    made = opened(store, 3)
    first = store.run_sync(batches.add, made, [item(0, made), item(1, made)])
    again = store.run_sync(batches.add, made, [item(0, made), item(1, made), item(2, made)])
    late = store.run_sync(batches.add, made, [item(1, made)])
    assert first is not None
    assert again is not None
    assert late is not None
    assert [(each.accepted, each.known, each.sealed) for each in (first, again, late)] == [
        (2, 0, False),
        (1, 2, True),
        (0, 1, True),
    ]
    runs = [each.run_id for each in store.read_sync(batches.received, made)]
    assert store.read_sync(read.batch, made) == sorted(filter(None, runs))
    assert len(runs) == 3


def test_an_item_that_finished_is_known_all_the_same(store: Store) -> None:
    hand = Hand(store, "greet")
    made = opened(store, 2)
    store.run_sync(batches.add, made, [item(0, made)])
    hand.end(hand.claim_one())
    again = store.run_sync(batches.add, made, [item(0, made)])
    assert again is not None
    assert (again.accepted, again.known, again.sealed) == (0, 1, False)
    assert hand.claim(1) == []


def test_an_item_may_lead_to_an_earlier_run_or_to_none(store: Store) -> None:
    made = opened(store, 3)
    items = [item(0, made, idempotency_key="k"), item(1, made, idempotency_key="k"), Item(2, "greet", None, "no")]
    store.run_sync(batches.add, made, items)
    first, second, third = store.read_sync(batches.received, made)
    assert first.run_id == second.run_id is not None
    assert (third.run_id, third.error) == (None, "no")


def test_a_key_gives_the_same_batch_for_as_long_as_it_counts(store: Store, clock: FrozenClock) -> None:
    first, again = opened(store, 1, "k"), opened(store, 1, "k")
    clock.advance("1d")
    assert first == again != opened(store, 1, "k")


def test_batches_are_forgotten(store: Store, clock: FrozenClock) -> None:
    made = opened(store, 1)
    store.run_sync(batches.add, made, [item(0, made)])
    clock.advance("2d")
    assert store.run_sync(batches.forget, DAY) == 1
    assert store.read_sync(batches.retrieve, made) is None
    assert store.run_sync(batches.add, made, [item(0, made)]) is None
