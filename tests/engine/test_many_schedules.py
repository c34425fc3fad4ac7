"""A hundred thousand schedules: what is due in one minute is made at once, and what is not costs nothing."""

from __future__ import annotations

import time

import msgspec
import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import schedules, ticks
from holdfast.ids import new_id
from holdfast.recurrence import Rule
from holdfast.storage import Store, Tx
from tests.engine.making import know

START = FrozenClock().now()  # midnight
COUNT, DUE = 100_000, 10_000


def fill(tx: Tx, numbers: range) -> None:
    """Schedules of different zones, a tenth of them due at nine in the morning, the others at any time."""
    zones = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
    for n in numbers:
        due = f"0 9,{n % 24} {n // 24 % 28 + 1}-31 * *"
        rule = Rule("cron", due if n < DUE else f"{n % 60} {n // 60 % 24} 15 * *", zones[n % 5])
        at = START + (9 * 3600 if n < DUE else 14 * 86_400 + n) * 1000
        tx.rows(
            "insert_schedule",
            id=new_id(),
            task="greet",
            rule=msgspec.json.encode(rule).decode(),
            make='{"task":"greet"}',
            catch_up=1,
            overlap="allow",
            jitter_ms=0,
            owner="",
            key=f"customer-{n}",
            external_id=f"customer-{n}",
            slot_at=at,
            next_at=at,
            paused=0,
            problem=None,
        )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_in_the_same_minute(store: Store, clock: FrozenClock) -> None:
    know(store)
    for begin in range(0, COUNT, 10_000):
        store.run_sync(fill, range(begin, begin + 10_000))
    began = time.perf_counter()
    for _ in range(100):
        assert store.read_sync(ticks.due)[1] == []
        store.read_sync(ticks.outlook)
    idle = time.perf_counter() - began
    clock.advance("9h")
    began, cpu = time.perf_counter(), time.process_time()
    made = 0
    while made < DUE:
        now, due = store.read_sync(ticks.due)
        made += len(store.run_sync(ticks.fire, [ticks.decide(each, now) for each in due]).runs)
    took, worked = time.perf_counter() - began, time.process_time() - cpu
    print(f"{store.kind}: {DUE} runs made in {took:.2f} s ({worked:.2f} s of our CPU); a look costs {idle * 10:.2f} ms")
    assert made == DUE
    assert worked < 10  # two seconds, on a machine of one's own
    assert len(store.read_sync(schedules.page, 10)) == 10
