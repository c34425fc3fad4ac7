"""Schedules: ten thousand of a hundred thousand that are due at once, what they cost while none is, and how punctual.

    python scripts/bench_schedules.py [--database URL] [--schedules 100000] [--due 10000] [--seconds 20]

``bench_push.py`` prints the same figures beside those of pushing, for both databases.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from holdfast import Cron, Holdfast, Slot, codec, storage
from holdfast.engine import read
from holdfast.engine.catalogue import ensure_names
from holdfast.engine.trigger import RouteName
from holdfast.ids import new_id
from holdfast.records import Make, QueueEntry
from holdfast.recurrence import Rule
from holdfast.scheduler import Scheduler
from holdfast.storage import Store, Tx
from holdfast.views import Filter, page

IDLE_SECONDS = 10.0
AHEAD_SECONDS = 3
SEEN_SECONDS = 2.0  # until a scheduler has seen schedules that were just made
PACKET = 10_000


class Due(NamedTuple):
    """Schedules that were due at once: seconds from their slot until the last run was there."""

    made: int
    seconds: float
    cpu: float
    idle_ms: float  # of CPU a second, with all of them and none due


class Punctual(NamedTuple):
    """Milliseconds from a slot until its run was made, and until its first line; half of them, and 99 per cent."""

    samples: int
    made: tuple[float, float]
    started: tuple[float, float]


def due_at_once(database: str, schedules: int, due: int) -> Due:
    """Make the schedules, let a scheduler do nothing for a while, and then all that are due in one second."""
    store = storage.open(database, migrate=True)
    scheduler = Scheduler(store)
    store.run_sync(lambda tx: ensure_names(tx, [QueueEntry(name="task/bench")], [RouteName("task/bench", "bench")]))
    far = datetime.now(UTC) + timedelta(days=10)
    fill(store, range(due, schedules), far)
    began, idle = time.monotonic(), 0.0
    while time.monotonic() - began < IDLE_SECONDS:
        cpu = time.process_time()
        pause = scheduler.turn()
        idle += time.process_time() - cpu
        time.sleep(pause)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=AHEAD_SECONDS + due // 2_000)
    fill(store, range(due), at)
    assert datetime.now(UTC) < at, "the machine is too slow to make the schedules in time"
    cpu = time.process_time()
    while datetime.now(UTC) < at + timedelta(seconds=1):
        time.sleep(scheduler.turn())
    cpu = time.process_time() - cpu
    made = [record.created_at for record in runs_of(store, "bench")]
    store.close()
    return Due(len(made), max(made) / 1000 - at.timestamp(), cpu, idle / IDLE_SECONDS * 1000)


def fill(store: Store, numbers: range, at: datetime) -> None:
    for begin in range(numbers.start, numbers.stop, PACKET):
        store.run_sync(insert, range(begin, min(numbers.stop, begin + PACKET)), at)


def insert(tx: Tx, numbers: range, at: datetime) -> None:
    """Schedules with a rule of their own each, whose next slot is at this moment."""
    slot_at = int(at.timestamp()) * 1000
    make = msgspec.json.encode(Make(task="bench")).decode()
    for n in numbers:
        months = ",".join(str(month) for month in range(1, 13) if month == at.month or n >> month & 1)
        rule = Rule("cron", f"{at.second} {at.minute} {at.hour} {at.day},{n % 28 + 1} {months} *")
        text = msgspec.json.encode(rule).decode()
        said = {"rule": text, "make": make, "key": f"customer-{n}", "external_id": f"customer-{n}"}
        usual = {"catch_up": 1, "overlap": "allow", "jitter_ms": 0, "owner": "", "paused": 0, "problem": None}
        tx.rows("insert_schedule", id=new_id(), task="bench", slot_at=slot_at, next_at=slot_at, **said, **usual)


def runs_of(store: Store, task: str) -> list[Any]:
    """All runs of a task."""
    found = store.read_sync(page, Filter(tasks=(task,)), limit=1_000)
    runs = store.read_sync(read.runs, [run.id for run in found.runs])
    while found.next_cursor is not None:
        found = store.read_sync(page, Filter(tasks=(task,)), limit=1_000, before=found.next_cursor)
        runs += store.read_sync(read.runs, [run.id for run in found.runs])
    return runs


def punctual(database: str, seconds: float) -> Punctual:
    """Some schedules that fire every second, for a worker that has nothing else to do."""
    app = Holdfast(database)

    @app.task(id="tick")
    def tick(slot: Slot) -> None: ...

    with app.running():
        for n in range(3):
            app.schedules.create(tick, Cron("* * * * * *"), deduplication_key=f"tick-{n}")
        time.sleep(SEEN_SECONDS)
        since = datetime.now(UTC)
        time.sleep(seconds)
    store = app.client.store
    fired = [record for record in runs_of(store, "tick") if record.started_at is not None]
    records = [record for record in fired if slot_of(record) > since]
    at = [slot_of(record).timestamp() * 1000 for record in records]
    made = [record.created_at - each for record, each in zip(records, at, strict=True)]
    started = [record.started_at - each for record, each in zip(records, at, strict=True)]
    app.close()
    return Punctual(len(records), shares(made), shares(started))


def slot_of(record: Any) -> datetime:
    return datetime.fromisoformat(codec.decode(record.options)["slot"]["at"])


def shares(milliseconds: list[float]) -> tuple[float, float]:
    ordered = sorted(milliseconds)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database")
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--due", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(due_at_once(given.database or f"sqlite:///{folder}/due.db", given.schedules, given.due))
        print(punctual(given.database or f"sqlite:///{folder}/punctual.db", given.seconds))


if __name__ == "__main__":
    main()
