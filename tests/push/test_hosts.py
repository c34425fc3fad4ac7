"""Hosts that are slow, and hosts that are down: neither holds up others, and people can see it."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from aiohttp import web

from holdfast import Retry, views
from holdfast.engine import pushes, workers
from holdfast.push import circuit as module
from holdfast.push.attempt import retry_after_ms
from holdfast.push.circuit import FAILURES, LONGEST_PAUSE_SECONDS, PAUSE_SECONDS, Circuit
from tests.push.conftest import Pushing
from tests.push.receiver import Received, Receiver, receiving

OFTEN = Retry(delays=[0.05] * 200, jitter=False)


# -- the circuit, purely ----------------------------------------------------------------------------------------------


def test_a_circuit_opens_after_failures_in_a_row_and_tries_one_request() -> None:
    circuit = Circuit()
    for _ in range(FAILURES - 1):
        assert circuit.failed("down", 0.0) is None
    circuit.answered()
    for _ in range(FAILURES - 1):
        assert circuit.failed("down", 0.0) is None
    assert circuit.lets_through(0.0)
    assert circuit.failed("down", 0.0) == "opened"
    assert not circuit.lets_through(0.0)
    assert circuit.failed("down", 0.1) is None  # one that was under way
    assert circuit.lets_through(PAUSE_SECONDS)
    assert not circuit.lets_through(PAUSE_SECONDS)  # only one is tried
    assert circuit.answered() == "closed"
    assert circuit.lets_through(PAUSE_SECONDS)


def test_the_pause_doubles_up_to_a_limit() -> None:
    circuit, now = Circuit(), 0.0
    for _ in range(FAILURES):
        circuit.failed("down", now)
    for _ in range(10):
        before = circuit.pause
        assert circuit.until is not None
        now = circuit.until
        assert circuit.lets_through(now)
        assert circuit.failed("down", now) == "opened"
        assert circuit.pause == min(LONGEST_PAUSE_SECONDS, 2 * before)
    assert circuit.wait(now) >= circuit.pause * 0.9


def test_a_try_that_was_stopped_leaves_room_for_another() -> None:
    circuit = Circuit()
    for _ in range(FAILURES):
        circuit.failed("down", 0.0)
    assert circuit.lets_through(PAUSE_SECONDS)
    circuit.gave_up()
    assert circuit.lets_through(PAUSE_SECONDS)


# -- in a pusher ------------------------------------------------------------------------------------------------------


async def test_a_host_that_is_down_uses_up_no_attempts_and_is_told_of(
    pushing: Pushing, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.3)
    monkeypatch.setattr(random, "uniform", lambda low, _: low)
    down = True
    receiver.answers = lambda _: web.Response(status=503 if down else 200)
    pushing.start()
    handles = [await pushing.app.apush(receiver.url, retry=OFTEN) for _ in range(12)]
    client = pushing.app.client
    async with asyncio.timeout(30):
        while not (found := await client.aread(pushes.circuits)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert found[0].host == f"127.0.0.1:{receiver.port}"
    assert found[0].reason == "it answered 503"
    assert found[0].failures >= FAILURES
    health = await client.aread(views.health)
    told = [each for each in views.findings(health) if each.about == "push"]
    assert told[0].level == "wrong"
    assert "has been down for" in told[0].text
    reasons: set[str] = set()
    async with asyncio.timeout(30):
        while "circuit_open" not in reasons:
            seen = await client.aread(views.run, handles[0].id)
            assert seen is not None
            reasons |= {reason.code for reason in seen.reasons}
            await asyncio.sleep(0.02)
    down = False
    for handle in handles:
        run = await pushing.ended(handle, 60)
        assert run.status == "completed"
        assert run.attempts <= FAILURES + 5
    async with asyncio.timeout(30):
        while await client.aread(pushes.circuits):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_try_that_has_no_room_yet_is_no_try(pushing: Pushing, receiver: Receiver) -> None:
    """Fails with counting it: it was put off, no other one was let through, and the host was down for ever."""
    held = asyncio.Event()

    async def slowly() -> web.Response:
        await held.wait()
        return web.Response()

    receiver.answers = lambda _: slowly()
    pusher = pushing.start(per_host=1)
    first = await pushing.app.apush(receiver.url)
    await receiver.came(1)
    host = pusher.hold.host(f"127.0.0.1:{receiver.port}")
    for _ in range(FAILURES):
        host.circuit.failed("down", time.monotonic() - PAUSE_SECONDS)
    second = await pushing.app.apush(receiver.url)
    async with asyncio.timeout(30):
        while (await second.aretrieve()).status != "delayed":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert host.circuit.lets_through(time.monotonic())
    host.circuit.gave_up()
    held.set()
    for handle in (first, second):
        assert (await pushing.ended(handle)).status == "completed"


async def test_a_slow_host_does_not_hold_up_others(pushing: Pushing, receiver: Receiver) -> None:
    """Fails when one host may take every slot: the quick one would wait for the slow one, which never answers."""
    held = asyncio.Event()

    async def slowly() -> web.Response:
        await held.wait()
        return web.Response()

    receiver.answers = lambda _: slowly()
    pushing.start(concurrency=8)
    for _ in range(40):
        await pushing.app.apush(receiver.url, queue="slow")
    await receiver.came(4)
    async with receiving() as quick:
        for queue in ("slow", "other"):
            run = await pushing.ended(await pushing.app.apush(quick.url, queue=queue), 60)
            assert run.status == "completed"
    assert len(receiver.received) == 4  # as many as were left for others
    held.set()


async def test_a_host_has_a_limit_of_its_own(pushing: Pushing, receiver: Receiver) -> None:
    most = current = 0

    async def counted() -> web.Response:
        nonlocal most, current
        current += 1
        most = max(most, current)
        await asyncio.sleep(0.01)
        current -= 1
        return web.Response()

    receiver.answers = lambda _: counted()
    pushing.start(per_host=3)
    handles = [await pushing.app.apush(receiver.url) for _ in range(30)]
    for handle in handles:
        assert (await pushing.ended(handle)).status == "completed"
    assert most == 3


async def test_retry_after_puts_it_off_by_a_day_at_most_and_never_hurries_it(
    pushing: Pushing, receiver: Receiver
) -> None:
    def answer(received: Received) -> web.Response:
        asked = "99999999" if received.path.endswith("/never") else "3600"
        return web.Response(status=429, headers={"Retry-After": asked})

    receiver.answers = answer
    pushing.start()
    handle = await pushing.app.apush(receiver.url, retry=Retry(delays=["1s", "1s"]))
    soon = await pushing.app.apush(f"{receiver.url}/soon", retry=Retry(delays=["2h"], jitter=False))
    never = await pushing.app.apush(f"{receiver.url}/never", retry=Retry(delays=["1s"]))
    await receiver.came(3)
    for one, least in ((handle, 3590), (soon, 7190), (never, 24 * 3600 - 10)):
        async with asyncio.timeout(20):
            while (run := await one.aretrieve()).status != "delayed":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert run.due_at is not None
        assert least <= (run.due_at - run.created_at).total_seconds() < least + 60


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (None, 0),
        ("120", 120_000),
        (" 5 ", 5_000),
        ("soon", 0),
        ("-5", 0),
        ("9" * 50, 999_999_999_000),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10_000),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0),
        ("\u2603", 0),
    ],
)
def test_what_retry_after_may_say(value: str | None, milliseconds: int) -> None:
    assert retry_after_ms(value, 1_445_412_480) == milliseconds


async def test_a_pusher_that_is_drained_hands_back_what_is_open(pushing: Pushing, receiver: Receiver) -> None:
    held = asyncio.Event()

    async def slowly() -> web.Response:
        await held.wait()
        return web.Response()

    receiver.answers = lambda _: slowly()
    pusher = pushing.start(drain_seconds=0.2)
    handle = await pushing.app.apush(receiver.url)
    await receiver.came(1)
    await pushing.drained(pusher)
    assert (await handle.aretrieve()).status in ("queued", "pending_version")
    held.set()
    pushing.start()
    run = await pushing.ended(handle)
    assert (run.status, run.attempts) == ("completed", 1)
    kept = await pushing.app.client.aread(pushes.invocations, handle.id)
    assert [each.status for each in kept] == [None, 200]


async def test_a_request_that_is_canceled_is_broken_off(pushing: Pushing, receiver: Receiver) -> None:
    held = asyncio.Event()

    async def slowly() -> web.Response:
        await held.wait()
        return web.Response()

    receiver.answers = lambda _: slowly()
    pushing.start()
    handle = await pushing.app.apush(receiver.url)
    await receiver.came(1)
    await handle.acancel()
    assert (await pushing.ended(handle)).status == "canceled"
    [kept] = await pushing.app.client.aread(pushes.invocations, handle.id)
    assert "the run was canceled" in kept.record
    held.set()


async def test_its_own_timeout_counts(pushing: Pushing, receiver: Receiver) -> None:
    async def slowly() -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    receiver.answers = lambda _: slowly()
    pushing.start()
    run = await pushing.ended(await pushing.app.apush(receiver.url, timeout="300ms", retry=Retry(max_attempts=1)))
    assert run.status == "failed"
    assert run.error is not None
    assert "within 0.3 s" in run.error.message


async def test_without_a_pusher_it_is_said_what_is_missing(pushing: Pushing) -> None:
    client = pushing.app.client
    handle = await pushing.app.apush("https://example.invalid/")

    async def reasons() -> list[str]:
        seen = await client.aread(views.run, handle.id)
        assert seen is not None
        return [f"{reason.code}: {reason.text}" for reason in seen.reasons]

    assert await reasons() == ["no_worker: No worker is alive."]
    worker = workers.WorkerEntry(id="01w", lease_ms=30_000, host="h", pid=1, concurrency=1)
    await client.awrite(workers.register, worker, ["greet"])
    assert await reasons() == ["no_worker: No pusher is alive, which would send it."]
