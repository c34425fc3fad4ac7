"""The scheduler in processes and beside an app: each slot once, on time, and declared schedules follow the code."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from holdfast import Cron, Holdfast, Slot
from holdfast.engine import read, schedules, ticks
from holdfast.records import NewRun
from holdfast.scheduler import Scheduler
from holdfast.storage import Store, Tx
from tests.conftest import Eventually
from tests.engine.test_schedules import declared, new, of_shop, worker
from tests.support.host import Host

SECOND = timedelta(seconds=1)


def test_two_hosts_fire_each_slot_once(app: Holdfast, host: Callable[..., Host], eventually: Eventually) -> None:
    made = [
        app.schedules.create("leaf", Cron("* * * * * *", catch_up="all", overlap="allow"), n, external_id=str(n))
        for n in range(5)
    ]
    for one in [host(), host()]:
        one.ready()

    def enough() -> None:
        assert all(len(app.schedules.slots(each)) >= 5 for each in made)

    eventually(enough, timeout=60)
    for each in made:
        app.schedules.pause(each)
        slots = [slot.at for slot in app.schedules.slots(each)][::-1]
        assert slots == [slots[0] + n * SECOND for n in range(len(slots))]

    def done() -> None:
        runs = {run.id for run in app.runs.list(task="leaf", limit=1000)}
        assert {slot.run_id for each in made for slot in app.schedules.slots(each)} == runs
        assert all(app.handle(run).retrieve().status == "completed" for run in runs)

    eventually(done, timeout=60)


def test_whoever_schedules_may_be_killed_at_any_moment(
    app: Holdfast, host: Callable[..., Host], eventually: Eventually
) -> None:
    """Each slot once, also those of the time when nobody was there. Killed within the first moments of a second, which
    is when the slots of that second are dealt with."""
    made = [app.schedules.create("leaf", Cron("* * * * * *", catch_up="all"), n) for n in range(40)]

    def fired(count: int) -> None:
        assert len(app.schedules.slots(made[-1], limit=1000)) >= count

    for life in range(1, 4):
        hired = host().ready()
        eventually(lambda life=life: fired(3 * life), timeout=60)
        time.sleep(1 - time.time() % 1 + random.uniform(0, 0.06))
        hired.send(signal.SIGKILL)
        hired.wait()
    time.sleep(3)  # nobody is there for some slots
    host().ready()
    eventually(lambda: fired(12), timeout=60)
    for each in made:
        app.schedules.pause(each)
    slots = [list(app.schedules.slots(each, limit=1000))[::-1] for each in made]
    for mine in slots:
        assert [slot.at for slot in mine] == [mine[0].at + n * SECOND for n in range(len(mine))]
        assert {slot.outcome for slot in mine} == {"made"}
    runs = [slot.run_id for mine in slots for slot in mine]
    known = {run.id for run in app.client.read(read.runs, [run for run in runs if run])}
    assert len(runs) == len(set(runs)) == len(known)


def test_a_declared_schedule_beside_an_app(database_url: str, eventually: Eventually) -> None:
    app = Holdfast(database_url)
    seen: list[Slot] = []

    @app.task(schedule=Cron("* * * * * *"))
    def every_second(slot: Slot) -> None:
        seen.append(slot)

    def some() -> None:
        assert len(seen) >= 2

    with app.running():
        eventually(some, timeout=60)
        (declared,) = app.schedules.list()
        assert (declared.declared, declared.task) == (True, "every_second")
    every_second.schedules = ()  # as if it was left out in the next deploy
    with app.running():
        assert app.schedules.list() == []
    app.close()


def test_the_run_of_a_waiting_slot_follows_soon(database_url: str, eventually: Eventually) -> None:
    app = Holdfast(database_url)
    ended: list[Slot] = []

    @app.task(schedule=Cron("* * * * * *", overlap="queue"))
    def slow(slot: Slot) -> None:
        threading.Event().wait(1.5)
        ended.append(slot)

    def some() -> None:
        assert len(ended) >= 3

    with app.running():
        eventually(some, timeout=60)
    slots = [slot.at for slot in ended]
    assert slots == sorted(set(slots))
    app.close()


def test_after_a_roll_back_the_scheduler_puts_the_old_code_in_force(store: Store, eventually: Eventually) -> None:
    worker(store, "0 1 * * *")
    new_one = worker(store, "0 2 * * *")
    store.run_sync(lambda tx: tx.rows("set_worker_state", id=new_one.id, state="stopped"))
    scheduler = Scheduler(store).start()

    def rolled_back() -> None:
        assert of_shop(store) == {"greet#0": "0 1 * * *"}

    eventually(rolled_back, timeout=30)
    scheduler.stop()
    assert store.run_sync(schedules.declare, "shop", declared("0 1 * * *"))


def test_a_run_that_cannot_be_made_stops_its_own_schedule_only(
    store: Store, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the database says against it: one of them is refused, and the others fire."""
    good, bad = (store.run_sync(schedules.create, new("* * * * * *")).id for _ in range(2))
    insert = ticks.insert

    def refused(tx: Tx, runs: list[NewRun], **more: bool) -> object:
        if any(slot_of(run) == bad for run in runs):
            raise ValueError("not this one")
        return insert(tx, runs, **more)

    monkeypatch.setattr(ticks, "insert", refused)
    scheduler = Scheduler(store).start()

    def both() -> None:
        assert len(store.read_sync(schedules.slots, good, 10)) >= 2
        record = store.read_sync(schedules.retrieve, bad)
        assert record is not None
        assert "not this one" in (record.problem or "")

    eventually(both, timeout=30)
    scheduler.stop()


def slot_of(run: NewRun) -> str:
    return str(json.loads(run.options or "{}")["slot"]["schedule_id"])


@pytest.mark.slow
def test_slots_are_on_time(store: Store, eventually: Eventually) -> None:
    """Prints how late they are; how late they may be depends on what else the machine has to do."""
    made = [store.run_sync(schedules.create, new("* * * * * *", catch_up=1000)).id for _ in range(20)]
    scheduler = Scheduler(store).start()

    def many() -> None:
        assert all(len(store.read_sync(schedules.slots, each, 1000)) >= 15 for each in made)

    eventually(many, timeout=120)
    scheduler.stop()
    late = sorted(
        slot.dealt_at - slot.at for each in made for slot in store.read_sync(schedules.slots, each, 1000)[:-2]
    )
    print(f"{store.kind}: p50 {late[len(late) // 2]} ms, p99 {late[len(late) * 99 // 100]} ms of {len(late)} slots")
    assert late[0] >= 0
    assert late[len(late) // 2] < 1000
    assert not store.read_sync(ticks.outlook).waiting
