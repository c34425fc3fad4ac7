"""Many at once: no run is claimed twice, no limit is exceeded, and no wake-up is lost, whoever comes between whom."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from holdfast import storage
from holdfast.engine import cancel, due, reap, workers
from holdfast.records import Claimed
from holdfast.storage import Store
from tests.conftest import eventually_holds
from tests.engine.making import Hand, ids, know, new, override, promote, queue, send, state, statuses


@pytest.fixture
def stores(store: Store, database_url: str) -> Iterator[list[Store]]:
    """Two stores, as of two processes: eight connections on PostgreSQL."""
    other = storage.open(database_url)
    yield [store, other]
    other.close()


def at_once(n: int, work: Callable[[int], object]) -> None:
    """Run ``work(0) … work(n - 1)`` in threads that begin together; raises what one of them raises."""
    begin = threading.Barrier(n)

    def start(number: int) -> None:
        begin.wait(30)
        work(number)

    with ThreadPoolExecutor(n) as pool:
        list(pool.map(start, range(n)))


@pytest.mark.parametrize("threads", [2, 8])
def test_no_run_is_claimed_twice(stores: list[Store], threads: int) -> None:
    know(stores[0], tasks=("greet", "part"))
    made = send(stores[0], *(new(random.choice(["greet", "part"])) for _ in range(1_200)))
    taken: list[str] = []

    def work(number: int) -> None:
        hand = Hand(stores[number % 2], "greet", "part")
        misses = 0
        while misses < 3:  # a look may find nothing but what others are just taking
            claimed = hand.claim(random.randrange(1, 40), each=30)
            taken.extend(ids(claimed))
            misses = 0 if claimed else misses + 1

    at_once(threads, work)
    assert Counter(taken).most_common(1)[0][1] == 1
    assert sorted(taken) == made


def test_no_run_ends_twice(stores: list[Store]) -> None:
    know(stores[0])
    made = send(stores[0], *(new() for _ in range(200)))
    hand = Hand(stores[0])
    claimed = hand.claim(200)
    accepted: list[str] = []

    def work(number: int) -> None:
        twin = Hand(stores[number % 2])
        for start in range(0, 200, 20):
            some = random.sample(claimed[start : start + 20], 20)
            lost = {run for run, _ in twin.end(*some, output=f'"{number}"')}
            accepted.extend(run.id for run in some if run.id not in lost)

    at_once(4, work)
    assert sorted(accepted) == made


@pytest.mark.parametrize("how", ["end", "give_back"])
def test_rows_are_locked_in_the_order_of_their_ids(store: Store, database_url: str, how: str) -> None:
    """Who waits for the first holds none of the others: two who report the same runs cannot wait for each other."""
    if store.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    know(store)
    send(store, new(), new())
    hand = Hand(store)
    first, second = sorted(hand.claim(2), key=lambda run: run.id)
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as other:
        holder.execute("SELECT FROM holdfast.run WHERE id = %s FOR UPDATE", [first.id])
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(getattr(hand, how), second, first)
            try:
                eventually_holds(lambda: waits(other))
                other.execute("SELECT FROM holdfast.run WHERE id = %s FOR UPDATE NOWAIT", [second.id])
            finally:
                holder.rollback()
            assert told.result(30) == []


def waits(connection: psycopg.Connection[tuple[int, ...]]) -> None:
    found = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ).fetchone()
    assert found == (1,)


class Slots:
    """Counts who works at the same time, as the tasks themselves see it: from after the claim to before the report."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy: Counter[object] = Counter()
        self.highest: Counter[object] = Counter()

    def enter(self, run: Claimed) -> None:
        with self.lock:
            for lane in self.lanes(run):
                self.busy[lane] += 1
                self.highest[lane] = max(self.highest[lane], self.busy[lane])

    def leave(self, run: Claimed) -> None:
        with self.lock:
            for lane in self.lanes(run):
                self.busy[lane] -= 1

    def lanes(self, run: Claimed) -> list[object]:
        return [run.queue, (run.queue, run.concurrency_key)]


