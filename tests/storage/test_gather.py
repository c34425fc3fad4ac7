"""Single callers of one function share a transaction: whatever arrived while the last one ran, and never a timer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from holdfast.errors import DatabaseUnavailable
from holdfast.storage import Store, Tx
from tests.storage.notes import put, there
from tests.storage.test_transactions import Oops

Grouped = Callable[[Tx, list[str]], list[str | Exception]]


def grouped(store: Store, f: Grouped, items: list[str]) -> list[Future[str]]:
    """These items, all of which arrive while a first one is being carried out."""
    inside, gate = threading.Event(), threading.Event()

    def work(tx: Tx, keys: list[str]) -> list[str | Exception]:
        if keys == ["first"] and not gate.is_set():
            inside.set()
            assert gate.wait(30)
        return f(tx, keys)

    first = store.gather(work, "first")
    assert inside.wait(30)
    futures = [store.gather(work, item) for item in items]
    gate.set()
    first.result(30)
    return futures


def put_all(tx: Tx, keys: list[str]) -> list[str | Exception]:
    return [put(tx, key) for key in keys]


def test_whatever_arrives_meanwhile_goes_together(store: Store) -> None:
    calls: list[int] = []

    def work(tx: Tx, keys: list[str]) -> list[str | Exception]:
        calls.append(len(keys))
        return put_all(tx, keys)

    keys = [f"note {n}" for n in range(300)]
    assert [future.result(30) for future in grouped(store, work, keys)] == keys
    assert calls == [1, 300]
    assert all(there(store, *keys[::50]))


def test_an_item_alone_does_not_wait_for_others(store: Store) -> None:
    assert store.gather(put_all, "alone").result(30) == "alone"


def test_each_caller_is_given_its_own_result_or_error(store: Store) -> None:
    def judge(tx: Tx, keys: list[str]) -> list[str | Exception]:
        return [Oops(key) if key == "b" else put(tx, key) for key in keys]

    a, b, c = grouped(store, judge, ["a", "b", "c"])
    assert (a.result(30), c.result(30)) == ("a", "c")
    with pytest.raises(Oops, match="b"):
        b.result(30)


def test_when_the_group_fails_each_is_run_alone_and_only_the_bad_one_is_told(store: Store) -> None:
    def fragile(tx: Tx, keys: list[str]) -> list[str | Exception]:
        done = put_all(tx, keys)
        if "bad" in keys:
            raise Oops("all of it")
        return done

    keys = [f"note {n}" for n in range(40)]
    *futures, bad = grouped(store, fragile, [*keys, "bad"])
    assert [future.result(30) for future in futures] == keys
    with pytest.raises(Oops):
        bad.result(30)
    assert there(store, "note 0", "note 39", "bad") == [True, True, False]


def test_a_member_that_goes_away_is_left_out_and_the_others_are_done(store: Store) -> None:
    inside, gate = threading.Event(), threading.Event()

    def work(tx: Tx, keys: list[str]) -> list[str | Exception]:
        if keys == ["first"]:
            inside.set()
            assert gate.wait(30)
        return put_all(tx, keys)

    store.gather(work, "first")
    assert inside.wait(30)
    gone, stays = store.gather(work, "gone"), store.gather(work, "stays")
    assert gone.cancel()
    gate.set()
    assert stays.result(30) == "stays"
    assert there(store, "gone") == [False]
    assert store.gather(work, "next").result(30) == "next"


def test_a_group_of_which_all_have_gone_does_nothing_and_goes_on(store: Store) -> None:
    inside, gate = threading.Event(), threading.Event()

    def work(tx: Tx, keys: list[str]) -> list[str | Exception]:
        assert keys
        if keys == ["first"]:
            inside.set()
            assert gate.wait(30)
        return put_all(tx, keys)

    store.gather(work, "first")
    assert inside.wait(30)
    assert all(store.gather(work, f"gone {n}").cancel() for n in range(3))
    gate.set()
    assert store.gather(work, "next").result(30) == "next"


def test_many_threads_never_wait_for_ever(store: Store) -> None:
    def caller(name: int) -> list[str]:
        return [store.gather(put_all, f"{name} {n}").result(30) for n in range(60)]

    with ThreadPoolExecutor(8) as pool:
        for name, keys in enumerate(pool.map(caller, range(8))):
            assert keys == [f"{name} {n}" for n in range(60)]


def test_everybody_is_told_when_the_door_is_closed(store: Store) -> None:
    store.gather(put_all, "a").result(30)
    store.close()
    with pytest.raises(DatabaseUnavailable):
        store.gather(put_all, "b").result(30)
    with pytest.raises(DatabaseUnavailable):
        store.gather(put_all, "c").result(30)
