"""Two schedulers, clocks that are set back and forward, runs that end when they like: each slot once, by its policy."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import read, schedules, ticks
from holdfast.engine.ticks import Tick
from holdfast.storage import Store
from tests.engine.making import Hand, know
from tests.engine.test_schedules import DAY, HOUR, MINUTE, new, slot

POLICIES = [("allow", 1), ("allow", 0), ("allow", 5), ("skip", 1), ("queue", 1), ("queue", 5), ("cancel", 5)]
RULES = ("*/10 * * * *", "0 * * * *", "30 */2 * * *", "FREQ=MINUTELY;INTERVAL=7")


class Model:
    """Schedules of all policies, two schedulers that read and fire whenever they like, and what has been seen."""

    def __init__(self, store: Store, clock: FrozenClock, seed: int) -> None:
        self.store, self.clock, self.random = store, clock, random.Random(seed)
        self.hand = Hand(store)
        self.own = [
            store.run_sync(schedules.create, new(self.random.choice(RULES), overlap=overlap, catch_up=catch_up)).id
            for overlap, catch_up in POLICIES
        ]
        self.read: list[list[Tick]] = [[], []]
        self.made: list[str] = []
        self.latest = dict.fromkeys(self.own, 0)

    @property
    def acts(self) -> list[Callable[[], None]]:
        return (
            [self.pass_by] * 4
            + [self.look, self.fire] * 4
            + [self.end] * 3
            + [self.set_back, self.jump, self.pause, self.change]
        )

    def pass_by(self) -> None:
        self.clock.advance(self.random.randint(0, 90 * 60))

    def set_back(self) -> None:
        self.clock.set(self.clock.now() - self.random.randint(0, HOUR))

    def jump(self) -> None:
        self.clock.set(self.clock.now() + self.random.choice([DAY, 7 * DAY, HOUR + MINUTE]))

    def look(self) -> None:
        now, due = self.store.read_sync(ticks.due)
        self.read[self.random.randrange(2)] = [ticks.decide(each, now) for each in due]

    def fire(self) -> None:
        self.made += self.store.run_sync(ticks.fire, self.read[self.random.randrange(2)]).runs
        self.made += self.store.run_sync(ticks.follow)

    def end(self) -> None:
        if claimed := self.hand.claim(self.random.randint(1, 5)):
            self.hand.end(*claimed)

    def pause(self) -> None:
        own = self.random.choice(self.own)
        self.store.run_sync(schedules.set_paused, own, True)
        self.pass_by()
        self.store.run_sync(schedules.set_paused, own, False)

    def change(self) -> None:
        at = self.random.randrange(len(self.own))
        overlap, catch_up = POLICIES[at]
        rule = self.random.choice(RULES)
        changed = new(rule, id=self.own[at], overlap=overlap, catch_up=catch_up, start=self.clock.now())
        self.store.run_sync(schedules.change, changed)

    def check(self) -> None:
        records = self.store.read_sync(read.runs, self.made)
        fired = Counter((slot(each)["schedule_id"], slot(each)["at"]) for each in records)
        assert max(fired.values(), default=1) == 1, "a slot twice"
        for own, (overlap, _) in zip(self.own, POLICIES, strict=True):
            mine = [each for each in records if slot(each)["schedule_id"] == own]
            times = [slot(each)["at"] for each in mine]
            assert times == sorted(times), "slots go forward"
            if overlap in ("skip", "queue"):
                assert sum(each.status in ("queued", "executing") for each in mine) <= 1, overlap
            slots = self.store.read_sync(schedules.slots, own, 10_000)
            assert {each.run_id for each in slots if each.outcome == "made"} == {each.id for each in mine}


@pytest.mark.parametrize("seed", range(2))
def test_no_slot_twice_and_policies_hold(store: Store, clock: FrozenClock, seed: int) -> None:
    play(store, clock, seed, 80)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_for_a_long_time(store: Store, clock: FrozenClock, seed: int) -> None:
    play(store, clock, seed, 400)


def play(store: Store, clock: FrozenClock, seed: int, acts: int) -> None:
    know(store)
    model = Model(store, clock, seed)
    for _ in range(acts):
        model.random.choice(model.acts)()
        if model.random.random() < 0.1:
            model.check()
    model.check()
    assert len(model.made) > 10
