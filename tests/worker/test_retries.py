"""When a failed attempt is followed by another one, and how long after."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from holdfast import AbortRun, AsyncContext, Retry, RetryAfter
from tests.support.inside import Inside
from tests.support.ledger import until

FAST = {"min_delay": 0, "max_delay": 0, "jitter": False}


async def test_an_attempt_that_fails_is_followed_by_the_next_one(inside: Inside) -> None:
    """Fails with not counting the attempt: it went on for ever."""
    began: list[tuple[int, float]] = []

    @inside.app.task(retry=Retry(max_attempts=3, min_delay="200ms", factor=2, jitter=False))
    async def fails(n: int, ctx: AsyncContext) -> None:
        began.append((ctx.attempt.number, time.monotonic()))
        raise ValueError(f"attempt {ctx.attempt.number}")

    inside.start()
    run = await inside.run(fails, 1)
    assert (run.status, run.attempts, run.error.message) == ("failed", 3, "attempt 3")
    assert [number for number, _ in began] == [1, 2, 3]
    first, second = began[1][1] - began[0][1], began[2][1] - began[1][1]
    assert first > 0.19
    assert second > 0.39


async def test_one_that_succeeds_in_the_end_has_completed(inside: Inside) -> None:
    @inside.app.task(retry=Retry(max_attempts=5, **FAST))
    def fails_twice(n: int) -> str:
        seen[n] += 1
        if seen[n] < 3:
            raise ConnectionError("not yet")
        return "done"

    seen: Counter[int] = Counter()
    inside.start()
    run = await inside.run(fails_twice, 1)
    assert (run.status, run.output, run.attempts, run.error) == ("completed", "done", 3, None)


@pytest.mark.parametrize(
    ("retry", "error", "attempts"),
    [
        (Retry(max_attempts=3, **FAST), ValueError, 3),
        (Retry(max_attempts=1, **FAST), ValueError, 1),
        (Retry(max_attempts=3, on=ConnectionError, **FAST), ValueError, 1),
        (Retry(max_attempts=3, on=ConnectionError, **FAST), ConnectionResetError, 3),
        (Retry(max_attempts=3, never=ValueError, **FAST), ValueError, 1),
        (Retry(max_attempts=3, on=OSError, never=ConnectionResetError, **FAST), ConnectionResetError, 1),
        (Retry(max_attempts=3, on=SystemExit, **FAST), SystemExit, 3),
        (Retry(max_attempts=3, **FAST), AbortRun, 1),
        (Retry(max_attempts=3, on=AbortRun, **FAST), AbortRun, 1),
    ],
    ids=lambda value: getattr(value, "__name__", "") if isinstance(value, type) else "",
)
async def test_on_and_never_decide(inside: Inside, retry: Retry, error: type[BaseException], attempts: int) -> None:
    @inside.app.task(retry=retry)
    async def fails(n: int) -> None:
        raise error("x")

    inside.start()
    run = await inside.run(fails, 1)
    assert (run.status, run.attempts) == ("failed", attempts)


async def test_the_trigger_may_allow_more_attempts_or_fewer(inside: Inside) -> None:
    @inside.app.task(retry=Retry(max_attempts=2, **FAST))
    async def fails(n: int) -> None:
        raise ValueError("x")

    inside.start()
    assert (await inside.run(fails, 1, max_attempts=4)).attempts == 4
    assert (await inside.run(fails, 1, max_attempts=1)).attempts == 1
    assert (await inside.run(fails, 1)).attempts == 2


@pytest.mark.parametrize("delay", ["200ms", 0.2])
async def test_retry_after_says_when(inside: Inside, delay: Any) -> None:
    began: list[float] = []

    @inside.app.task(retry=Retry(max_attempts=2, min_delay="1h", max_delay="1h"))
    async def asks(n: int) -> str:
        began.append(time.monotonic())
        if len(began) == 1:
            raise RetryAfter(delay)
        return "done"

    inside.start()
    assert (await inside.run(asks, 1)).output == "done"
    assert began[1] - began[0] > 0.19  # and less than the hour of its Retry


@pytest.mark.parametrize(
    "delay", ["soon", -1, float("nan"), float("inf"), None, object(), "9" * 400], ids=lambda each: str(each)[:8]
)
async def test_a_delay_that_is_none_falls_back_on_the_retry(inside: Inside, delay: Any) -> None:
    """Fails with letting the complaint about it pass: the run ended as a failure of the system's."""

    @inside.app.task(retry=Retry(max_attempts=2, **FAST))
    async def asks(n: int) -> None:
        raise RetryAfter(delay)

    inside.start()
    run = await inside.run(asks, 1)
    assert (run.status, run.attempts, run.error.type.rpartition(".")[2]) == ("failed", 2, "RetryAfter")


async def test_a_retry_frees_the_slot_while_it_backs_off(inside: Inside) -> None:
    @inside.app.task(retry=Retry(max_attempts=2, min_delay="1h", max_delay="1h"))
    async def fails(n: int) -> None:
        raise ValueError("x")

    @inside.app.task
    async def quick(n: int) -> int:
        return n

    worker = inside.start(concurrency=1)
    await fails.atrigger(1)
    assert (await inside.run(quick, 2)).output == 2
    assert worker.hold.running == 0


async def test_nobody_keeps_what_somebody_else_could_start(inside: Inside) -> None:
    """A worker claims ahead when runs end quickly. When those it has claimed turn out to be slow, they go back, and
    another worker that is free takes them. Fails with not handing them back."""
    slow, release, ran = asyncio.Event(), asyncio.Event(), Counter[str]()

    @inside.app.task
    async def work(n: int) -> int:
        ran[AsyncContext.current()._claimed.id] += 1
        if n >= 3000:
            slow.set()
            await release.wait()
        return n

    greedy = inside.start(concurrency=2)
    batch = await work.abatch_trigger(range(3000))
    more = await work.abatch_trigger(range(3000, 3040))
    await asyncio.wait_for(slow.wait(), 30)
    await until(lambda: len(greedy.hold.held) >= 2)
    other = inside.start(concurrency=38)
    await asyncio.wait_for(
        until(lambda: len(other.hold.held) + len(greedy.hold.held) >= 40 and other.hold.running >= 38), 30
    )
    assert greedy.hold.running == 2
    release.set()
    assert len((await batch.aresults(timeout=30)).outputs()) == 3000
    assert (await more.aresults(timeout=30)).outputs() == list(range(3000, 3040))
    assert set(ran.values()) == {1}


async def test_a_new_queue_is_served_at_once(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its route is made with its first run. Fails with waiting for the next poll after the routes were read."""
    for pace in ("POLL_SECONDS", "BLIND_POLL_SECONDS"):
        monkeypatch.setattr(f"holdfast.worker.worker.{pace}", 60.0)

    @inside.app.task
    async def quick(n: int) -> int:
        return n

    worker = inside.start()
    await inside.run(quick, 1)
    for n in range(3):
        handle = await quick.atrigger(n, queue=f"new-{n}")
        await worker.find_routes()  # as it does now and then
        assert (await inside.ended(handle)).output == n


async def test_priority_and_order(inside: Inside) -> None:
    ran: list[int] = []

    @inside.app.task
    async def notes(n: int) -> None:
        ran.append(n)

    for n in range(5):
        await notes.atrigger(n, priority=10 * n if n > 2 else 0)
    inside.start(concurrency=1)
    await until(lambda: len(ran) == 5)
    assert ran == [4, 3, 0, 1, 2]
