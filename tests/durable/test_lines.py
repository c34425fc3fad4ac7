"""What a run writes when it is replayed, it has written before."""

from __future__ import annotations

import asyncio

from holdfast import AsyncContext
from holdfast.engine import read
from tests.support.inside import Inside


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
