"""A transaction that got in another one's way is run again, whole; what cannot be helped by that is told at once."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import psycopg
import pytest

from holdfast.engine import cancel, trigger
from holdfast.errors import DatabaseUnavailable, IdempotencyBusy
from holdfast.storage import Store, Tx
from holdfast.storage.base import PATIENT
from tests.engine.making import Hand, know, new, send, status
from tests.storage.notes import put, there

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"""


def test_of_two_that_block_each_other_one_is_run_again(store: Store) -> None:
    met = threading.Barrier(2)
    ran: list[str] = []

    def cross(tx: Tx, first: str, second: str) -> str:
        ran.append(first)
        put(tx, first)
        if len(ran) <= 2:
            met.wait(30)
        put(tx, second)
        return first

    ab, ba = store.submit(lambda tx: cross(tx, "a", "b")), store.submit(lambda tx: cross(tx, "b", "a"))
    assert (ab.result(30), ba.result(30)) == ("a", "b")
    assert len(ran) >= 3  # where it is quicker than the other one wakes up, they meet once more
    assert there(store, "a", "b") == [True, True]


def test_a_transaction_that_never_gets_through_says_so(store: Store) -> None:
    ran: list[int] = []

    def unlucky(tx: Tx) -> None:
        ran.append(1)
        put(tx, "a")
        raise psycopg.errors.SerializationFailure("could not serialize access")

    with pytest.raises(DatabaseUnavailable, match="in each other's way"):
        store.run_sync(unlucky)
    assert len(ran) == 6
    assert there(store, "a") == [False]


def test_a_connection_is_sound_after_an_error_in_the_middle(store: Store) -> None:
    def broken(tx: Tx) -> None:
        put(tx, "a")
        tx.rows("task", id="x\x00y")  # no text of PostgreSQL's has a NUL
        put(tx, "b")

    for n in range(12):  # often enough that every thread has had one, and every statement is a prepared one
        with pytest.raises(Exception, match="NUL"):
            store.run_sync(broken)
        assert store.run_sync(put, f"after {n}") == f"after {n}"
    assert there(store, "a", "after 11") == [False, True]


def test_an_error_that_comes_with_the_commit_is_the_callers(store: Store) -> None:
    def unread(tx: Tx) -> str:
        put(tx, "a")
        row = {"id": "w", "lease_ms": 1, "host": "h", "pid": 1, "concurrency": 1}
        rest = ("queues", "version", "app", "declares", "cpu_millis", "memory_bytes", "machines")
        for _ in range(2):
            tx.send("insert_worker", **row, **dict.fromkeys(rest))
        return "never"

    with pytest.raises(Exception, match="duplicate key"):
        store.run_sync(unread)
    assert there(store, "a") == [False]


def holding(store: Store, f: Any) -> threading.Event:
    """Another transaction that does ``f`` and stays open until the event is set."""
    inside, gate = threading.Event(), threading.Event()

    def work(tx: Tx) -> None:
        f(tx)
        tx.now()  # everything that was sent has been carried out
        inside.set()
        assert gate.wait(30)

    store.submit(work)
    assert inside.wait(30)
    return gate


def test_only_the_item_whose_key_is_held_by_an_open_transaction_waits_and_is_told(store: Store) -> None:
    know(store)
    gate = holding(store, lambda tx: trigger.trigger(tx, [new(idempotency_key="held")]))
    runs = [new(idempotency_key=f"key {n}" if n % 2 else None) for n in range(499)]
    bad = new(idempotency_key="held")
    futures = [store.gather(trigger.trigger, run) for run in [*runs[:250], bad, *runs[250:]]]
    assert isinstance(futures.pop(250).exception(30), IdempotencyBusy)
    assert [future.result(30).id for future in futures] == [run.id for run in runs]
    gate.set()
    assert store.gather(trigger.trigger, new(idempotency_key="held")).result(30).created is False


def test_callers_who_wait_for_a_lock_leave_connections_to_the_others(store: Store) -> None:
    know(store)
    gate = holding(store, lambda tx: trigger.trigger(tx, [new(idempotency_key="held")]))
    waiting = [store.gather(trigger.trigger, new(idempotency_key="held")) for _ in range(12)]
    with pytest.raises(IdempotencyBusy):
        waiting[0].result(30)  # the group was refused, then the first one alone: by now they wait one after the other
    with closing(psycopg.connect(store.url)) as connection:
        assert connection.execute(WAITING).fetchone() in [(waiting,) for waiting in range(PATIENT + 1)]
    assert store.run_sync(put, "a") == "a"
    gate.set()
    assert any(future.exception(30) is None for future in waiting)


def test_a_known_key_is_not_locked_by_those_who_ask_for_it(store: Store) -> None:
    know(store)
    hand = Hand(store)
    (run,) = send(store, new(idempotency_key="known"))
    claimed = hand.claim_one()
    gate = holding(store, lambda tx: trigger.trigger(tx, [new(idempotency_key="known")]))
    assert hand.end(claimed, status="failed") == []  # frees the key, while somebody's transaction has asked for it
    assert status(store, run) == "failed"
    gate.set()
    assert send(store, new(idempotency_key="known")) != [run]


def test_a_row_that_somebody_holds_is_no_busy_key(store: Store) -> None:
    know(store)
    (run,) = send(store, new())
    gate = holding(store, lambda tx: tx.rows("lock_runs", ids=[run]))
    with pytest.raises(DatabaseUnavailable, match="Another transaction that is still open"):
        store.run_sync(cancel.cancel, [run])
    gate.set()
    assert store.run_sync(cancel.cancel, [run]) == {run: "canceled"}
