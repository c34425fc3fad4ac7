"""What a server says of an app: all that its code declares, where no worker says it."""

from __future__ import annotations

import json

import msgspec

from holdfast import alerts
from holdfast.clock import FrozenClock
from holdfast.engine import alerts as engine_alerts
from holdfast.engine import announce, catalogue, schedules, webhooks, workers
from holdfast.engine.announce import Declarations
from holdfast.ids import new_id
from holdfast.records import NewSchedule, QueueEntry, TaskEntry
from holdfast.recurrence import Rule
from holdfast.storage import Store

FAILURES = alerts.alert_of("ops", [alerts.Failures()], alerts.Mail("ops@example.com"), "15s", "5m").entry()


def declared(rule: str, path: str = "/stripe", limit: int | None = 2) -> Declarations:
    """What the code of an app says: a task with a webhook, a schedule and an alert, in a queue with a limit."""
    every = msgspec.json.encode(Rule("cron", rule, "UTC", 0)).decode()
    make = json.dumps({"task": "greet"})
    return Declarations(
        app="shop",
        tasks=[TaskEntry(id="greet", queue="mail", options="{}", webhook=path, verified_by="Stripe")],
        queues=[QueueEntry(name="mail", concurrency_limit=limit)],
        schedules=[NewSchedule(id="", key="greet#0", owner="shop", task="greet", rule=every, make=make)],
        alerts=[FAILURES],
    )


def worker(store: Store, app: str = "shop") -> str:
    entry = workers.WorkerEntry(id=new_id(), lease_ms=30_000, host="here", pid=1, concurrency=1, app=app)
    store.run_sync(workers.register, entry, ["greet"])
    return entry.id


def known(store: Store) -> tuple[list[str], list[str], list[str], int | None]:
    """What is known of the app: rules, paths, alerts, and the limit of its queue."""
    rules = [json.loads(each.rule)[1] for each in store.read_sync(schedules.page, 99) if each.owner == "shop"]
    paths = [each.path for each in store.read_sync(webhooks.announced)]
    queue = store.read_sync(catalogue.queue, "mail")
    assert queue is not None
    return rules, paths, [each.name for each in store.read_sync(engine_alerts.alerts)], queue.concurrency_limit


def test_a_server_announces_only_where_no_worker_does(store: Store, clock: FrozenClock) -> None:
    assert store.run_sync(announce.without_workers, declared("0 1 * * *")) == []
    assert known(store) == (["0 1 * * *"], ["/stripe"], ["ops"], 2)
    me = worker(store)
    assert store.run_sync(announce.without_workers, declared("0 3 * * *", "/other", 9)) is None
    assert known(store) == (["0 1 * * *"], ["/stripe"], ["ops"], 2)
    store.run_sync(workers.drain, me)
    changed = store.run_sync(announce.without_workers, declared("0 3 * * *", "/other", 9)) or []
    assert [queue.name for queue in changed] == ["mail"]
    assert known(store) == (["0 3 * * *"], ["/other"], ["ops"], 9)


def test_the_worker_of_another_app_says_nothing_of_this_one(store: Store, clock: FrozenClock) -> None:
    worker(store, "mail")
    assert store.run_sync(announce.without_workers, declared("0 1 * * *")) is not None
    assert known(store)[0] == ["0 1 * * *"]
