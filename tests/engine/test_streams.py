"""Streams: pieces in order, each once, fenced, kept with the run and forgotten with it."""

from __future__ import annotations

import json

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import reap, streams, telling
from holdfast.engine.streams import Place
from holdfast.records import Again, Chunk, Claimed, Ended, Telling, Tidings
from holdfast.storage import Store
from holdfast.views import Mark, marks
from tests.engine.making import Hand, know, new, note, send


def pieces(run: Claimed, *values: str, name: str = "tokens", start: int = 1) -> list[Chunk]:
    return [
        Chunk(run.id, name, run.claim, seq, 1, run.attempt, json.dumps(value))
        for seq, value in enumerate(values, start)
    ]


def write(store: Store, run: Claimed, *values: str, name: str = "tokens", start: int = 1) -> None:
    told = Tidings([], pieces(run, *values, name=name, start=start))
    store.run_sync(telling.write, [Telling(run.id, run.claim, told)])


def read(store: Store, run_id: str, name: str = "tokens", place: Place = Place(), n: int = 100) -> list[str]:  # noqa: B008
    return [json.loads(chunk.value) for chunk in store.read_sync(streams.chunks, run_id, name, place, n)]


@pytest.fixture
def hand(store: Store, clock: FrozenClock) -> Hand:
    know(store)
    return Hand(store)


@pytest.fixture
def run(store: Store, hand: Hand) -> Claimed:
    send(store, new())
    return hand.claim_one()


def test_in_order_and_each_once(store: Store, run: Claimed) -> None:
    write(store, run, "a", "b")
    write(store, run, "b", "c", start=2)
    write(store, run, "x", name="other")
    assert (read(store, run.id), read(store, run.id, "other"), read(store, run.id, "none")) == (list("abc"), ["x"], [])


def test_from_a_place_or_an_offset_on(store: Store, run: Claimed) -> None:
    write(store, run, *"abcdef")
    assert read(store, run.id, place=Place(skip=4)) == ["e", "f"]
    assert read(store, run.id, place=Place(run.claim, 2), n=2) == ["c", "d"]
    assert read(store, run.id, place=Place(skip=9)) == []


def test_the_next_attempt_writes_after_what_is_there(store: Store, hand: Hand, run: Claimed) -> None:
    told = Tidings([], pieces(run, "a", "b"))
    hand.exchange(again=[(run, Again(run.id, run.claim, tidings=told))])
    second = hand.claim_one()
    write(store, second, "c")
    found = store.read_sync(streams.chunks, run.id, "tokens", Place())
    assert [(json.loads(chunk.value), chunk.attempt, chunk.seq) for chunk in found] == [
        ("a", 1, 1),
        ("b", 1, 2),
        ("c", 2, 1),
    ]


def test_what_is_left_goes_with_the_outcome_also_when_it_is_there(store: Store, hand: Hand, run: Claimed) -> None:
    write(store, run, "a", "b")
    told = Tidings([], pieces(run, "a", "b", "c"))
    assert hand.exchange(ended=[Ended(run.id, run.claim, "completed", "1", tidings=told)]).lost == []
    assert read(store, run.id) == ["a", "b", "c"]


def test_an_attempt_that_has_lost_its_run_adds_nothing(store: Store, hand: Hand, run: Claimed) -> None:
    write(store, run, "a")
    hand.give_back(run)
    write(store, run, "late", start=2)
    told = Tidings([], pieces(run, "late", start=2))
    assert hand.exchange(ended=[Ended(run.id, run.claim, "completed", tidings=told)]).lost
    second = hand.claim_one()
    write(store, run, "late", start=2)
    hand.end(second)
    write(store, second, "too late")
    assert read(store, run.id) == ["a"]


def test_it_is_forgotten_with_its_run(store: Store, hand: Hand, run: Claimed, clock: FrozenClock) -> None:
    write(store, run, "a")
    hand.end(run)
    clock.advance("31d")
    assert store.run_sync(reap.prune, 1) == 1
    assert read(store, run.id) == []


def mark(store: Store, run_id: str, name: str | None = None) -> Mark | None:
    return store.read_sync(marks, [(run_id, name)]).get((run_id, name))


def test_whatever_changes_leaves_another_mark(store: Store, clock: FrozenClock) -> None:
    """Of the run: each status, each attempt, each write to its metadata; of a stream: each piece, and the end."""
    know(store)
    hand = Hand(store)
    (run_id,) = send(store, new())
    assert mark(store, "unknown") is None
    seen = [mark(store, run_id)]
    of_stream = [mark(store, run_id, "tokens")]
    run = hand.claim_one()
    seen.append(mark(store, run_id))
    for number in (1, 2):
        told = Tidings([], pieces(run, "a", start=number))
        store.run_sync(telling.write, [Telling(run_id, run.claim, told)])
        of_stream.append(mark(store, run_id, "tokens"))
    assert mark(store, run_id) == seen[-1]

    for number in (1, 2):
        told = Tidings([note(run, number, "increment", "n", 0)], [])
        store.run_sync(telling.write, [Telling(run_id, run.claim, told)])
        seen.append(mark(store, run_id))
    hand.retry(run, delay_ms=10)
    seen.append(mark(store, run_id))
    clock.advance("1s")
    hand.store.run_sync(reap.sweep)
    hand.end(run)
    assert mark(store, run_id) == seen[-1]
    assert mark(store, run_id, "tokens") == of_stream[-1]
    assert len(set(seen)) == len(seen)
    assert len(set(of_stream)) == len(of_stream)


def test_a_run_that_has_ended_will_not_change(store: Store, hand: Hand, run: Claimed) -> None:
    write(store, run, "a")
    before = mark(store, run.id, "tokens")
    hand.end(run)
    after = mark(store, run.id, "tokens")
    assert before is not None
    assert after is not None
    assert (before.final, after.final, before.facts == after.facts) == (False, True, True)
