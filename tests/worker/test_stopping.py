"""How code is told to stop: a time limit, a cancel, and what it makes of either."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from holdfast import AsyncContext, Queue, Retry
from holdfast.records import Claimed
from holdfast.upkeep import Upkeep
from tests.support.inside import Inside
from tests.support.ledger import until


@pytest.fixture
def heard() -> list[str]:
    """What tasks say of how they were stopped."""
    return []


async def test_max_duration_reaches_async_code(inside: Inside, heard: list[str]) -> None:
    """Its finally runs, and what it does there, too. Fails with not starting the timer."""

    @inside.app.task(max_duration="200ms", retry=Retry(max_attempts=3))
    async def endless(n: int) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("interrupted")
            raise
        finally:
            await asyncio.sleep(0.01)
            heard.append("finally")

    inside.start()
    run = await inside.run(endless, 1)
    assert (run.status, run.attempts, heard) == ("timed_out", 1, ["interrupted", "finally"])
    assert "max_duration (200 ms)" in run.error.message


async def test_max_duration_of_the_trigger_beats_the_tasks(inside: Inside) -> None:
    @inside.app.task(max_duration="1h")
    async def endless(n: int) -> None:
        await asyncio.sleep(60)

    @inside.app.task(max_duration="100ms")
    async def brief(n: int) -> str:
        await asyncio.sleep(0.3)
        return "done"

    inside.start()
    assert (await inside.run(endless, 1, max_duration="100ms")).status == "timed_out"
    assert (await inside.run(brief, 1, max_duration="1h")).output == "done"


async def test_an_error_of_code_that_is_over_its_time_is_not_retried(inside: Inside) -> None:
    """The reason decides, whatever the code makes of it."""

    @inside.app.task(max_duration="100ms", retry=Retry(max_attempts=5, min_delay=0))
    async def turns(n: int) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("something else") from None

    inside.start()
    run = await inside.run(turns, 1)
    assert (run.status, run.attempts) == ("timed_out", 1)


async def test_a_def_task_over_its_time_keeps_its_slot_until_it_returns(
    inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread cannot be interrupted: a warning says so, and the run is timed_out when it returns. Fails with freeing
    its slot at once: two were busy where one was allowed."""
    release, busy, most = threading.Event(), [0], [0]

    @inside.app.task(max_duration="100ms")
    def stuck(n: int) -> int:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        release.wait(30)
        busy[0] -= 1
        return n

    worker = inside.start(concurrency=1)
    first, second = await stuck.atrigger(1), await stuck.atrigger(2)
    await until(lambda: "cannot be interrupted" in caplog.text)
    assert (await first.aretrieve()).status == "executing"
    assert worker.hold.running == 1
    release.set()
    run = await inside.ended(first)
    assert run.status == "timed_out"
    assert "keeps its slot" in run.logs[-1].message
    assert (await inside.ended(second)).status in ("completed", "timed_out")
    assert most == [1]


async def test_cancel_raises_in_async_code(inside: Inside, heard: list[str]) -> None:
    @inside.app.task
    async def endless(n: int) -> None:
        heard.append("began")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("CancelledError")
            raise
        finally:
            heard.append("finally")

    inside.start()
    handle = await endless.atrigger(1)
    await until(lambda: heard)
    await handle.acancel()
    run = await inside.ended(handle)
    assert (run.status, heard) == ("canceled", ["began", "CancelledError", "finally"])


async def test_a_cancel_reaches_its_run_and_no_other(inside: Inside) -> None:
    release = asyncio.Event()

    @inside.app.task
    async def waits(n: int) -> int:
        await release.wait()
        return n

    inside.start()
    batch = await waits.abatch_trigger(range(6))
    await until(lambda: len(next(iter(inside.workers)).hold.held) == 6)
    await batch.runs[3].acancel()
    assert (await inside.ended(batch.runs[3])).status == "canceled"
    release.set()
    results = await batch.aresults(timeout=30)
    assert [run.status for run in results] == ["completed"] * 3 + ["canceled"] + ["completed"] * 2


async def test_code_that_swallows_the_cancel_is_canceled_when_its_grace_is_over(
    inside: Inside, heard: list[str]
) -> None:
    """And what it returns later changes nothing. Fails with waiting for it."""
    release = asyncio.Event()

    @inside.app.task
    async def stubborn(n: int) -> int:
        heard.append("began")
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                heard.append("swallowed")
        heard.append("returned")
        return n

    worker = inside.start(concurrency=1, grace_seconds=0.3)
    handle = await stubborn.atrigger(1)
    await until(lambda: heard)
    await handle.acancel()
    run = await inside.ended(handle)
    assert (run.status, heard) == ("canceled", ["began", "swallowed"])
    assert worker.hold.running == 0
    release.set()
    await until(lambda: "returned" in heard)
    assert (await handle.aretrieve()).status == "canceled"
    assert worker.hold.running == 0


