"""A door runs a function of a transaction: all of it or nothing, and whoever called is told what happened."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from holdfast.clock import FrozenClock
from holdfast.storage import Deferred, Store, Tx
from tests.storage.notes import get, put, there


class Oops(Exception):
    pass


def blocked(store: Store) -> tuple[threading.Event, Future[Any]]:
    """A transaction that holds its thread until the event is set."""
    inside, gate = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        tx.now()
        inside.set()
        assert gate.wait(30)

    future = store.submit(wait)
    assert inside.wait(30)
    return gate, future


def test_what_a_function_returns_comes_back(store: Store) -> None:
    assert store.run_sync(put, "a", "text") == "a"
    assert store.read_sync(get, "a") == "text"


async def test_both_doors_have_an_awaitable_twin(store: Store) -> None:
    assert await store.run(put, "a", "text") == "a"
    assert await store.read(get, "a") == "text"


def test_a_function_sees_what_it_wrote(store: Store) -> None:
    assert store.run_sync(lambda tx: (put(tx, "a", "1"), put(tx, "a", "2"), get(tx, "a"))[2]) == "2"


def test_an_error_undoes_all_of_it_and_is_the_callers_own(store: Store) -> None:
    def halfway(tx: Tx) -> None:
        put(tx, "a")
        raise Oops("here")

    with pytest.raises(Oops, match="here"):
        store.run_sync(halfway)
    assert there(store, "a") == [False]


def test_an_error_that_is_no_exception_is_told_as_well(store: Store) -> None:
    def leave(tx: Tx) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        store.run_sync(leave)
    assert store.run_sync(put, "a") == "a"


def test_a_deferred_answer_is_read_for_the_caller(store: Store) -> None:
    def later(tx: Tx) -> Deferred[list[Any]]:
        answer = tx.send("now")
        return Deferred(lambda: ["read", bool(answer.rows()[0][0])])

    assert store.run_sync(later) == ["read", True]
    assert store.read_sync(later) == ["read", True]  # type: ignore[comparison-overlap]


def test_an_error_in_reading_a_deferred_answer_is_told_and_nothing_runs_twice(store: Store) -> None:
    ran: list[int] = []

    def later(tx: Tx) -> Deferred[None]:
        ran.append(1)
        tx.send("now")

        def read() -> None:
            raise Oops("in the answer")

        return Deferred(read)

    gate, _ = blocked(store)
    neighbour, bad = store.submit(lambda tx: put(tx, "n")), store.submit(later)
    gate.set()
    with pytest.raises(Oops, match="in the answer"):
        bad.result(30)
    assert neighbour.result(30) == "n"
    assert ran == [1]


def test_callers_that_share_a_commit_do_not_share_their_fate(store: Store) -> None:
    def bad(tx: Tx) -> None:
        put(tx, "bad")
        raise Oops

    gate, _ = blocked(store)
    futures = [
        store.submit(lambda tx: put(tx, "before")),
        store.submit(bad),
        store.submit(lambda tx: put(tx, "after")),
    ]
    gate.set()
    with pytest.raises(Oops):
        futures[1].result(30)
    assert [futures[0].result(30), futures[2].result(30)] == ["before", "after"]
    assert there(store, "before", "bad", "after") == [True, False, True]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_many_callers_share_few_commits_on_sqlite(store: Store) -> None:
    commits: list[int] = []
    store.wakeups.subscribe(lambda: commits.append(1))
    gate, first = blocked(store)
    futures = [store.submit(lambda tx, n=n: put(tx, f"note {n}")) for n in range(128)]  # type: ignore[misc]
    gate.set()
    assert [future.result(30) for future in futures] == [f"note {n}" for n in range(128)]
    first.result(30)
    assert len(commits) <= 4


def test_a_transaction_has_the_time_of_the_one_clock(store: Store, clock: FrozenClock) -> None:
    assert store.run_sync(lambda tx: tx.now()) == clock.now()
    clock.advance("1h")
    assert store.run_sync(lambda tx: tx.now()) == clock.now()


def test_a_caller_that_goes_away_before_its_turn_is_not_served(store: Store) -> None:
    gates = [blocked(store)[0] for _ in range(1 if store.kind == "sqlite" else 4)]
    gone, stays = store.submit(lambda tx: put(tx, "gone")), store.submit(lambda tx: put(tx, "stays"))
    assert gone.cancel()
    for gate in gates:
        gate.set()
    assert stays.result(30) == "stays"
    assert there(store, "gone", "stays") == [False, True]


def test_a_caller_that_goes_away_meanwhile_takes_no_thread_along(store: Store) -> None:
    for n in range(6):  # more often than there are threads
        inside, gate = threading.Event(), threading.Event()

        def work(tx: Tx, n: int = n, inside: threading.Event = inside, gate: threading.Event = gate) -> str:
            inside.set()
            assert gate.wait(30)
            return put(tx, f"done {n}")

        future = store.submit(work)
        assert inside.wait(30)
        assert not future.cancel()  # its work has begun, and will be done
        gate.set()
        future.result(30)
    assert there(store, *(f"done {n}" for n in range(6))) == [True] * 6


async def test_a_task_that_is_cancelled_while_it_awaits_a_door_harms_nobody(store: Store) -> None:
    import asyncio

    for n in range(6):
        inside, gate = threading.Event(), threading.Event()

        def work(tx: Tx, n: int = n, inside: threading.Event = inside, gate: threading.Event = gate) -> str:
            inside.set()
            assert gate.wait(30)
            return put(tx, f"done {n}")

        task = asyncio.ensure_future(store.run(work))
        await asyncio.to_thread(inside.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
    assert await asyncio.wait_for(store.run(put, "next"), 30) == "next"


def test_a_subscriber_that_raises_does_not_undo_or_repeat_a_commit(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []

    def broken() -> None:
        raise Oops("the loop is closed")

    def count(tx: Tx) -> str:
        ran.append(1)
        return put(tx, "a")

    store.wakeups.subscribe(broken)
    assert store.run_sync(count) == "a"
    store.wakeups.wake()
    assert ran == [1]
    assert "a wake-up was not taken" in caplog.text
