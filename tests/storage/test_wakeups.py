"""Whoever waits for work hears of a commit in another process at once: a way to be early, never what is relied on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from holdfast import storage
from holdfast.engine import limits, reap, trigger, workers
from holdfast.engine.due import go_on
from holdfast.storage import Store
from holdfast.storage.watch import FileWatch
from tests.conftest import eventually_holds
from tests.engine.making import Hand, know, new, queue, send
from tests.storage.notes import put

ROOT = Path(__file__).parents[2]
Way = Callable[[Store], Callable[[], object]]

TRIGGER = """
import sys
from holdfast import storage
from tests.engine.making import new, send
store = storage.open(sys.argv[1])
send(store, new())
store.close()
"""


class Ear:
    """What a store's listener has heard."""

    def __init__(self, store: Store) -> None:
        self.heard = threading.Event()
        self.unsubscribe = store.wakeups.subscribe(self.heard.set)
        store.listen()
        eventually_holds(lambda: self.assert_early(store))
        eventually_holds(self.assert_heard)  # it is woken once when it begins to hear
        self.heard.clear()

    def assert_early(self, store: Store) -> None:
        assert store.early

    def assert_heard(self) -> None:
        assert self.heard.is_set()

    def quiet(self) -> None:
        """Forget what was heard up to now, commits of our own included."""
        self.heard.wait(0.2)
        self.heard.clear()


@pytest.fixture
def other(database_url: str) -> Iterator[Store]:
    """A second store on the same database."""
    opened = storage.open(database_url)
    yield opened
    opened.close()


def test_a_trigger_in_another_process_wakes_a_worker_that_sleeps(store: Store, database_url: str) -> None:
    know(store)
    hand = Hand(store)
    ear = Ear(store)
    hand.exchange(idle=True)
    ear.quiet()
    subprocess.run([sys.executable, "-c", TRIGGER, database_url], cwd=ROOT, check=True, timeout=30)
    assert ear.heard.wait(30)
    assert len(hand.claim()) == 1


def test_a_trigger_through_another_store_wakes_as_well(store: Store, other: Store) -> None:
    know(store)
    hand = Hand(store)
    ear = Ear(store)
    hand.exchange(idle=True)
    ear.quiet()
    send(other, new())
    assert ear.heard.wait(30)


def test_who_has_unsubscribed_is_left_in_peace(store: Store) -> None:
    heard: list[int] = []
    unsubscribe = store.wakeups.subscribe(lambda: heard.append(1))
    unsubscribe()
    unsubscribe()
    store.wakeups.wake()
    assert heard == []


def test_listening_twice_is_listening_once(store: Store) -> None:
    Ear(store)
    store.listen()
    assert store.early


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_on_sqlite_a_commit_of_our_own_wakes_without_a_listener(store: Store) -> None:
    heard = threading.Event()
    store.wakeups.subscribe(heard.set)
    store.run_sync(put, "a")
    assert heard.is_set()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_on_sqlite_a_reader_wakes_nobody(store: Store, other: Store) -> None:
    ear = Ear(store)
    ear.quiet()
    other.read_sync(lambda tx: tx.now())
    assert not ear.heard.wait(0.2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_on_sqlite_the_file_is_polled_where_the_kernel_cannot_tell(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: FileWatch) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(FileWatch, "watch_inotify", none_left)
    ear = Ear(store)
    other.run_sync(put, "a")
    assert ear.heard.wait(30)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_on_postgres_nobody_is_notified_while_all_workers_are_busy(store: Store, other: Store) -> None:
    know(store)
    hand = Hand(store)
    ear = Ear(store)
    hand.exchange(idle=False)
    send(other, new())
    assert not ear.heard.wait(0.3)
    hand.exchange(idle=True)
    other.gather(trigger.trigger, new()).result(30)
    assert ear.heard.wait(30)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_on_postgres_a_listener_that_was_cut_off_comes_back_and_says_so(store: Store, database_url: str) -> None:
    ear = Ear(store)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query IN ('LISTEN holdfast', 'SELECT 1')"
        )
    assert ear.heard.wait(30)  # whatever was said while it was away was not heard
    assert store.early


# Runs that are made ready by others than their triggers: each prepares one, and answers what makes it ready.


def due(store: Store) -> Callable[[], object]:
    send(store, new(delay_ms=1))
    return lambda: eventually_holds(lambda: assert_some(store.run_sync(go_on)))


def promoted(store: Store) -> Callable[[], object]:
    send(store, new(queue="one"))
    return lambda: assert_some(store.run_sync(limits.promote, "me"))


def recovered(store: Store) -> Callable[[], object]:
    send(store, new())
    hand = Hand(store)
    hand.claim()
    hand.gone()
    return lambda: assert_some(len(store.run_sync(reap.sweep).recovered))


def handed_back(store: Store) -> Callable[[], object]:
    send(store, new())
    hand = Hand(store)
    claimed = hand.claim()
    store.run_sync(workers.drain, hand.id)
    return lambda: hand.give_back(*claimed)


def assert_some(count: int) -> None:
    assert count == 1


WAYS = [due, promoted, recovered, handed_back]


@pytest.mark.parametrize("way", WAYS)
def test_whoever_makes_runs_ready_wakes_who_sleeps(store: Store, other: Store, way: Way) -> None:
    """Without it they wait for their next poll, a second away."""
    know(store, queue("one", 1))
    make_ready = way(other)
    Hand(store).exchange(idle=True)
    ear = Ear(store)
    ear.quiet()
    make_ready()
    assert ear.heard.wait(5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_on_postgres_who_is_busy_is_not_notified_of_them(store: Store, other: Store, way: Way) -> None:
    know(store, queue("one", 1))
    make_ready = way(other)
    Hand(store).exchange(idle=False)
    ear = Ear(store)
    make_ready()
    assert not ear.heard.wait(0.3)
