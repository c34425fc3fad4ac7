"""Middleware: around every attempt, of either colour, around tasks of either colour."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from holdfast import AsyncContext, Context, Event, Retry, RetryAfter
from tests.support.inside import Inside
from tests.support.ledger import until

ONCE = Retry(max_attempts=1)
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
place = threading.local()
Next = Callable[[], Awaitable[Any]]


def both(inside: Inside, body: Callable[[], Any], **options: Any) -> list[Any]:
    """A task of each colour that does this."""

    async def later(n: int) -> Any:
        return body()

    def now(n: int) -> Any:
        return body()

    return [inside.app.task(id=fn.__name__, **options)(fn) for fn in (later, now)]


async def test_every_mixture_of_colours(inside: Inside) -> None:
    trail: list[str] = []

    def now(name: str) -> Any:
        def middleware(event: Event[Any], call_next: Callable[[], Any]) -> None:
            trail.append(f"{name} in")
            assert call_next() == "done"
            trail.append(f"{name} out")

        return middleware

    def later(name: str) -> Any:
        async def middleware(event: Event[Any], call_next: Next) -> None:
            trail.append(f"{name} in")
            assert await call_next() == "done"
            trail.append(f"{name} out")

        return middleware

    def body() -> str:
        trail.append("task")
        return "done"

    for middleware in (now("1"), later("2"), now("3"), now("4"), later("5"), now("6")):
        inside.app.middleware(middleware)
    tasks = both(inside, body)
    inside.start()
    for task in tasks:
        trail.clear()
        assert (await inside.run(task, 1)).output == "done"
        assert trail == [f"{n} in" for n in range(1, 7)] + ["task"] + [f"{n} out" for n in range(6, 0, -1)]


async def test_what_it_returns_is_the_output_unless_it_is_nothing(inside: Inside) -> None:
    @inside.app.middleware
    async def doubled(event: Event[Any], call_next: Next) -> Any:
        output = await call_next()
        return output * 2 if event.payload == 1 else None

    tasks = both(inside, lambda: 21)
    inside.start()
    for task in tasks:
        assert (await inside.run(task, 1)).output == 42
        assert (await inside.run(task, 2)).output == 21


async def test_one_that_goes_on_to_nothing(inside: Inside) -> None:
    """The task is not called; what the middleware returns is the output."""

    @inside.app.middleware
    def cached(event: Event[Any], call_next: Callable[[], Any]) -> Any:
        return "from the cache"

    tasks = both(inside, lambda: 1 / 0, retry=ONCE)
    inside.start()
    for task in tasks:
        assert (await inside.run(task, 1)).output == "from the cache"


async def test_it_sees_what_the_task_raises_and_may_raise_something_else_or_nothing(inside: Inside) -> None:
    @inside.app.middleware
    async def translating(event: Event[Any], call_next: Next) -> Any:
        try:
            await call_next()
        except ZeroDivisionError as error:
            if event.payload == 1:
                raise LookupError("translated") from error
            if event.payload == 2:
                return "forgiven"
            raise

    tasks = both(inside, lambda: 1 / 0, retry=ONCE)
    inside.start()
    for task in tasks:
        first, second, third = [await inside.run(task, n) for n in (1, 2, 3)]
        assert (first.status, first.error.type) == ("failed", "LookupError")
        assert (second.status, second.output) == ("completed", "forgiven")
        assert (third.status, third.error.type) == ("failed", "ZeroDivisionError")


async def test_it_may_have_the_task_tried_again(inside: Inside) -> None:
    @inside.app.middleware
    async def again(event: Event[Any], call_next: Next) -> None:
        if event.run.attempts == 1:
            raise RetryAfter(0)
        await call_next()

    tasks = both(inside, lambda: 1)
    inside.start()
    for task in tasks:
        ended = await inside.run(task, 1)
        assert (ended.output, ended.attempts) == (1, 2)


@pytest.mark.parametrize("colour", ["async", "def"])
async def test_call_next_is_called_once(inside: Inside, colour: str) -> None:
    async def later(event: Event[Any], call_next: Next) -> None:
        await call_next()
        await call_next()

    def now(event: Event[Any], call_next: Callable[[], Any]) -> None:
        call_next()
        call_next()

    inside.app.middleware(later if colour == "async" else now)
    tasks = both(inside, lambda: 1, retry=ONCE)
    inside.start()
    for task in tasks:
        ended = await inside.run(task, 1)
        assert ended.status == "failed"
        assert "has called call_next() twice" in ended.error.message


async def test_a_forgotten_await_is_an_error_and_no_silent_success(inside: Inside) -> None:
    @inside.app.middleware
    async def forgetful(event: Event[Any], call_next: Next) -> None:
        call_next()  # type: ignore[unused-coroutine]

    tasks = both(inside, lambda: 1, retry=ONCE)
    inside.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for task in tasks:
            ended = await inside.run(task, 1)
            assert ended.status == "failed"
            assert "Write await call_next()" in ended.error.message


async def test_what_it_sets_is_there_for_the_task(inside: Inside) -> None:
    """Context variables in every mixture; thread-locals where all from there on is a def."""

    @inside.app.middleware
    def now(event: Event[Any], call_next: Callable[[], Any]) -> None:
        tenant.set("def")
        place.name = "the thread of the task"
        call_next()

    @inside.app.middleware
    def nested(event: Event[Any], call_next: Callable[[], Any]) -> None:
        tenant.set(tenant.get() + " nested")
        call_next()

    tasks = both(inside, lambda: [tenant.get(), getattr(place, "name", None)])
    inside.start()
    later, now_ = [(await inside.run(task, 1)).output for task in tasks]
    assert later == ["def nested", None]
    assert now_ == ["def nested", "the thread of the task"]


async def test_the_context_of_the_run_is_there(inside: Inside) -> None:
    seen: list[str] = []

    @inside.app.middleware
    async def later(event: Event[Any], call_next: Next) -> None:
        seen.append(AsyncContext.current().run.id)
        await call_next()

    @inside.app.middleware
    def now(event: Event[Any], call_next: Callable[[], Any]) -> None:
        seen.append(Context.current().run.id)
        call_next()

    tasks = both(inside, lambda: 1)
    inside.start()
    for task in tasks:
        ended = await inside.run(task, 1)
        assert seen == [ended.id] * 2
        seen.clear()


async def test_a_def_around_an_async_task_hears_of_a_cancel(inside: Inside) -> None:
    """Fails with canceling what the thread waits for and not what runs: the middleware went on while the task still
    ran."""
    trail: list[str] = []
    started = asyncio.Event()

    @inside.app.middleware
    def around(event: Event[Any], call_next: Callable[[], Any]) -> None:
        try:
            call_next()
        except BaseException as error:
            trail.append(type(error).__name__)
            raise
        finally:
            trail.append("left")

    @inside.app.task
    async def work(n: int) -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            trail.append("unwound")

    worker = inside.start()
    handle = await work.atrigger(1)
    await asyncio.wait_for(started.wait(), 30)
    worker.hold.interrupt(handle.id, 1, "canceled")
    assert (await inside.ended(handle)).status == "canceled"
    assert trail == ["unwound", "CancelledError", "left"]


async def test_a_def_task_that_overran_its_time_is_not_interrupted_but_timed_out(inside: Inside) -> None:
    """And an async middleware around it is interrupted as soon as the thread is back."""
    gate = threading.Event()
    trail: list[str] = []

    @inside.app.middleware
    async def around(event: Event[Any], call_next: Next) -> None:
        try:
            await call_next()
            trail.append("not reached")
        finally:
            trail.append("left")

    @inside.app.task(max_duration="100ms")
    def work(n: int) -> None:
        gate.wait(30)
        trail.append("returned")

    @work.on_failure
    def tell(failure: Any) -> None:
        trail.append(failure.error.type)

    worker = inside.start()
    handle = await work.atrigger(1)
    await until(lambda: handle.id in worker.hold.held and worker.hold.held[handle.id].reason is not None)
    assert (await handle.aretrieve()).status == "executing"
    assert worker.hold.running == 1
    gate.set()
    ended = await inside.ended(handle)
    assert ended.status == "timed_out"
    assert trail == ["returned", "left", "RunTimedOut"]
    assert "cannot be interrupted" in ended.logs[0].message
