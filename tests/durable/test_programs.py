"""Random programs of steps, waits, children and errors, on workers that die: what they come to is what a model says.

A program is a list of operations, which may hold programs themselves; `model` says what it comes to without carrying
anything out.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from holdfast import AsyncContext, Retry
from holdfast.engine import tokens
from holdfast.errors import RunFailed, StepFailed, WaitTimedOut
from tests.durable.test_kills import Effects, quick
from tests.support.frail import NEVER, Frail, living
from tests.support.inside import Inside

Program = list[list[Any]]
SIMPLE = ("step", "broken", "sleep", "token", "late", "failing", "canceled")
__all__ = ["quick"]


def program(dice: random.Random, depth: int = 2) -> Program:
    """A program; what it holds is less deep."""
    kinds = (*SIMPLE, "child", "children", "gather") if depth else SIMPLE
    made: Program = []
    for _ in range(dice.randint(1, 4)):
        kind = dice.choice(kinds)
        n = {"child": 1, "children": dice.randint(1, 3), "gather": dice.randint(2, 3)}.get(kind, 0)
        inner = [program(dice, depth - 1) for _ in range(n)]
        made.append([kind, inner or dice.randint(0, 9)])
    return made


def model(operations: Program) -> list[Any]:
    """What a program comes to."""
    plain = {"broken": "StepFailed", "late": "WaitTimedOut", "failing": "RunFailed", "canceled": "RunCanceled"}
    said: list[Any] = []
    for kind, what in operations:
        if kind == "child":
            said.append(model(what[0]))
        elif kind in ("children", "gather"):
            said.append([model(each) for each in what])
        else:
            said.append(plain.get(kind, None if kind == "sleep" else what))
    return said


def interpreter(inside: Inside, effects: Effects) -> Any:
    """The task that carries programs out."""
    once = Retry(max_attempts=1)

    async def echo(n: int, name: str) -> int:
        await effects.happen(name)
        return n

    async def broken(n: int) -> None:
        await living()
        raise ConnectionError(n)

    @inside.app.task(retry=once, max_crashes=1000)
    async def failing(n: int) -> None:
        raise ValueError(n)

    @inside.app.task(retry=once, max_crashes=1000)
    async def hanging(n: int, ctx: AsyncContext) -> None:
        await ctx.sleep("1h")

    async def one(kind: str, what: Any, name: str, ctx: AsyncContext) -> Any:
        match kind:
            case "step":
                return await ctx.step(echo, what, name)
            case "broken":
                await ctx.step(broken, what)
            case "sleep":
                return await ctx.sleep(what / 1000)
            case "token":
                token = await ctx.token(int)
                await inside.store.run(tokens.complete, token.id, str(what))
                return await ctx.wait_for(token)
            case "late":
                await ctx.wait_for(await ctx.token(int, timeout=what / 1000))
            case "failing":
                await ctx.trigger_and_wait(failing, what)
            case "canceled":
                key = f"{name} {what}"
                handle = await hanging.atrigger(what, idempotency_key=key)
                await inside.app.runs.acancel(handle.id)
                await ctx.trigger_and_wait(hanging, what, idempotency_key=key)
            case "child":
                return await ctx.trigger_and_wait(interpret, what[0])
            case "children":
                return (await ctx.batch_trigger_and_wait(interpret, what)).outputs()
            case "gather":
                return await asyncio.gather(*(carry(each, f"{name}/{k}", ctx) for k, each in enumerate(what)))
        return None

    async def carry(operations: Program, name: str, ctx: AsyncContext) -> list[Any]:
        said: list[Any] = []
        for place, (kind, what) in enumerate(operations):
            try:
                said.append(await one(kind, what, f"{name}.{place}", ctx))
            except (StepFailed, WaitTimedOut, RunFailed) as error:
                said.append(type(error).__name__)
        return said

    @inside.app.task(retry=once, max_crashes=1000)
    async def interpret(operations: Program, ctx: AsyncContext) -> list[Any]:
        return await carry(operations, ctx.run.id, ctx)

    return interpret


@pytest.mark.parametrize("seeds", [range(5), pytest.param(range(5, 60), marks=[pytest.mark.slow])], ids=["few", "many"])
@pytest.mark.timeout(900)
async def test_a_program_comes_to_what_the_model_says(inside: Inside, seeds: range) -> None:
    effects = Effects()
    task = interpreter(inside, effects)
    sweeping = asyncio.create_task(inside.sweeping())
    for seed in seeds:
        dice = random.Random(seed)
        effects.of.clear()
        operations = program(dice)
        handle = await task.atrigger(operations)
        ended = asyncio.create_task(inside.ended(handle, 90))
        lives: list[Frail] = []
        while not ended.done():
            n = dice.randint(2, 25) if len(lives) < 6 else NEVER
            lives.append(Frail(inside, n, dice.choice(["before", "after"]), suspend_after=dice.choice([0.0, 30.0])))
            death = asyncio.create_task(lives[-1].death.wait())
            await asyncio.wait({ended, death}, return_when=asyncio.FIRST_COMPLETED)
            death.cancel()
            if lives[-1].dead:
                lives[-1].bury()
        for life in lives:
            await life.close()
        run = await ended
        assert run.status == "completed", (seed, operations, run.error)
        assert run.output == model(operations), (seed, operations)
        assert all(len(numbers) <= len(lives) for numbers in effects.of.values()), (seed, effects.of)
    sweeping.cancel()
