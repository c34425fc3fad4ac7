"""Random programs of steps, waits, children and errors, on workers that die, under a clock that jumps.

They come to what a model says. A program is a list of operations, which may hold programs themselves; `model` says what
it comes to without carrying anything out. hypothesis decides what is triggered and canceled, when workers die, and how
far the clock jumps.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from holdfast import AsyncContext, Retry
from holdfast.engine import tokens
from holdfast.errors import RunFailed, StepFailed, WaitTimedOut
from tests.durable.test_kills import Effects, quick
from tests.support.frail import Frail, living
from tests.support.inside import Inside

Program = list[list[Any]]
MINUTE = 60_000
SIMPLE = ("step", "broken", "sleep", "token", "late", "failing", "canceled", "limited", "unlimited")
__all__ = ["quick"]


def nested(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    """Programs that may hold these."""
    many = {"child": (1, 1), "children": (1, 3), "gather": (2, 3)}
    holding = [st.tuples(st.just(kind), st.lists(inner, min_size=n, max_size=m)) for kind, (n, m) in many.items()]
    return st.lists(st.one_of(PLAIN, *holding).map(list), min_size=1, max_size=4)


PLAIN = st.tuples(st.sampled_from(SIMPLE), st.integers(0, 9))
PROGRAMS = nested(nested(st.lists(PLAIN.map(list), min_size=1, max_size=4)))


def model(operations: Program) -> list[Any]:
    """What a program comes to."""
    plain = {"broken": "StepFailed", "late": "WaitTimedOut", "failing": "RunFailed", "canceled": "RunCanceled"}
    plain |= {"limited": "TimeoutError"}
    said: list[Any] = []
    for kind, what in operations:
        if kind == "child":
            said.append(model(what[0]))
        elif kind in ("children", "gather"):
            said.append([model(each) for each in what])
        else:
            said.append(plain.get(kind, None if kind in ("sleep", "unlimited") else what))
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
            case "limited":
                async with asyncio.timeout(what / 1000):
                    await ctx.sleep("1h")
            case "unlimited":
                async with asyncio.timeout(3600):
                    await ctx.sleep(what / 1000)
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
            except (StepFailed, WaitTimedOut, RunFailed, TimeoutError) as error:
                said.append(type(error).__name__)
        return said

    @inside.app.task(retry=once, max_crashes=1000)
    async def interpret(operations: Program, ctx: AsyncContext) -> list[Any]:
        return await carry(operations, ctx.run.id, ctx)

    return interpret


class Leaping:
    """A clock that jumps."""

    def __init__(self) -> None:
        self.offset = self.furthest = 0

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset

    def jump(self, to: int) -> None:
        self.offset, self.furthest = to, max(self.furthest, to)


class Lives(RuleBasedStateMachine):
    """Runs, and the workers that carry them out, one after the other or several at once."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Leaping()
        self.inside, self.effects = Inside(self.url, self.clock), Effects()
        self.task = interpreter(self.inside, self.effects)
        self.runs: dict[str, tuple[Program, Any]] = {}
        self.canceled: set[str] = set()
        self.workers: list[Frail] = []
        self.sweeping = self.runner.get_loop().create_task(self.inside.sweeping())

    @rule(operations=PROGRAMS)
    def trigger(self, operations: Program) -> None:
        handle = self.runner.run(self.task.atrigger(operations))
        self.runs[handle.id] = (operations, handle)

    @rule(n=st.integers(2, 25), when=st.sampled_from(["before", "after"]), suspend_after=st.sampled_from([0.0, 30.0]))
    def worker(self, n: int, when: Any, suspend_after: float) -> None:
        """One that dies at its n-th write."""
        self.runner.run(self.hire(n, when, suspend_after=suspend_after))

    @rule(ms=st.integers(0, 200))
    def while_away(self, ms: int) -> None:
        self.runner.run(asyncio.sleep(ms / 1000))
        for dead in [each for each in self.workers if each.dead]:
            self.bury(dead)

    @rule(to=st.integers(-20 * MINUTE, 20 * MINUTE))
    def jump(self, to: int) -> None:
        self.clock.jump(to)

    @rule(index=st.integers(0, 9))
    def cancel(self, index: int) -> None:
        if self.runs:
            run_id = list(self.runs)[index % len(self.runs)]
            self.canceled.add(run_id)
            self.runner.run(self.inside.app.runs.acancel(run_id))

    async def hire(self, *fate: Any, **settings: Any) -> None:
        self.workers.append(Frail(self.inside, *fate, **settings))

    def bury(self, dead: Frail) -> None:
        self.workers.remove(dead)
        dead.bury()
        self.runner.run(dead.close())

    def teardown(self) -> None:
        """Whatever has happened: with a worker that lives, and a clock that goes on, all comes to its end."""
        try:
            self.clock.jump(self.clock.furthest + MINUTE)
            for each in list(self.workers):
                each.dead = True
                if each.worker.me:
                    self.bury(each)
            self.runner.run(self.end())
        finally:
            self.runner.run(self.close())
            self.runner.close()

    async def end(self) -> None:
        await self.hire()
        for run_id, (operations, handle) in self.runs.items():
            run = await self.inside.ended(handle, 100)
            if run_id not in self.canceled or run.status != "canceled":
                assert (run.status, run.output) == ("completed", model(operations)), (operations, run.error)

    async def close(self) -> None:
        self.sweeping.cancel()
        for each in self.workers:
            await each.close()
        await self.inside.close()


@pytest.mark.parametrize(
    "examples", [4, pytest.param(80, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])], ids=["few", "many"]
)
def test_programs_come_to_what_the_model_says(database_url: str, examples: int) -> None:
    machine = type("Lives", (Lives,), {"url": database_url})
    phases = [Phase.generate] if examples < 10 else [Phase.generate, Phase.shrink]
    how = settings(
        max_examples=examples,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=how)
