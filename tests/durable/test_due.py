"""Many waits that are over at once: a worker carries on what nobody stands in line before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from holdfast import AsyncContext
from holdfast.clock import FrozenClock
from holdfast.worker.worker import Worker
from tests.engine.making import state
from tests.support.inside import Inside

Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture
async def inside(database_url: str, clock: FrozenClock) -> AsyncIterator[Inside]:
    here = Inside(database_url, clock)
    yield here
    await here.close()


async def ready_to_look(inside: Inside) -> Worker:
    """A worker that is registered, and makes no rounds by itself."""
    worker = inside.worker(suspend_after=0.0)
    worker.loop, worker.changed = asyncio.get_running_loop(), asyncio.Event()
    worker.hold = worker.make_hold()
    await worker.register()
    return worker


async def asleep(inside: Inside, eventually: Eventually, n: int) -> list[str]:
    """Runs that sleep for a second, and are in nobody's memory."""

    @inside.app.task
    async def nap(n: int, ctx: AsyncContext) -> int:
        await ctx.sleep("1s")
        return n

    worker = inside.start(suspend_after=0.0)
    runs = [handle.id for handle in (await nap.abatch_trigger(range(n))).runs]

    async def all_wait() -> None:
        assert {state(inside.store, run) for run in runs} == {"waiting"}

    await eventually(all_wait)
    await inside.drained(worker)
    return runs


@pytest.mark.parametrize("line", ["empty", "not empty"])
async def test_whoever_stands_in_line_goes_first(
    inside: Inside, clock: FrozenClock, eventually_async: Eventually, line: str
) -> None:
    (run,) = await asleep(inside, eventually_async, 1)
    worker = await ready_to_look(inside)
    worker.wants_idle = line == "empty"
    clock.advance("1s")
    await worker.take_due(time.monotonic())
    assert state(inside.store, run) == ("executing" if line == "empty" else "ready")
    assert list(worker.hold.held) == ([run] if line == "empty" else [])
    await worker.hold.shut()


async def test_a_worker_that_is_full_for_a_moment_looks_again(
    inside: Inside, clock: FrozenClock, eventually_async: Eventually
) -> None:
    """What is over is not sent through the line, only because all slots are in use right now; but it is soon."""
    (run,) = await asleep(inside, eventually_async, 1)
    worker = await ready_to_look(inside)
    worker.settings = worker.settings._replace(concurrency=0)
    worker.hold.settings = worker.settings
    clock.advance("1s")
    worker.took_over_at = now = time.monotonic()
    await worker.take_due(now)
    assert (state(inside.store, run), worker.due_at > now) == ("waiting", True)
    await worker.take_due(now + 1)
    assert state(inside.store, run) == "ready"
    await worker.hold.shut()


async def test_they_go_on_where_they_were(inside: Inside, clock: FrozenClock, eventually_async: Eventually) -> None:
    runs = await asleep(inside, eventually_async, 20)
    clock.advance("1s")
    inside.start(suspend_after=0.0)
    ends = [await inside.ended(inside.app.handle(run)) for run in runs]
    assert [run.output for run in ends] == list(range(20))


async def test_there_is_no_rest_while_there_is_more(
    inside: Inside, clock: FrozenClock, eventually_async: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that rests forgets how fast runs end, and takes no more at once than it has slots."""
    (run,) = await asleep(inside, eventually_async, 1)
    worker = await ready_to_look(inside)
    rests: list[int] = []

    async def rest() -> None:
        rests.append(len(worker.hold.held))

    monkeypatch.setattr(worker, "rest", rest)
    clock.advance("1s")
    await worker.turn()
    assert (state(inside.store, run), rests) == ("executing", [])
    await worker.hold.shut()
