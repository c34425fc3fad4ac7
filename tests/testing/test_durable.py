"""Tests of users over tasks that wait: every wait suspends, so what a replay would break, breaks here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import pytest

from holdfast import AsyncContext, Context, Holdfast, NotSerializable


@dataclass
class User:
    id: int
    email: str


app = Holdfast(database="sqlite://:memory:")
sent: list[str] = []


async def send_welcome(user: User) -> None:
    sent.append(f"welcome {user.email}")


def has_logged_in(user: User) -> bool:
    return False


async def send_nudge(user: User) -> None:
    sent.append(f"nudge {user.email}")


@app.task
async def onboard(user: User, ctx: AsyncContext) -> str:
    await ctx.step(send_welcome, user)
    await ctx.sleep("3d")
    if await ctx.step(has_logged_in, user):
        return "active"
    await ctx.step(send_nudge, user)
    return "nudged"


@app.task
def onboard_def(user: User, ctx: Context) -> str:
    ctx.step(lambda: sent.append("hello"), name="welcome")
    ctx.sleep("3d")
    return ctx.trigger_and_wait(onboard, user)


@app.task
async def both(user: User, ctx: AsyncContext) -> list[str]:
    return list(await asyncio.gather(ctx.trigger_and_wait(onboard, user), ctx.trigger_and_wait(onboard_def, user)))


ada = User(1, "ada@example.com")


def test_a_run_waits_and_goes_on_when_the_clock_is_moved() -> None:
    sent.clear()
    with app.testing() as jobs:
        run = jobs.run(onboard, ada)
        assert run.status == "waiting"
        assert sent == ["welcome ada@example.com"]
        jobs.advance("2d")
        assert run.status == "waiting"
        jobs.advance("1d")
        assert (run.status, run.output) == ("completed", "nudged")
    assert sent == ["welcome ada@example.com", "nudge ada@example.com"]


async def test_the_same_in_an_async_test() -> None:
    sent.clear()
    with app.testing() as jobs:
        run = await jobs.arun(onboard, ada)
        assert run.status == "waiting"
        await jobs.aadvance("3d")
        assert (run.status, run.output) == ("completed", "nudged")


def test_a_def_task_and_its_child() -> None:
    sent.clear()
    with app.testing() as jobs:
        run = jobs.run(onboard_def, ada)
        assert run.status == "waiting"
        jobs.advance("3d")
        assert run.status == "waiting"
        jobs.advance("3d")
        assert (run.status, run.output) == ("completed", "nudged")
    assert sent == ["hello", "welcome ada@example.com", "nudge ada@example.com"]


def test_children_side_by_side() -> None:
    with app.testing() as jobs:
        run = jobs.run(both, ada)
        jobs.advance("10d")
        assert (run.status, run.output) == ("completed", ["nudged", "nudged"])
        assert len(jobs.triggered(onboard)) == 2


def test_a_step_is_replaced() -> None:
    sent.clear()
    with app.testing() as jobs:
        jobs.replace(has_logged_in, True)
        run = jobs.run(onboard, ada)
        jobs.advance("3d")
        assert run.output == "active"
        assert jobs.payloads(onboard) == [ada]
    assert sent == ["welcome ada@example.com"]


def test_a_step_is_replaced_by_an_error() -> None:
    with app.testing() as jobs:
        jobs.replace(send_welcome, ConnectionError("no network"))
        run = jobs.run(onboard, ada)
        assert run.status == "delayed"  # until the next attempt
        jobs.replace(send_welcome, None)
        jobs.advance("1m")
        assert run.status == "waiting"


def test_a_step_cannot_be_replaced_by_what_it_cannot_return() -> None:
    with app.testing() as jobs, pytest.raises(NotSerializable):
        jobs.replace(has_logged_in, object())


def test_what_stands_around_a_wait_is_left_before_the_step_of_the_test_is_over() -> None:
    """And again when the run goes on. Fails with a worker that ends while code is on its way out."""
    left: list[str] = []

    async def napping(n: int, ctx: AsyncContext) -> None:
        try:
            await ctx.sleep("1h")
        finally:
            await asyncio.sleep(0.01)
            left.append("async")

    def napping_def(n: int, ctx: Context) -> None:
        try:
            ctx.sleep("1h")
        finally:
            time.sleep(0.01)
            left.append("def")

    naps = Holdfast(database="sqlite://:memory:")
    with naps.testing() as jobs:
        for task in (naps.task(napping), naps.task(napping_def)):
            left.clear()
            run = jobs.run(task, 1)
            assert (run.status, len(left)) == ("waiting", 1)
            jobs.advance("1h")
            assert (run.status, len(left)) == ("completed", 2)


def test_a_journal_is_in_order_however_long_its_steps_take() -> None:
    """The clock stands still, and the second step takes longer than the first. Fails with its time taken off."""

    @app.task
    def two(ctx: Context) -> int:
        ctx.step(int, name="first")
        ctx.step(lambda: time.sleep(0.02), name="second")
        return 2

    with app.testing() as jobs:
        run = jobs.run(two)
        assert [entry.name for entry in app.runs.retrieve(run.id).journal] == ["first", "second"]
        again = app.runs.replay(run.id, from_step="second")
        assert [entry.name for entry in again.retrieve().journal] == ["first"]
