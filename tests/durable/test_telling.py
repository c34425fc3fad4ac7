"""What code tells is told once, although a run that goes on after a wait begins at the top."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import AsyncContext, Context, Holdfast, Retry
from tests.support.inside import Inside

BOTH = pytest.mark.parametrize("suspend_after", [0.0, 30.0])


def tell(ctx: AsyncContext | Context, word: str) -> None:
    ctx.metadata.increment("told")
    ctx.metadata.append("words", word)
    ctx.metadata["last"] = word
    ctx.root.metadata.increment("family")
    ctx.stream("words").write(word)


async def stream(handle: Any) -> list[tuple[str, bool]]:
    async with asyncio.timeout(60):
        return [(chunk.value, chunk.first) async for chunk in handle.stream("words")]


@BOTH
async def test_across_waits(inside: Inside, suspend_after: float) -> None:
    """Told before, in and between steps and waits; each of it once."""

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> None:
        def in_step() -> None:
            tell(ctx, "in a step")

        ctx.metadata["scratch"] = 1
        tell(ctx, "at first")
        await ctx.sleep(0.05)
        del ctx.metadata["scratch"]
        tell(ctx, "between")
        await ctx.step(in_step)
        await ctx.sleep(0.05)
        tell(ctx, "at last")

    inside.start(suspend_after=suspend_after)
    handle = await work.atrigger(1)
    run = await inside.ended(handle)
    assert run.error is None
    words = ["at first", "between", "in a step", "at last"]
    assert run.metadata == {"told": 4, "words": words, "last": "at last", "family": 4}
    assert await stream(handle) == [("at first", True), ("between", False), ("in a step", False), ("at last", False)]


@BOTH
async def test_in_a_thread(inside: Inside, suspend_after: float) -> None:
    @inside.app.task
    def work(n: int, ctx: Context) -> None:
        tell(ctx, "at first")
        ctx.sleep(0.05)
        ctx.step(tell, ctx, "in a step")
        ctx.sleep(0.05)
        tell(ctx, "at last")

    inside.start(suspend_after=suspend_after)
    handle = await work.atrigger(1)
    run = await inside.ended(handle)
    assert run.error is None
    assert run.metadata["words"] == ["at first", "in a step", "at last"]
    assert run.metadata["told"] == run.metadata["family"] == 3
    assert await stream(handle) == [("at first", True), ("in a step", False), ("at last", False)]


@BOTH
async def test_branches_each_for_itself(inside: Inside, suspend_after: float) -> None:
    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> None:
        async def branch(number: int) -> None:
            for turn in range(3):
                ctx.metadata.increment(f"branch {number}")
                await ctx.sleep(0.02 * (number + 1))
                ctx.metadata.increment("turns")
                await ctx.step(len, str(turn))

        await asyncio.gather(*(branch(number) for number in range(4)))

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.error is None
    assert run.metadata == {"turns": 12, **{f"branch {number}": 3 for number in range(4)}}


@BOTH
async def test_branches_that_have_ended_and_those_that_wait_for_others(inside: Inside, suspend_after: float) -> None:
    """Nothing recorded comes after what they have told; when the run gave up its slot it was told all the same. Fails
    with only what is recorded next to go by."""

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> None:
        async def short() -> None:
            tell(ctx, "a branch without operations")

        async def branch(number: int) -> None:
            await ctx.sleep(0.05 * number)
            tell(ctx, f"at the end of {number}")

        tell(ctx, "before all")
        await asyncio.gather(short(), *(branch(number) for number in (1, 3, 5)))
        tell(ctx, "between")
        await asyncio.gather(branch(2), branch(4))
        tell(ctx, "at last")

    inside.start(suspend_after=suspend_after)
    handle = await work.atrigger(1)
    run = await inside.ended(handle)
    assert run.error is None
    ends = [f"at the end of {number}" for number in (1, 3, 5, 2, 4)]
    words = ["before all", "a branch without operations", *ends[:3], "between", *ends[3:], "at last"]
    assert run.metadata == {"told": len(words), "words": words, "last": "at last", "family": len(words)}
    assert [word for word, _ in await stream(handle)] == words


async def test_what_is_tried_again_is_told_again_from_what_is_recorded_on(inside: Inside) -> None:
    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> None:
        tell(ctx, "before the step")
        await ctx.step(len, "x")
        tell(ctx, "after it")
        if ctx.attempt.number == 1:
            raise RuntimeError("once more")

    inside.start()
    handle = await work.atrigger(1)
    run = await inside.ended(handle)
    assert run.metadata["words"] == ["before the step", "after it", "after it"]
    assert await stream(handle) == [("before the step", True), ("after it", False), ("after it", False)]


@BOTH
async def test_code_sees_what_it_has_written(inside: Inside, suspend_after: float) -> None:
    """Also while it comes by what it has told before; and what children wrote, once it goes on."""
    seen: list[Any] = []

    @inside.app.task
    async def child(n: int, ctx: AsyncContext) -> None:
        ctx.root.metadata.increment("children", n)

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> None:
        ctx.metadata["stage"] = "first"
        seen.append(ctx.metadata["stage"])
        await ctx.trigger_and_wait(child, 5)
        ctx.metadata["stage"] = "second"
        seen.append(ctx.metadata["stage"])
        assert ctx.metadata["children"] == 5

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.error is None
    assert run.metadata == {"stage": "second", "children": 5}
    assert (seen[0], seen[-1], set(seen[:-1])) == ("first", "second", {"first"})


async def test_a_wait_in_a_test() -> None:

    app = Holdfast(":memory:")

    @app.task
    async def work(n: int, ctx: AsyncContext) -> None:
        tell(ctx, "at first")
        await ctx.sleep("3d")
        tell(ctx, "at last")

    with app.testing() as jobs:
        run = await jobs.arun(work, 1)
        assert run.metadata["words"] == ["at first"]
        await jobs.aadvance("3d")
        assert run.metadata["words"] == ["at first", "at last"]
        assert run.metadata["told"] == 2
