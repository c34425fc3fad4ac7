"""Versions: a run remembers what started it, and where an app pins versions it goes on only there."""

from __future__ import annotations

import pytest

from holdfast import views
from holdfast.clock import FrozenClock
from holdfast.engine import cancel, catalogue, due, limits, reap, replay, trigger, workers
from holdfast.engine.reap import GROUPS
from holdfast.records import Claimed
from holdfast.storage import Store
from holdfast.views import Filter
from holdfast.views.served import pins as pins_of
from tests.engine.making import Hand, ids, know, look, new, promote, queue, send, state, status


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store)


def started(store: Store, *, pins: bool) -> tuple[str, Hand, Claimed]:
    """A run that version one has started."""
    (run,) = send(store, new())
    hand = Hand(store, version="one", pins=pins)
    (claimed,) = hand.claim()
    return run, hand, claimed


def test_a_run_remembers_the_version_that_started_it(store: Store) -> None:
    run, hand, claimed = started(store, pins=False)
    assert (claimed.version, look(store, run).version) == ("one", "one")
    hand.give_back(claimed)
    other = Hand(store, version="two")
    (again,) = other.claim()
    other.end(again)
    assert look(store, run).version == "one"


def test_a_worker_without_a_version_starts_runs_without_one(store: Store) -> None:
    (run,) = send(store, new())
    Hand(store).claim()
    assert look(store, run).version is None


def back(how: str, store: Store, hand: Hand, held: Claimed, clock: FrozenClock) -> None:
    match how:
        case "handed back":
            hand.give_back(held)
        case "retried":
            hand.retry(held)
        case "retried later":
            hand.retry(held, 1_000)
            clock.advance("2s")
            store.run_sync(due.go_on)
        case _:
            hand.gone()
            store.run_sync(reap.sweep)


WAYS = ["handed back", "retried", "retried later", "recovered"]


def take(hand: Hand) -> list[str]:
    return ids(hand.exchange(10, group=GROUPS[-1], suspects=10).claimed)


@pytest.mark.parametrize("how", WAYS)
def test_by_default_it_goes_on_wherever_its_task_is_known(store: Store, clock: FrozenClock, how: str) -> None:
    run, hand, held = started(store, pins=False)
    back(how, store, hand, held, clock)
    assert take(Hand(store, version="two")) == [run]


@pytest.mark.parametrize("how", WAYS)
def test_where_versions_are_pinned_it_goes_on_only_where_its_own_is(store: Store, clock: FrozenClock, how: str) -> None:
    run, hand, held = started(store, pins=True)
    back(how, store, hand, held, clock)
    assert take(Hand(store, version="two", pins=True)) == []
    assert take(Hand(store)) == []
    assert take(Hand(store, version="one", pins=how == "retried")) == [run]


def test_what_has_not_started_is_bound_to_no_version(store: Store) -> None:
    (run,) = send(store, new())
    Hand(store, version="one", pins=True)
    assert take(Hand(store, version="two", pins=True)) == [run]


@pytest.mark.parametrize("pins", [False, True])
def test_what_was_only_claimed_has_not_started(store: Store, clock: FrozenClock, pins: bool) -> None:
    """Workers claim ahead. What a deploy hands back before a line of it has run is bound to nothing, and may expire."""
    (run,) = send(store, new(ttl_ms=60_000))
    hand = Hand(store, version="one", pins=pins)
    hand.give_back(*hand.claim(), begun=False)
    assert (look(store, run).version, look(store, run).started_at) == (None, None)
    two = Hand(store, version="two", pins=True)
    (again,) = two.claim()
    assert again.version == "two"
    two.give_back(again)
    clock.advance("1s")
    third = Hand(store, version="two", pins=pins)
    third.give_back(*third.claim(), begun=False)  # this claim was not its first: it had started before
    assert (look(store, run).version, take(Hand(store, version="one"))) == ("two", [])
    clock.advance("61s")
    assert store.run_sync(reap.sweep).expired == []


def test_who_drains_and_pins_takes_what_only_its_version_can_go_on_with(store: Store) -> None:
    run, hand, held = started(store, pins=True)
    plain = Hand(store, version="one")
    (fresh,) = send(store, new())
    for each in (hand, plain):
        store.run_sync(workers.drain, each.id)
    hand.give_back(held)
    assert plain.claim() == []
    assert hand.claim() != []
    assert status(store, run) == "executing"
    assert status(store, fresh) in ("queued", "executing")


def test_what_began_before_its_app_pinned_versions_is_bound_to_none(store: Store, clock: FrozenClock) -> None:
    run, hand, held = started(store, pins=False)
    back("handed back", store, hand, held, clock)
    two = Hand(store, version="two", pins=True)
    (again,) = two.claim()
    two.give_back(again)
    assert take(Hand(store, version="three")) == [run]


def test_a_replay_begins_with_whatever_version_there_is(store: Store) -> None:
    run, hand, held = started(store, pins=True)
    hand.end(held)
    (again,) = send(store, *store.read_sync(replay.copies, [run]).values())
    assert take(Hand(store, version="two", pins=True)) == [again]
    assert look(store, again).version == "two"


def test_a_pinned_run_gives_its_slot_back_while_its_version_is_gone(store: Store, clock: FrozenClock) -> None:
    know(store, queue("task/greet", 1))
    run, hand = send(store, new())[0], Hand(store, version="one", pins=True)
    promote(store)
    hand.give_back(*hand.claim())
    hand.gone()
    (fresh,) = send(store, new())
    two = Hand(store, version="two", pins=True)
    clock.advance("20s")
    store.run_sync(workers.beat, [two.id])
    assert store.run_sync(limits.return_unserved, store.read_sync(workers.served)) == 1
    promote(store)
    assert (state(store, run), take(two)) == ("held", [fresh])


