"""A store that was closed says so, and nobody who called it meanwhile waits for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from holdfast import storage
from holdfast.errors import DatabaseUnavailable
from holdfast.storage import Store
from tests.storage.notes import get, put


def test_a_closed_store_refuses_every_door(store: Store) -> None:
    store.run_sync(put, "a")
    store.close()
    for call in (lambda: store.run_sync(put, "b"), lambda: store.read_sync(get, "a")):
        with pytest.raises(DatabaseUnavailable, match="closed"):
            call()


def test_closing_twice_is_closing_once(store: Store) -> None:
    store.close()
    store.close()


def test_what_was_submitted_before_is_done(store: Store, database_url: str) -> None:
    futures = [store.submit(lambda tx, n=n: put(tx, f"note {n}")) for n in range(100)]  # type: ignore[misc]
    store.close()
    assert [future.result(30) for future in futures] == [f"note {n}" for n in range(100)]
    again = storage.open(database_url)
    assert again.read_sync(get, "note 99") is not None
    again.close()


def test_whoever_calls_while_it_closes_is_answered(database_url: str) -> None:
    for _ in range(5):
        store = storage.open(database_url)
        begin, futures = threading.Barrier(5), []

        def caller(store: Store = store, begin: threading.Barrier = begin, futures: list[Any] = futures) -> None:
            begin.wait(30)
            futures.extend(store.submit(lambda tx: tx.now(), write=bool(n % 2)) for n in range(200))

        threads = [threading.Thread(target=caller) for _ in range(4)]
        for thread in threads:
            thread.start()
        begin.wait(30)
        store.close()
        for thread in threads:
            thread.join()
        assert all(answered(future) for future in futures)


def answered(future: Future[Any]) -> bool:
    return future.exception(30) is None or isinstance(future.exception(), DatabaseUnavailable)


def test_closing_is_quick_and_leaves_no_thread(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.storage.postgres.LISTEN_SECONDS", 60.0)
    before = set(threading.enumerate())
    store = storage.open(database_url)
    store.run_sync(put, "a")
    store.read_sync(get, "a")
    store.listen()
    begun = time.monotonic()
    store.close()
    assert time.monotonic() - begun < 20
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []
