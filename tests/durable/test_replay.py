"""Replays: with another payload, and from one of a run's steps on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from holdfast import AsyncContext, Context, InvalidOption, PayloadInvalid, Retry, RunNotFound, Secret
from holdfast.engine import erase, read
from holdfast.model import Run
from tests.support.inside import Inside

ONCE = Retry(max_attempts=1)


class Calls(list[str]):
    """What steps were called for, and which of them is to fail."""

    broken = ""

    def do(self, what: str) -> str:
        self.append(what)
        if what == self.broken:
            raise ConnectionError(what)
        return f"{what} {len(self)}"


async def replayed(inside: Inside, run: Run[Any], **options: Any) -> Run[Any]:
    return await inside.ended(await inside.app.runs.areplay(run.id, **options))


async def test_a_run_goes_on_from_the_step_that_failed(inside: Inside) -> None:
    calls = Calls()

    @inside.app.task(retry=ONCE)
    async def order(n: int, ctx: AsyncContext) -> list[str]:
        first = await ctx.step(calls.do, "reserve", name="reserve")
        await ctx.sleep(0.01)
        return [first, await ctx.step(calls.do, "charge", name="charge"), await ctx.step(calls.do, "ship", name="ship")]

    inside.start(suspend_after=0)
    calls.broken = "charge"
    failed = await inside.run(order, 1)
    assert failed.status == "failed"
    calls.broken = ""
    run = await replayed(inside, failed, from_step="charge")
    assert run.output == ["reserve 1", "charge 3", "ship 4"], run.error
    assert calls == ["reserve", "charge", "charge", "ship"]
    assert run.attempts == 1


async def test_the_same_in_a_thread_and_from_a_replay(inside: Inside) -> None:
    """Random numbers are those of the first run, whose steps were called with them."""
    calls = Calls()

    @inside.app.task(retry=ONCE)
    def order(n: int, ctx: Context) -> list[Any]:
        number = ctx.uuid()
        return [str(number), *(ctx.step(calls.do, f"{name} {number}", name=name) for name in ("a", "b", "c"))]

    inside.start()
    first = await inside.run(order, 1)
    second = await replayed(inside, first, from_step="b")
    third = await replayed(inside, second, from_step="c")
    assert [run.status for run in (first, second, third)] == ["completed"] * 3, third.error
    assert second.output[:2] == first.output[:2] != second.output[2:]
    assert third.output[:3] == second.output[:3]
    assert (second.output[3], third.output[3]) != (first.output[3], second.output[3])
    assert len(calls) == 3 + 2 + 1
    fourth = await replayed(inside, third)
    assert fourth.output[0] != first.output[0]


async def test_children_and_tokens_are_kept_as_they_are(inside: Inside) -> None:
    calls = Calls()
    made: list[str] = []

    @inside.app.task
    async def double(n: int) -> int:
        made.append("child")
        return 2 * n

    @inside.app.task(retry=ONCE)
    async def order(n: int, ctx: AsyncContext) -> list[Any]:
        one = await ctx.trigger_and_wait(double, n)
        many = await ctx.batch_trigger_and_wait(double, [n, n])
        handle = await double.atrigger(n)
        token = await ctx.token(int)
        said = await ctx.step(calls.do, "ask", name="ask")
        return [one, many.outputs(), handle.id, token.id, await ctx.now(), said]

    inside.start()
    first = await inside.run(order, 4)
    assert first.status == "completed", first.error
    second = await replayed(inside, first, from_step="ask")
    assert second.status == "completed", second.error
    assert second.output[:4] == first.output[:4]
    assert second.output[4:] != first.output[4:]
    assert len(made) == 4
    third = await replayed(inside, first, from_step="double")  # the first child of that name, and all after it
    assert third.output[:2] == first.output[:2]
    assert third.output[2] != first.output[2]
    assert len(made) == 8


async def test_branches_keep_what_had_settled_when_the_step_began(inside: Inside) -> None:
    calls = Calls()
    let = asyncio.Event()

    @inside.app.task(retry=ONCE)
    async def order(n: int, ctx: AsyncContext) -> list[str]:
        async def early() -> str:
            said = await ctx.step(calls.do, "early", name="early")
            let.set()
            return said

        async def late() -> list[str]:
            first = await ctx.step(calls.do, "late", name="late")
            await ctx.step(let.wait, name="wait")
            await asyncio.sleep(0.01)
            return [first, await ctx.step(calls.do, "later", name="later")]

        one, (two, three) = await asyncio.gather(early(), late())
        return [one, two, three, await ctx.step(calls.do, "end", name="end")]

    inside.start()
    first = await inside.run(order, 1)
    assert first.status == "completed", first.error
    second = await replayed(inside, first, from_step="end")
    assert second.output[:3] == first.output[:3]
    third = await replayed(inside, first, from_step="later")
    assert third.output[:2] == first.output[:2]
    assert third.output[2] != first.output[2]
    assert calls[4:] == ["end", "later", "end"]


async def test_what_settled_elsewhere_while_the_step_ran_is_done_anew(inside: Inside) -> None:
    calls = Calls()

    @inside.app.task(retry=ONCE)
    async def order(n: int, ctx: AsyncContext) -> list[str]:
        let = asyncio.Event()

        async def slow() -> str:
            await let.wait()
            return "slow"

        async def other() -> str:
            await asyncio.sleep(0.05)  # so that it is later on a clock of milliseconds
            said = await ctx.step(calls.do, "other", name="other")
            let.set()
            return said

        _, said = await asyncio.gather(ctx.step(slow), other())
        return [said, await ctx.step(calls.do, "end", name="end")]

    inside.start()
    first = await inside.run(order, 1)
    assert first.output == ["other 1", "end 2"], first.error
    assert (await replayed(inside, first, from_step="slow")).output == ["other 3", "end 4"]
    assert (await replayed(inside, first, from_step="end")).output == ["other 1", "end 5"]


@pytest.mark.parametrize("many", [False, True])
async def test_a_child_that_is_not_kept_any_more(inside: Inside, many: bool) -> None:
    @inside.app.task
    async def double(n: int) -> int:
        return 2 * n

    @inside.app.task(retry=ONCE)
    async def order(n: int, ctx: AsyncContext) -> int:
        if many:
            got = sum((await ctx.batch_trigger_and_wait(double, [n])).outputs())
        else:
            got = await ctx.trigger_and_wait(double, n)
        return await ctx.step(int, got, name="end")

    inside.start()
    first = await inside.run(order, 2)
    assert first.output == 4, first.error
    what = erase.Erasable("double", "task/double")
    while await inside.store.run(erase.runs, what, []):
        pass
    again = await replayed(inside, first, from_step="end")
    assert again.error is not None
    assert (again.error.type, "not kept any more" in again.error.message) == ("holdfast.errors.RunNotFound", True)
    assert (await replayed(inside, first, from_step="double")).output == 4


async def test_what_is_waited_for_is_waited_for_anew(inside: Inside) -> None:
    calls = Calls()

    @inside.app.task(retry=ONCE)
    async def order(n: int, ctx: AsyncContext) -> str:
        waits = asyncio.create_task(ctx.sleep("1h" if n else 0.01))
        said = await ctx.step(calls.do, "charge", name="charge")
        await ctx.step(calls.do, "ship", name="ship")
        await waits
        return said

    inside.start(suspend_after=0)
    handle = await order.atrigger(1)
    async with asyncio.timeout(60):
        await anext(run async for run in handle.aupdates() if run.status == "waiting")
    again = await handle.areplay(from_step="ship", payload=0)
    assert (await inside.ended(again)).output == "charge 1"
    assert calls == ["charge", "ship", "ship"]


async def test_another_payload_and_the_results_of_the_old_one(inside: Inside) -> None:
    calls = Calls()

    @inside.app.task(retry=ONCE)
    async def order(name: str, ctx: AsyncContext) -> list[str]:
        return [await ctx.step(calls.do, name, name="a"), await ctx.step(calls.do, name, name="b")]

    inside.start()
    first = await inside.run(order, "ada")
    second = await replayed(inside, first, payload="grace")
    assert (second.payload, second.output) == ("grace", ["grace 3", "grace 4"])
    third = await replayed(inside, first, payload="grace", from_step="b")
    assert third.output == ["ada 1", "grace 5"], third.error
    with pytest.raises(PayloadInvalid):
        await replayed(inside, first, payload=5)


async def test_stars_stand_for_the_secrets_of_the_earlier_payload(inside: Inside) -> None:
    @dataclass
    class Login:
        user: str
        password: Annotated[str, Secret]

    @inside.app.task
    def check(login: Login) -> bool:
        return login.password == "hunter2"

    inside.start()
    first = await inside.run(check, Login("ada", "hunter2"))
    second = await replayed(inside, first, payload={**first.payload, "user": "grace"})
    assert (second.payload, second.output) == ({"user": "grace", "password": "**********"}, True)
    third = await replayed(inside, first, payload={"user": "grace", "password": "other"})
    assert (third.payload["password"], third.output) == ("**********", False)
    record = await inside.store.read(read.run, third.id)
    assert record is not None
    assert '"holdfast:secret"' in record.payload


async def test_steps_that_are_not_there(inside: Inside) -> None:
    @inside.app.task
    async def order(n: int, ctx: AsyncContext) -> None:
        if n:
            await ctx.step(str, n, name="charge")
            await ctx.step(str, n, name="ship")

    inside.start()
    run, empty = await inside.run(order, 1), await inside.run(order, 0)
    with pytest.raises(InvalidOption, match=rf"no such step \(chrge in run {run.id}\)\. Its steps are: charge, ship"):
        inside.app.runs.replay(run.id, from_step="chrge")
    with pytest.raises(InvalidOption, match="no steps at all"):
        await inside.app.runs.areplay(empty.id, from_step="charge")
    with pytest.raises(RunNotFound):
        await inside.app.runs.areplay("nobody", from_step="charge")
    assert len(await inside.app.runs.alist(task="order")) == 2


async def test_a_replay_inside_a_task_is_recorded(inside: Inside) -> None:
    calls = Calls()

    @inside.app.task(retry=ONCE)
    async def order(n: int, ctx: AsyncContext) -> list[str]:
        return [await ctx.step(calls.do, "a", name="a"), await ctx.step(calls.do, "b", name="b")]

    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0))
    async def mend(run_id: str, ctx: AsyncContext) -> str:
        handle = await order.handle(run_id).areplay(from_step="b")
        if ctx.attempt.number == 1:
            raise RuntimeError("once more")
        return handle.id

    inside.start()
    first = await inside.run(order, 1)
    mended = await inside.run(mend, first.id)
    assert mended.status == "completed", mended.error
    second = await inside.ended(inside.app.handle(mended.output))
    assert second.output == ["a 1", "b 3"]
    assert len(await inside.app.runs.alist(task="order")) == 2
