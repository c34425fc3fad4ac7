"""What hooks hear of a run that waits."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import AsyncContext, Context, Event
from tests.support.inside import Inside


@pytest.mark.parametrize("suspend_after", [0.0, 30.0])
@pytest.mark.parametrize("colour", ["async", "def"])
async def test_hooks_hear_that_a_run_waits_and_goes_on(inside: Inside, suspend_after: float, colour: str) -> None:
    """In memory the code goes on where it was; from the journal what wraps an attempt is opened again. The first start
    is told once."""
    told: list[str] = []

    @inside.app.task
    async def napping(n: int, ctx: AsyncContext) -> int:
        await ctx.sleep(0.5)
        return n

    @inside.app.task
    def napping_def(n: int, ctx: Context) -> int:
        ctx.sleep(0.5)
        return n

    task: Any = napping if colour == "async" else napping_def
    for kind in ("init", "on_start", "on_attempt_start", "on_wait", "on_resume", "on_success", "cleanup"):

        def hook(event: Event[Any], kind: str = kind) -> None:
            told.append(f"{kind} {event.run.status}" if kind in ("on_wait", "on_resume") else kind)

        getattr(task, kind)(hook)
    inside.start(suspend_after=suspend_after)
    run = await inside.run(task, 1)
    assert (run.status, run.output) == ("completed", 1)
    begun = ["init", "on_start", "on_attempt_start", "on_wait waiting"]
    again = ["on_resume executing"] if suspend_after else ["cleanup", "init", "on_resume executing"]
    assert told == [*begun, *again, "on_success", "cleanup"]


async def test_a_hook_that_raises_keeps_no_run_from_going_on(inside: Inside) -> None:
    @inside.app.task
    async def napping(n: int, ctx: AsyncContext) -> int:
        await ctx.sleep(0.5)
        return n

    @napping.on_wait
    @napping.on_resume
    def broken(event: Event[int]) -> None:
        raise RuntimeError("broken")

    inside.start()
    run = await inside.run(napping, 1)
    assert (run.status, run.output) == ("completed", 1)
    assert sum("broken" in line.message for line in run.logs) == 2
