"""Changes of metadata: operations that a run and its family apply to the same document, each of them once."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import reap, telling
from holdfast.records import Again, Claimed, Ended, Note, Telling, Tidings
from holdfast.storage import Store
from tests.engine.making import Hand, know, look, new, note, send, tell


class Family:
    """A parent and a child of it, both executing."""

    def __init__(self, store: Store, metadata: str | None = '{"n":1,"list":["a"],"word":"x"}') -> None:
        know(store)
        self.store, self.hand = store, Hand(store)
        (self.parent_id,) = send(store, new(metadata=metadata))
        self.parent = self.hand.claim_one()
        send(store, new(parent_id=self.parent_id, root_id=self.parent_id))
        self.child = self.hand.claim_one()

    def say(self, who: Claimed, *notes: Note) -> None:
        self.store.run_sync(telling.write, [Telling(who.id, who.claim, Tidings(list(notes), []))])

    @property
    def metadata(self) -> Any:
        text = look(self.store, self.parent_id).metadata
        return None if text is None else json.loads(text)


@pytest.fixture
def family(store: Store, clock: FrozenClock) -> Family:
    return Family(store)


def test_each_kind_of_operation(family: Family) -> None:
    child, parent = family.child, family.parent_id
    family.say(
        child,
        note(child, 1, "increment", "n", 2, parent),
        note(child, 2, "increment", "new", 0.5, parent),
        note(child, 3, "append", "list", ["b", "c"], parent),
        note(child, 4, "set", "word", {"y": None}, parent),
    )
    assert family.metadata == {"n": 3, "new": 0.5, "list": ["a", "b", "c"], "word": {"y": None}}
    family.say(child, note(child, 5, "delete", "n", None, parent), note(child, 6, "delete", "gone", None, parent))
    assert family.metadata == {"new": 0.5, "list": ["a", "b", "c"], "word": {"y": None}}


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [("increment", "word", 1), ("append", "n", ["b"]), ("set", "big", "x" * 300_000), ("increment", "huge", 1.7e308)],
)
def test_what_does_not_fit_changes_nothing_and_spoils_nothing(family: Family, kind: str, key: str, value: Any) -> None:
    child = family.child
    family.say(child, note(child, 0, "set", "huge", 1.7e308, family.parent_id))
    before = family.metadata
    family.say(
        child,
        note(child, 1, kind, key, value, family.parent_id),
        note(child, 2, "set", "after", 1, family.parent_id),
    )
    assert family.metadata == before | {"after": 1}


def test_a_parent_and_its_children_write_to_the_same(family: Family) -> None:
    family.say(family.child, note(family.child, 1, "increment", "n", 1, family.parent_id))
    family.say(family.parent, note(family.parent, 1, "set", "own", 1))
    family.say(family.child, note(family.child, 2, "increment", "n", 1, family.parent_id))
    assert family.metadata == {"n": 3, "own": 1, "list": ["a"], "word": "x"}
    told = Tidings([note(family.parent, 2, "increment", "n", 10)], [])
    family.hand.exchange(ended=[Ended(family.parent_id, family.parent.claim, "completed", "1", tidings=told)])
    assert family.metadata == {"n": 13, "own": 1, "list": ["a"], "word": "x"}


def test_what_is_sent_again_is_applied_once(family: Family) -> None:
    """The answer of a write was lost; then all of it goes with the outcome, and what was told since."""
    notes = [note(family.child, 1, "increment", "n", 1, family.parent_id), note(family.child, 2, "append", "own", [1])]
    family.say(family.child, *notes)
    family.say(family.child, *notes)
    told = Tidings([*notes, note(family.child, 3, "increment", "n", 10, family.parent_id)], [])
    family.hand.exchange(ended=[Ended(family.child.id, family.child.claim, "completed", "1", tidings=told)])
    assert family.metadata["n"] == 12
    assert look(family.store, family.child.id).metadata == '{"own":[1]}'


def test_the_next_attempt_counts_anew(family: Family) -> None:
    told = Tidings([note(family.child, 1, "increment", "n", 1, family.parent_id)], [])
    family.hand.exchange(again=[(family.child, Again(family.child.id, family.child.claim, tidings=told))])
    assert family.metadata["n"] == 2
    second = family.hand.claim_one()
    family.say(second, note(second, 1, "increment", "n", 1, family.parent_id))
    assert family.metadata["n"] == 3


@pytest.mark.parametrize("claimed_again", [False, True])
def test_an_attempt_that_has_lost_its_run_changes_nobodys_metadata(family: Family, claimed_again: bool) -> None:
    before = family.metadata
    family.hand.give_back(family.child)
    if claimed_again:
        assert family.hand.claim_one().id == family.child.id
    family.say(family.child, note(family.child, 1, "increment", "n", 1, family.parent_id))
    told = Tidings([note(family.child, 1, "increment", "n", 1, family.parent_id)], [])
    lost = family.hand.exchange(ended=[Ended(family.child.id, family.child.claim, "completed", tidings=told)]).lost
    assert (lost, family.metadata) == ([(family.child.id, family.child.claim)], before)


@pytest.mark.parametrize("where", ["completed", "queued", "delayed"])
def test_a_parent_that_does_not_execute(family: Family, where: str) -> None:
    match where:
        case "completed":
            family.hand.end(family.parent)
        case "queued":
            family.hand.give_back(family.parent)
        case "delayed":
            family.hand.retry(family.parent, delay_ms=1000)
    assert look(family.store, family.parent_id).status == where
    family.say(family.child, note(family.child, 1, "increment", "n", 1, family.parent_id))
    told = Tidings([note(family.child, 2, "increment", "n", 1, family.parent_id)], [])
    family.hand.exchange(ended=[Ended(family.child.id, family.child.claim, "completed", tidings=told)])
    assert family.metadata["n"] == 3


def test_a_parent_that_was_pruned_is_no_obstacle(family: Family, clock: FrozenClock) -> None:
    family.hand.end(family.parent)
    clock.advance("31d")
    assert family.store.run_sync(reap.prune, 1) == 1
    family.say(family.child, note(family.child, 1, "increment", "n", 1, family.parent_id))
    told = Tidings([note(family.child, 2, "set", "own", 1)], [])
    assert not family.hand.exchange(ended=[Ended(family.child.id, family.child.claim, "completed", tidings=told)]).lost
    assert look(family.store, family.child.id).metadata == '{"own":1}'


def test_who_ends_together_with_its_children_has_what_they_wrote(family: Family) -> None:
    told = Tidings([note(family.child, 1, "increment", "n", 1, family.parent_id)], [])
    own = Tidings([note(family.parent, 1, "increment", "n", 10)], [])
    family.hand.exchange(
        ended=[
            Ended(family.parent_id, family.parent.claim, "completed", tidings=own),
            Ended(family.child.id, family.child.claim, "completed", tidings=told),
        ]
    )
    assert family.metadata["n"] == 12


def test_many_at_once_lose_nothing(store: Store) -> None:
    """Children end on several workers at the same time, while the parent writes, too."""
    family = Family(store, None)
    hands = [Hand(store) for _ in range(4)]
    send(store, *(new(parent_id=family.parent_id, root_id=family.parent_id) for _ in range(200)))
    claimed = [hand.claim(50) for hand in hands]

    def work(hand: Hand, runs: list[Claimed]) -> None:
        for run in runs:
            told = Tidings([note(run, 1, "increment", "done", 1, family.parent_id)], [])
            hand.exchange(ended=[Ended(run.id, run.claim, "completed", "1", tidings=told)])

    threads = [threading.Thread(target=work, args=pair) for pair in zip(hands, claimed, strict=True)]
    for thread in threads:
        thread.start()
    for number in range(1, 20):
        family.say(family.parent, note(family.parent, number, "increment", "done", 1000))
    for thread in threads:
        thread.join()
    assert family.metadata == {"done": 19_200}


def test_a_run_without_a_word_keeps_its_metadata(family: Family) -> None:
    before = family.metadata
    tell(family.store, family.parent)
    family.hand.end(family.parent)
    assert family.metadata == before
