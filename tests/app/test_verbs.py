"""The verbs of an app, on both databases: what they make, what they answer, what they raise."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import (
    AttemptLost,
    BatchIncomplete,
    Holdfast,
    HoldfastError,
    InvalidOption,
    Queue,
    ResultTimeout,
    Run,
    RunCanceled,
    RunError,
    RunFailed,
    RunNotFound,
    TooLarge,
)
from holdfast.context import Attempt, running
from holdfast.engine import catalogue
from holdfast.engine.trigger import trigger as make_runs
from holdfast.errors import DatabaseUnavailable
from holdfast.records import Claimed, NewRun, TaskEntry
from tests.engine.making import Hand


class User(BaseModel):
    id: int


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)

    @app.task
    def greet(name: str) -> str:
        return name

    @app.task
    async def onboard(user: User) -> timedelta:
        return timedelta(user.id)

    yield app
    app.close()


@pytest.fixture
def greet(app: Holdfast) -> Any:
    return app.tasks["greet"]


@pytest.fixture
def hand(app: Holdfast, greet: Any) -> Hand:
    """Somebody who carries out what the app triggers."""
    app.client.store.run_sync(catalogue.announce, [task.entry() for task in app.tasks.values()], [])
    return Hand(app.client.store, "greet", "onboard")


def finish(hand: Hand, *outputs: str) -> None:
    claimed = sorted(hand.claim(), key=lambda run: run.id)
    for run, output in zip(claimed, outputs, strict=True):
        assert hand.end(run, output=output) == []


# -- single runs ------------------------------------------------------------------------------------------------------


def test_a_triggered_run_is_there(greet: Any) -> None:
    handle = greet.trigger("Ada", delay="1h", tags=["a"], metadata={"n": 1}, priority=2, concurrency_key="c")
    run: Run[str] = handle.retrieve()
    assert handle.created
    assert (run.id, run.task, run.queue, run.status) == (handle.id, "greet", "task/greet", "delayed")
    assert (run.payload, run.tags, run.metadata, run.priority, run.concurrency_key) == ("Ada", ["a"], {"n": 1}, 2, "c")
    assert run.due_at is not None
    assert run.due_at - run.created_at == timedelta(hours=1)


async def test_and_so_is_one_that_async_code_triggered(app: Holdfast) -> None:
    onboard: Any = app.tasks["onboard"]
    moment = datetime(2099, 1, 1, tzinfo=UTC)
    handle = await onboard.atrigger(User(id=1), scheduled_for=moment, ttl="1d")
    run = await handle.aretrieve()
    assert (run.due_at, run.payload, run.status) == (moment, {"id": 1}, "delayed")
    assert run.expires_at == moment + timedelta(days=1)


def test_the_same_key_gives_the_earlier_run(greet: Any, app: Holdfast) -> None:
    first = greet.trigger("Ada", idempotency_key="k")
    again = greet.trigger("Grace", idempotency_key="k")
    assert (again.id, again.created) == (first.id, False)
    assert first.created
    assert app.handle(first.id).retrieve().payload == "Ada"


def test_a_result(greet: Any, hand: Hand) -> None:
    handle = greet.trigger("Ada")
    finish(hand, '"Hello"')
    assert handle.result(timeout="30s") == "Hello"
    assert handle.retrieve().finished


async def test_a_result_in_async_code(app: Holdfast, hand: Hand) -> None:
    onboard: Any = app.tasks["onboard"]
    handle = await onboard.atrigger(User(id=1))
    waiting = asyncio.create_task(handle.aresult(timeout=30))
    await asyncio.sleep(0.02)
    await asyncio.to_thread(finish, hand, '"PT5S"')
    assert await waiting == timedelta(seconds=5)
    assert await onboard.handle(handle.id).aresult() == timedelta(seconds=5)


def test_a_failure_is_raised(greet: Any, hand: Hand) -> None:
    handle = greet.trigger("Ada")
    error = RunError("ValueError", "no such user", "Traceback…")
    assert hand.end(hand.claim_one(), status="failed", error=error.text()) == []
    with pytest.raises(RunFailed, match="ValueError: no such user") as caught:
        handle.result(timeout=30)
    assert caught.value.error == error


async def test_waiting_in_vain_says_what_for(greet: Any, hand: Hand) -> None:
    handle = greet.trigger("Ada")
    with pytest.raises(ResultTimeout, match=rf"Run {handle.id} did not finish within 20ms \(queued\)"):
        handle.result(timeout="20ms")
    with pytest.raises(TimeoutError, match=r"did not finish within 0.02s"):
        await handle.aresult(timeout=0.02)
    with pytest.raises(ResultTimeout):
        handle.result(timeout=0)
    finish(hand, '"Hello"')
    assert handle.result(timeout=0) == "Hello"
    assert await handle.aresult(timeout=0) == "Hello"
    with pytest.raises(RunNotFound):
        greet.handle("nothing").result(timeout=0)


def test_a_canceled_run_has_no_result(greet: Any) -> None:
    handle = greet.trigger("Ada", delay="1h")
    handle.cancel()
    handle.cancel()
    with pytest.raises(RunCanceled):
        handle.result(timeout=30)


async def test_cancel_and_replay_in_async_code(greet: Any) -> None:
    handle = await greet.atrigger("Ada", delay="1h", tags=["a"])
    await handle.acancel()
    with pytest.raises(RunCanceled):
        await handle.aresult(timeout=30)
    again = await (await handle.areplay()).aretrieve()
    assert (again.payload, again.tags, again.id != handle.id) == ("Ada", ["a"], True)


def test_a_replayed_run_is_a_new_one(greet: Any, hand: Hand) -> None:
    handle = greet.trigger("Ada", idempotency_key="k", max_attempts=1)
    finish(hand, '"Hello"')
    again = handle.replay()
    assert again.created
    assert (again.retrieve().payload, again.retrieve().idempotency_key) == ("Ada", None)
    finish(hand, '"Hello again"')
    assert again.result(timeout=30) == "Hello again"


async def test_an_unknown_run_is_not_found(app: Holdfast) -> None:
    handle = app.handle("nothing")
    for verb in (handle.retrieve, handle.cancel, handle.replay, lambda: next(handle.updates()), handle.result):
        with pytest.raises(RunNotFound, match="nothing"):
            verb()
    for averb in (handle.aretrieve, handle.acancel, handle.areplay, lambda: anext(handle.aupdates())):
        with pytest.raises(RunNotFound, match="nothing"):
            await averb()


def test_the_log_of_a_run(greet: Any, hand: Hand) -> None:
    handle = greet.trigger("Ada")
    claimed = hand.claim_one()
    hand.say(claimed, "one", "two")
    run = handle.retrieve()
    assert [(line.message, line.level, line.attempt) for line in run.logs] == [("one", "INFO", 1), ("two", "INFO", 1)]
    assert [line.message for line in asyncio.run(handle.aretrieve()).logs] == ["one", "two"]


def test_updates_until_the_end(greet: Any, hand: Hand, eventually: Callable[..., None]) -> None:
    handle = greet.trigger("Ada")
    seen: list[str] = []
    watcher = threading.Thread(target=lambda: seen.extend(run.status for run in handle.updates()))
    watcher.start()

    def saw_it_in_line() -> None:
        assert seen == ["queued"]

    eventually(saw_it_in_line)
    finish(hand, '"x"')
    watcher.join(10)
    assert (seen[0], seen[-1]) == ("queued", "completed")


async def test_updates_in_async_code(greet: Any, hand: Hand) -> None:
    handle = await greet.atrigger("Ada")
    seen = []
    async for run in handle.aupdates():
        seen.append(run.status)
        if run.status == "queued":
            await asyncio.to_thread(finish, hand, '"x"')
    assert seen == ["queued", "completed"]


# -- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_of_thousands(app: Holdfast, greet: Any) -> None:
    batch = greet.batch_trigger(str(n) for n in range(2500))
    assert len(batch.runs) == 2500
    records = app.client.store.read_sync(lambda tx: tx.rows("batch_runs", batch_id=batch.id))
    assert len(records) == 2500
    assert batch.runs[1234].retrieve().payload == "1234"


async def test_results_are_in_the_batchs_order(app: Holdfast, greet: Any, hand: Hand) -> None:
    onboard: Any = app.tasks["onboard"]
    items = [greet.item("Ada"), onboard.item(User(id=1), priority=10), greet.item("Grace", queue="slow")]
    batch = app.batch_trigger(items)
    assert [run.retrieve().queue for run in batch.runs] == ["task/greet", "task/onboard", "slow"]
    for claimed in hand.claim():
        output = {"greet": '"Hello"', "onboard": '"PT1S"'}[claimed.task]
        hand.end(claimed, output=output)
    results = await batch.aresults(timeout=30)
    assert results.outputs() == ["Hello", timedelta(seconds=1), "Hello"]
    assert [run.id for run in batch.results()] == [run.id for run in batch.runs]


def test_a_batch_that_does_not_end_in_time(greet: Any, hand: Hand) -> None:
    batch = greet.batch_trigger(["Ada", "Grace"])
    hand.end(*hand.claim(1), output='"x"')
    with pytest.raises(ResultTimeout, match="1 of 2 runs did not finish"):
        batch.results(timeout=0.05)


def test_failures_of_a_batch_are_results(greet: Any, hand: Hand) -> None:
    batch = greet.batch_trigger(["Ada", "Grace"])
    first, second = sorted(hand.claim(), key=lambda run: run.id)
    hand.end(first, output='"x"')
    hand.end(second, status="failed", error=RunError("ValueError", "no").text())
    results = batch.results(timeout=30)
    assert [run.id for run in results.failed] == [batch.runs[1].id]
    with pytest.raises(RunFailed):
        results.outputs()


def test_one_key_twice_in_a_batch_is_one_run(greet: Any, hand: Hand) -> None:
    batch = greet.batch_trigger([greet.item("Ada", idempotency_key="k"), greet.item("Ada", idempotency_key="k")])
    assert [run.created for run in batch.runs] == [True, False]
    finish(hand, '"x"')
    assert batch.results(timeout=30).outputs() == ["x", "x"]


def test_an_empty_batch(app: Holdfast) -> None:
    assert len(app.batch_trigger([]).results(timeout=1)) == 0


async def test_an_item_the_database_refuses_spoils_no_other(
    app: Holdfast, greet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_one(tx: Any, runs: list[NewRun]) -> Any:
        if any(run.payload == '"bad"' for run in runs):
            raise ValueError("this cannot be stored")
        return make_runs(tx, runs)

    monkeypatch.setattr("holdfast.client.make", refuse_one)
    names = [str(n) for n in range(30)]
    names[7] = "bad"
    for trigger in (lambda: greet.batch_trigger(names), lambda: asyncio.run(greet.abatch_trigger(names))):
        with pytest.raises(BatchIncomplete, match=r"1 of 30 items.*item 7: ValueError: this cannot") as caught:
            await asyncio.to_thread(trigger)
        assert list(caught.value.errors) == [7]
        assert [run.retrieve().payload for run in caught.value.batch.runs[6:8]] == ["6", "8"]
    with pytest.raises(ValueError, match="cannot be stored"):
        greet.batch_trigger(["bad"])


def test_a_batch_the_database_goes_away_in(greet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def second_fails(tx: Any, runs: list[NewRun]) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise DatabaseUnavailable()
        return make_runs(tx, runs)

    monkeypatch.setattr("holdfast.client.make", second_fails)
    with pytest.raises(BatchIncomplete) as caught:
        greet.batch_trigger(str(n) for n in range(1500))
    assert len(caught.value.batch) == 1000
    assert list(caught.value.errors) == list(range(1000, 1500))


# -- by name ----------------------------------------------------------------------------------------------------------


async def test_a_task_of_this_code_by_name(app: Holdfast, hand: Hand) -> None:
    handle = app.trigger("onboard", {"id": 1}, priority=1)
    assert handle.retrieve().queue == "task/onboard"
    finish(hand, '"PT5S"')
    assert await handle.aresult(timeout=30) == timedelta(seconds=5)
    assert (await (await app.atrigger("onboard", {"id": 1})).aretrieve()).payload == {"id": 1}


async def test_a_task_of_other_code_by_name(app: Holdfast, greet: Any) -> None:
    entry = TaskEntry(id="train", queue="gpu", options='{"max_attempts":3,"ttl_ms":3600000,"priority_ms":5000}')
    app.client.store.run_sync(catalogue.announce, [entry], [])
    for handle in (app.trigger("train", {"n": 1}), await app.atrigger("train", {"n": 1})):
        run = await handle.aretrieve()
        assert (run.queue, run.priority, run.payload) == ("gpu", 5, {"n": 1})
        assert run.expires_at == run.created_at + timedelta(hours=1)


async def test_a_task_nobody_knows_gets_its_run(app: Holdfast) -> None:
    for handle in (app.trigger("later", 1), await app.atrigger("later", 1)):
        assert handle.retrieve().queue == "task/later"


def test_what_is_no_name_is_refused(app: Holdfast, greet: Any) -> None:
    with pytest.raises(InvalidOption, match=r"Write task.trigger\(payload\)"):
        app.trigger(greet, "Ada")
    with pytest.raises(InvalidOption, match="The id of a task"):
        app.trigger("", "Ada")


# -- queues, limits, parents ------------------------------------------------------------------------------------------


def test_a_queue_is_entered_with_its_limits(app: Holdfast, greet: Any) -> None:
    greet.trigger("Ada", queue=Queue("slow", concurrency_limit=1))
    greet.trigger("Ada", queue="slow")
    entry = app.client.store.read_sync(catalogue.queue, "slow")
    assert entry is not None
    assert entry.concurrency_limit == 1


def test_a_payload_over_the_limit_is_refused(database_url: str) -> None:
    app = Holdfast(database_url, payload_limit=100)

    @app.task
    def greet(name: str) -> str:
        return name

    greet.trigger("x" * 98)
    for call in (
        lambda: greet.trigger("x" * 99),
        lambda: greet.trigger("é" * 60),
        lambda: greet.batch_trigger(["Ada", "x" * 99]),
        lambda: app.trigger("other", "x" * 99),
    ):
        with pytest.raises(TooLarge, match=r"The payload is too large .*payload_limit is 100"):
            call()
    app.close()


def inside(app: Holdfast, claimed: Claimed, call: Callable[[], Any]) -> Any:
    context = copy_context()
    context.run(running.set, Attempt(claimed, home=app.client))
    return context.run(call)


def test_a_trigger_inside_a_task_is_fenced(app: Holdfast, greet: Any, hand: Hand) -> None:
    parent = greet.trigger("Ada")
    claimed = hand.claim_one()
    child = inside(app, claimed, lambda: greet.trigger("Grace")).retrieve()
    assert (child.parent_id, child.root_id) == (parent.id, parent.id)
    assert hand.give_back(claimed) == []
    for call in (lambda: greet.trigger("late"), lambda: greet.batch_trigger(["late"])):
        with pytest.raises(AttemptLost):
            inside(app, claimed, call)


async def test_an_async_task_does_not_block_its_worker(app: Holdfast, greet: Any, hand: Hand) -> None:
    handle = await greet.atrigger("Ada")
    claimed = hand.claim_one()
    for wait in (handle.result, greet.batch_trigger(["Ada"]).results):
        with pytest.raises(HoldfastError, match=r"block the worker's event loop.*await aresult"):
            inside(app, claimed, wait)
    with pytest.raises(ResultTimeout):  # a def task has a thread of its own
        await asyncio.to_thread(inside, app, claimed, lambda: handle.result(timeout=0.01))


# -- closing, forking -------------------------------------------------------------------------------------------------


def test_an_app_that_was_closed_opens_again(app: Holdfast, greet: Any) -> None:
    handle = greet.trigger("Ada")
    app.close()
    app.close()
    assert handle.retrieve().status == "pending_version"


async def test_closing_in_async_code(app: Holdfast, greet: Any) -> None:
    handle = await greet.atrigger("Ada")
    await app.aclose()
    assert (await handle.aretrieve()).status == "pending_version"


def test_a_forked_child_has_connections_of_its_own(app: Holdfast, greet: Any, hand: Hand) -> None:
    greet.trigger("parent").cancel()
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                handle = greet.trigger(f"child {number}")
                handle.cancel()
                with pytest.raises(RunCanceled):
                    handle.result(timeout=30)
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    assert greet.trigger("parent again").retrieve().status == "queued"


def test_an_app_that_was_closed_may_go_on_in_another_database(tmp_path: Path) -> None:
    app = Holdfast(f"sqlite:///{tmp_path}/one.db")

    @app.task(queue="mail")
    def send(to: str) -> None: ...

    for name in ("one", "two"):
        app.settings.use_flags(database=f"sqlite:///{tmp_path}/{name}.db")
        send.trigger("ada")
        assert [queue.name for queue in app.queues.list()] == ["mail"]
        app.close()
