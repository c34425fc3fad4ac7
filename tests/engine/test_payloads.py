"""Payloads and outputs come back exactly: big ones, and the characters that databases do not like."""

from __future__ import annotations

import json

import pytest

from holdfast.engine import claim, replay
from holdfast.storage import Store
from tests.engine.making import Hand, know, look, new, send

BIG = json.dumps("x" * 50_000)
ODD = json.dumps({"nul": "a\x00b", "lone": "\ud800", "emoji": "🐚", "huge": 10**100, "quote": "'\"\\", "key\x00": None})


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store)


@pytest.mark.parametrize("text", ["null", "0", '""', "[]", ODD, BIG, json.dumps("ü" * 5_000, ensure_ascii=False)])
def test_a_payload_comes_back_exactly(store: Store, text: str) -> None:
    (run,) = send(store, new(payload=text))
    assert look(store, run).payload == text
    hand = Hand(store)
    claimed = hand.claim_one()
    assert (claimed.payload or store.read_sync(claim.payloads, [run])[run]) == text
    hand.end(claimed)
    assert look(store, run).payload == text


@pytest.mark.parametrize("text", ["null", "0", '""', "[]", ODD, BIG])
def test_an_output_comes_back_exactly(store: Store, text: str) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.end(hand.claim_one(), output=text)
    assert look(store, run).output == text


def test_a_big_payload_does_not_ride_along_with_a_claim(store: Store) -> None:
    small, big = send(store, new(), new(payload=BIG))
    assert {run.id: run.payload for run in Hand(store).claim()} == {small: '"Ada"', big: None}
    assert store.read_sync(claim.payloads, [small, big]) == {big: BIG}


def test_big_and_small_outputs_go_together(store: Store) -> None:
    hand = Hand(store)
    one, two, three = send(store, new(), new(), new())
    claimed = {run.id: run for run in hand.claim()}
    hand.end(claimed[one], output=BIG)
    hand.end(claimed[two], claimed[three], output="1")
    assert [look(store, run).output for run in (one, two, three)] == [BIG, "1", "1"]


def test_a_run_without_an_output_has_none(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.end(hand.claim_one(), output=None)
    assert look(store, run).output is None


def test_a_failed_run_has_its_error_and_no_output(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    error = json.dumps({"type": "ValueError", "message": "a\x00b \ud800"})
    hand.end(hand.claim_one(), status="failed", error=error)
    record = look(store, run)
    assert (record.status, record.error, record.output) == ("failed", error, None)


def test_what_repeats_a_run_has_its_payload_whatever_its_size(store: Store) -> None:
    small, big = send(store, new(payload='"small"', tags='["x"]', priority_ms=5), new(payload=BIG))
    copies = store.read_sync(replay.copies, [big, small, "unknown"]).values()
    assert [(one.payload, one.tags, one.priority_ms) for one in copies] == [(BIG, None, 0), ('"small"', '["x"]', 5)]
    made = send(store, *copies)
    assert made[0] not in (small, big)
    assert look(store, made[0]).payload == BIG
