"""Waiting for runs: one thread, one question for all, no waiter left behind."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError

import pytest

from holdfast.errors import DatabaseUnavailable, HoldfastError, RunNotFound
from holdfast.records import RunRecord
from holdfast.waiting import Waiting
from tests.unit.test_model import EMPTY


class Runs:
    """A database of runs, all known unless said otherwise."""

    def __init__(self) -> None:
        self.final: set[str] = set()
        self.unknown: set[str] = set()
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    def finished(self, ids: list[str]) -> Sequence[RunRecord]:
        self.asked.append(ids)
        if self.error is not None:
            raise self.error
        return [EMPTY._replace(id=run_id) for run_id in ids if run_id in self.final]

    def known(self, ids: list[str]) -> Sequence[RunRecord]:
        return [EMPTY._replace(id=run_id) for run_id in ids if run_id not in self.unknown]


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def waiting(runs: Runs) -> Iterator[Waiting]:
    waiting = Waiting(runs.finished, runs.known)
    yield waiting
    waiting.close()


def test_a_run_that_is_final_is_there_at_once(runs: Runs, waiting: Waiting) -> None:
    runs.final.add("a")
    assert waiting.watch(["a"]).result(30)["a"].id == "a"


def test_a_run_that_ends_later(runs: Runs, waiting: Waiting) -> None:
    future = waiting.watch(["a"])
    with pytest.raises(TimeoutError):
        future.result(0.05)
    runs.final.add("a")
    assert set(future.result(30)) == {"a"}


def test_all_of_several(runs: Runs, waiting: Waiting) -> None:
    future = waiting.watch(["a", "b", "a"])
    runs.final.add("a")
    with pytest.raises(TimeoutError):
        future.result(0.05)
    runs.final.add("b")
    assert set(future.result(30)) == {"a", "b"}


def test_nothing_to_wait_for(waiting: Waiting) -> None:
    assert waiting.watch([]).result(0) == {}


def test_one_question_for_all_who_wait(runs: Runs, waiting: Waiting, eventually: Callable[..., None]) -> None:
    futures = [waiting.watch([f"r{n}"]) for n in range(50)]

    def together() -> None:
        assert max(map(len, runs.asked), default=0) == 50

    eventually(together)
    runs.final.update(f"r{n}" for n in range(50))
    assert all(future.result(30) for future in futures)


def test_what_is_final_is_not_asked_for_again(runs: Runs, waiting: Waiting) -> None:
    runs.final.add("a")
    future = waiting.watch(["a", "b"])
    time.sleep(0.05)
    asked = len(runs.asked)
    runs.final.add("b")
    future.result(30)
    assert all(ids == ["b"] for ids in runs.asked[asked:])


def test_a_long_wait_asks_seldom(runs: Runs, waiting: Waiting) -> None:
    waiting.watch(["a"])
    time.sleep(0.5)
    assert 0 < len(runs.asked) < 80  # every 2 ms it would be 250


def test_a_new_waiter_does_not_wait_for_an_old_ones_turn(
    runs: Runs, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.waiting._SHARE", 1000.0)
    monkeypatch.setattr("holdfast.waiting._LONGEST", 600.0)
    waiting.watch(["old"])
    time.sleep(0.3)  # the old one's next turn is minutes away by now
    runs.final.add("new")
    assert waiting.watch(["new"]).result(30)


def test_a_canceled_future_is_forgotten(runs: Runs, waiting: Waiting, eventually: Callable[..., None]) -> None:
    future = waiting.watch(["a"])
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    runs.final.add("b")
    waiting.watch(["b"]).result(30)
    runs.asked.clear()
    time.sleep(0.05)
    assert not runs.asked


async def test_async_code_waits_for_the_same_future(runs: Runs, waiting: Waiting) -> None:
    asyncio.get_running_loop().call_later(0.02, runs.final.add, "a")
    found = await asyncio.wrap_future(waiting.watch(["a"]))
    assert set(found) == {"a"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.wrap_future(waiting.watch(["b"])), 0.02)


def test_an_outage_is_waited_for(runs: Runs, waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.waiting._OUTAGE", 0.01)
    runs.error = DatabaseUnavailable()
    future = waiting.watch(["a"])
    with pytest.raises(TimeoutError):
        future.result(0.1)
    runs.error = None
    runs.final.add("a")
    assert set(future.result(30)) == {"a"}


def test_an_error_nobody_foresaw_reaches_the_waiters(runs: Runs, waiting: Waiting) -> None:
    runs.error = ZeroDivisionError("x")
    with pytest.raises(ZeroDivisionError):
        waiting.watch(["a"]).result(30)
    runs.error = None
    runs.final.add("a")
    assert waiting.watch(["a"]).result(30)


def test_a_run_that_does_not_exist(runs: Runs, waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.waiting._FIRST_CHECK", 0.02)
    runs.unknown.add("gone")
    there = waiting.watch(["there"])
    with pytest.raises(RunNotFound, match="gone"):
        waiting.watch(["there", "gone"]).result(30)
    assert not there.done()


def test_closing_tells_who_still_waits(runs: Runs, waiting: Waiting) -> None:
    future = waiting.watch(["a"])
    waiting.close()
    waiting.close()
    with pytest.raises(HoldfastError, match="closed"):
        future.result(30)
    with pytest.raises(HoldfastError, match="closed"):
        waiting.watch(["b"])


def test_a_forked_child_waits_for_itself(runs: Runs, waiting: Waiting) -> None:
    waiting.watch(["the parent's"])
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with waiting._wake:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)  # a fork may come while somebody holds the lock
    holder.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        runs.final.add("a")
        runs.asked.clear()
        ok = set(waiting.watch(["a"]).result(30)) == {"a"} and runs.asked == [["a"]]
        os._exit(0 if ok else 1)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
