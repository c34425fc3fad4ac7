"""Many runs are changed step by step, whoever makes the steps."""

from __future__ import annotations

import pytest

from holdfast.engine import bulk_actions, packets
from holdfast.engine.bulk_actions import BulkRecord
from holdfast.ids import new_id
from holdfast.storage import Store
from holdfast.upkeep import Upkeep
from tests.engine.making import Hand, know, new, send, statuses


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store)


def made(store: Store, kind: str, ids: list[str]) -> str:
    action = new_id()
    store.run_sync(bulk_actions.create, action, kind, None, ids)
    return action


def look(store: Store, action: str) -> BulkRecord:
    found = store.read_sync(bulk_actions.retrieve, action)
    assert found is not None
    return found


def test_each_step_says_how_far_it_has_come(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "STEP", 2)
    ids = send(store, *[new() for _ in range(3)])
    action = made(store, "cancel", [*ids, "gone"])
    assert store.run_sync(bulk_actions.step, action)
    assert statuses(store, ids) == ["canceled", "canceled", "queued"]
    assert (look(store, action).state, look(store, action).success) == ("pending", 2)
    assert not store.run_sync(bulk_actions.step, action)
    assert statuses(store, ids) == ["canceled"] * 3
    assert look(store, action)[2:7] == ("completed", None, 4, 3, 1)
    assert not store.run_sync(bulk_actions.step, action)


def test_upkeep_goes_on_with_what_nobody_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "STEP", 2)
    ids = send(store, *[new() for _ in range(6)])
    first, second = made(store, "cancel", ids[:5]), made(store, "cancel", ids[5:])
    store.run_sync(bulk_actions.step, first)  # then its server is gone
    Upkeep(store).go_on()
    assert statuses(store, ids) == ["canceled"] * 6
    assert look(store, first)[2:7] == ("completed", None, 5, 5, 0)
    assert look(store, second)[2:7] == ("completed", None, 1, 1, 0)
    assert not store.run_sync(bulk_actions.go_on)


def test_one_that_is_aborted_goes_no_further(store: Store) -> None:
    ids = send(store, new())
    action = made(store, "cancel", ids)
    store.run_sync(bulk_actions.abort, action)
    assert not store.run_sync(bulk_actions.step, action)
    assert (statuses(store, ids), look(store, action).state) == (["queued"], "aborted")


def test_a_replay_makes_a_batch(store: Store) -> None:
    hand = Hand(store, "greet")
    ids = send(store, new())
    hand.end(hand.claim_one())
    action = made(store, "replay", ids)
    store.run_sync(bulk_actions.step, action)
    assert hand.claim_one().batch_id == action


def test_nothing_is_done_at_once(store: Store) -> None:
    assert look(store, made(store, "cancel", [])).state == "completed"


def test_a_packet_is_kept_until_it_is_forgotten(store: Store) -> None:
    store.run_sync(packets.put, "a", "text/plain", "first")
    store.run_sync(packets.put, "a", "text/plain", "second")
    assert store.read_sync(packets.read, "a") == ("text/plain", "second")
    assert store.run_sync(packets.forget, 1_000) == 0
    assert store.run_sync(packets.forget, -1) == 1
    assert store.read_sync(packets.read, "a") is None
