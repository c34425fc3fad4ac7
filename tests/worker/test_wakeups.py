"""A worker that sleeps is woken: polling is what is correct, a wake-up is only early, and none is lost on the way."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Queue
from tests.support.inside import Inside
from tests.support.ledger import until


@pytest.fixture
def patient(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Its workers look only when they are woken, or after a long while."""
    for pace in ("POLL_SECONDS", "BLIND_POLL_SECONDS"):
        monkeypatch.setattr(f"holdfast.worker.worker.{pace}", 60.0)
    return inside


@pytest.fixture
def quick(patient: Inside) -> Any:
    @patient.app.task
    async def quick(n: int) -> int:
        return n

    return quick


async def test_a_trigger_wakes_whoever_sleeps(patient: Inside, quick: Any) -> None:
    """Again and again, at the very moment in which the worker goes to sleep. Fails with sleeping without another look
    after saying so."""
    patient.start()
    assert (await patient.run(quick, 0)).output == 0
    late = []
    chance = random.Random(7)
    for n in range(150):
        await asyncio.sleep(chance.uniform(0, 0.01))
        began = time.monotonic()
        assert await (await quick.atrigger(n)).aresult(timeout=90) == n
        late.append(time.monotonic() - began)
    assert sorted(late)[-3] < 30  # not the poll


async def test_a_run_that_becomes_due_is_started_without_a_poll(patient: Inside, quick: Any) -> None:
    patient.start()
    await patient.run(quick, 0)
    began = time.monotonic()
    assert (await patient.run(quick, 1, delay="300ms")).output == 1
    assert time.monotonic() - began >= 0.3  # and less than the poll


async def test_a_slot_that_is_freed_elsewhere_is_taken(patient: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that frees it may be busy with other things; promoting is everybody's duty."""
    monkeypatch.setattr("holdfast.worker.worker.POLL_SECONDS", 0.5)

    @patient.app.task(queue=Queue("one", concurrency_limit=1))
    async def narrow(n: int) -> int:
        await asyncio.sleep(0.01)
        return n

    patient.start(concurrency=1)
    patient.start(concurrency=1)
    batch = await narrow.abatch_trigger(range(20))
    assert (await batch.aresults(timeout=30)).outputs() == list(range(20))


async def test_a_queue_that_is_resumed_goes_on_at_once(patient: Inside, quick: Any) -> None:
    worker = patient.start()
    await patient.run(quick, 0)
    await patient.app.queues.apause("task/quick")
    run = await quick.atrigger(1)
    await until(lambda: worker.fruitless > 1 and worker.idle)
    await patient.app.queues.aresume("task/quick")
    assert await run.aresult(timeout=30) == 1


async def test_a_limit_that_is_raised_counts_at_once(patient: Inside) -> None:
    both = asyncio.Barrier(2)

    @patient.app.task(queue=Queue("one", concurrency_limit=1))
    async def meet(n: int) -> None:
        await both.wait()

    worker = patient.start()
    batch = await meet.abatch_trigger([1, 2])
    await until(lambda: both.n_waiting == 1 and worker.fruitless and worker.idle)
    await patient.app.queues.alimit("one", 2)
    assert len((await batch.aresults(timeout=30)).outputs()) == 2


async def test_the_notifications_of_others_do_not_keep_an_idle_worker_busy(
    patient: Inside, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks now and then, not at every commit of theirs. Fails with resting only when no wake-up had come since the
    last look: it went on without a pause."""
    worker = patient.start()
    await patient.run(quick, 0)
    await until(lambda: worker.fruitless > 1)
    rounds: list[float] = []
    ask: Callable[[], Any] = worker.ask
    monkeypatch.setattr(worker, "ask", lambda: rounds.append(time.monotonic()) or ask())
    began = time.monotonic()
    while time.monotonic() - began < 1:
        patient.store.wakeups.wake()
        await asyncio.sleep(0.001)
    assert len(rounds) < 200
