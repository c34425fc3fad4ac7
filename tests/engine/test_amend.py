"""Runs are changed from outside: when they start, their tags, their metadata."""

from __future__ import annotations

import json

import pytest

from holdfast import views
from holdfast.clock import FrozenClock
from holdfast.engine import amend, due
from holdfast.storage import Store
from holdfast.views import Filter
from tests.engine.making import Hand, know, look, new, send


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store)


def test_a_delayed_run_starts_at_another_time(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store, "greet")
    (late,) = send(store, new(delay_ms=3_600_000, ttl_ms=60_000))
    assert store.run_sync(amend.reschedule, late, delay_ms=10_000) == "rescheduled"
    assert (look(store, late).due_at, look(store, late).expire_at) == (clock.now() + 10_000, clock.now() + 70_000)
    assert hand.claim(1) == []
    clock.advance("10s")
    store.run_sync(due.go_on)
    assert [each.id for each in hand.claim(1)] == [late]
    assert store.run_sync(amend.reschedule, late, delay_ms=10_000) == "too_late"


def test_a_time_that_is_over_is_now(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store, "greet")
    (late,) = send(store, new(delay_ms=3_600_000))
    assert store.run_sync(amend.reschedule, late, due_at=clock.now() - 5) == "rescheduled"
    store.run_sync(due.go_on)
    assert [each.id for each in hand.claim(1)] == [late]


def test_only_what_is_delayed_and_there_is_rescheduled(store: Store) -> None:
    Hand(store, "greet")
    (ready,) = send(store, new())
    assert store.run_sync(amend.reschedule, ready, delay_ms=10_000) == "too_late"
    assert store.run_sync(amend.reschedule, "nothere", delay_ms=10_000) == "too_late"


def test_tags_are_added_before_and_after_the_end(store: Store) -> None:
    hand = Hand(store, "greet")
    (made,) = send(store, new(tags='["a"]'))
    assert store.run_sync(amend.add_tags, made, ["b", "a"], most=3) == ["a", "b"]
    hand.end(hand.claim_one())
    assert store.run_sync(amend.add_tags, made, ["c"], most=3) == ["a", "b", "c"]
    assert store.run_sync(amend.add_tags, made, ["d"], most=3) == ["a", "b", "c", "d"]
    assert json.loads(look(store, made).tags or "") == ["a", "b", "c"]
    for tag, found in (("a", [made]), ("b", [made]), ("c", [made]), ("d", [])):
        assert [each.id for each in store.read_sync(views.page, Filter(tags=(tag,))).runs] == found
    assert store.run_sync(amend.add_tags, "nothere", ["a"], most=3) is None


def test_metadata_is_changed_before_and_after_the_end(store: Store) -> None:
    hand = Hand(store, "greet")
    made, other = send(store, new(metadata='{"n":1}'), new())
    changes = {made: lambda there: there | {"n": there["n"] + 1}, other: lambda _: {"new": True}}
    assert store.run_sync(amend.change_metadata, changes) == {made: {"n": 2}, other: {"new": True}}
    hand.end(hand.claim_one())
    changes = {made: lambda there: there | {"n": there["n"] + 1}, "nothere": lambda there: there}
    assert store.run_sync(amend.change_metadata, changes) == {made: {"n": 3}}
    assert json.loads(look(store, made).metadata or "") == {"n": 3}


def test_a_change_that_fails_changes_nothing(store: Store) -> None:
    Hand(store, "greet")
    first, second = send(store, new(metadata='{"n":1}'), new())
    changes = {first: lambda _: {"n": 2}, second: lambda there: {"n": there["n"]}}
    with pytest.raises(KeyError):
        store.run_sync(amend.change_metadata, changes)
    assert json.loads(look(store, first).metadata or "") == {"n": 1}
