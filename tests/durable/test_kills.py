"""A worker that dies at any point: the run goes on elsewhere, with what it has recorded, and comes to the same."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from typing import Any

import pytest

from holdfast import AsyncContext, Retry
from holdfast.engine import tokens
from holdfast.errors import RunFailed, StepFailed
from tests.support.frail import NEVER, Frail, When, living
from tests.support.inside import Inside


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker looks for now and then, it looks for at once."""
    monkeypatch.setattr("holdfast.worker.suspects.PAUSE_SECONDS", 0.05)


class Effects:
    """What steps have done. Each time is told from the others by its number, which the step returns."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.of: dict[str, list[int]] = defaultdict(list)

    async def happen(self, name: str) -> int:
        await living()
        self.of[name].append(number := next(self.numbers))
        return number


async def outlive(inside: Inside, frail: Frail, handle: Any, **settings: Any) -> Any:
    """The end of a run whose worker may die; then another one takes over."""
    ended = asyncio.create_task(inside.ended(handle, 60))
    sweeping = asyncio.create_task(inside.sweeping())
    death = asyncio.create_task(frail.death.wait())
    await asyncio.wait({ended, death}, return_when=asyncio.FIRST_COMPLETED)
    heirs = []
    if not ended.done():
        frail.bury()
        heirs.append(Frail(inside, **settings))
    try:
        return await ended
    finally:
        death.cancel()
        sweeping.cancel()
        for each in (frail, *heirs):
            await each.close()


def story(inside: Inside, effects: Effects) -> Any:
    """A task of steps, waits and children, in a row and side by side; its output says what each step has done."""

    @inside.app.task(retry=Retry(max_attempts=1))
    async def child(name: str, ctx: AsyncContext) -> int:
        return await ctx.step(effects.happen, f"{name} child")

    @inside.app.task(retry=Retry(max_attempts=1))
    async def bad(name: str) -> None:
        raise ValueError(name)

    async def fails(name: str) -> None:
        await living()
        raise ConnectionError(name)

    @inside.app.task(retry=Retry(max_attempts=2, min_delay=0))
    async def parent(name: str, ctx: AsyncContext) -> dict[str, Any]:
        said: dict[str, Any] = {}

        async def branch(k: int) -> None:
            said[f"{name} first {k}"] = await ctx.step(effects.happen, f"{name} first {k}")
            await ctx.sleep(0.005 * k)
            said[f"{name} {k} child"] = await ctx.trigger_and_wait(child, f"{name} {k}")

        said[f"{name} one"] = await ctx.step(effects.happen, f"{name} one")
        await ctx.sleep(0.01)
        await asyncio.gather(branch(0), branch(1))
        results = await ctx.batch_trigger_and_wait(child, [f"{name} a", f"{name} b"])
        said |= dict(zip([f"{name} a child", f"{name} b child"], results.outputs(), strict=True))
        token = await ctx.token(int)
        await child.atrigger(f"{name} aside")
        await inside.store.run(tokens.complete, token.id, "7")
        assert await ctx.wait_for(token) == 7
        try:
            await ctx.step(fails, name)
        except StepFailed:
            said[f"{name} two"] = await ctx.step(effects.happen, f"{name} two")
        try:
            await ctx.trigger_and_wait(bad, name)
        except RunFailed:
            said[f"{name} last"] = await ctx.step(effects.happen, f"{name} last")
        return said

    return parent


async def tell_story(inside: Inside, effects: Effects, task: Any, n: int, when: When, suspend_after: float) -> bool:
    """Carry it out with a worker that dies at its n-th write. False if it did not come to that."""
    name = f"{when} {n}"
    handle = await task.atrigger(name)
    frail = Frail(inside, n, when, suspend_after=suspend_after)
    run = await outlive(inside, frail, handle, suspend_after=suspend_after)
    died = frail.death.is_set()
    assert run.status == "completed", (name, run.status, run.error)
    done = {step: numbers for step, numbers in effects.of.items() if step.startswith(f"{name} ")}
    aside = done.pop(f"{name} aside child", [])
    assert len(aside) <= 2, (name, aside)
    assert run.output == {step: numbers[-1] for step, numbers in done.items()}, (
        name,
        done,
    )  # none after it was recorded
    assert len(done) == 9
    assert sum(map(len, done.values())) - len(done) <= 2 * died, (name, done)  # only what was at work when it died
    return died


@pytest.mark.parametrize("each", [9, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_at_every_write(inside: Inside, when: When, suspend_after: float, each: int) -> None:
    """Or at every ninth. Fails with counting a branch once for each worker on the loop that tells of it."""
    effects = Effects()
    task = story(inside, effects)
    n = 1 + (2 * (when == "after") + (suspend_after > 0)) * 2 % each
    while await tell_story(inside, effects, task, n, when, suspend_after):
        n += each
    assert n > 30  # or it does not come to much


@pytest.mark.parametrize(("branches", "deaths"), [(50, 20)])
async def test_branches_of_any_length_get_their_own_results(inside: Inside, branches: int, deaths: int) -> None:
    """However often their worker dies, and whichever of them is faster this time."""
    effects = Effects()
    dice = random.Random(7)

    async def first(k: int) -> int:
        await asyncio.sleep(dice.random() / 20)
        return await effects.happen(f"first {k}")

    async def second(k: int, number: int) -> int:
        await asyncio.sleep(dice.random() / 20)
        return await effects.happen(f"second {k} after {number}")

    @inside.app.task(retry=Retry(max_attempts=1), max_crashes=1000)
    async def fan(n: int, ctx: AsyncContext) -> list[list[int]]:
        async def branch(k: int) -> list[int]:
            await asyncio.sleep(dice.random() / 20)
            number = await ctx.step(first, k)
            return [number, await ctx.step(second, k, number)]

        return await asyncio.gather(*(branch(k) for k in range(branches)))

    handle = await fan.atrigger(1)
    ended = asyncio.create_task(inside.ended(handle, 90))
    sweeping = asyncio.create_task(inside.sweeping())
    lives: list[Frail] = []
    while not ended.done():
        n = dice.randint(1, 4) if len(lives) < deaths else NEVER
        lives.append(Frail(inside, n, dice.choice(["before", "after"]), at_work=True))
        death = asyncio.create_task(lives[-1].death.wait())
        await asyncio.wait({ended, death}, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if lives[-1].dead:
            lives[-1].bury()
    sweeping.cancel()
    for life in lives:
        await life.close()
    run = await ended
    assert run.status == "completed", run.error
    assert len(lives) > deaths // 2
    assert sum(map(len, effects.of.values())) > 2 * branches  # or they died before there was anything to go on from
    for k, (one, two) in enumerate(run.output):
        assert effects.of[f"first {k}"][-1] == one
        assert effects.of[f"second {k} after {one}"][-1] == two


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_was_streamed_before_something_recorded(
    inside: Inside, when: When, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is there, each piece once, in a step and outside. Fails with leaving pieces to the buffer: whoever went on from
    the record did not write them again, and they were lost."""
    monkeypatch.setattr("holdfast.worker.reports.CHUNKS_SECONDS", (3600.0, 3600.0))

    async def say(n: int) -> None:
        await living()
        AsyncContext.current().stream("said").write(n)

    @inside.app.task(retry=Retry(max_attempts=1))
    async def work(n: int, ctx: AsyncContext) -> None:
        for k in range(0, 6, 3):
            ctx.stream("said").write(k)
            await ctx.step(say, k + 1)
            ctx.stream("said").write(k + 2)
            await ctx.sleep(0.01)

    died, n = True, 2
    while died:
        handle = await work.atrigger(n)
        frail = Frail(inside, n, when, suspend_after=0.0)
        run = await outlive(inside, frail, handle, suspend_after=0.0)
        died, n = frail.death.is_set(), n + 3
        assert run.status == "completed"
        assert [chunk.value async for chunk in handle.stream("said")] == list(range(6)), n
    assert n > 6
