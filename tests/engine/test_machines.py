"""A run stands in the route of its machine, whatever made it, and stays in one of that machine wherever it goes."""

from __future__ import annotations

import json

import msgspec
import pytest

from holdfast.engine import catalogue, schedules, workers
from holdfast.engine.trigger import RouteName, route_id
from holdfast.ids import new_id
from holdfast.machine import machine_in
from holdfast.records import Make, NewRun, NewSchedule, QueueEntry
from holdfast.recurrence import Rule
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, send

MICRO = json.dumps({"machine": "micro"})


def routes(store: Store, version: str | None = None) -> set[tuple[str, str | None, str | None]]:
    found = store.read_sync(workers.routes, ["greet"], None, version)
    return {(route.queue, route.version, route.machine) for route in found}


def route_of(store: Store, run_id: str) -> int:
    row = store.read_sync(lambda tx: tx.row("state", id=run_id))
    assert row is not None
    return int(row[3])


def micro(**given: str) -> NewRun:
    return new(options=MICRO, **given)


def test_a_task_with_a_machine_is_announced_with_its_route(store: Store) -> None:
    know(store, options=MICRO)
    assert routes(store) == {("task/greet", None, None), ("task/greet", None, "micro")}


def test_the_machine_at_the_trigger_decides_the_route(store: Store) -> None:
    know(store, options=MICRO)
    plain, small = send(store, new(), micro())
    assert route_of(store, plain) == route_id("task/greet", "greet", None)
    assert route_of(store, small) == route_id("task/greet", "greet", None, "micro") != route_of(store, plain)
    assert [machine_in(run.options) for run in Hand(store).claim(2)] in ([None, "micro"], ["micro", None])


def test_a_machine_that_is_used_for_the_first_time_gets_a_route(store: Store) -> None:
    know(store)
    store.run_sync(catalogue.ensure_names, [], [RouteName("task/greet", "greet", "micro")])
    (run,) = send(store, micro())
    (claimed,) = Hand(store).claim()
    assert claimed.id == run


def test_a_run_that_is_pinned_stays_in_a_route_of_its_machine(store: Store) -> None:
    know(store, options=MICRO)
    store.run_sync(catalogue.pin_routes, [RouteName("task/greet", "greet", "micro")], "one")
    (run,) = send(store, micro())
    hand = Hand(store, version="one", pins=True)
    (claimed,) = hand.claim()
    assert route_of(store, run) == route_id("task/greet", "greet", "one", "micro")
    hand.give_back(claimed, begun=False)
    assert route_of(store, run) == route_id("task/greet", "greet", None, "micro")


def test_a_task_that_gets_a_machine_gets_it_in_every_queue_where_it_has_runs(store: Store) -> None:
    know(store)
    store.run_sync(catalogue.ensure_names, [QueueEntry(name="slow")], [("slow", "greet")])
    know(store, options=MICRO)
    assert ("slow", None, "micro") in routes(store)


@pytest.mark.parametrize("said", [None, "small-1x"])
def test_what_a_schedule_makes_has_the_machine_of_the_task_or_its_own(store: Store, said: str | None) -> None:
    know(store, options=MICRO)
    make = Make(task="greet", queue="nightly", options=None if said is None else json.dumps({"machine": said}))
    rule = msgspec.json.encode(Rule("cron", "0 * * * *", "UTC", 0)).decode()
    new_one = NewSchedule(id=new_id(), task="greet", rule=rule, make=msgspec.json.encode(make).decode())
    schedule = store.run_sync(schedules.create, new_one)
    run = store.run_sync(schedules.run_now, schedule.id)
    (claimed,) = Hand(store).claim()
    assert (claimed.id, machine_in(claimed.options)) == (run, said or "micro")
