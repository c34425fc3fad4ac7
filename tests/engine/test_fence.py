"""The fence: an attempt that no longer holds its run can write nothing for it, and is told so.

A worker may be paused, cut off, or declared dead while it lives. Meanwhile its run was recovered, claimed by another,
or claimed by itself under a higher number; or it has ended.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import claim, read, reap, trigger
from holdfast.errors import AttemptLost
from holdfast.records import Claimed
from holdfast.storage import Store
from tests.engine.making import Hand, know, line, look, new, said, send, status, stop, tell


class Stale:
    """An attempt of ``hand`` that has lost its run, and where the run is by now."""

    def __init__(self, store: Store, how: str) -> None:
        know(store)
        self.store, self.hand = store, Hand(store)
        (self.run,) = send(store, new(metadata='{"by":"trigger"}'))
        self.attempt = self.hand.claim_one()
        self.where = getattr(self, how)()

    def claimed_by_another(self) -> str:
        self.hand.gone()
        self.store.run_sync(reap.sweep)
        assert len(Hand(self.store).claim_suspects()) == 1
        return "executing"

    def claimed_again_by_itself(self) -> str:
        self.hand.give_back(self.attempt)
        assert self.hand.claim_one().claim == self.attempt.claim + 1
        return "executing"

    def back_in_line(self) -> str:
        self.hand.gone()
        self.store.run_sync(reap.sweep)
        return "queued"

    def retried_later(self) -> str:
        self.hand.retry(self.attempt, delay_ms=60_000)
        return "delayed"

    def ended(self) -> str:
        self.hand.end(self.attempt, output='"first"')
        return "completed"

    def canceled_after_its_worker_was_lost(self) -> str:
        assert stop(self.store, self.run) == "requested"
        self.hand.gone()
        self.store.run_sync(reap.sweep)
        return "canceled"


HOW = [
    "claimed_by_another",
    "claimed_again_by_itself",
    "back_in_line",
    "retried_later",
    "ended",
    "canceled_after_its_worker_was_lost",
]


@pytest.fixture(params=HOW)
def stale(request: pytest.FixtureRequest, store: Store, clock: FrozenClock) -> Stale:
    return Stale(store, request.param)


def complete(hand: Hand, run: Claimed) -> list[tuple[str, int]]:
    return hand.end(run, output='"too late"', metadata='{"by":"stale"}')


def complete_big(hand: Hand, run: Claimed) -> list[tuple[str, int]]:
    return hand.end(run, output='"' + "late" * 10_000 + '"')


def fail(hand: Hand, run: Claimed) -> list[tuple[str, int]]:
    return hand.end(run, status="failed", error='{"type":"Late"}')


def retry(hand: Hand, run: Claimed) -> list[tuple[str, int]]:
    return hand.retry(run, metadata='{"by":"stale"}', error='{"type":"Late"}')


def give_back(hand: Hand, run: Claimed) -> list[tuple[str, int]]:
    return hand.give_back(run)


@pytest.mark.parametrize("act", [complete, complete_big, fail, retry, give_back])
def test_its_outcome_is_refused_and_it_is_told(
    stale: Stale, act: Callable[[Hand, Claimed], list[tuple[str, int]]]
) -> None:
    before = look(stale.store, stale.run)
    attempts = stale.store.read_sync(lambda tx: tx.rows("attempts", run_id=stale.run))
    assert before.status == stale.where
    assert act(stale.hand, stale.attempt) == [(stale.run, stale.attempt.claim)]
    assert look(stale.store, stale.run) == before
    assert stale.store.read_sync(lambda tx: tx.rows("attempts", run_id=stale.run)) == attempts


def test_its_log_lines_are_not_kept(stale: Stale) -> None:
    stale.hand.say(stale.attempt, "too late")
    assert said(stale.store, stale.run) == []


def test_its_metadata_is_not_kept(stale: Stale) -> None:
    tell(stale.store, stale.attempt, by="stale")
    assert look(stale.store, stale.run).metadata == '{"by":"trigger"}'


def test_it_can_trigger_nothing(stale: Stale) -> None:
    child = new(parent_id=stale.run, parent_claim=stale.attempt.claim)
    (refused,) = stale.store.run_sync(trigger.trigger, [child])
    assert isinstance(refused, AttemptLost)
    assert stale.store.read_sync(read.run, child.id) is None


def test_its_suspicion_is_not_its_own_to_clear(store: Store, clock: FrozenClock) -> None:
    stale = Stale(store, "claimed_by_another")
    store.run_sync(claim.clear_suspects, stale.hand.id, [stale.run])
    assert store.read_sync(lambda tx: tx.row("state", id=stale.run))[6] > 0  # type: ignore[index]


def test_who_holds_it_by_now_is_not_disturbed(store: Store, clock: FrozenClock) -> None:
    stale = Stale(store, "back_in_line")
    heir = Hand(store)
    (held,) = heir.claim_suspects()
    complete(stale.hand, stale.attempt)
    heir.say(held, "mine")
    assert heir.end(held, output='"mine"') == []
    assert (look(store, stale.run).output, said(store, stale.run)) == ('"mine"', ["mine"])


def test_in_one_report_only_what_is_lost_is_refused(store: Store, clock: FrozenClock) -> None:
    know(store)
    hand = Hand(store)
    made = send(store, *(new() for _ in range(20)))
    claimed = hand.claim()
    hand.end(claimed[7], output='"first"')
    assert hand.end(*claimed) == [(claimed[7].id, 1)]
    assert [status(store, run) for run in made] == ["completed"] * 20
    assert look(store, claimed[7].id).output == '"first"'


def test_a_holder_may_write_all_of_these(store: Store, clock: FrozenClock) -> None:
    know(store)
    hand = Hand(store)
    (run,) = send(store, new())
    held = hand.claim_one()
    hand.say(held, "one", "two")
    store.run_sync(claim.write_logs, [line(held, 3, "three")])
    tell(store, held, n=1)
    (child,) = send(store, new(parent_id=run, parent_claim=held.claim))
    assert said(store, run) == ["one", "two", "three"]
    assert look(store, run).metadata == '{"n":1}'
    assert status(store, child) == "queued"
    assert hand.end(held) == []


def test_a_line_that_is_sent_twice_is_kept_once(store: Store, clock: FrozenClock) -> None:
    know(store)
    hand = Hand(store)
    (run,) = send(store, new())
    held = hand.claim_one()
    hand.say(held, "one", "two")
    hand.say(held, "one", "two", "three")
    assert said(store, run) == ["one", "two", "three"]


def test_a_retry_remembers_and_a_new_attempt_logs_for_itself(store: Store, clock: FrozenClock) -> None:
    know(store)
    hand = Hand(store)
    (run,) = send(store, new())
    first = hand.claim_one()
    hand.say(first, "first")
    hand.retry(first)
    second = hand.claim_one()
    hand.say(second, "second")
    assert said(store, run) == ["first", "second"]
