"""Alerts: what is told, once, to whom, and when it is over. Time is the test's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast import alerting, alerts, views
from holdfast.clock import FrozenClock
from holdfast.duration import to_ms
from holdfast.engine import alerts as engine
from holdfast.engine import catalogue, schedules, ticks
from holdfast.records import NewSchedule
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, send

SLACK = alerts.Slack("https://hooks.example.com/T/B/secret")


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store)


class Desk:
    """Where messages come in."""

    def __init__(self, store: Store, clock: FrozenClock) -> None:
        self.store, self.clock, self.read = store, clock, 0

    def declare(self, *conditions: alerts.Condition, to: Any = None, **said: str) -> None:
        said = {"gather": "15s", "every": "5m", **said}
        made = alerts.alert_of("ops", conditions, to or alerts.Webhook("https://example.com/a"), **said)  # type: ignore[arg-type]
        self.store.run_sync(engine.declare, "shop:tasks", [made.entry()])
        self.look()

    def look(self) -> None:
        self.store.run_sync(alerting.look)

    def after(self, duration: str) -> None:
        """Have it looked at every ten seconds for so long."""
        for _ in range(to_ms(duration, name="duration") // 10_000):
            self.clock.advance("10s")
            self.look()

    def messages(self) -> list[Any]:
        """What has come since the last time."""
        rows = self.store.read_sync(lambda tx: tx.rows("runs", ids=self.ids()))
        found = [json.loads(row[4]) for row in sorted(rows)]
        new_ones, self.read = found[self.read :], len(found)
        return new_ones

    def ids(self) -> list[str]:
        wanted = views.Filter(tasks=frozenset({alerting.TASK}))
        return [each.id for each in self.store.read_sync(views.page, wanted, limit=100).runs]


@pytest.fixture
def desk(store: Store, clock: FrozenClock) -> Desk:
    return Desk(store, clock)


def fail(store: Store, n: int = 1, status: str = "failed") -> None:
    send(store, *(new() for _ in range(n)))
    hand = Hand(store)
    left = n
    while left:
        claimed = hand.claim(min(left, 500))
        hand.end(*claimed, status=status, error='{"type": "ValueError", "message": "no"}')
        left -= len(claimed)


def test_a_thousand_failures_are_one_message(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Failures())
    fail(store, 600)
    desk.after("10s")
    fail(store, 400, status="timed_out")
    desk.after("1m")
    [message] = desk.messages()
    assert message["headline"] == "1000 runs have failed"
    assert sorted((each["status"], each["count"]) for each in message["failed"]) == [
        ("failed", 600),
        ("timed_out", 400),
    ]
    assert message["runs"][0]["error"] == "ValueError: no"
    desk.after("10m")
    assert desk.messages() == []


def test_there_is_a_message_every_so_often_at_most_and_nothing_is_left_out(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Failures(), gather="0s", every="5m")
    for _ in range(6):
        fail(store)
        desk.after("1m")
    desk.after("10m")
    told = desk.messages()
    assert [sum(each["count"] for each in message["failed"]) for message in told] == [1, 5]


def test_only_what_is_asked_for_and_never_of_messages_themselves(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Failures("wave"))
    fail(store)
    desk.after("1m")
    assert desk.messages() == []
    state = alerting.State()
    alerting.count(state, [alerting.Condition("failures", None, 0)], [engine.Failed(alerting.TASK, "failed", 1, "a")])
    assert state.failed == {}


def test_what_happened_before_it_was_declared_is_not_told(desk: Desk, store: Store, clock: FrozenClock) -> None:
    fail(store)
    clock.advance("1h")
    desk.declare(alerts.Failures())
    desk.after("1m")
    assert desk.messages() == []


def test_a_queue_whose_oldest_run_is_too_old_and_when_it_is_not(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Backlog("10m"), every="0s")
    send(store, new())
    desk.after("9m")
    assert desk.messages() == []
    desk.after("2m")
    [message] = desk.messages()
    assert "task/greet has waited for 10m" in message["firing"][0]["text"]
    desk.after("30m")
    assert desk.messages() == []
    hand = Hand(store)
    hand.end(hand.claim_one())
    desk.after("1m")
    [message] = desk.messages()
    assert (message["firing"], "for 3" in message["resolved"][0]) == ([], True)


def test_a_paused_queue_is_meant(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Backlog("1m"))
    send(store, new())
    store.run_sync(catalogue.pause, "task/greet")
    desk.after("5m")
    assert desk.messages() == []


def test_no_worker_for_so_long(desk: Desk, store: Store, clock: FrozenClock) -> None:
    desk.declare(alerts.NoWorker("2m"), every="0s")
    send(store, new())
    desk.after("1m")
    assert desk.messages() == []
    desk.after("2m")
    [message] = desk.messages()
    assert message["firing"][0]["text"] == "No live worker knows the task greet: 1 run waits"
    Hand(store).claim()
    desk.after("1m")
    assert len(desk.messages()) == 1


def test_what_is_over_before_anybody_was_told_is_not_told(desk: Desk, store: Store) -> None:
    desk.declare(alerts.NoWorker("0s"), gather="1m")
    send(store, new())
    desk.after("20s")
    Hand(store).claim()
    desk.after("10m")
    assert desk.messages() == []


def test_a_schedule_that_is_late_and_one_that_has_missed_a_slot(desk: Desk, store: Store, clock: FrozenClock) -> None:
    desk.declare(alerts.MissedSchedule("5m"), every="0s")
    rule = json.dumps(["cron", "0 * * * *", "UTC", clock.now()])
    make = json.dumps({"task": "greet"})
    store.run_sync(
        schedules.create,
        NewSchedule(
            id="", task="greet", rule=rule, make=make, catch_up=0, overlap="allow", jitter_ms=0, owner="", key=None
        ),
    )
    desk.after("70m")
    [message] = desk.messages()
    assert "is late" in message["firing"][0]["text"]
    now, due = store.read_sync(ticks.due)
    store.run_sync(ticks.fire, [ticks.decide(each, now) for each in due])
    desk.after("1m")
    [message] = desk.messages()
    assert "has missed its slot" in message["firing"][0]["text"]
    assert "is late" in message["resolved"][0]


def test_two_hosts_send_one_message(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Failures(), gather="0s")
    fail(store)
    for _ in range(3):
        desk.clock.advance("10s")
        desk.look()
        desk.look()
    assert len(desk.messages()) == 1


def test_each_channel_has_it_in_its_own_words(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Failures(), to=[SLACK, alerts.Mail("a@example.com", "b@example.com")], gather="0s")
    send(store, new("<b>&"))
    store.run_sync(lambda tx: None)
    fail(store)
    desk.after("20s")
    slack, mail = sorted(desk.messages(), key=lambda each: "subject" in each)
    assert slack["text"].startswith("*[ops] 1 run has failed*")
    assert mail["subject"] == "[ops] 1 run has failed"
    assert "ValueError: no" in mail["text"]
    assert alerting.escaped("<!channel> & co") == "&lt;!channel&gt; &amp; co"


def test_what_is_declared_no_more_is_gone_and_the_rest_stays_as_it_was(desk: Desk, store: Store) -> None:
    desk.declare(alerts.Failures(), gather="5m")
    fail(store)
    desk.after("1m")
    entries = [alerts.alert_of(name, [alerts.Failures()], SLACK, "0s", "0s").entry() for name in ("ops", "new")]
    store.run_sync(engine.declare, "shop:tasks", entries)
    [_, ops] = store.read_sync(engine.alerts)
    assert json.loads(ops.state)["failed"] == {"greet": {"failed": 1}}
    store.run_sync(engine.declare, "shop:tasks", [])
    assert store.read_sync(engine.alerts) == []


def test_an_error_is_told_in_text_that_every_channel_takes() -> None:
    assert engine.line('{"type":"ValueError","message":"a\\u0000 \\ud800"}') == "ValueError: a\\x00 \\ud800"
