"""What tasks tell while they run arrives while they run, also at their parents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast import AsyncContext, Context, Progress
from tests.support.inside import Inside

Eventually = Callable[..., Awaitable[Any]]


async def test_progress_is_seen_while_the_run_executes(inside: Inside, eventually_async: Eventually) -> None:
    go = asyncio.Event()

    @inside.app.task
    async def reads(n: int, ctx: AsyncContext) -> None:
        for page in ctx.track(range(n), "pages"):
            if page == 2:
                await go.wait()

    inside.start()
    handle = await reads.atrigger(5)

    async def told() -> None:
        run = await handle.aretrieve()
        assert (run.status, run.progress) == ("executing", Progress(2, 5, "pages"))

    await eventually_async(told, 20)
    go.set()
    assert (await inside.ended(handle)).progress == Progress(5, 5, "pages")


async def test_children_write_to_a_parent_that_executes_and_to_one_that_has_ended(
    inside: Inside, eventually_async: Eventually
) -> None:
    """The children run on another worker, in threads; the parent writes to the same metadata meanwhile."""
    go = asyncio.Event()

    @inside.app.task
    def page(n: int, ctx: Context) -> None:
        assert ctx.parent is not None
        ctx.parent.metadata.increment("pages")
        ctx.root.metadata.append("seen", n)

    @inside.app.task
    async def book(n: int, ctx: AsyncContext) -> None:
        ctx.metadata["title"] = "x"
        for number in range(n):
            await page.atrigger(number)
        await go.wait()
        ctx.metadata.increment("pages", 100)
        for number in range(n, 2 * n):
            await page.atrigger(number, delay="50ms")

    inside.start()
    inside.start()
    handle = await book.atrigger(10)

    async def wrote(pages: int) -> None:
        metadata = (await handle.aretrieve()).metadata
        assert (metadata.get("title"), metadata.get("pages"), len(metadata.get("seen", []))) == (
            "x",
            pages,
            pages % 100,
        )

    await eventually_async(lambda: wrote(10), 20)
    go.set()
    await inside.ended(handle)
    await eventually_async(lambda: wrote(120), 20)


async def test_a_plain_run_has_no_teller(inside: Inside) -> None:
    seen = []

    @inside.app.task
    async def plain(n: int, ctx: AsyncContext) -> int:
        seen.append(ctx._bound)
        return ctx.attempt.number

    inside.start()
    assert (await inside.run(plain, 1)).output == 1
    assert seen[0].told_by is None
