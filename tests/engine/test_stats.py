"""How many runs have ended, when and how: summed up from history, each once."""

from __future__ import annotations

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import cancel, stats
from holdfast.storage import Store
from holdfast.views.stats import Stat, Total
from holdfast.views.stats import stats as read_stats
from holdfast.views.stats import totals as read_totals
from tests.engine.making import Hand, know, new, send

DAY = 24 * 3_600_000
MINUTE = 60_000


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, tasks=("greet", "wave"))
    sum_up(store)


def sum_up(store: Store) -> None:
    while store.run_sync(stats.sum_up):
        pass


def totals(store: Store) -> list[Total]:
    return store.read_sync(read_totals)


def of_minutes(store: Store, clock: FrozenClock, **said: object) -> list[Stat]:
    return store.read_sync(read_stats, clock.now() - DAY, clock.now(), MINUTE, **said)  # type: ignore[arg-type]


def test_each_end_is_counted_once_whoever_has_brought_it_about(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    send(store, new(), new())
    clock.advance("2s")
    first, second = hand.claim()
    hand.end(first)
    clock.advance("500ms")
    hand.end(second)
    [gone] = send(store, new("wave"))
    store.run_sync(cancel.cancel, [gone])
    sum_up(store)
    assert totals(store) == []  # somebody might be about to commit an end of before
    clock.advance("6s")
    sum_up(store)
    sum_up(store)
    assert totals(store) == [
        Total("greet", "completed", 2, 500, 4_000, (1, 2, 2, 2, 2, 2)),
        Total("wave", "canceled", 1, 0, 0, (1, 1, 1, 1, 1, 1)),
    ]


def test_by_minute_and_by_task(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    for _ in range(2):
        send(store, new())
        hand.end(hand.claim_one())
        clock.advance("1m")
    sum_up(store)
    found = of_minutes(store, clock)
    assert [(each.task, each.status, each.n) for each in found] == [(None, "completed", 1)] * 2
    assert found[1].at - found[0].at == MINUTE
    assert [each.n for each in of_minutes(store, clock, task="greet")] == [1, 1]
    assert of_minutes(store, clock, task="wave") == []
    [whole] = store.read_sync(read_stats, clock.now() - DAY, clock.now(), 10 * DAY, by_task=True)
    assert (whole.task, whole.n) == ("greet", 2)


def test_many_are_summed_up_in_parts(store: Store, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "AT_ONCE", 7)
    hand = Hand(store)
    send(store, *(new() for _ in range(30)))
    for number, run in enumerate(hand.claim(30)):
        clock.advance(f"{number % 3}ms")
        hand.end(run)
    clock.advance("1m")
    assert store.run_sync(stats.sum_up)
    sum_up(store)
    assert totals(store)[0].n == 30


def test_minutes_become_hours_and_are_forgotten_and_sums_stay(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    for _ in range(3):
        send(store, new())
        hand.end(hand.claim_one())
        clock.advance("1m")
    sum_up(store)
    clock.advance("3d")
    while store.run_sync(stats.fold, 30 * DAY):
        pass
    found = store.read_sync(read_stats, clock.now() - 4 * DAY, clock.now(), MINUTE)
    assert sum(each.n for each in found) == 3
    assert all(each.at % 3_600_000 == 0 for each in found)
    clock.advance("31d")
    while store.run_sync(stats.fold, 30 * DAY):
        pass
    assert store.read_sync(read_stats, 0, clock.now(), MINUTE) == []
    assert totals(store)[0].n == 3
