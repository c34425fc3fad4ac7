"""Random programs of steps, waits, children and errors, on workers that die, under a clock that jumps.

They come to what a model says. A program is a list of operations, which may hold programs themselves; `model` says what
it comes to without carrying anything out. hypothesis decides what is triggered and canceled, when workers die, and how
far the clock jumps.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from holdfast import AsyncContext, Context, Retry
from holdfast.engine import tokens
from holdfast.errors import RunFailed, StepFailed, WaitTimedOut
from tests.durable.test_kills import Effects, quick
from tests.support.frail import Frail, living
from tests.support.inside import Inside

Program = list[list[Any]]
MINUTE = 60_000
SIMPLE = (
    *("step", "broken", "sleep", "token", "late", "failing", "canceled", "limited", "unlimited"),
    *("retried", "raced", "halved", "overdone", "outlasted", "threaded", "told"),
)
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
    plain |= {"limited": "TimeoutError", "overdone": "RunTimedOut"}
    said: list[Any] = []
    for kind, what in operations:
        if kind == "child":
            said.append(model(what[0]))
        elif kind in ("children", "gather"):
            said.append([model(each) for each in what])
        elif kind == "raced":
            said.append(["WaitTimedOut", what, "TimeoutError"])
        elif kind == "halved":
            said.append(["canceled", "completed", "canceled"])
        elif kind == "threaded":
            said.append([what, "StepFailed", what + 1])
        else:
            said.append(plain.get(kind, None if kind in ("sleep", "unlimited") else what))
    return said


class Deeds(Effects):
    """What steps have done, how often those have failed that do at first, and which runs have told something."""

    def __init__(self) -> None:
        super().__init__()
        self.tries: Counter[str] = Counter()
        self.told: set[str] = set()


def refuse(n: int) -> None:
    raise ConnectionError(n)


def interpreter(inside: Inside, effects: Deeds) -> Any:
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

    async def balky(n: int, name: str) -> int:
        await living()
        if effects.tries[name] < 2:
            effects.tries[name] += 1
            raise ConnectionError(n)
        return await echo(n, name)

    @inside.app.task(retry=once, max_crashes=1000, max_duration=0.1)
    async def overdone(n: int, ctx: AsyncContext) -> None:
        await ctx.sleep(n / 100)
        await asyncio.sleep(60)

    @inside.app.task(retry=once, max_crashes=1000, max_duration=20)
    async def outlasting(n: int, ctx: AsyncContext) -> int:
        await ctx.sleep(n / 100)
        return n

    @inside.app.task(retry=once, max_crashes=1000)
    def threaded(n: int, ctx: Context) -> list[Any]:
        said: list[Any] = [ctx.step(lambda: n, name="same")]
        ctx.sleep(n / 1000)
        try:
            ctx.step(refuse, n)
        except StepFailed:
            said.append("StepFailed")
        return [*said, ctx.trigger_and_wait(outlasting, n) + 1]

    @inside.app.task(retry=once, max_crashes=1000)
    async def telling(n: int, ctx: AsyncContext) -> int:
        for k in range(3):
            ctx.metadata["k"] = k
            ctx.metadata.increment("times")
            ctx.stream("said").write(k)
            await ctx.sleep(n / 1000)
            await ctx.step(echo, k, f"{ctx.run.id} {k}")
        return n

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
            case "retried":
                return await ctx.step(balky, what, name, retry=Retry(max_attempts=3, min_delay=0.01))
            case "raced":
                return await race(what, name, ctx)
            case "halved":
                return await halve(what, name, ctx)
            case "overdone":
                await ctx.trigger_and_wait(overdone, what)
            case "outlasted":
                return await ctx.trigger_and_wait(outlasting, what)
            case "threaded":
                return await ctx.trigger_and_wait(threaded, what)
            case "told":
                return await tell(what, ctx)
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

    async def race(n: int, name: str, ctx: AsyncContext) -> list[Any]:
        """Tokens side by side: one nobody completes in time, one that is, and one that is waited for too briefly."""
        late, come, never = [await ctx.token(int, timeout=timeout) for timeout in (n / 1000, None, "1h")]
        await ctx.step(complete, come.id, n)
        waits = [ctx.wait_for(late), ctx.wait_for(come), asyncio.wait_for(ctx.wait_for(never), n / 1000)]
        said = await asyncio.gather(*waits, return_exceptions=True)
        return [type(each).__name__ if isinstance(each, Exception) else each for each in said]

    async def complete(token: str, n: int) -> None:
        await inside.store.run(tokens.complete, token, str(n))

    async def halve(n: int, name: str, ctx: AsyncContext) -> list[str]:
        """A batch of which some are canceled while it is waited for."""
        keys = [f"{name} {n} {k}" for k in range(2)]
        ids = [(await hanging.atrigger(n, idempotency_key=key)).id for key in keys]
        one, other = [hanging.item(n, idempotency_key=key) for key in keys]
        batch = ctx.batch_trigger_and_wait([one, outlasting.item(n), other])
        results, _ = await asyncio.gather(batch, ctx.step(cancel, ids))
        return [run.status for run in results]

    async def cancel(ids: list[str]) -> None:
        for run_id in ids:
            await inside.app.runs.acancel(run_id)

    async def tell(n: int, ctx: AsyncContext) -> int:
        handle = await telling.atrigger(n)
        told = await ctx.trigger_and_wait(telling, n)
        effects.told.add(handle.id)
        return told

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
    pins = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Leaping()
        self.inside, self.effects = Inside(self.url, self.clock), Deeds()
        self.task = interpreter(self.inside, self.effects)
        self.runs: dict[str, tuple[Program, Any]] = {}
        self.canceled: set[str] = set()
        self.workers: list[Frail] = []
        self.sweeping = self.runner.get_loop().create_task(self.inside.sweeping())

    @initialize(pins=st.booleans())
    def pin(self, pins: bool) -> None:
        """Whether what one version has begun goes on with that one only."""
        self.pins = pins

    @rule(operations=PROGRAMS)
    def trigger(self, operations: Program) -> None:
        handle = self.runner.run(self.task.atrigger(operations))
        self.runs[handle.id] = (operations, handle)

    @rule(
        n=st.integers(2, 25),
        when=st.sampled_from(["before", "after"]),
        suspend_after=st.sampled_from([0.0, 30.0]),
        version=st.sampled_from(["1", "2"]),
    )
    def worker(self, n: int, when: Any, suspend_after: float, version: str) -> None:
        """One that dies at its n-th write."""
        self.runner.run(self.hire(n, when, suspend_after=suspend_after, version=version, pins=self.pins))

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
        for version in "12":
            await self.hire(version=version, pins=self.pins)
        for run_id, (operations, handle) in self.runs.items():
            run = await self.inside.ended(handle, 100)
            if run_id not in self.canceled or run.status != "canceled":
                assert (run.status, run.output) == ("completed", model(operations)), (operations, run.error)
        for run_id in self.effects.told:
            handle = self.inside.app.handle(run_id)
            run = await self.inside.ended(handle, 100)
            if run.status == "completed":
                assert run.metadata["k"] == 2
                assert run.metadata["times"] >= 3
                said = {chunk.value async for chunk in handle.stream("said")}
                assert said == {0, 1, 2}

    async def close(self) -> None:
        self.sweeping.cancel()
        for each in self.workers:
            await each.close()
        await self.inside.close()


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
def test_every_kind_of_operation(database_url: str, suspend_after: float) -> None:
    """In a row, side by side and in children, with two deaths in between."""
    each = [[kind, 3] for kind in SIMPLE]
    together = [["gather", [[one] for one in each]], ["child", [each]], ["children", [[one] for one in each[::3]]]]
    lives = type("Lives", (Lives,), {"url": database_url})()
    lives.trigger([*each, *together])
    for n, when in [(15, "after"), (40, "before")]:
        lives.worker(n=n, when=when, suspend_after=suspend_after, version="1")
        lives.while_away(ms=300)
    lives.teardown()


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
