"""Hooks of runs that end while no worker carries them out are called by one that lives, at least once, and soon."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast import Cancellation, Completion, Failure, PayloadInvalid, storage
from holdfast.context import running
from holdfast.engine import aftermath, catalogue, reap, workers
from holdfast.engine import cancel as canceling
from holdfast.engine.trigger import trigger
from holdfast.records import NewRun
from tests.engine.making import Hand
from tests.support import ledger
from tests.support.host import Host
from tests.support.inside import Inside

Told = list[tuple[str, Any]]
KINDS = ["init", "on_start", "on_error", "on_success", "on_failure", "on_cancel", "on_complete", "cleanup"]


def told_by(owner: Any, told: Told) -> None:
    for kind in KINDS:
        getattr(owner, kind)(lambda event, kind=kind: told.append((kind, event)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - of whatever may come to be true
            await asyncio.sleep(0.01)


async def kinds(told: Told, *expected: str) -> None:
    """Wait for the hooks of these kinds, and for no others."""
    await until(lambda: len(told) >= len(expected))
    assert [kind for kind, _ in told] == list(expected)


async def sweep(inside: Inside) -> None:
    await inside.store.run(reap.sweep)


async def registered(inside: Inside) -> None:
    await until(lambda: all(worker.me for worker in inside.workers))


async def test_a_run_that_is_canceled_before_it_starts(inside: Inside) -> None:
    told: Told = []

    @inside.app.task
    async def work(n: int) -> None: ...

    told_by(work, told)
    told_by(inside.app, told)
    inside.start()
    await registered(inside)
    handle = await work.atrigger(5, delay="1h", tags=["x"])
    await handle.acancel()
    await kinds(told, "on_cancel", "on_cancel", "on_complete", "on_complete")
    cancellation, completion = told[0][1], told[-1][1]
    assert type(cancellation) is Cancellation
    assert type(completion) is Completion
    assert (cancellation.payload, cancellation.run.id, cancellation.run.tags) == (5, handle.id, ["x"])
    assert (completion.ok, completion.run.status) == (False, "canceled")
    assert completion.run.finished_at is not None


async def test_a_run_that_expires(inside: Inside) -> None:
    told: Told = []

    @inside.app.task
    async def work(n: int) -> None: ...

    told_by(work, told)
    inside.start()
    await registered(inside)
    await inside.store.run(catalogue.pause, work.queue.name)
    handle = await work.atrigger(5, ttl="10ms")
    await asyncio.sleep(0.05)
    await sweep(inside)
    await kinds(told, "on_failure", "on_complete")
    failure = told[0][1]
    assert type(failure) is Failure
    assert (failure.run.id, failure.run.status, failure.error.type) == (handle.id, "expired", "RunExpired")
    assert (failure.exception, failure.retry_in) == (None, None)


async def test_a_run_that_crashes(inside: Inside) -> None:
    told: Told = []

    @inside.app.task(max_crashes=1)
    async def work(n: int) -> None: ...

    told_by(work, told)
    inside.start(queues=["elsewhere"])  # it knows the task, and leaves its runs to others
    await registered(inside)
    handle = await work.atrigger(5)
    await asyncio.to_thread(die_with, inside, handle.id)
    await kinds(told, "on_failure", "on_complete")
    failure = told[0][1]
    assert (failure.run.id, failure.run.status, failure.error.type) == (handle.id, "crashed", "RunCrashed")
    assert "died" in failure.error.message


def die_with(inside: Inside, run_id: str) -> None:
    """Two workers that are not there take the run with them."""
    store = inside.store
    for take in (Hand.claim, Hand.claim_suspects):
        hand = Hand(store, "work")
        claimed: list[Any] = take(hand)
        assert [run.id for run in claimed] == [run_id]
        hand.gone()
        store.run_sync(reap.sweep)


async def test_a_run_that_holdfast_cannot_go_on_with(inside: Inside) -> None:
    told: Told = []

    @inside.app.task
    async def work(n: int) -> None: ...

    told_by(work, told)
    inside.start()
    await registered(inside)
    made = NewRun(id="0" * 26, task="work", queue=work.queue.name, payload="1", options="not JSON")
    await asyncio.wrap_future(inside.store.gather(trigger, made))
    await kinds(told, "on_failure", "on_complete")
    assert told[0][1].run.status == "system_failure"


async def test_a_run_that_is_canceled_when_it_is_claimed_and_has_not_started(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, eventually_async: Callable[..., Any]
) -> None:
    """Fails with reporting it as canceled at once: nobody had called its hooks, and nobody would."""
    told: Told = []
    started, gate = asyncio.Event(), asyncio.Event()

    @inside.app.task
    async def work(n: int) -> None:
        started.set()
        await gate.wait()

    told_by(work, told)
    worker = inside.start(concurrency=1)
    await registered(inside)
    monkeypatch.setattr(worker.hold.pace, "ahead", lambda: 5)
    monkeypatch.setattr(worker.hold, "share", lambda: None)
    await work.atrigger(0)
    second = await work.atrigger(1)
    await until(lambda: bool(worker.hold.waiting) and started.is_set())
    told.clear()
    await second.acancel()

    async def put_back() -> None:
        assert (await second.aretrieve()).status != "executing"

    await eventually_async(put_back)
    await sweep(inside)
    await kinds(told, "on_cancel", "on_complete")
    gate.set()


async def test_what_its_hooks_write_and_raise_stands_in_the_runs_log(inside: Inside) -> None:
    done = asyncio.Event()

    @inside.app.task
    async def work(n: int) -> None:
        logging.getLogger("shop").info("never said")

    @work.on_cancel
    async def says(event: Cancellation[int]) -> None:
        logging.getLogger("shop").info("canceled %s", event.payload)
        assert running.get() is None

    @work.on_cancel
    def breaks(event: Cancellation[int]) -> None:
        print("and then")
        raise ValueError("no luck")

    @work.on_complete
    async def last(event: Completion[int, None]) -> None:
        done.set()

    inside.start()
    await registered(inside)
    handle = await work.atrigger(5, delay="1h")
    await handle.acancel()
    await asyncio.wait_for(done.wait(), 30)
    await nothing_is_owed(inside)
    messages = [line.message for line in (await handle.aretrieve()).logs]
    assert messages[0] == "and then"
    assert messages[1].startswith("The on_cancel hook ")
    assert "no luck" in messages[1]
    assert messages[2] == "canceled 5"
    assert (await handle.aretrieve()).status == "canceled"


async def nothing_is_owed(inside: Inside) -> None:
    await until(lambda: not any(worker.hold.aftermath.busy for worker in inside.workers))


async def test_a_payload_that_does_not_fit(inside: Inside) -> None:
    told: Told = []

    @inside.app.task
    async def work(n: int) -> None: ...

    told_by(work, told)
    inside.start()
    await registered(inside)
    made = NewRun(id="0" * 26, task="work", queue=work.queue.name, payload='"three"', delay_ms=60_000)
    await asyncio.wrap_future(inside.store.gather(trigger, made))
    await inside.store.run(canceling.cancel, [made.id])
    await kinds(told, "on_cancel", "on_complete")
    with pytest.raises(PayloadInvalid):
        _ = told[0][1].payload


async def test_a_hook_that_hangs_is_left_after_a_while(inside: Inside) -> None:
    told: Told = []

    @inside.app.task
    async def work(n: int) -> None: ...

    @work.on_complete
    async def last(event: Any) -> None:
        told.append(("on_complete", event))

    @work.on_cancel
    async def hangs(event: Any) -> None:
        await asyncio.sleep(3600)

    inside.start(hook_seconds=0.1)
    await registered(inside)
    handle = await work.atrigger(5, delay="1h")
    await handle.acancel()
    await kinds(told, "on_complete")
    await nothing_is_owed(inside)
    (line,) = (await handle.aretrieve()).logs
    assert "longer than 0.1 s" in line.message


async def test_many_at_once_are_each_called_once_by_two_workers(inside: Inside, database_url: str) -> None:
    """More than a worker takes at a time, and none of them waits for the next look."""
    counted: Counter[int] = Counter()

    @inside.app.task
    async def work(n: int) -> None: ...

    @work.on_cancel
    async def count(event: Cancellation[int]) -> None:
        counted[event.payload] += 1

    with closing(storage.open(database_url)) as second:
        inside.start()
        inside.start(inside.worker(second))
        await registered(inside)
        batch = await inside.app.abatch_trigger([work.item(n, delay="1h") for n in range(200)])
        await inside.store.run(canceling.cancel, [run.id for run in batch.runs])
        await until(lambda: len(counted) == 200)
        await nothing_is_owed(inside)
        for worker in list(inside.workers):
            await inside.drained(worker)
    assert set(counted.values()) == {1}


async def test_a_task_without_such_hooks_pays_nothing(inside: Inside) -> None:
    @inside.app.task
    async def plain(n: int) -> None: ...

    @inside.app.task
    async def hooked(n: int) -> None: ...

    hooked.on_start(lambda event: None)
    hooked.on_success(lambda event: None)
    worker = inside.start()
    await registered(inside)
    assert worker.hold.aftermath.tasks == []
    for task in (plain, hooked):
        handle = await task.atrigger(1, delay="1h")
        await handle.acancel()
    assert not await inside.store.read(aftermath.waits, worker.me, ["plain", "hooked"], [])


async def test_a_worker_that_drains_hands_its_notes_back(inside: Inside, database_url: str) -> None:
    called: list[str] = []
    reached = asyncio.Event()

    @inside.app.task
    async def work(n: int) -> None: ...

    @work.on_cancel
    async def hangs(event: Cancellation[int]) -> None:
        called.append(event.run.id)
        reached.set()
        if len(called) == 1:
            await asyncio.sleep(3600)

    first = inside.start(drain_seconds=0.1)
    await registered(inside)
    handle = await work.atrigger(5, delay="1h")
    await handle.acancel()
    await asyncio.wait_for(reached.wait(), 30)
    await inside.drained(first)
    inside.start()
    await until(lambda: len(called) == 2)
    await nothing_is_owed(inside)
    assert called == [handle.id] * 2


async def test_a_note_of_a_dead_worker_is_taken_by_another(inside: Inside) -> None:
    called: list[str] = []

    @inside.app.task
    async def work(n: int) -> None: ...

    @work.on_cancel
    async def hangs(event: Cancellation[int]) -> None:
        called.append(event.run.id)
        if len(called) == 1:
            await asyncio.sleep(3600)

    dead = inside.start()
    await registered(inside)
    handle = await work.atrigger(5, delay="1h")
    await handle.acancel()
    await until(lambda: bool(called))
    dead.orders_at = dead.hold.aftermath.look_at = float("inf")  # it hears of nothing any more
    await inside.store.run(workers.declare_gone, dead.me)
    inside.start()
    await until(lambda: len(called) == 2)
    assert called == [handle.id] * 2


def test_hooks_that_take_their_process_down(
    host: Callable[..., Host], folder: Path, database_url: str, eventually: Callable[..., Any]
) -> None:
    """The first call dies with its process, and the next one is made by another; what always kills is given up after
    three."""
    from tests.support.aftermath import app, work

    app.settings.use_flags(database=database_url)
    host(app="tests.support.aftermath:app", processes=2).ready()
    harmless, poison = work.trigger(1, delay="1h"), work.trigger(0, delay="1h")
    harmless.cancel()

    def told() -> None:
        assert ledger.counts(folder, "told") == {"1": 1}

    eventually(told, 60)
    poison.cancel()

    def given_up() -> None:
        assert any("taken 3 workers down" in line.message for line in poison.retrieve().logs)

    eventually(given_up, 60)
    assert ledger.counts(folder, "called") == {"1": 2, "0": 3}
    app.close()
