"""What happens to an attempt whose code ends while its wish to give up its slot is on its way, or just after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import AsyncContext, Retry
from holdfast.engine import claim
from holdfast.worker.worker import Worker
from tests.durable.test_holding import standing
from tests.support.inside import Inside
from tests.support.ledger import until


def interposed(worker: Worker, when: str, act: Callable[[], object], done: Callable[[], object]) -> None:
    """Do this once, ``before`` the database has the wish of a run or ``after``, while its worker waits for the answer,
    and let the answer come when that is done."""
    send, acted = worker.store.run, False

    async def run(f: Any, *args: Any, **options: Any) -> Any:
        nonlocal acted
        if acted or f is not claim.exchange or not args[-1]:
            return await send(f, *args, **options)
        acted = True
        if when != "after":
            await settled()
        answer = await send(f, *args)
        if when == "after":
            await settled()
        return answer

    async def settled() -> None:
        act()
        for _ in range(200):
            if done():
                return
            await asyncio.sleep(0.005)

    worker.store.run = run  # type: ignore[method-assign, assignment]


def live_of(worker: Worker) -> Any:
    (live,) = worker.hold.held.values()
    return live


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_code_that_ends_by_itself_meanwhile(inside: Inside, when: str, suspend_after: float) -> None:
    """Something of its own ends its wait. Fails with asking the database only for what executes: the run waited on."""
    waits: list[asyncio.Task[Any] | None] = []

    @inside.app.task(retry=Retry(max_attempts=1))
    async def work(n: int, ctx: AsyncContext) -> str:
        waits.append(asyncio.current_task())
        try:
            await ctx.sleep("1h")
        except asyncio.CancelledError:
            return "ended"
        return "slept"

    worker = inside.worker(suspend_after=suspend_after)
    interposed(worker, when, lambda: waits[-1].cancel(), lambda: not worker.hold.held)
    inside.start(worker)
    run = await inside.run(work, 1, timeout=20)
    assert (run.status, run.output, len(waits)) == ("completed", "ended", 1)


@pytest.mark.parametrize("when", ["before", "after", "refused"])
async def test_a_run_whose_time_is_over_meanwhile(inside: Inside, when: str) -> None:
    """Where it waits, the time that it does does not count; where it keeps its slot, its time is over. Fails with
    interrupting it at once, when nobody heard of its end; and with never interrupting it."""
    tokens: list[str] = []
    interrupted: list[int] = []

    @inside.app.task(retry=Retry(max_attempts=1), max_duration="1h")
    async def work(n: int, ctx: AsyncContext) -> int:
        token = await ctx.token(int)
        tokens.append(token.id)
        try:
            return await ctx.wait_for(token)
        except asyncio.CancelledError:
            interrupted.append(n)
            raise

    async def complete() -> None:
        await inside.app.tokens.acomplete(tokens[0], 7)

    def act() -> None:
        live_of(worker).time_over()
        if when == "refused":
            completing.append(asyncio.create_task(complete()))

    completing: list[asyncio.Task[None]] = []
    worker = inside.worker()
    interposed(worker, when, act, lambda: all(task.done() for task in completing))
    inside.start(worker)
    handle = await work.atrigger(1)
    await until(lambda: standing(inside, handle.id) == "waiting" or completing)
    if when != "refused":
        await complete()
    run = await inside.ended(handle)
    assert (run.status, interrupted) == (("timed_out", [1]) if when == "refused" else ("completed", []))


async def test_code_that_ends_by_itself_while_its_run_waits(inside: Inside) -> None:
    """What it came to holds, though its run has no slot. Fails with discarding it: the run waited on, for an hour."""
    waits: list[asyncio.Task[Any] | None] = []

    @inside.app.task(retry=Retry(max_attempts=1))
    async def work(n: int, ctx: AsyncContext) -> str:
        waits.append(asyncio.current_task())
        try:
            await ctx.sleep("1h")
        except asyncio.CancelledError:
            return "ended"
        return "slept"

    worker = inside.start()
    handle = await work.atrigger(1)
    await until(lambda: len(worker.hold.parked))
    waits[0].cancel()  # type: ignore[union-attr]
    run = await inside.ended(handle)
    assert (run.status, run.output, len(waits)) == ("completed", "ended", 1)


async def test_code_that_goes_on_by_itself_is_let_go(inside: Inside, caplog: pytest.LogCaptureFixture) -> None:
    """It asks for something durable, and holds no run: it begins anew when what it waited for has come. Fails with
    letting it ask: that it had lost its run was what the run failed with."""
    waits: list[asyncio.Task[Any] | None] = []
    tokens: list[str] = []

    @inside.app.task(retry=Retry(max_attempts=1))
    async def work(n: int, ctx: AsyncContext) -> int:
        token = await ctx.token(int)
        waits.append(asyncio.current_task())
        tokens.append(token.id)
        try:
            value = await ctx.wait_for(token)
        except asyncio.CancelledError:
            value = -1
        return await ctx.step(abs, value)

    worker = inside.start()
    handle = await work.atrigger(1)
    await until(lambda: len(worker.hold.parked))
    waits[0].cancel()  # type: ignore[union-attr]
    await until(lambda: "gone on without its run" in caplog.text)
    await inside.app.tokens.acomplete(tokens[0], 7)
    run = await inside.ended(handle)
    assert (run.status, run.output, len(waits)) == ("completed", 7, 2)