@pytest.mark.parametrize(("limit", "per_key"), [(3, None), (None, 1), (3, 2)])
def test_no_limit_is_exceeded_and_no_wake_up_is_lost(
    stores: list[Store], limit: int | None, per_key: int | None
) -> None:
    # Nothing here sweeps: a note that was lost would leave runs held for ever.
    know(stores[0], queue("lane", limit, per_key))
    keys = ["ada", "bob", "cyd", "dan"] if per_key else [None]
    made = send(stores[0], *(new(queue="lane", concurrency_key=random.choice(keys)) for _ in range(120)))
    slots, finished = Slots(), threading.Event()

    def work(number: int) -> None:
        hand = Hand(stores[number % 2])
        while not finished.is_set():
            promote(hand.store)
            claimed = hand.claim(2)
            for run in claimed:
                slots.enter(run)
            for run in claimed:
                slots.leave(run)
                random.choice([hand.end, hand.end, hand.end, hand.retry, hand.give_back])(run)

    def watch(_: int) -> None:
        try:
            eventually_holds(lambda: all_completed(stores[0], made), timeout=30)
        finally:
            finished.set()

    at_once(5, lambda number: watch(number) if number == 4 else work(number))
    highest_of_key = max((n for lane, n in slots.highest.items() if isinstance(lane, tuple) and lane[1]), default=0)
    highest = max(n for lane, n in slots.highest.items() if not isinstance(lane, tuple))
    assert limit is None or highest <= limit
    assert per_key is None or highest_of_key <= per_key


def all_completed(store: Store, made: list[str]) -> None:
    stuck = [run for run, word in zip(made, statuses(store, made), strict=True) if word != "completed"]
    assert not stuck, (Counter(state(store, run) for run in stuck), store.read_sync(lambda tx: tx.rows("held_lanes")))


def test_cancels_claims_ends_and_sweeps_agree_about_every_run(stores: list[Store]) -> None:
    know(stores[0], queue("lane", 5))
    made = send(stores[0], *(new(queue=random.choice(["lane", "task/greet"])) for _ in range(300)))
    told: dict[str, str] = {}
    accepted: list[str] = []
    finished = threading.Event()

    def work(number: int) -> None:
        hand = Hand(stores[number % 2])
        while not finished.is_set():
            promote(hand.store)
            claimed = hand.exchange(10, group=random.choice(reap.GROUPS), suspects=10).claimed
            lost = {run for run, _ in hand.end(*claimed)}
            accepted.extend(run.id for run in claimed if run.id not in lost)
            if random.random() < 0.05:  # dies, with what it holds
                hand.claim(3)
                hand.store.run_sync(workers.declare_gone, hand.id)
                hand.store.run_sync(reap.sweep)
                hand = Hand(hand.store)

    def interfere(_: int) -> None:
        for run in random.sample(made, 100):
            told.update(stores[0].run_sync(cancel.cancel, [run]))
        try:
            eventually_holds(lambda: all_final(stores[0], made), timeout=30)
        finally:
            finished.set()

    at_once(4, lambda number: interfere(number) if number == 3 else work(number))
    final = dict(zip(made, statuses(stores[0], made), strict=True))
    assert sorted(accepted) == sorted(run for run, status in final.items() if status == "completed")
    assert all(final[run] == "canceled" for run, what in told.items() if what == "canceled")


def all_final(store: Store, made: list[str]) -> None:
    store.run_sync(reap.sweep)
    assert set(statuses(store, made)) <= {"completed", "canceled"}


def test_a_limit_that_comes_and_goes_under_load_strands_nothing(stores: list[Store]) -> None:
    know(stores[0])
    made = send(stores[0], *(new(concurrency_key=random.choice("abc")) for _ in range(200)))
    finished = threading.Event()

    def work(number: int) -> None:
        hand = Hand(stores[number % 2])
        while not finished.is_set():
            promote(hand.store)
            hand.store.run_sync(due.go_on)
            for run in hand.claim(5):
                random.choice([hand.end, hand.end, hand.retry])(run)

    def change(_: int) -> None:
        for limit, per_key in [(2, None), (None, None), (None, 1), (4, 2), (None, None)] * 2:
            override(stores[0], "task/greet", limit, per_key)
        try:
            eventually_holds(lambda: all_completed(stores[0], made), timeout=30)
        finally:
            finished.set()

    at_once(4, lambda number: change(number) if number == 3 else work(number))
