"""``run.journal``: what a run has done, for whoever asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from holdfast import AsyncContext, Retry, Secret
from tests.support.inside import Inside


async def test_a_run_tells_what_it_has_done(inside: Inside) -> None:
    @inside.app.task
    async def double(n: int) -> int:
        return 2 * n

    tries: list[int] = []

    def flaky(n: int) -> int:
        tries.append(n)
        if len(tries) < 2:
            raise ConnectionError("no network")
        return n

    @inside.app.task(retry=Retry(max_attempts=1))
    async def order(n: int, ctx: AsyncContext) -> None:
        await ctx.step(flaky, n, retry=Retry(max_attempts=3, min_delay="10ms"))
        await ctx.sleep(0.01)
        await ctx.token(int, timeout="1h")
        await ctx.trigger_and_wait(double, n)
        await ctx.batch_trigger_and_wait(double, [n, n])
        await double.atrigger(n)
        await ctx.step(int, "x", name="broken")

    inside.start(suspend_after=0)
    run = await inside.run(order, 7)
    step, sleep, token, child, children, trigger, broken = run.journal
    assert (step.kind, step.name, step.status, step.tries, step.result) == ("step", "flaky", "done", 2, 7)
    assert (sleep.kind, sleep.status, sleep.result) == ("sleep", "done", None)
    assert token.token_id is not None
    assert [len(each.run_ids) for each in (child, children, trigger)] == [1, 2, 1]
    assert (broken.status, broken.error is not None and broken.error.type) == ("failed", "ValueError")
    assert all(each.finished_at is not None and each.started_at <= each.finished_at for each in run.journal)
    assert datetime.now(UTC).year == step.started_at.year
    lazily = await asyncio.to_thread(lambda: inside.app.runs.retrieve(run.id).journal)
    assert lazily == run.journal
    assert (await inside.app.runs.aretrieve(child.run_ids[0])).parent_id == run.id


async def test_secrets_of_the_payload_are_not_in_it(inside: Inside) -> None:
    @dataclass
    class Login:
        password: Annotated[str, Secret]

    def leak(text: str) -> dict[str, Any]:
        return {"said": f"it is {text}"}

    @inside.app.task
    async def check(login: Login, ctx: AsyncContext) -> str:
        said = await ctx.step(leak, login.password)
        return "ok" if "hunter2" in said["said"] else "lost"

    inside.start(suspend_after=0)
    run = await inside.run(check, Login("hunter2"))
    assert run.output == "ok"
    assert "hunter2" not in str(run.journal)