# named by the trigger


def named(store: Store, version: str = "one", **given: object) -> str:
    """A run that its trigger has pinned to a version."""
    run = new(version=version, **given)
    store.run_sync(catalogue.ensure_names, [queue(run.queue)], [trigger.route_name(run)])
    return send(store, run)[0]


@pytest.mark.parametrize("pins", [False, True])
def test_a_run_that_is_for_a_version_starts_there_only(store: Store, pins: bool) -> None:
    run = named(store)
    assert look(store, run).version == "one"
    assert take(Hand(store, version="two", pins=pins)) == []
    assert take(Hand(store)) == []
    assert take(Hand(store, version="one", pins=pins)) == [run]


@pytest.mark.parametrize("pins", [False, True])
@pytest.mark.parametrize("how", [*WAYS, "not begun"])
def test_and_goes_on_there_only(store: Store, clock: FrozenClock, how: str, pins: bool) -> None:
    run, hand = named(store), Hand(store, version="one", pins=pins)
    (held,) = hand.claim()
    if how == "not begun":
        hand.give_back(held, begun=False)
    else:
        back(how, store, hand, held, clock)
    assert look(store, run).version == "one"
    assert store.read_sync(pins_of, [run]) == {run: "one"}
    assert take(Hand(store, version="two", pins=pins)) == []
    assert take(Hand(store, version="one")) == [run]


def test_a_run_that_is_for_a_version_waits_in_its_lane_there(store: Store, clock: FrozenClock) -> None:
    know(store, queue("task/greet", 1))
    run = named(store)
    (other,) = send(store, new())
    two = Hand(store, version="two")
    promote(store)
    clock.advance("20s")
    store.run_sync(workers.beat, [two.id])
    assert store.run_sync(limits.return_unserved, store.read_sync(workers.served)) == 1
    promote(store)
    assert (state(store, run), take(two)) == ("held", [other])


def test_a_run_that_is_for_a_version_that_nobody_has_says_so(store: Store) -> None:
    run = named(store)
    Hand(store, version="two")
    seen = store.read_sync(views.run, run)
    assert seen is not None
    assert (seen.status, [reason.code for reason in seen.reasons]) == ("pending_version", ["version_gone"])
    assert seen.reasons[0].text.startswith("It was triggered for version one")
    (finding,) = [each for each in views.findings(store.read_sync(views.health)) if each.about == "versions"]
    assert (finding.level, run in finding.text) == ("wrong", True)


def test_a_replay_of_a_run_that_was_for_a_version_is_for_none(store: Store) -> None:
    run = named(store)
    (again,) = send(store, *store.read_sync(replay.copies, [run]).values())
    assert take(Hand(store, version="two")) == [again]


def test_a_route_that_was_named_of_late_is_there_for_the_run_to_come(store: Store, clock: FrozenClock) -> None:
    run = new(version="one")

    def names() -> None:
        store.run_sync(catalogue.ensure_names, [], [trigger.route_name(run)])

    def tidy() -> set[str | None]:
        store.run_sync(reap.tidy, 0)
        return {row[2] for row in store.read_sync(lambda tx: tx.rows("all_routes"))}

    names()
    assert tidy() == {None, "one"}
    clock.advance("20h")
    names()
    clock.advance("20h")
    assert tidy() == {None, "one"}
    send(store, run)
    clock.advance("30d")
    assert tidy() == {None, "one"}
    store.run_sync(cancel.cancel, [run.id])
    assert tidy() == {None}


# what people are told


def stranded(store: Store) -> str:
    run, hand, held = started(store, pins=True)
    hand.give_back(held)
    hand.gone()
    Hand(store, version="two", pins=True)
    return run


def test_a_run_whose_version_is_gone_is_pending_and_says_why(store: Store) -> None:
    run = stranded(store)
    seen = store.read_sync(views.run, run)
    assert seen is not None
    assert (seen.status, seen.version, [reason.code for reason in seen.reasons]) == (
        "pending_version",
        "one",
        ["version_gone"],
    )
    assert "HOLDFAST_VERSION=one" in (seen.reasons[0].do or "")
    for wanted, found in (("pending_version", [run]), ("queued", [])):
        page = store.read_sync(views.page, Filter(statuses=frozenset({wanted})))
        assert [each.id for each in page.runs] == found


@pytest.mark.parametrize("delay_ms", [0, 60_000])
def test_the_doctor_names_runs_whose_version_is_gone(store: Store, delay_ms: int) -> None:
    run, hand, held = started(store, pins=True)
    hand.retry(held, delay_ms)
    two = Hand(store, version="two", pins=True)
    told = [each for each in views.findings(store.read_sync(views.health)) if each.about == "versions"]
    assert told == []
    hand.gone()
    (finding,) = [each for each in views.findings(store.read_sync(views.health)) if each.about == "versions"]
    assert (finding.level, run in finding.text, "version one" in finding.text) == ("wrong", True, True)
    assert [each.about for each in views.findings(store.read_sync(views.health))].count("tasks") == 0
    assert two.claim() == []


def test_routes_of_versions_that_are_gone_are_forgotten_once_nobody_needs_them(
    store: Store, clock: FrozenClock
) -> None:
    run = stranded(store)

    def versions() -> set[str | None]:
        return {row[2] for row in store.read_sync(lambda tx: tx.rows("all_routes"))}

    store.run_sync(reap.tidy, 0)
    assert versions() == {None, "one", "two"}
    assert status(store, run) == "queued"
    store.run_sync(cancel.cancel, [run])
    store.run_sync(reap.tidy, 0)
    assert versions() == {None, "two"}
