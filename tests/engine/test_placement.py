"""A worker claims what fits beside what it holds, and a run that fits nowhere says so."""

from __future__ import annotations

import json

import pytest

from holdfast import views
from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, reap
from holdfast.engine.trigger import RouteName
from holdfast.machine import machine_of
from holdfast.records import NewRun
from holdfast.sizes import MIB
from holdfast.storage import Store
from holdfast.storage.runs import PATIENT_MS, Head, Place, fitting
from holdfast.views import Reason
from holdfast.worker.capacity import Room
from tests.engine.making import Hand, ids, know, new, queue, send

ROOM = Room(2000, 4096 * MIB)


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, queue("other"))
    names = [RouteName("task/greet", "greet", word) for word in ("micro", "small-2x", "medium-2x", "large-2x")]
    store.run_sync(catalogue.ensure_names, [], [*names, RouteName("other", "greet", "small-2x")])


def sized(machine: str, **given: object) -> NewRun:
    return new(options=json.dumps({"machine": machine}), **given)


def beside(*machines: str) -> Room:
    """What is free where runs with these are held."""
    return ROOM.without(map(machine_of, machines))


def reason(store: Store, run: str) -> Reason:
    shown = store.read_sync(views.run, run)
    assert shown is not None
    (only,) = shown.reasons
    return only


def test_only_what_fits_together_is_claimed(store: Store) -> None:
    """Broken by taking as many as there are slots."""
    made = send(store, *(sized("small-2x") for _ in range(5)))
    hand = Hand(store, room=ROOM)
    first = hand.claim()
    assert sorted(ids(first)) == made[:2]
    assert hand.claim(free=beside("small-2x", "small-2x")) == []
    hand.end(first[0])
    assert ids(hand.claim(free=beside("small-2x"))) == [made[2]]


def test_memory_counts_as_well_as_cpu(store: Store) -> None:
    send(store, *(sized("micro") for _ in range(9)))
    assert len(Hand(store, room=Room(8000, 600 * MIB)).claim()) == 2
    assert len(Hand(store, room=Room(800, 8192 * MIB)).claim()) == 3


def test_runs_without_a_machine_are_claimed_beside_them(store: Store) -> None:
    """And all of them together are no more than were asked for."""
    plain = send(store, *(new() for _ in range(4)))
    large = send(store, *(sized("small-2x") for _ in range(4)))
    claimed = ids(Hand(store, room=ROOM).claim(5))
    assert sorted(claimed) == sorted([*plain[:3], *large[:2]])


def test_what_is_larger_than_the_worker_stays_where_it_is(store: Store) -> None:
    (run,) = send(store, sized("large-2x"))
    (small,) = send(store, sized("micro"))
    hand = Hand(store, room=ROOM)
    assert ids(hand.claim()) == [small]
    assert ids(Hand(store).claim()) == [run]  # one that says nothing takes everything


def test_paused_queues_and_other_workers_are_respected(store: Store) -> None:
    (run,) = send(store, sized("small-2x", queue="other"))
    store.run_sync(catalogue.pause, "other")
    assert Hand(store, room=ROOM).claim() == []
    store.run_sync(catalogue.resume, "other")
    assert ids(Hand(store, room=ROOM).claim()) == [run]
    assert Hand(store, room=ROOM).claim() == []


def test_a_suspect_with_a_machine_goes_before_all_others(store: Store) -> None:
    (run,) = send(store, sized("medium-2x"))
    first = Hand(store, room=ROOM)
    assert ids(first.claim()) == [run]
    send(store, *(sized("micro") for _ in range(9)))
    first.gone()
    store.run_sync(reap.sweep)
    heir = Hand(store, room=ROOM)
    found = [heir.exchange(10, group=group, suspects=1).claimed for group in reap.GROUPS]
    assert [ids(each) for each in found if each] == [[run]]


# -- who passes whom --------------------------------------------------------------------------------------------------


def head(name: str, at: int, waited: int, cpu: int) -> Head:
    return Head(name, at, waited, Place(1, cpu, MIB))


def test_a_small_run_passes_a_large_one_for_a_while() -> None:
    large, small = head("large", 1, PATIENT_MS, 4000), head("small", 2, 0, 1000)
    assert fitting([small, large], 2000, 10 * MIB) == ["small"]
    assert fitting([small, large], 5000, 10 * MIB) == ["large", "small"]


def test_then_it_waits_until_there_is_room_for_the_large_one() -> None:
    """Fails with always taking what fits: small runs that come all the time kept the large one out for ever."""
    large, small = head("large", 1, PATIENT_MS + 1, 4000), head("small", 2, 0, 1000)
    assert fitting([small, large], 2000, 10 * MIB) == []
    older = head("older", 0, PATIENT_MS + 2, 1000)
    assert fitting([small, large, older], 2000, 10 * MIB) == ["older"]


# -- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "machine", "text"),
    [
        (Room(16_000, 8192 * MIB), "large-2x", "It needs 16 GB; the largest worker has 8 GB."),
        (Room(4000, 65_536 * MIB), "large-2x", "It needs 8 vCPU; the largest worker has 4."),
    ],
)
def test_a_run_that_fits_no_live_worker_says_so(store: Store, room: Room, machine: str, text: str) -> None:
    (run,) = send(store, sized(machine))
    Hand(store, room=Room(1000, 1024 * MIB))
    Hand(store, room=room)
    found = reason(store, run)
    assert (found.code, found.text) == ("machine_too_large", text)
    assert "--memory" in (found.do or "")
    (said,) = [
        each for each in store.read_sync(lambda tx: [*views.findings(views.health(tx))]) if "machines" in each.about
    ]
    assert "1 run of greet waits for 8 vCPU, 16 GB; no live worker takes that." in said.text


def test_a_run_of_a_machine_that_nobody_takes_says_so(store: Store) -> None:
    (run,) = send(store, sized("micro"))
    Hand(store, room=ROOM, machines=["small-2x"])
    assert reason(store, run).text == "It asks for micro; the workers that are large enough take other machines only."


def test_a_run_that_waits_for_others_to_make_room_says_so(store: Store) -> None:
    held, waits = send(store, sized("medium-2x"), sized("small-2x"))
    hand = Hand(store, room=ROOM)
    assert ids(hand.claim()) == [held]
    assert reason(store, waits).code == "machine_busy"
    (seen,) = store.read_sync(views.workers)
    assert (seen.cpu_millis, seen.cpu_millis_used) == (2000, 2000)
    assert (seen.memory_bytes, seen.memory_bytes_used) == (4096 * MIB, 4096 * MIB)
