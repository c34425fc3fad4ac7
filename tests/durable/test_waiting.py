"""Runs that wait for long: what they cost meanwhile, and where they go on."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from holdfast import AsyncContext, Context
from holdfast.worker import parked
from holdfast.worker.hold import Hold
from holdfast.worker.live import Live
from tests.support.inside import Inside
from tests.support.ledger import until


@pytest.mark.parametrize(
    ("runs", "kept"), [(300, 5), pytest.param(10_000, parked.MOST, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_however_many_wait_few_are_in_memory(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, runs: int, kept: int
) -> None:
    """None has a slot, so many are kept at most, and of the others nothing is left here. They go on all the same."""
    monkeypatch.setattr("holdfast.worker.parked.MOST", kept)
    token = await inside.app.tokens.acreate(int)

    @inside.app.task
    async def wait(n: int, ctx: AsyncContext) -> int:
        return n + await ctx.wait_for(token)

    worker = inside.start(concurrency=50, suspend_after=3600.0)
    handles = await wait.abatch_trigger(list(range(runs)))
    await until(lambda: states(inside, handles) == {"waiting": runs})
    await until(lambda: (len(worker.hold.parked), worker.hold.running, len(worker.hold.held)) == (kept, 0, 0))
    await until(lambda: not worker.hold.leaving)
    assert in_memory(worker.hold) <= kept + 50
    await inside.app.tokens.acomplete(token, 1)
    assert (await handles.aresults(timeout=600)).outputs() == [n + 1 for n in range(runs)]


@pytest.mark.parametrize("colour", ["async", "def"])
async def test_however_large_they_are_little_is_in_memory(inside: Inside, colour: str) -> None:
    """Counted are payloads, recorded results, and tokens' values. The first ones leave first; one that is too large by
    itself does not stay at all."""
    calls: list[str] = []

    @inside.app.task
    async def wait(text: str, ctx: AsyncContext) -> int:
        calls.append(text[:2])
        words = await ctx.step(str.upper, text[:2_000]) + await ctx.wait_for(first)
        return len(words) + await ctx.wait_for(last)

    @inside.app.task
    def wait_def(text: str, ctx: Context) -> int:
        calls.append(text[:2])
        words = ctx.step(str.upper, text[:2_000]) + ctx.wait_for(first)
        return len(words) + ctx.wait_for(last)

    first, last = await inside.app.tokens.acreate(str), await inside.app.tokens.acreate(int)
    await inside.app.tokens.acomplete(first, "x" * 2_000)
    worker = inside.start(suspend_after=3600.0, suspend_above=30_000)
    task, handles = wait if colour == "async" else wait_def, []
    for k, length in enumerate((5_000, 5_000, 5_000, 5_000, 40_000, 2_000)):
        handles.append(handle := await task.atrigger(f"{k} ".ljust(length)))
        await until(lambda handle=handle: standing(inside, handle.id) == ("waiting", 1))
        await until(lambda: not (worker.hold.held or worker.hold.leaving))
    assert [live.claimed.id for live in worker.hold.parked] == [handle.id for handle in (*handles[2:4], handles[5])]
    assert 20_000 < worker.hold.parked.size < 30_000
    await inside.app.tokens.acomplete(last, 1)
    for handle in handles:
        run = await inside.ended(handle)
        assert (run.error, run.output) == (None, 4_001)
    assert sorted(calls) == ["0 ", "0 ", "1 ", "1 ", "2 ", "3 ", "4 ", "4 ", "5 "]
    assert worker.hold.parked.size == 0


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
async def test_nothing_is_left_of_runs_that_have_ended(inside: Inside, suspend_after: float) -> None:
    """Nor for the collector of garbage to find, who looks at everything each time. Fails with operations that keep
    those who carry them out, and with an error that keeps the frame which waited."""

    @inside.app.task
    async def step(n: int, ctx: AsyncContext) -> int:
        return await ctx.step(abs, n)

    @inside.app.task
    async def fan(n: int, ctx: AsyncContext) -> None:
        async with asyncio.timeout(600):
            await asyncio.gather(ctx.sleep(0.05), ctx.trigger_and_wait(step, n))

    @inside.app.task
    def thread(n: int, ctx: Context) -> None:
        ctx.step(abs, n)
        ctx.sleep(0.05)

    worker = inside.start(suspend_after=suspend_after)
    gc.collect()
    gc.disable()
    try:
        for handle in [await task.atrigger(k) for k in range(3) for task in (step, fan, thread)]:
            assert (await inside.ended(handle)).status == "completed"
        await until(lambda: not alive(worker.hold))
    finally:
        gc.enable()


def states(inside: Inside, handles: Any) -> dict[str, int]:
    rows = inside.store.read_sync(lambda tx: tx.rows("standing", ids=[handle.id for handle in handles.runs]))
    found = [row[1] for row in rows]
    return {state: found.count(state) for state in set(found)}


def in_memory(host: Hold) -> int:
    gc.collect()
    return alive(host)


def alive(host: Hold) -> int:
    return sum(isinstance(each, Live) and each.host is host for each in gc.get_objects())


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
@pytest.mark.parametrize("colour", ["async", "def"])
@pytest.mark.parametrize("pins", [True, False])
async def test_a_run_that_waits_across_a_deploy(inside: Inside, suspend_after: float, colour: str, pins: bool) -> None:
    """Pinned, it goes on where the version is that it began with, and waits until there is one; else with the new one.
    Fails with claiming it like any other."""

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> list[str | None]:
        began = await ctx.step(version, ctx.run.version)
        await ctx.wait_for(token)
        return [began, ctx.run.version]

    @inside.app.task
    def work_def(n: int, ctx: Context) -> list[str | None]:
        began = ctx.step(version, ctx.run.version)
        ctx.wait_for(token)
        return [began, ctx.run.version]

    def version(name: str | None) -> str | None:
        return name

    def worker(name: str) -> Any:
        return inside.start(version=name, pins=pins, suspend_after=suspend_after)

    token = await inside.app.tokens.acreate(int)
    one = worker("one")
    handle = await (work if colour == "async" else work_def).atrigger(1)
    await until(lambda: standing(inside, handle.id) == ("waiting", 1))
    await inside.drained(one)
    two = worker("two")
    await until(lambda: two.routes)
    await inside.app.tokens.acomplete(token, 1)
    if pins:
        looked = two.routes_at
        await until(lambda: two.routes_at > looked)  # it has looked around, and found nothing for it
        assert standing(inside, handle.id) == ("ready", 1)
        assert (await handle.aretrieve()).status == "pending_version"
        worker("one")
    run = await inside.ended(handle)
    assert (run.status, run.output, run.version) == ("completed", ["one", "one"], "one")


def standing(inside: Inside, run_id: str) -> tuple[str, int] | None:
    rows = inside.store.read_sync(lambda tx: tx.rows("standing", ids=[run_id]))
    return (rows[0][1], rows[0][2]) if rows else None
