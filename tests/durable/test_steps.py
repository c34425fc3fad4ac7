"""Steps: recorded once, and never run again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from holdfast import AsyncContext, Context, Retry
from holdfast.errors import InvalidOption, NotDurable, StepFailed
from tests.support.inside import Inside
from tests.support.ledger import until


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
async def test_a_step_is_not_run_again(inside: Inside, suspend_after: float) -> None:
    """Neither by a retry nor when the run goes on after a wait."""
    calls: list[str] = []

    def note(what: str) -> str:
        calls.append(what)
        return what.upper()

    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> list[str]:
        first = await ctx.step(note, "first")
        await ctx.sleep(0.05)
        second = await ctx.step(note, "second")
        if ctx.attempt.number == 1:
            raise RuntimeError("once more")
        return [first, second]

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.status == "completed", run.error
    assert run.output == ["FIRST", "SECOND"]
    assert calls == ["first", "second"]


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
async def test_the_same_in_a_thread(inside: Inside, suspend_after: float) -> None:
    calls: list[str] = []

    def note(what: str) -> str:
        calls.append(what)
        return what.upper()

    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0))
    def work(n: int, ctx: Context) -> list[str]:
        first = ctx.step(note, "first")
        ctx.sleep(0.05)
        second = ctx.step(note, "second")
        if ctx.attempt.number == 1:
            raise RuntimeError("once more")
        return [first, second]

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.status == "completed", run.error
    assert run.output == ["FIRST", "SECOND"]
    assert calls == ["first", "second"]


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
async def test_children_and_branches(inside: Inside, suspend_after: float) -> None:
    @inside.app.task
    async def double(n: int) -> int:
        return 2 * n

    @inside.app.task
    def fail(n: int) -> int:
        raise ValueError(n)

    @inside.app.task
    async def parent(n: int, ctx: AsyncContext) -> list[Any]:
        async def branch(k: int) -> int:
            await ctx.sleep(0.01 * (3 - k % 3))
            return await ctx.trigger_and_wait(double, k)

        values = await asyncio.gather(*(branch(k) for k in range(10)))
        batch = await ctx.batch_trigger_and_wait(double, range(20))
        return [values, batch.outputs()]

    inside.start(suspend_after=suspend_after)
    run = await inside.run(parent, 1)
    assert run.status == "completed", run.error
    assert run.output == [[2 * k for k in range(10)], [2 * k for k in range(20)]]


async def test_a_step_that_fails(inside: Inside) -> None:
    tries: list[int] = []

    async def flaky(n: int) -> int:
        tries.append(n)
        if len(tries) < 3:
            raise ConnectionError("no network")
        return n

    async def never(n: int) -> int:
        raise ConnectionError("no network")

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> list[Any]:
        got = await ctx.step(flaky, n, retry=Retry(max_attempts=3, min_delay="10ms"))
        try:
            await ctx.step(never, n)
        except StepFailed as failed:
            return [got, failed.matches(ConnectionError), failed.matches(ValueError), failed.error.message]
        return []

    inside.start()
    run = await inside.run(work, 7)
    assert run.status == "completed", run.error
    assert run.output == [7, True, False, "no network"]
    assert tries == [7, 7, 7]


@pytest.mark.parametrize("colour", ["async", "def"])
async def test_a_def_step_that_takes_too_long(inside: Inside, colour: str) -> None:
    """Its thread is left to itself, and the task goes on. Fails with waiting until the thread returns."""
    returns = threading.Event()

    def hang(n: int) -> str:
        returns.wait(60)
        return "late"

    def told(failed: StepFailed) -> str:
        return f"{failed.matches(TimeoutError)} {returns.is_set()} {failed.error.message}"

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        try:
            return await ctx.step(hang, n, timeout="50ms")
        except StepFailed as failed:
            return told(failed)

    @inside.app.task
    def work_def(n: int, ctx: Context) -> str:
        try:
            return ctx.step(hang, n, timeout="50ms")
        except StepFailed as failed:
            return told(failed)

    inside.start()
    try:
        run = await inside.run(work if colour == "async" else work_def, 1)
    finally:
        returns.set()
    assert run.output == "True False it took longer than its timeout (50 ms)"


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
@pytest.mark.parametrize("what", ["entries", "bytes"])
async def test_a_journal_is_limited(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, what: str, suspend_after: float
) -> None:
    """In entries and in bytes, among them the value of a token, which comes later; the code may catch that."""
    monkeypatch.setattr("holdfast.worker.journal.ENTRIES", 3 if what == "entries" else 100)
    monkeypatch.setattr("holdfast.worker.journal.BYTES", 5_000)
    token = await inside.app.tokens.acreate(str)

    @inside.app.task(retry=Retry(max_attempts=1))
    async def work(n: int, ctx: AsyncContext) -> int:
        came = len(await ctx.wait_for(token))
        for k in range(4):
            await ctx.step(str, k)
        return came

    inside.start(suspend_after=suspend_after)
    handle = await work.atrigger(1)
    await until(lambda: handle.retrieve().status == "waiting")
    await inside.app.tokens.acomplete(token, "x" * (10 if what == "entries" else 6_000))
    run = await inside.ended(handle)
    assert (run.status, run.error.type) == ("failed", "holdfast.errors.JournalFull")
    there = "3 entries" if what == "entries" else "1 entries"
    assert f"({there}, " in run.error.message
    assert "now it asks for step str" in run.error.message


@dataclass
class Page:
    size: int


async def test_a_lambda_that_gives_something_to_await(inside: Inside) -> None:
    """As the type checkers allow. Fails with taking for async only what says so: the coroutine was to be recorded."""

    async def fetch(n: int) -> Page:
        await asyncio.sleep(0)
        return Page(n)

    def fetching(n: int) -> Coroutine[Any, Any, Page]:
        return fetch(n)

    @inside.app.task(retry=Retry(max_attempts=1))
    async def work(n: int, ctx: AsyncContext) -> list[Any]:
        said: list[Any] = [await ctx.step(lambda: asyncio.sleep(0, n), name="same"), (await ctx.step(fetching, n)).size]
        for step in (lambda: asyncio.sleep(60), lambda: ctx.sleep(60)):
            try:
                await ctx.step(step, name="slow", timeout=0.05)
            except (StepFailed, NotDurable) as error:
                said.append(type(error).__name__)
        return said

    inside.start()
    run = await inside.run(work, 7)
    assert (run.status, run.output) == ("completed", [7, 7, "StepFailed", "NotDurable"]), run.error


async def test_a_def_task_cannot_await_a_step(inside: Inside) -> None:
    async def fetch(n: int) -> int:
        return n

    @inside.app.task(retry=Retry(max_attempts=1))
    def work(n: int, ctx: Context) -> str:
        try:
            ctx.step(fetch, n)
        except InvalidOption as error:
            return str(error)
        return ""

    inside.start()
    run = await inside.run(work, 7)
    assert run.output.startswith("A def task cannot await a step (fetch). Make the task async def")