async def test_code_that_finishes_although_it_is_canceled_has_completed(inside: Inside, heard: list[str]) -> None:
    """A completion that comes first wins."""

    @inside.app.task
    async def finishes(n: int) -> int:
        heard.append("began")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("swallowed")
        return n

    inside.start()
    handle = await finishes.atrigger(7)
    await until(lambda: heard)
    await handle.acancel()
    run = await inside.ended(handle)
    assert (run.status, run.output) == ("completed", 7)


async def test_a_def_task_that_is_canceled_completes_if_it_returns(inside: Inside, heard: list[str]) -> None:
    release = threading.Event()

    @inside.app.task
    def cannot_stop(n: int) -> int:
        heard.append("began")
        release.wait(30)
        return n

    worker = inside.start()
    handle = await cannot_stop.atrigger(7)
    await until(lambda: heard)
    await handle.acancel()
    await until(lambda: worker.hold.held[handle.id].reason == "canceled")
    release.set()
    run = await inside.ended(handle)
    assert (run.status, run.output) == ("completed", 7)


async def test_a_cancel_of_what_has_ended_changes_nothing(inside: Inside) -> None:
    @inside.app.task
    async def quick(n: int) -> int:
        return n

    inside.start()
    handle = await quick.atrigger(1)
    await inside.ended(handle)
    await handle.acancel()
    assert (await handle.aretrieve()).status == "completed"


async def test_what_no_attempt_holds_is_canceled_at_once(inside: Inside) -> None:
    """Delayed, held by a limit, queued, or backing off after a failure."""
    began: list[int] = []

    @inside.app.task(queue=Queue("one", concurrency_limit=1))
    async def narrow(n: int) -> int:
        began.append(n)
        await asyncio.sleep(60)
        return n

    @inside.app.task(retry=Retry(max_attempts=5, min_delay="1h", max_delay="1h"))
    async def fails(n: int) -> None:
        began.append(n)
        raise ValueError("x")

    @inside.app.task
    async def plain(n: int) -> int:
        return n

    queued = await plain.atrigger(1)
    await queued.acancel()
    assert (await queued.aretrieve()).status == "canceled"
    worker = inside.start()
    delayed = await plain.atrigger(2, delay="1h")
    holder = await narrow.atrigger(3)
    await until(lambda: 3 in began)
    held = await narrow.atrigger(4)
    failed = await fails.atrigger(5)

    async def backs_off() -> bool:
        return (await failed.aretrieve()).status == "delayed"

    while not await backs_off():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for handle in (delayed, held, failed):
        await handle.acancel()
        assert (await handle.aretrieve()).status == "canceled"
    assert (await holder.aretrieve()).status == "executing"
    assert 4 not in began
    assert list(worker.hold.held) == [holder.id]


async def test_a_cancel_during_the_backoff_beats_the_next_attempt(inside: Inside) -> None:
    attempts: list[int] = []

    @inside.app.task(retry=Retry(max_attempts=10, min_delay="10s", max_delay="10s", jitter=False))
    async def fails(n: int, ctx: AsyncContext) -> None:
        attempts.append(ctx.attempt.number)
        raise ValueError("x")

    inside.start()
    upkeep = Upkeep(inside.store).start()
    handle = await fails.atrigger(1)
    await until(lambda: attempts)
    await handle.acancel()
    run = await inside.ended(handle)
    upkeep.stop()
    assert run.status == "canceled"
    assert attempts == [1]


async def test_nothing_is_left_of_a_run_that_was_interrupted(inside: Inside) -> None:
    """Fails with leaving the timers of finished attempts to run out: each kept its attempt, payload and all, in memory
    for the whole grace."""

    @inside.app.task(max_duration="50ms")
    async def endless(n: int) -> None:
        await asyncio.sleep(60)

    worker = inside.start(concurrency=50)
    batch = await endless.abatch_trigger(range(50))
    assert {run.status for run in await batch.aresults(timeout=30)} == {"timed_out"}
    assert not worker.hold.held
    far = worker.loop.time() + 5
    timers = [timer for timer in worker.loop._scheduled if not timer.cancelled() and timer.when() > far]  # type: ignore[attr-defined]
    assert len(timers) < 10


async def test_a_run_that_is_stopped_before_its_first_step_is_over_at_once(inside: Inside) -> None:
    """Nothing of it has run or will, so there is no grace to wait for. Fails with waiting for it."""

    @inside.app.task
    async def quick(n: int) -> int:
        return n

    worker = inside.start(grace_seconds=60)
    await inside.run(quick, 1)
    claimed = Claimed._make(
        {"id": "0" * 26, "claim": 1, "task": "quick", "queue": "q", "payload": "1", "attempt": 1}.get(name, 0)
        if name not in ("options", "metadata", "tags")
        else None
        for name in Claimed._fields
    )
    reported: list[Any] = []
    worker.outbox.note = lambda run, outcome: reported.append(outcome)  # type: ignore[method-assign]
    worker.hold.admit([claimed], worker.queue_names)
    worker.hold.interrupt(claimed.id, 1, "canceled")
    assert [outcome.status for outcome in reported] == ["canceled"]
    assert (worker.hold.running, len(worker.hold.held)) == (0, 0)
    await asyncio.sleep(0)
    assert worker.hold.running == 0
