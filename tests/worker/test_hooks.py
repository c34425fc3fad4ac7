"""Hooks: called in the documented order, told what has happened, and never the worker's or another run's business."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from holdfast import (
    AbortRun,
    AsyncContext,
    Cancellation,
    Completion,
    Context,
    Event,
    Failure,
    HoldfastError,
    InvalidTask,
    PayloadInvalid,
    Retry,
    RetryAfter,
    Success,
)
from holdfast.hooks import WAY_IN, WAY_OUT
from holdfast.records import NewRun
from tests.support.inside import Inside

AT_ONCE = Retry(max_attempts=2, min_delay=0, max_delay=0, jitter=False)
KINDS = [kind for kind in (*WAY_IN, *WAY_OUT) if kind != "middleware"]
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def record(owner: Any, name: str, trail: list[str]) -> None:
    """Two hooks of each kind, so that their order shows, too."""

    def adding(word: str) -> Any:
        return lambda event: trail.append(word)

    for kind in KINDS:
        for which in ("first", "second"):
            getattr(owner, kind)(adding(f"{name} {kind} {which}"))
    for which in ("first", "second"):
        owner.middleware(passing(f"{name} middleware {which}", trail))


def passing(name: str, trail: list[str]) -> Any:
    async def middleware(event: Event[Any], call_next: Any) -> None:
        trail.append(f"{name}, in")
        await call_next()
        trail.append(f"{name}, out")

    return middleware


def four(kind: str, *, inward: bool) -> list[str]:
    words = [f"{owner} {kind} {which}" for owner in ("app", "task") for which in ("first", "second")]
    return words if inward else words[::-1]


async def test_the_documented_order(inside: Inside) -> None:
    """The app's before the task's on the way in, and exactly the other way round on the way out."""
    trail: list[str] = []

    @inside.app.task(retry=AT_ONCE)
    async def work(n: int, ctx: AsyncContext) -> int:
        trail.append("the task")
        if ctx.attempt.number <= n:
            raise ValueError
        return n

    record(work, "task", trail)
    record(inside.app, "app", trail)  # later, and first all the same
    inside.start()

    def attempt(first: bool) -> list[str]:
        around = four("middleware", inward=True)
        words = four("init", inward=True) + (four("on_start", inward=True) if first else [])
        words += four("on_attempt_start", inward=True) + [f"{word}, in" for word in around] + ["the task"]
        return words

    left = [f"{word}, out" for word in four("middleware", inward=False)]
    success = [word for kind in ("on_success", "on_complete", "cleanup") for word in four(kind, inward=False)]
    error = [word for kind in ("catch_error", "on_error", "cleanup") for word in four(kind, inward=False)]
    failure = [
        word
        for kind in ("catch_error", "on_error", "on_failure", "on_complete", "cleanup")
        for word in four(kind, inward=False)
    ]

    assert (await inside.run(work, 0)).status == "completed"
    assert trail == attempt(True) + left + success
    trail.clear()
    assert (await inside.run(work, 1)).status == "completed"
    assert trail == attempt(True) + error + attempt(False) + left + success
    trail.clear()
    assert (await inside.run(work, 9)).status == "failed"
    assert trail == attempt(True) + error + attempt(False) + failure


async def test_what_hooks_are_told_of_a_success(inside: Inside) -> None:
    told: dict[str, Any] = {}

    @inside.app.task
    async def double(n: int, ctx: AsyncContext) -> int:
        ctx.metadata["n"] = n
        return 2 * n

    for kind in ("init", "on_start", "on_attempt_start", "on_success", "on_complete", "cleanup"):
        getattr(double, kind)(lambda event, kind=kind: told.update({kind: event}))
    inside.start()
    ended = await inside.run(double, 4, tags=["even"], priority=3, ttl="1h")
    assert type(told["init"]) is type(told["on_start"]) is type(told["cleanup"]) is Event
    assert type(told["on_success"]) is Success
    assert type(told["on_complete"]) is Completion
    for event in told.values():
        assert (event.payload, event.run.id, event.run.task, event.run.tags) == (4, ended.id, "double", ["even"])
        assert (event.run.created_at, event.run.expires_at, event.run.priority) == (
            ended.created_at,
            ended.expires_at,
            3,
        )
        assert event.run.started_at == ended.started_at
        assert event.state is told["init"].state
    assert (told["init"].run.status, told["init"].run.finished, told["init"].run.finished_at) == (
        "executing",
        False,
        None,
    )
    assert told["on_success"].output == told["on_complete"].output == told["on_complete"].run.output == 8
    assert told["on_success"].run.metadata == {"n": 4}
    assert (told["on_complete"].ok, told["on_complete"].error, told["on_complete"].run.status) == (
        True,
        None,
        "completed",
    )
    assert abs(told["on_complete"].run.finished_at - ended.finished_at) < timedelta(seconds=5)


async def test_what_hooks_are_told_of_failures(inside: Inside) -> None:
    told: list[tuple[str, Any]] = []

    @inside.app.task(retry=Retry(max_attempts=2, min_delay="20ms", max_delay="20ms", jitter=False))
    async def fails(n: int) -> None:
        raise ValueError("no luck")

    for kind in ("catch_error", "on_error", "on_failure", "on_complete"):
        getattr(fails, kind)(lambda event, kind=kind: told.append((kind, event)))
    inside.start()
    ended = await inside.run(fails, 1)
    assert [kind for kind, _ in told] == ["catch_error", "on_error"] * 2 + ["on_failure", "on_complete"]
    failures = [event for kind, event in told if kind != "on_complete"]
    assert {type(event) for event in failures} == {Failure}
    for event in failures:
        assert (event.error.type, event.error.message) == ("ValueError", "no luck")
        assert isinstance(event.exception, ValueError)
        assert "raise ValueError" in event.error.traceback
    assert [event.retry_in for event in failures] == [None, timedelta(milliseconds=20), None, None, None]
    assert [event.run.status for event in failures] == ["executing"] * 3 + ["failed"] * 2
    assert [event.run.attempts for event in failures] == [1, 1, 2, 2, 2]
    assert {event.run.started_at for event in failures} == {ended.started_at}  # of the first attempt
    completion = told[-1][1]
    assert (completion.ok, completion.error.message) == (False, "no luck")
    with pytest.raises(HoldfastError):
        _ = completion.output


async def test_hooks_of_either_colour(inside: Inside) -> None:
    """A def runs in a thread, and keeps the loop from nothing. What hooks before the task set in context variables is
    there for it, and for those after it."""
    seen: list[Any] = []
    loop_thread = threading.get_ident()

    @inside.app.init
    def now(event: Event[Any]) -> None:
        seen.append(threading.get_ident() != loop_thread)
        tenant.set(tenant.get() + " def")

    @inside.app.init
    async def later(event: Event[Any]) -> None:
        seen.append(threading.get_ident() == loop_thread)
        tenant.set(tenant.get() + " async")

    @inside.app.cleanup
    def clean(event: Event[Any]) -> None:
        seen.append(tenant.get())

    @inside.app.task
    async def asynchronous(n: int) -> str:
        return tenant.get()

    @inside.app.task
    def synchronous(n: int) -> str:
        return tenant.get()

    inside.start()
    for task in (asynchronous, synchronous):
        assert (await inside.run(task, 1)).output == "nobody def async"
    assert seen == [True, True, "nobody def async"] * 2


async def test_a_lambda_and_a_partial_may_give_something_to_await(inside: Inside) -> None:
    seen: list[int] = []

    async def note(event: Event[Any]) -> None:
        seen.append(event.payload)

    @inside.app.task
    async def work(n: int) -> None: ...

    work.on_success(lambda event: note(event))
    inside.start()
    await inside.run(work, 3)
    assert seen == [3]


async def test_state_is_shared_by_the_hooks_of_one_attempt(inside: Inside) -> None:
    seen: list[Any] = []

    @inside.app.init
    def begin(event: Event[Any]) -> None:
        assert event.state == {}
        event.state["n"] = event.payload

    @inside.app.middleware
    async def around(event: Event[Any], call_next: Any) -> None:
        event.state["n"] += 1
        await call_next()

    @inside.app.cleanup
    def end(event: Event[Any]) -> None:
        seen.append((event.payload, event.state["n"]))

    @inside.app.task
    async def work(n: int) -> None:
        await asyncio.sleep(0.01)

    inside.start()
    batch = await work.abatch_trigger(range(10))
    await batch.aresults()
    assert sorted(seen) == [(n, n + 1) for n in range(10)]


async def test_what_hooks_write_belongs_to_the_run(inside: Inside) -> None:
    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> None: ...

    @work.on_start
    async def says(event: Event[int]) -> None:
        logging.getLogger("shop").info("starting %s", event.payload)

    @work.on_success
    def prints(event: Success[int, None]) -> None:
        print("done with", event.payload)
        Context.current().metadata["counted"] = True

    inside.start()
    ended = await inside.run(work, 3)
    assert [line.message for line in ended.logs] == ["starting 3", "done with 3"]
    assert ended.metadata == {"counted": True}


async def test_what_hooks_trigger_is_the_runs_child(inside: Inside) -> None:
    children: list[str] = []

    @inside.app.task
    async def other(n: int) -> None: ...

    @inside.app.task
    async def work(n: int) -> None: ...

    @work.on_success
    async def more(event: Success[int, None]) -> None:
        children.append((await other.atrigger(1)).id)

    inside.start()
    ended = await inside.run(work, 3)
    child = await other.handle(children[0]).aretrieve()
    assert child.parent_id == ended.id


async def test_sys_exit_in_a_hook_before_the_task_ends_the_run(inside: Inside) -> None:
    @inside.app.task(retry=AT_ONCE)
    async def work(n: int) -> None: ...

    @work.init
    def leave(event: Event[int]) -> None:
        sys.exit(3)

    inside.start()
    ended = await inside.run(work, 1)
    assert (ended.status, ended.attempts, ended.error.type) == ("failed", 1, "SystemExit")


# -- catch_error ------------------------------------------------------------------------------------------------------


async def test_catch_error_says_when_it_is_tried_again(inside: Inside) -> None:
    @inside.app.task(retry=Retry(max_attempts=3, min_delay="1h", max_delay="1h", never=ValueError))
    async def limited(n: int, ctx: AsyncContext) -> int:
        if ctx.attempt.number == 1:
            raise ValueError("429")
        return ctx.attempt.number

    @limited.catch_error
    def decide(failure: Failure[int]) -> RetryAfter | AbortRun | None:
        return RetryAfter("10ms") if "429" in failure.error.message else None

    inside.start()
    ended = await inside.run(limited, 1)
    assert (ended.status, ended.output) == ("completed", 2)


async def test_max_attempts_holds_all_the_same(inside: Inside) -> None:
    @inside.app.task(retry=AT_ONCE)
    async def fails(n: int) -> None:
        raise ValueError("again")

    fails.catch_error(lambda failure: RetryAfter(0))
    inside.start()
    ended = await inside.run(fails, 1)
    assert (ended.status, ended.attempts, ended.error.message) == ("failed", 2, "again")


@pytest.mark.parametrize("raised", [True, False])
async def test_catch_error_ends_it(inside: Inside, raised: bool) -> None:
    """Returned or raised, the run keeps the error that it had."""

    @inside.app.task(retry=AT_ONCE)
    async def fails(n: int) -> None:
        raise ValueError("hopeless")

    @fails.catch_error
    async def give_up(failure: Failure[int]) -> AbortRun:
        if raised:
            raise AbortRun("no use")
        return AbortRun("no use")

    inside.start()
    ended = await inside.run(fails, 1)
    assert (ended.status, ended.attempts, ended.error.type) == ("failed", 1, "ValueError")


async def test_the_first_that_decides_decides(inside: Inside) -> None:
    asked: list[str] = []

    @inside.app.catch_error
    def the_apps(failure: Failure[Any]) -> AbortRun:
        asked.append("app")
        return AbortRun()

    @inside.app.task(retry=AT_ONCE)
    async def fails(n: int, ctx: AsyncContext) -> None:
        raise ValueError

    @fails.catch_error
    def decides(failure: Failure[int]) -> RetryAfter | None:
        asked.append("task")
        return RetryAfter(0) if failure.run.attempts == 1 else None

    @fails.catch_error
    def breaks(failure: Failure[int]) -> None:
        asked.append("broken")
        raise KeyError("broken")

    fails.catch_error(lambda failure: "tomorrow")  # type: ignore[arg-type, return-value]
    inside.start()
    ended = await inside.run(fails, 1)
    assert (ended.status, ended.attempts) == ("failed", 2)
    assert asked == ["broken", "task", "broken", "task", "app"]
    text = "\n".join(line.message for line in ended.logs)
    assert "The catch_error hook" in text
    assert "KeyError" in text
    assert "returned something else" in text


# -- ends that are no exception ---------------------------------------------------------------------------------------


async def test_a_payload_that_does_not_fit(inside: Inside) -> None:
    """The hooks for the end are told; who asks for the payload is told why there is none."""
    told: list[Any] = []

    @inside.app.task
    async def work(n: int) -> None: ...

    for kind in KINDS:
        getattr(work, kind)(lambda event, kind=kind: told.append((kind, event)))
    inside.start()
    made = NewRun(id="0" * 26, task="work", queue=work.queue.name, payload='"three"')
    await asyncio.wrap_future(inside.store.gather(_trigger, made))
    ended = await inside.ended(work.handle(made.id))
    assert (ended.status, ended.attempts) == ("failed", 1)
    assert [kind for kind, _ in told] == ["on_error", "on_failure", "on_complete"]
    failure = told[0][1]
    assert isinstance(failure.exception, PayloadInvalid)
    with pytest.raises(PayloadInvalid):
        _ = failure.payload


def _trigger(tx: Any, runs: list[NewRun]) -> Any:
    from holdfast.engine.trigger import trigger

    return trigger(tx, runs)


async def test_an_output_that_cannot_be_kept(inside: Inside) -> None:
    told: list[str] = []

    @inside.app.task(retry=AT_ONCE)
    async def work(n: int) -> Any:
        return float("nan")

    for kind in WAY_OUT:
        getattr(work, kind)(lambda event, kind=kind: told.append(kind))
    inside.start()
    assert (await inside.run(work, 1)).status == "failed"
    assert told == ["on_error", "on_failure", "on_complete", "cleanup"]


async def test_a_canceled_run(inside: Inside) -> None:
    told: list[Any] = []
    started = asyncio.Event()

    @inside.app.task
    async def work(n: int) -> None:
        started.set()
        await asyncio.sleep(3600)

    for kind in KINDS:
        getattr(work, kind)(lambda event, kind=kind: told.append((kind, event)))
    inside.start()
    handle = await work.atrigger(5)
    await asyncio.wait_for(started.wait(), 30)
    await handle.acancel()
    assert (await inside.ended(handle)).status == "canceled"
    assert [kind for kind, _ in told][3:] == ["on_cancel", "on_complete", "cleanup"]
    assert type(told[3][1]) is Cancellation
    assert (told[3][1].payload, told[3][1].run.status) == (5, "canceled")


async def test_code_that_does_not_let_itself_be_canceled(inside: Inside) -> None:
    """After its grace the run is canceled, and its hooks are called, whatever the code goes on to do."""
    told: list[str] = []
    started, deaf = asyncio.Event(), asyncio.Event()

    @inside.app.task
    async def work(n: int) -> None:
        started.set()
        while not deaf.is_set():
            try:
                await deaf.wait()
            except asyncio.CancelledError:
                told.append("deaf")

    for kind in ("on_cancel", "on_complete", "cleanup"):
        getattr(work, kind)(lambda event, kind=kind: told.append(kind))
    inside.start(grace_seconds=0.1)
    handle = await work.atrigger(5)
    await asyncio.wait_for(started.wait(), 30)
    await handle.acancel()
    assert (await inside.ended(handle)).status == "canceled"
    assert told == ["deaf", "on_cancel", "on_complete", "cleanup"]
    deaf.set()


# -- definitions ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_a_hook_is_refused_where_it_is_written(inside: Inside) -> None:
    async def generator(event: Any) -> Any:
        yield 1

    def alone(event: Any) -> None: ...

    for hook, kind, message in (
        (5, "on_failure", r"on_failure is given what is no function \(5\)"),
        (lambda: None, "init", r"cannot be a hook: init takes one event .*Write \(event\)"),
        (lambda a, b: None, "on_success", "on_success takes one event"),
        (alone, "middleware", r"middleware takes an event and call_next .*Write \(event, call_next\)"),
        (generator, "on_start", "is a generator, and on_start would never run it"),
        (generator, "middleware", r"is a generator.*Call call_next\(\) where it yields"),
    ):
        with pytest.raises(InvalidTask, match=message):
            getattr(inside.app, kind)(hook)


def test_a_hook_is_still_its_function(inside: Inside) -> None:
    """So that it can be called in a test, with an event made by hand."""

    @inside.app.on_failure
    def shout(failure: Failure[Any]) -> str:
        return failure.error.message.upper()

    from holdfast.model import RunError

    assert shout(Failure(None, 1, RunError("ValueError", "quiet"))) == "QUIET"  # type: ignore[arg-type]
