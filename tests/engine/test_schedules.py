"""Schedules in the database: each slot once, missed slots, runs that overlap, and what code declares."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import read, schedules, ticks, workers
from holdfast.ids import new_id
from holdfast.records import Make, NewSchedule, RunRecord, ScheduleRecord
from holdfast.recurrence import Rule
from holdfast.schedule import slot_of
from holdfast.storage import Store
from tests.engine.making import Hand, know, look, status

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = FrozenClock().now()  # midnight


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store)


def new(text: str = "0 * * * *", *, zone: str = "UTC", make: Make | None = None, **given: Any) -> NewSchedule:
    """A schedule of ``greet``, every hour but for what is given."""
    rule = Rule("rrule" if "=" in text else "cron", text, zone, given.pop("start", START))
    given.setdefault("id", new_id())
    return NewSchedule(
        task=make.task if make else "greet",
        rule=msgspec.json.encode(rule).decode(),
        make=msgspec.json.encode(make or Make(task="greet")).decode(),
        **given,
    )


def put(store: Store, *args: Any, **given: Any) -> str:
    return store.run_sync(schedules.create, new(*args, **given)).id


def get(store: Store, schedule_id: str) -> ScheduleRecord:
    found = store.read_sync(schedules.retrieve, schedule_id)
    assert found is not None
    return found


def tick(store: Store) -> list[str]:
    """What a scheduler does at its turn; answers the runs that were made."""
    now, due = store.read_sync(ticks.due)
    made = store.run_sync(ticks.fire, [ticks.decide(each, now) for each in due]).runs
    return made + store.run_sync(ticks.follow)


def slots_of(store: Store, schedule_id: str) -> list[tuple[int, str]]:
    """The slots dealt with, in hours since the start, and what became of them; the first one first."""
    found = store.read_sync(schedules.slots, schedule_id, 100)
    return [((each.at - START) // HOUR, each.outcome) for each in reversed(found)]


def slot(run: RunRecord) -> dict[str, Any]:
    return dict(json.loads(run.options or "{}")["slot"])


# -- firing -----------------------------------------------------------------------------------------------------------


def test_a_run_is_made_for_each_slot_and_knows_it(store: Store, clock: FrozenClock) -> None:
    own = put(store, zone="Europe/Berlin", external_id="user-1")
    assert tick(store) != []  # made at midnight sharp, which is a slot
    clock.advance("59m")
    assert tick(store) == []
    clock.advance("1m")
    (run,) = tick(store)
    record = look(store, run)
    assert (record.task, record.queue, record.status) == ("greet", "task/greet", "queued")
    facts = slot(record)
    assert (facts["at"], facts["previous"]) == ("2026-01-01T01:00:00+00:00", "2026-01-01T00:00:00+00:00")
    assert (facts["schedule_id"], facts["external_id"], facts["timezone"]) == (own, "user-1", "Europe/Berlin")
    assert json.loads(record.payload) == facts
    assert slots_of(store, own) == [(0, "made"), (1, "made")]
    assert get(store, own).last_run_id == run


def test_what_is_made_is_as_the_schedule_says(store: Store, clock: FrozenClock) -> None:
    know(store, tasks=("other",), options='{"ttl_ms":5000,"priority_ms":7}')
    make = Make(task="other", payload='{"a":1}', tags='["x"]', concurrency_key="k", options='{"max_attempts":2}')
    put(store, make=make)
    put(store, make=Make(task="other", queue="slow", priority_ms=1, ttl_ms=9000, payload='"' + "x" * 10_000 + '"'))
    first, second = (look(store, run) for run in tick(store))
    assert (first.task, first.payload, first.tags, first.concurrency_key) == ("other", '{"a":1}', '["x"]', "k")
    assert (first.queue, first.priority_ms, first.expire_at) == ("task/other", 7, clock.now() + 5000)
    assert json.loads(first.options or "")["max_attempts"] == 2
    assert (second.queue, second.priority_ms, second.expire_at) == ("slow", 1, clock.now() + 9000)
    assert len(second.payload) == 10_002
    assert len(Hand(store, "other").claim()) == 2


def test_of_two_schedulers_one_fires(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    now, due = store.read_sync(ticks.due)
    mine, theirs = ([ticks.decide(each, now) for each in due] for _ in range(2))
    assert len(store.run_sync(ticks.fire, mine).runs) == 1
    assert store.run_sync(ticks.fire, theirs) == ([], 0)
    assert slots_of(store, own) == [(0, "made")]


def test_no_slot_twice_whatever_the_clock_does(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    tick(store)
    clock.advance("1h")
    assert len(tick(store)) == 1
    clock.set(clock.now() - 2 * HOUR)
    assert tick(store) == []
    clock.advance("2h")
    assert tick(store) == []
    clock.set(START + DAY)
    assert len(tick(store)) == 1
    clock.set(START + 2 * HOUR)
    assert tick(store) == []
    clock.set(START + DAY + HOUR)
    assert len(tick(store)) == 1
    assert slots_of(store, own) == [(0, "made"), (1, "made"), (24, "made"), (25, "made")]


def test_a_change_while_the_clock_is_behind_fires_no_slot_again(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    clock.set(START + 5 * HOUR)
    tick(store)
    clock.set(START + 2 * HOUR + 1)
    store.run_sync(schedules.change, new("*/30 * * * *", id=own))
    store.run_sync(schedules.change, new("0 * * * *", id=own, paused=True))
    store.run_sync(schedules.change, new("0 * * * *", id=own))
    assert get(store, own).slot_at == START + 6 * HOUR


def test_a_schedule_that_was_changed_meanwhile_is_not_fired_as_it_was_read(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    now, due = store.read_sync(ticks.due)
    store.run_sync(schedules.change, new("30 * * * *", id=own))
    assert store.run_sync(ticks.fire, [ticks.decide(each, now) for each in due]).runs == []


# -- missed slots -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("catch_up", "fired"), [(0, []), (1, [10]), (3, [8, 9, 10]), (1000, list(range(11)))])
def test_missed_slots(store: Store, clock: FrozenClock, catch_up: int, fired: list[int]) -> None:
    own = put(store, catch_up=catch_up)
    clock.advance("10h30m")
    assert len(tick(store)) == len(fired)
    assert slots_of(store, own) == [(hour, "made") for hour in fired]
    assert get(store, own).slot_at == START + 11 * HOUR


def test_a_slot_that_is_a_little_late_was_not_missed(store: Store, clock: FrozenClock) -> None:
    own = put(store, catch_up=0)
    clock.advance("2h30s")
    tick(store)
    assert slots_of(store, own) == [(2, "made")]


def test_years_of_missed_slots_cost_no_more_than_a_few(store: Store, clock: FrozenClock) -> None:
    put(store, "* * * * * *", catch_up=5)
    clock.set(START + 3 * 365 * DAY)
    assert len(tick(store)) == 5


def test_previous_is_the_slot_before_also_when_several_are_made_up_for(store: Store, clock: FrozenClock) -> None:
    put(store, catch_up=2)
    clock.advance("2h")
    first, second = (slot(look(store, run)) for run in tick(store))
    assert (first["previous"], second["previous"]) == (None, first["at"])


# -- overlap ----------------------------------------------------------------------------------------------------------


def two_slots(store: Store, clock: FrozenClock, overlap: str) -> tuple[str, list[str], list[str]]:
    """A schedule, the run of its first slot, which executes, and what the second slot led to."""
    own = put(store, overlap=overlap)
    first = tick(store)
    clock.advance("1h")
    return own, first, tick(store)


def test_allow_lets_runs_overlap(store: Store, clock: FrozenClock) -> None:
    own, first, second = two_slots(store, clock, "allow")
    assert len(first) == len(second) == 1
    assert slots_of(store, own) == [(0, "made"), (1, "made")]


def test_skip_leaves_a_slot_out_while_a_run_has_not_ended(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    own, _, second = two_slots(store, clock, "skip")
    assert second == []
    hand.end(hand.claim_one())
    clock.advance("1h")
    assert len(tick(store)) == 1
    assert slots_of(store, own) == [(0, "made"), (1, "skipped"), (2, "made")]


def test_queue_lets_one_slot_wait(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    own, _, second = two_slots(store, clock, "queue")
    assert second == []
    clock.advance("1h")
    assert tick(store) == []
    assert slots_of(store, own) == [(0, "made"), (1, "waiting"), (2, "skipped")]
    assert store.read_sync(ticks.outlook).waiting
    hand.end(hand.claim_one())
    (run,) = tick(store)
    assert slot(look(store, run))["at"] == "2026-01-01T01:00:00+00:00"
    assert slots_of(store, own) == [(0, "made"), (1, "made"), (2, "skipped")]
    assert not store.read_sync(ticks.outlook).waiting
    assert tick(store) == []
    clock.advance("1h")
    assert tick(store) == []  # that one has not ended either
    assert get(store, own).last_run_id == run


def test_a_slot_that_waits_comes_before_one_that_is_just_due(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    own, _, _ = two_slots(store, clock, "queue")
    hand.end(hand.claim_one())
    clock.advance("1h")
    (run,) = tick(store)
    assert slot(look(store, run))["at"] == "2026-01-01T01:00:00+00:00"
    assert slots_of(store, own) == [(0, "made"), (1, "made"), (2, "skipped")]


def test_cancel_ends_the_old_run(store: Store, clock: FrozenClock) -> None:
    own, (old,), second = two_slots(store, clock, "cancel")
    assert status(store, old) == "canceled"
    assert [status(store, run) for run in second] == ["queued"]
    assert slots_of(store, own) == [(0, "made"), (1, "made")]


@pytest.mark.parametrize(
    ("overlap", "outcomes"),
    [
        ("skip", ["made", "skipped", "skipped"]),
        ("queue", ["made", "waiting", "skipped"]),
        ("cancel", ["skipped", "skipped", "made"]),
        ("allow", ["made", "made", "made"]),
    ],
)
def test_slots_that_are_made_up_for_together_overlap_as_well(
    store: Store, clock: FrozenClock, overlap: str, outcomes: list[str]
) -> None:
    own = put(store, overlap=overlap, catch_up=3)
    clock.advance("2h")
    tick(store)
    assert [outcome for _, outcome in slots_of(store, own)] == outcomes


# -- one schedule -----------------------------------------------------------------------------------------------------


def test_a_schedule_ends_with_its_rule(store: Store, clock: FrozenClock) -> None:
    own = put(store, "FREQ=HOURLY;COUNT=2")
    assert len(tick(store)) == 1  # without DTSTART the first slot is at once
    clock.advance("1h")
    assert len(tick(store)) == 1
    record = get(store, own)
    assert (record.slot_at, record.next_at) == (None, None)
    clock.advance("5h")
    assert tick(store) == []


def test_jitter_is_the_same_for_each_slot_and_differs_between_schedules(store: Store, clock: FrozenClock) -> None:
    found = [get(store, put(store, jitter_ms=10 * MINUTE)) for _ in range(20)]
    late = {(each.next_at or 0) - (each.slot_at or 0) for each in found}
    assert len(late) > 10
    assert all(0 <= each <= 10 * MINUTE for each in late)
    clock.advance("1h10m")
    tick(store)
    assert [(each.next_at or 0) + 2 * HOUR for each in found] == [get(store, each.id).next_at for each in found]


def test_h_is_another_minute_in_each_schedule_and_stays_so(store: Store, clock: FrozenClock) -> None:
    several = [put(store, "H * * * *") for _ in range(40)]
    minutes = [(get(store, own).slot_at or 0) % HOUR // MINUTE for own in several]
    assert len(set(minutes)) > 10
    clock.advance("1h")
    assert len(tick(store)) == len(several)
    for own in several[:3]:
        store.run_sync(schedules.set_paused, own, True)
        store.run_sync(schedules.set_paused, own, False)
        store.run_sync(schedules.change, new("H * * * *", id=own, overlap="skip"))
    assert [(get(store, own).slot_at or 0) % HOUR // MINUTE for own in several] == minutes
    clock.advance("1h")
    facts = slot(look(store, tick(store)[0]))
    upcoming = slot_of(facts).upcoming
    assert {each.minute for each in upcoming} == {datetime.fromisoformat(facts["at"]).minute}


def test_a_paused_schedule_does_not_fire_and_makes_up_for_nothing(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    store.run_sync(schedules.change, new(id=own, paused=True))
    clock.advance("5h30m")
    assert tick(store) == []
    store.run_sync(schedules.change, new(id=own))
    assert tick(store) == []
    clock.advance("30m")
    assert len(tick(store)) == 1
    assert slots_of(store, own) == [(6, "made")]


def test_the_same_key_changes_the_schedule_that_has_it(store: Store, clock: FrozenClock) -> None:
    first = store.run_sync(schedules.create, new(key="user-1", external_id="a"))
    second = store.run_sync(schedules.create, new("30 * * * *", key="user-1", external_id="b"))
    assert (first.id, second.external_id, second.slot_at) == (second.id, "b", START + 30 * MINUTE)
    assert len(store.read_sync(schedules.page, 10)) == 1
    assert store.run_sync(schedules.create, new(key="user-2")).id != first.id


def test_a_change_that_leaves_the_rule_alone_keeps_its_start_and_its_slot(store: Store, clock: FrozenClock) -> None:
    own = put(store, "FREQ=HOURLY;INTERVAL=5")
    tick(store)
    clock.advance("1h7m")
    store.run_sync(schedules.change, new("FREQ=HOURLY;INTERVAL=5", id=own, overlap="skip", start=clock.now()))
    assert (get(store, own).slot_at, get(store, own).overlap) == (START + 5 * HOUR, "skip")


def test_run_now_makes_a_run_also_of_a_paused_schedule(store: Store, clock: FrozenClock) -> None:
    own = put(store, paused=True)
    clock.advance("5m")
    first, second = (store.run_sync(schedules.run_now, own) for _ in range(2))
    assert first is not None
    assert second is not None
    assert slot(look(store, first))["at"] == "2026-01-01T00:05:00+00:00"
    assert first != second
    assert len(slots_of(store, own)) == 2
    assert store.run_sync(schedules.run_now, "nobody") is None


def test_run_now_at_the_very_moment_of_a_slot_takes_nothing_from_it(store: Store, clock: FrozenClock) -> None:
    own = put(store)  # due at once
    asked = store.run_sync(schedules.run_now, own)
    (made,) = tick(store)
    assert asked != made
    assert slots_of(store, own) == [(0, "made"), (0, "made")]


def test_a_slot_that_has_a_row_is_never_fired_again(store: Store, clock: FrozenClock) -> None:
    """The second line of defence, should a schedule ever stand where it has been: as after a restored table."""
    own = put(store)
    store.run_sync(lambda tx: tx.batch("insert_slots", [ticks.SlotRow(own, START, "made", "earlier")]).rows())
    assert tick(store) == []
    clock.advance("1h")
    assert len(tick(store)) == 1


def test_a_schedule_that_is_removed_fires_no_more_and_its_runs_stay(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    (run,) = tick(store)
    assert store.run_sync(schedules.remove, [own, "nobody"]) == [own]
    clock.advance("5h")
    assert tick(store) == []
    assert store.read_sync(read.run, run) is not None
    assert store.read_sync(schedules.retrieve, own) is None
    assert slots_of(store, own) == []


def test_pages_by_task_and_external_id(store: Store, clock: FrozenClock) -> None:
    made = [put(store, external_id=f"user-{n % 2}") for n in range(5)]
    first = store.read_sync(schedules.page, 3)
    rest = store.read_sync(schedules.page, 3, first[-1].id)
    assert [each.id for each in first + rest] == made[::-1]
    assert len(store.read_sync(schedules.page, 9, task="greet", external_id="user-0")) == 3
    assert store.read_sync(schedules.page, 9, task="other") == []


def test_slots_of_long_ago_are_forgotten(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    tick(store)
    clock.advance("1h")
    tick(store)
    assert store.run_sync(ticks.prune, 30 * MINUTE) == 1
    assert slots_of(store, own) == [(1, "made")]


def test_a_rule_that_cannot_be_expanded_any_more_stops_and_says_why(store: Store, clock: FrozenClock) -> None:
    own = put(store)
    _, (due,) = store.read_sync(ticks.due)
    broken = due._replace(rule='["cron","0 0 * * *","Mars/Olympus",0]')
    assert store.run_sync(ticks.fire, [ticks.decide(broken, clock.now())]).runs == []
    record = get(store, own)
    assert record.next_at is None
    assert "Mars/Olympus" in (record.problem or "")


@pytest.mark.parametrize("column", ["rule", "make"])
def test_one_that_cannot_be_read_stops_alone(store: Store, clock: FrozenClock, column: str) -> None:
    _, other = put(store), put(store)
    _, found = store.read_sync(ticks.due)
    spoilt = [each._replace(**{column: "5"}) if each.id == other else each for each in found]
    fired = store.run_sync(ticks.fire, [ticks.decide(each, clock.now()) for each in spoilt])
    assert (len(fired.runs), fired.moved) == (1, 2)
    assert get(store, other).problem is not None


# -- what code declares -----------------------------------------------------------------------------------------------


def declared(*texts: str) -> list[NewSchedule]:
    return [new(text, owner="shop", key=f"greet#{n}") for n, text in enumerate(texts)]


def of_shop(store: Store) -> dict[str | None, str]:
    found = [each for each in store.read_sync(schedules.page, 99) if each.owner == "shop"]
    return {each.key: json.loads(each.rule)[1] for each in found}


def worker(store: Store, *texts: str) -> workers.WorkerEntry:
    """A worker of the shop starts, with this in its code."""
    body = declared(*texts)
    entry = workers.WorkerEntry(
        id=new_id(), lease_ms=30_000, host="reef", pid=1, concurrency=1, app="shop", declares=schedules.digest(body)
    )
    store.run_sync(workers.register, entry, ["greet"])
    store.run_sync(schedules.declare, "shop", body)
    return entry


def test_schedules_follow_the_code(store: Store, clock: FrozenClock) -> None:
    other = put(store, key="greet#0")  # made at run time, and nobody's code
    worker(store, "0 1 * * *", "0 2 * * *")
    before = {each.key: each.id for each in store.read_sync(schedules.page, 99) if each.owner}
    assert of_shop(store) == {"greet#0": "0 1 * * *", "greet#1": "0 2 * * *"}
    clock.advance("1m")
    worker(store, "0 3 * * *")
    assert of_shop(store) == {"greet#0": "0 3 * * *"}
    (kept,) = (each for each in store.read_sync(schedules.page, 99) if each.owner)
    assert (kept.id, kept.slot_at) == (before["greet#0"], START + 3 * HOUR)
    worker(store)
    assert of_shop(store) == {}
    assert get(store, other).key == "greet#0"


def test_an_old_worker_changes_nothing(store: Store, clock: FrozenClock) -> None:
    worker(store, "0 1 * * *")
    worker(store, "0 2 * * *")
    worker(store, "0 1 * * *")  # a child of the old deploy was replaced
    assert of_shop(store) == {"greet#0": "0 2 * * *"}
    assert store.read_sync(schedules.out_of_step) == []


def test_after_a_roll_back_the_old_code_counts_again(store: Store, clock: FrozenClock) -> None:
    new_one = [worker(store, "0 1 * * *"), worker(store, "0 2 * * *")][1]
    assert of_shop(store) == {"greet#0": "0 2 * * *"}
    store.run_sync(workers.drain, new_one.id)
    assert store.read_sync(schedules.out_of_step) == ["shop"]
    assert store.run_sync(schedules.step, "shop") is not None
    assert of_shop(store) == {"greet#0": "0 1 * * *"}
    assert store.read_sync(schedules.out_of_step) == []
    worker(store, "0 2 * * *")  # the last of the bad deploy: overtaken now
    assert of_shop(store) == {"greet#0": "0 1 * * *"}


def test_an_app_without_schedules_has_nothing_to_follow(store: Store, clock: FrozenClock) -> None:
    worker(store)
    assert store.read_sync(schedules.out_of_step) == []


def test_when_all_are_gone_the_schedules_stay(store: Store, clock: FrozenClock) -> None:
    entry = worker(store, "0 1 * * *")
    store.run_sync(workers.stop, entry.id)
    assert store.read_sync(schedules.out_of_step) == []
    assert of_shop(store) == {"greet#0": "0 1 * * *"}


def test_a_declared_schedule_that_was_paused_stays_so(store: Store, clock: FrozenClock) -> None:
    worker(store, "0 1 * * *")
    (found,) = (each for each in store.read_sync(schedules.page, 99))
    store.run_sync(schedules.set_paused, found.id, True)
    worker(store, "0 2 * * *")
    assert of_shop(store) == {"greet#0": "0 2 * * *"}
    assert (get(store, found.id).paused_at, get(store, found.id).next_at) == (clock.now(), None)


def test_a_worker_that_starts_again_changes_no_slot(store: Store, clock: FrozenClock) -> None:
    worker(store, "FREQ=HOURLY;INTERVAL=5")
    tick(store)
    clock.advance("1h7m")
    worker(store, "FREQ=HOURLY;INTERVAL=5")
    assert [each.slot_at for each in store.read_sync(schedules.page, 9)] == [START + 5 * HOUR]
