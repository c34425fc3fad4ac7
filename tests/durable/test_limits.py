"""Time limits of asyncio around what is durable: they end it, and a replay is ended by them where the code was."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from holdfast import AsyncContext, Retry
from tests.support.inside import Inside
from tests.support.ledger import until

BOTH = pytest.mark.parametrize("suspend_after", [0.0, 30.0])


@BOTH
@pytest.mark.parametrize("how", ["timeout", "wait_for", "wait", "gather", "group"])
async def test_a_limit_ends_a_durable_wait(inside: Inside, suspend_after: float, how: str) -> None:
    """And what comes after it is recorded. Every attempt goes the same way, and none waits again."""
    attempts: list[str] = []

    async def limited(ctx: AsyncContext) -> str:
        if how == "timeout":
            async with asyncio.timeout(0.3):
                await ctx.sleep("1h")
        elif how == "wait_for":
            await asyncio.wait_for(ctx.sleep("1h"), 0.3)
        elif how == "wait":
            waits = [asyncio.create_task(ctx.sleep("1h")), asyncio.create_task(ctx.sleep("2h"))]
            done, pending = await asyncio.wait(waits, timeout=0.3)
            for each in pending:
                each.cancel()
            if not done:
                raise TimeoutError
        elif how == "gather":
            async with asyncio.timeout(0.3):
                await asyncio.gather(ctx.sleep("1h"), ctx.sleep("2h"))
        else:
            async with asyncio.timeout(0.3), asyncio.TaskGroup() as group:
                group.create_task(ctx.sleep("1h"))
                group.create_task(ctx.sleep("2h"))
        return "slept"

    @inside.app.task(retry=Retry(max_attempts=3, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> str:
        try:
            came = await limited(ctx)
        except TimeoutError:
            came = "over"
        await ctx.step(attempts.append, came, name=came)
        await ctx.sleep(0.01)
        if ctx.attempt.number < 3:
            raise RuntimeError("again")
        return came

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert (run.status, run.output, attempts) == ("completed", "over", ["over"]), run.error


@BOTH
async def test_a_limit_that_is_called_off_is_nothing(inside: Inside, suspend_after: float) -> None:
    """It was written down while the run waited, and is crossed out before it waits again: it is not woken for that.
    Fails with leaving it open."""

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        for limit in (1000, 2000):
            async with asyncio.timeout(limit):
                await ctx.sleep(0.1)
        await ctx.sleep(0.1)
        return "slept"

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.output == "slept", run.error
    rows = inside.store.read_sync(lambda tx: tx.rows("journal", run_id=run.id))
    assert {row[7] for row in rows if row[4] == "limit"} <= {"done"}


async def test_a_run_that_waits_under_a_limit_has_no_slot(inside: Inside) -> None:
    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        async with asyncio.timeout(3600):
            await ctx.wait_for(await ctx.token(int))
        return "come"

    worker = inside.start(concurrency=1)
    handles = [await work.atrigger(n) for n in range(3)]
    await until(lambda: (len(worker.hold.parked), worker.hold.running) == (3, 0))
    assert {(await handle.aretrieve()).status for handle in handles} == {"waiting"}


@BOTH
async def test_a_limit_around_a_step(inside: Inside, suspend_after: float) -> None:
    """The step was not recorded; a replay does not begin it again, for there it was ended, too."""
    begun: list[int] = []

    async def hang(n: int) -> None:
        begun.append(n)
        await asyncio.sleep(3600)

    @inside.app.task(retry=Retry(max_attempts=3, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> str:
        try:
            async with asyncio.timeout(0.3):
                await ctx.step(hang, n)
        except TimeoutError:
            await ctx.sleep(0.05)
        if ctx.attempt.number < 3:
            raise RuntimeError("again")
        return "over"

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert (run.output, begun) == ("over", [1]), run.error


@BOTH
async def test_what_comes_after_the_limit_does_not_replace_it(inside: Inside, suspend_after: float) -> None:
    """The sleep that the limit has ended is over by the time of the replay: it was not when the code went on."""
    seen: list[list[str]] = []

    @inside.app.task(retry=Retry(max_attempts=3, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> list[str]:
        went: list[str] = []
        try:
            async with asyncio.timeout(0.2):
                await ctx.sleep(0.6)
            went.append("slept")
        except TimeoutError:
            went.append("over")
        await ctx.step(len, "".join(went))
        await ctx.sleep(0.8)
        seen.append(went)
        if ctx.attempt.number < 3:
            raise RuntimeError("again")
        return went

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.status == "completed", run.error
    assert seen == [["over"]] * 3


@BOTH
async def test_limits_within_limits(inside: Inside, suspend_after: float) -> None:
    """The outer one was over first, though it is the longer one when the waits before are replayed."""
    seen: list[str] = []

    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> str:
        try:
            async with asyncio.timeout(0.7):
                await ctx.sleep(0.4)
                try:
                    async with asyncio.timeout(0.6):
                        await ctx.sleep("1h")
                except TimeoutError:
                    seen.append("inner")
        except TimeoutError:
            seen.append("outer")
        await ctx.step(len, "a")
        if ctx.attempt.number < 2:
            raise RuntimeError("again")
        return "done"

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert (run.status, seen[0], len(set(seen))) == ("completed", "outer", 1), (run.error, seen)


@BOTH
async def test_a_replay_waits_with_a_limit_until_the_code_is_there(inside: Inside, suspend_after: float) -> None:
    """Before the wait that it ended is code that takes a moment. Fails with handing it out as soon as that is quiet: it
    ended the code, and the wait was not asked for."""
    moments = 0

    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> str:
        nonlocal moments
        try:
            async with asyncio.timeout(2.5):
                await ctx.step(len, "a")
                await asyncio.sleep(0.1)
                moments += 1
                await ctx.sleep("1h")
        except TimeoutError:
            await ctx.step(len, "b")
        if ctx.attempt.number < 2:
            raise RuntimeError("again")
        return "over"

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.output == "over", run.error
    assert moments >= 2


@pytest.mark.parametrize("how", ["timeout", "wait_for"])
def test_limits_on_uvloop(tmp_path: Path, how: str) -> None:
    """A loop that has its own timers. Fails with telling it that one was called off, which it does not know how to
    take, and with following ``call_at`` alone."""
    uvloop = pytest.importorskip("uvloop")

    async def carry_out() -> tuple[str, Any]:
        inside = Inside(f"sqlite:///{tmp_path}/holdfast.db")

        @inside.app.task
        async def work(n: int, ctx: AsyncContext) -> str:
            async with asyncio.timeout(60):
                await ctx.step(len, "a")
            try:
                if how == "wait_for":
                    await asyncio.wait_for(ctx.sleep("1h"), 0.1)
                else:
                    async with asyncio.timeout(0.1):
                        await ctx.sleep("1h")
            except TimeoutError:
                return "over"
            return "slept"

        inside.start(suspend_after=0.0)
        try:
            run = await inside.run(work, 1)
        finally:
            await inside.close()
        return run.status, run.error or run.output

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(carry_out()) == ("completed", "over")


async def test_a_limit_of_what_is_not_durable_is_asyncios_own(inside: Inside) -> None:
    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        await ctx.step(len, "a")
        try:
            async with asyncio.timeout(0.05):
                await asyncio.sleep(3600)
        except TimeoutError:
            return "over"
        return ""

    inside.start()
    run = await inside.run(work, 1)
    assert run.output == "over"
    rows: list[Any] = inside.store.read_sync(lambda tx: tx.rows("journal", run_id=run.id))
    assert len(rows) == 1


async def test_a_limit_that_was_over_is_over_once(inside: Inside) -> None:
    """Also when the run waits for long after it. Fails with keeping it among those that are armed: it was written down
    again, and ended the next wait."""

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> list[str]:
        went = []
        for wait in (asyncio.sleep(3600), ctx.sleep("1h")):
            try:
                async with asyncio.timeout(0.05):
                    await wait
            except TimeoutError:
                went.append("over")
        await ctx.sleep(0.3)
        return [*went, "slept"]

    inside.start(suspend_after=30.0)
    run = await inside.run(work, 1)
    assert run.output == ["over", "over", "slept"], run.error
    rows = inside.store.read_sync(lambda tx: tx.rows("journal", run_id=run.id))
    assert [row[4] for row in rows].count("limit") == 1


@BOTH
async def test_a_limit_that_is_called_off_while_it_is_written(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, suspend_after: float
) -> None:
    """The run is not woken for it. Fails with calling off only what is known to be written."""
    went_on, late = asyncio.Event(), asyncio.Event()

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> None:
        async with asyncio.timeout(600):
            await ctx.wait_for(token)
        went_on.set()
        await ctx.sleep("1h")

    def gather(f: Any, entry: Any) -> Future[Any]:
        if getattr(entry, "kind", "") != "limit" or late.is_set():
            return write(f, entry)
        late.set()
        answer: Future[Any] = Future()
        writing.append(asyncio.get_running_loop().create_task(write_late(answer, f, entry)))
        return answer

    async def write_late(answer: Future[Any], *what: Any) -> None:
        await inside.app.tokens.acomplete(token, 1)
        await went_on.wait()
        answer.set_result(await asyncio.wrap_future(write(*what)))

    write, writing = inside.store.gather, list[Any]()
    monkeypatch.setattr(inside.store, "gather", gather)
    token = await inside.app.tokens.acreate(int)
    inside.start(suspend_after=suspend_after)
    handle = await work.atrigger(1)
    await until(lambda: late.is_set() and standing(inside, handle.id) == "waiting")
    rows = inside.store.read_sync(lambda tx: tx.rows("journal", run_id=handle.id))
    assert [(row[4], row[7]) for row in rows if row[7] == "open"] == [("sleep", "open")]
    assert [row[7] for row in rows if row[4] == "limit"] == ["done"]


@pytest.mark.parametrize("how", ["gather", "wait", "group"])
async def test_the_end_of_the_last_branch_is_heard_before_the_run_gives_up_its_slot(inside: Inside, how: str) -> None:
    """It was suspended although its code went on, and what it had come to was discarded. Fails with taking for waiting
    who waits for a branch that has just ended."""

    @inside.app.task
    async def one(n: int, ctx: AsyncContext) -> int:
        return await ctx.step(abs, n)

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        async with asyncio.timeout(600):
            if how == "gather":
                await asyncio.gather(ctx.sleep(0.02), ctx.trigger_and_wait(one, n))
            elif how == "wait":
                await asyncio.wait([asyncio.create_task(ctx.sleep(0.02)), asyncio.create_task(ctx.sleep(0.01))])
            else:
                async with asyncio.TaskGroup() as group:
                    group.create_task(ctx.sleep(0.02))
                    group.create_task(ctx.trigger_and_wait(one, n))
        return "went on"

    inside.start(suspend_after=0.0)
    for n in range(10):
        assert (await inside.run(work, n, timeout=30)).output == "went on"


def standing(inside: Inside, run_id: str) -> str | None:
    rows = inside.store.read_sync(lambda tx: tx.rows("standing", ids=[run_id]))
    return rows[0][1] if rows else None


async def test_a_time_that_is_over_while_a_run_that_was_kept_goes_on(inside: Inside) -> None:
    """Its branches wait for each other by an event. Fails with setting the timers only when a wait begins."""

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        event = asyncio.Event()
        token = await ctx.token(int)
        tokens.append(token.id)

        async def first() -> None:
            await ctx.wait_for(token)
            await event.wait()

        async def second() -> None:
            await ctx.sleep(1)
            event.set()

        await asyncio.gather(first(), second())
        return "both"

    tokens: list[str] = []
    worker = inside.start(suspend_after=30.0)
    handle = await work.atrigger(1)
    await until(lambda: worker.hold.parked)
    await inside.app.tokens.acomplete(tokens[0], 1)
    assert (await inside.ended(handle)).output == "both"
