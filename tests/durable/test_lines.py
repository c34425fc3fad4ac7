"""What a run writes when it is replayed, it has written before."""

from __future__ import annotations

import asyncio

from holdfast import AsyncContext
from holdfast.engine import read
from tests.support.inside import Inside
from tests.support.ledger import until


async def test_lines_of_a_replayed_stretch_are_marked_and_hidden(inside: Inside) -> None:
    async def one(n: int) -> int:
        return n

    @inside.app.task
    async def talks(n: int, ctx: AsyncContext) -> int:
        print("begins")
        await ctx.step(one, n)
        print("before the wait")
        await ctx.sleep(0.5)
        print("after the wait")
        await ctx.step(one, n)
        print("ends")
        return n

    inside.start(suspend_after=0.0)
    run = await inside.run(talks, 1)
    said = ["begins", "before the wait", "after the wait", "ends"]
    assert [line.message for line in run.logs] == said
    every = await inside.store.read(read.logs, run.id, replayed=True)
    assert [line.message for line in every] == [f'"{text}"' for text in said[:2] * 2 + said[2:]]


async def test_lines_after_several_that_came_together_are_new(inside: Inside) -> None:
    """They came while the run was not in memory: a replay hears of all of them. Fails with taking for new only what
    comes after the last one."""

    @inside.app.task
    async def talks(n: int, ctx: AsyncContext) -> None:
        async def branch(k: int) -> None:
            print(f"{k} waits")
            await ctx.wait_for(token)
            print(f"{k} goes on")

        print("begins")
        await asyncio.gather(*(branch(k) for k in range(3)))
        print("ends")

    token = await inside.app.tokens.acreate(int)
    inside.start(suspend_after=0.0)
    handle = await talks.atrigger(1)
    await until(lambda: handle.retrieve().status == "waiting")
    await inside.app.tokens.acomplete(token, 1)
    said = [line.message for line in (await inside.ended(handle)).logs]
    assert said == ["begins", *(f"{k} waits" for k in range(3)), *(f"{k} goes on" for k in range(3)), "ends"]


async def test_what_is_said_to_a_cancel_is_new(inside: Inside) -> None:
    @inside.app.task
    async def patient(ctx: AsyncContext) -> None:
        print("begins")
        try:
            await ctx.sleep("1h")
        except asyncio.CancelledError:
            print("gives up")
            raise

    inside.start(suspend_after=0.0)
    handle = await patient.atrigger()
    async for run in handle.aupdates():
        if run.status == "waiting":
            await handle.acancel()
    assert [line.message for line in (await inside.ended(handle)).logs] == ["begins", "gives up"]
