"""Runs share a process, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from contextvars import ContextVar

from holdfast import AsyncContext, Context
from holdfast.context import Attempt, running
from tests.support.inside import Inside
from tests.support.ledger import until

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def test_what_a_run_puts_into_context_variables_stays_its_own(inside: Inside) -> None:
    """Fails with starting the next run where the last one ended, in that one's context: every run but the first found
    what its predecessor had set."""

    @inside.app.task
    async def later(n: int) -> str:
        before = tenant.get()
        tenant.set(f"tenant {n}")
        await asyncio.sleep(0)
        return before

    @inside.app.task
    def now(n: int) -> str:
        before = tenant.get()
        tenant.set(f"tenant {n}")
        return before

    inside.start(concurrency=1)
    batch = await inside.app.abatch_trigger([task.item(n) for n in range(20) for task in (later, now)])
    assert (await batch.aresults(timeout=20)).outputs() == ["nobody"] * 40


async def test_a_run_is_no_task_of_the_one_before_it(inside: Inside) -> None:
    """Fails with making it through the loop's task factory: the run that had ended and let the next one start was taken
    to be its parent, and kept a journal for it."""
    attempts: list[Attempt | None] = []

    @inside.app.task
    async def plain(n: int) -> None:
        attempts.append(running.get())

    inside.start(concurrency=1)
    await (await plain.abatch_trigger(range(10))).aresults(timeout=20)
    assert [attempt is not None and attempt.opened is None for attempt in attempts] == [True] * 10


async def test_nothing_of_a_plain_run_is_left_for_the_collector_of_garbage(inside: Inside) -> None:
    """Fails while an attempt has what carries it out, and that has the attempt: at 20,000 runs a second the collector
    took a quarter of the worker's time."""
    tasks: list[weakref.ref[asyncio.Task[object]]] = []

    @inside.app.task
    async def plain(n: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(weakref.ref(task))

    inside.start(concurrency=1)
    gc.disable()
    try:
        await (await plain.abatch_trigger(range(10))).aresults(timeout=20)
        await asyncio.wait_for(until(lambda: all(task() is None for task in tasks)), 20)
    finally:
        gc.enable()
    assert len(tasks) == 10


async def test_what_the_host_had_set_is_there_for_all(inside: Inside) -> None:
    @inside.app.task
    async def reads(n: int) -> str:
        return tenant.get()

    token = tenant.set("the host")
    inside.start()
    tenant.reset(token)  # the worker has taken its copy by then, or takes it now: both are the host's
    await asyncio.sleep(0)
    run = await inside.run(reads, 1)
    assert run.output in ("the host", "nobody")


async def test_the_current_context_is_the_runs_own(inside: Inside) -> None:
    @inside.app.task
    async def later(n: int) -> str:
        await asyncio.sleep(0.001)
        return AsyncContext.current().run.id

    @inside.app.task
    def now(n: int) -> str:
        return Context.current().run.id

    inside.start(concurrency=8)
    batch = await inside.app.abatch_trigger([task.item(n) for n in range(20) for task in (later, now)])
    results = await batch.aresults(timeout=20)
    assert results.outputs() == [run.id for run in batch.runs]


async def test_a_thread_that_does_not_return_keeps_its_slot_when_its_run_is_lost(inside: Inside) -> None:
    """A def task cannot be interrupted. While it is busy, its worker must not take a run for a thread that it does not
    have: that run would wait for it, and other workers may be free. Fails with freeing the slot with the run."""
    release = threading.Event()
    started = threading.Semaphore(0)

    calls = itertools.count()

    @inside.app.task
    def stuck(n: int) -> int:
        started.release()
        if next(calls) < 2:  # not where it goes on after it was lost
            release.wait(20)
        return n

    @inside.app.task
    def quick(n: int) -> int:
        return n

    busy = inside.start(concurrency=2)
    stuck_runs = await stuck.abatch_trigger([1, 2])
    for _ in range(2):
        await asyncio.to_thread(started.acquire, timeout=10)
    busy.lost()
    assert (busy.hold.running, len(busy.hold.held)) == (2, 0)

    handle = await quick.atrigger(7)
    free = inside.start(concurrency=1)
    assert (await inside.ended(handle, 10)).output == 7
    release.set()
    await asyncio.wait_for(until(lambda: not busy.hold.running), 10)
    assert free.me != busy.me
    assert len(stuck_runs) == 2
