"""`app.testing()`: runs in memory, step by step, with a clock that tests move."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from holdfast import (
    AbortRun,
    AsyncContext,
    Context,
    Depends,
    Holdfast,
    HoldfastError,
    InvalidOption,
    NotSerializable,
    PayloadInvalid,
    Queue,
    ResultTimeout,
    Retry,
    RetryAfter,
    RunFailed,
    RunNotFound,
    RunUnfinished,
)
from holdfast.testing import Jobs
from holdfast.testing.stepping import Stuck


class User(BaseModel):
    id: int


ada, grace = User(id=1), User(id=2)


@pytest.fixture
def app() -> Holdfast:
    """An app whose own database cannot be reached: no test may want it."""
    return Holdfast("postgresql://nobody@127.0.0.1:1/nowhere")


@pytest.fixture
def jobs(app: Holdfast) -> Iterator[Jobs]:
    with app.testing() as jobs:
        yield jobs


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before, stdout, level = set(threading.enumerate()), sys.stdout, logging.getLogger().level
    yield
    assert set(threading.enumerate()) <= before
    assert (sys.stdout, logging.getLogger().level) == (stdout, level)


# -- running ----------------------------------------------------------------------------------------------------------


def test_a_run_of_either_colour(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def greet(name: str) -> str:
        return f"Hello, {name}!"

    @app.task
    async def onboard(user: User, ctx: AsyncContext) -> timedelta:
        ctx.metadata["id"] = user.id
        return timedelta(user.id)

    assert jobs.run(greet, "Ada").output == "Hello, Ada!"
    run = jobs.run(onboard, ada, tags=["t"])
    assert (run.status, run.output, run.payload, run.metadata, run.tags) == (
        "completed",
        timedelta(1),
        {"id": 1},
        {"id": 1},
        ["t"],
    )


def test_a_run_shows_how_it_stands_also_when_the_test_is_over(app: Holdfast) -> None:
    @app.task
    def greet(name: str) -> str:
        print("greeting", name)
        return name

    with app.testing() as jobs:
        run = jobs.run(greet, "Ada", delay="3d")
        assert (run.status, run.attempts) == ("delayed", 0)
        with pytest.raises(RunUnfinished):
            _ = run.output
        jobs.advance("2d")
        assert run.status == "delayed"
        jobs.advance("1d")
        assert run.output == "Ada"
        assert run.started_at == jobs.now
    assert (run.output, [line.message for line in run.logs]) == ("Ada", ["greeting Ada"])


def test_a_failed_run_says_why(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def explode() -> None:
        raise AbortRun("no more")

    run = jobs.run(explode)
    assert run.status == "failed"
    with pytest.raises(RunFailed, match="no more") as caught:
        _ = run.output
    assert any("in explode" in note for note in caught.value.__notes__)
    assert repr(run).endswith("explode failed: holdfast.errors.AbortRun: no more>")


def test_what_a_run_triggers_is_carried_out_in_order(app: Holdfast, jobs: Jobs) -> None:
    order: list[str] = []

    @app.task
    def child(name: str) -> None:
        order.append(name)

    @app.task(queue=Queue("one", concurrency_limit=1))
    async def parent(count: int) -> None:
        for n in range(count):
            await child.atrigger(f"child {n}")
        order.append("parent")

    jobs.run(parent, 30)
    assert order == ["parent", *(f"child {n}" for n in range(30))]
    assert [run.parent_id for run in jobs.triggered(child)] == [jobs.triggered(parent)[0].id] * 30


def test_priority_decides_among_what_waits(app: Holdfast, jobs: Jobs) -> None:
    order: list[str] = []

    @app.task
    def note(name: str) -> None:
        order.append(name)

    note.trigger("last")
    note.trigger("first", priority=10)
    jobs.work()
    assert order == ["first", "last"]


def test_code_under_test_triggers_and_nothing_happens_by_itself(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    handle = greet.trigger("Ada")
    time.sleep(0.05)
    assert handle.retrieve().status == "pending_version"
    jobs.work()
    assert handle.retrieve().status == "completed"


# -- time -------------------------------------------------------------------------------------------------------------


def test_retries_obey_the_clock(app: Holdfast, jobs: Jobs) -> None:
    at: list[datetime] = []

    @app.task(retry=Retry(max_attempts=4, min_delay="1m", max_delay="10m", factor=2))
    def flaky() -> str:
        at.append(jobs.now)
        if len(at) < 4:
            raise ConnectionError(f"attempt {len(at)}")
        return "done"

    start = jobs.now
    run = jobs.run(flaky)
    assert (run.status, run.attempts, len(at)) == ("delayed", 1, 1)
    jobs.advance("59s")
    assert len(at) == 1
    jobs.advance("1h")
    assert run.output == "done"
    assert [moment - start for moment in at] == [timedelta(minutes=n) for n in (0, 1, 3, 7)]
    assert jobs.now - start == timedelta(hours=1, seconds=59)


def test_retry_after_obeys_it_too(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    async def patient(ctx: AsyncContext) -> int:
        if ctx.attempt.number == 1:
            raise RetryAfter("2d")
        return ctx.attempt.number

    run = jobs.run(patient)
    jobs.advance("47h")
    assert run.status == "delayed"
    jobs.advance("1h")
    assert run.output == 2


def test_a_chain_of_delays_is_gone_through_in_its_own_time(app: Holdfast, jobs: Jobs) -> None:
    at: list[timedelta] = []
    start = jobs.now

    @app.task
    def hourly(n: int) -> None:
        at.append(jobs.now - start)
        hourly.trigger(n + 1, delay="1h")

    jobs.run(hourly, 0)
    jobs.advance("1d")
    assert at == [timedelta(hours=n) for n in range(25)]


def test_ttl_and_scheduled_for(app: Holdfast) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    with app.testing(at=datetime(2027, 1, 1, tzinfo=UTC)) as jobs:
        run = jobs.run(greet, "Ada", scheduled_for=datetime(2027, 1, 2, tzinfo=UTC))
        jobs.advance("23h59m")
        assert run.status == "delayed"
        jobs.advance("1m")
        assert (run.output, run.started_at) == ("Ada", datetime(2027, 1, 2, tzinfo=UTC))
        app.queues.pause("task/greet")
        late = jobs.run(greet, "Ada", ttl="5m")
        jobs.advance("5m")
        assert late.status == "expired"


def test_a_rate_limit_obeys_the_clock(app: Holdfast, jobs: Jobs) -> None:
    at: list[int] = []
    start = jobs.now

    @app.task(queue=Queue("slow", rate_limit="2/m"))
    def tick() -> None:
        at.append((jobs.now - start) // timedelta(minutes=1))

    for _ in range(6):
        tick.trigger()
    jobs.work()
    assert at == [0, 0]
    jobs.advance("10m")
    assert at == [0, 0, 1, 1, 2, 2]


# -- waiting for results ----------------------------------------------------------------------------------------------


def test_waiting_for_a_result_carries_it_out(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    assert greet.trigger("Ada").result(timeout="1m") == "Ada"
    assert greet.batch_trigger(["a", "b"]).results().outputs() == ["a", "b"]
    assert app.trigger("greet", "Grace").result() == "Grace"


def test_what_is_not_due_is_told_and_not_waited_for(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    handle = greet.trigger("Ada", delay="1h")
    with pytest.raises(ResultTimeout, match=r"of greet has not ended.*\(delayed until .*jobs\.advance"):
        handle.result()
    with pytest.raises(ResultTimeout, match=r"pending_version.*jobs\.replace"):
        app.trigger("elsewhere").result()
    with pytest.raises(RunNotFound):
        app.handle("nowhere").result()


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_a_task_that_waits_for_another_one(app: Holdfast, jobs: Jobs, colour: str) -> None:
    @app.task
    def leaf(n: int) -> int:
        return n

    if colour == "def":

        @app.task(id="parent")
        def parent(count: int) -> int:
            if count:
                return parent.trigger(count - 1).result() + sum(leaf.batch_trigger([1, 1]).results().outputs())
            return 0
    else:

        @app.task(id="parent")
        async def parent(count: int) -> int:
            if count:
                below = await parent.atrigger(count - 1)
                leaves = await leaf.abatch_trigger([1, 1])
                both = await asyncio.gather(below.aresult(), leaves.aresults())
                return both[0] + sum(both[1].outputs())
            return 0

    assert jobs.run(parent, 5).output == 10


def test_a_task_that_waits_for_what_is_not_due_is_told(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def child() -> None: ...

    @app.task(retry=Retry(max_attempts=1))
    async def parent() -> None:
        await (await child.atrigger(delay="1h")).aresult()

    run = jobs.run(parent)
    assert run.error is not None
    assert (run.status, run.error.type) == ("failed", "holdfast.errors.ResultTimeout")
    assert "The clock stands still: move it with jobs.advance()" in run.error.message


# -- async tests ------------------------------------------------------------------------------------------------------


async def test_async_tests_carry_out_on_their_own_loop(app: Holdfast) -> None:
    mine = asyncio.get_running_loop()

    @app.task
    async def where(delay: float) -> bool:
        await asyncio.sleep(delay)
        return asyncio.get_running_loop() is mine

    with app.testing() as jobs:
        run = await jobs.arun(where, 0.01)
        assert run.output
        late = await where.atrigger(0, delay="1m")
        await jobs.aadvance("1m")
        assert await late.aresult()
        assert (await asyncio.gather(jobs.arun(where, 0), jobs.arun(where, 0)))[1].output
        handle = await where.atrigger(0)
        await jobs.awork()
        assert (await handle.aretrieve()).status == "completed"
        assert await (await where.atrigger(0)).aresult()


async def test_and_are_told_not_to_block_it(app: Holdfast) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    with app.testing() as jobs:
        for verb in (
            lambda: jobs.run(greet, "Ada"),
            lambda: jobs.advance(1),
            jobs.work,
            lambda: greet.trigger("Ada").result(),
        ):
            with pytest.raises(HoldfastError, match=r"block the event loop.*jobs\.arun"):
                verb()


def test_a_task_cannot_step_the_test(app: Holdfast, jobs: Jobs) -> None:
    @app.task(retry=Retry(max_attempts=1))
    def clever() -> None:
        jobs.work()

    run = jobs.run(clever)
    assert run.error is not None
    assert "A task cannot step the test" in run.error.message


# -- looking ----------------------------------------------------------------------------------------------------------


def test_payloads_and_what_was_triggered(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def mail(user: User) -> None: ...

    @app.task
    def greet(name: str) -> None: ...

    @app.task
    def welcome(user: User) -> None:
        mail.trigger(user, tags=["x"])
        greet.trigger("Ada")
        greet.trigger("Ada")

    jobs.run(welcome, ada)
    assert jobs.payloads(welcome) == jobs.payloads(mail) == [ada]
    assert [run.status for run in jobs.triggered(greet)] == ["completed", "completed"]
    jobs.assert_triggered(mail)
    jobs.assert_triggered(mail, ada, times=1)
    jobs.assert_triggered(greet, times=2)
    jobs.assert_not_triggered(mail, grace)
    with pytest.raises(AssertionError) as caught:
        jobs.assert_triggered(mail, grace)
    assert str(caught.value) == (
        "mail(User(id=2)) was not triggered.\n"
        "Triggered so far:\n"
        "    welcome({'id': 1})\n"
        "    mail({'id': 1}), tags=['x']\n"
        "    greet('Ada')  2 times"
    )
    with pytest.raises(AssertionError, match=r"greet was triggered 2 times and not 1\."):
        jobs.assert_triggered(greet, times=1)
    with pytest.raises(AssertionError, match=r"greet was triggered 2 times and not 0\."):
        jobs.assert_not_triggered(greet)


def test_nothing_triggered_at_all(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def mail(user: User) -> None: ...

    with pytest.raises(AssertionError, match=r"mail was not triggered\.\nTriggered so far:\n    nothing"):
        jobs.assert_triggered(mail)
    assert jobs.payloads(mail) == []
    jobs.assert_not_triggered(mail)


def test_what_a_task_prints_and_logs_is_kept_and_shown(
    app: Holdfast, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    @app.task
    def talk() -> None:
        print("printed")
        logging.getLogger("shop").warning("logged")

    with app.testing() as jobs:
        run = jobs.run(talk)
        assert [line.message for line in run.logs] == ["printed", "logged"]
    assert capsys.readouterr().out == "printed\n"
    assert "logged" in caplog.text


# -- arranging --------------------------------------------------------------------------------------------------------


def test_a_task_is_replaced_by_its_answer(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def charge(user: User) -> int:
        raise AssertionError("it is replaced")

    @app.task(retry=Retry(max_attempts=1))
    async def checkout(user: User) -> int:
        return await (await charge.atrigger(user)).aresult()

    jobs.replace(charge, 5)
    assert jobs.run(checkout, ada).output == 5
    jobs.replace(charge, AbortRun("declined"))
    run = jobs.run(checkout, ada)
    assert run.status == "failed"
    assert jobs.triggered(charge)[1].error == run_error(jobs, charge)
    assert jobs.payloads(charge) == [ada, ada]


def run_error(jobs: Jobs, task: Any) -> Any:
    error = jobs.triggered(task)[-1].error
    assert error is not None
    assert (error.type, error.message) == ("holdfast.errors.AbortRun", "declined")
    return error


def test_a_declared_task_is_replaced_too(app: Holdfast, jobs: Jobs) -> None:
    train = app.declare("train", User, int)
    assert jobs.run(train, ada).status == "pending_version"
    jobs.replace(train, 7)
    assert jobs.run(train, ada).output == 7
    assert [run.status for run in jobs.triggered(train)] == ["completed", "completed"]


def test_a_provider_is_overridden(app: Holdfast, jobs: Jobs) -> None:
    def pool() -> str:
        raise AssertionError("it is not opened")

    def session(pool: Annotated[str, Depends(pool, scope="worker")]) -> str:
        return f"a session of {pool}"

    @app.task
    async def charge(user: User, db: Annotated[str, Depends(session)]) -> str:
        return db

    @app.task
    def refund(user: User, db: Annotated[str, Depends(session)]) -> str:
        return db

    jobs.override(pool, "a fake")
    assert [jobs.run(task, ada).output for task in (charge, refund)] == ["a session of a fake"] * 2
    jobs.override(session, "another fake")
    assert [jobs.run(task, ada).output for task in (charge, refund)] == ["another fake"] * 2
    with pytest.raises(InvalidOption, match="No task depends on this provider"):
        jobs.override(len, 5)


def test_hooks_are_called_as_in_production(app: Holdfast, jobs: Jobs) -> None:
    told: list[str] = []

    @app.task
    def charge(user: User) -> int:
        return 1

    for kind in ("init", "on_success", "on_failure", "on_cancel", "on_complete"):
        getattr(charge, kind)(lambda event, kind=kind: told.append(f"{kind} {event.run.status}"))
    jobs.replace(charge, 5)
    assert jobs.run(charge, ada).output == 5
    assert told == ["init executing", "on_success completed", "on_complete completed"]
    told.clear()
    jobs.replace(charge, ValueError("declined"))
    assert jobs.run(charge, ada, max_attempts=1).status == "failed"
    assert told == ["init executing", "on_failure failed", "on_complete failed"]
    told.clear()
    charge.trigger(ada, delay="1h").cancel()
    jobs.work()
    assert told == ["on_cancel canceled", "on_complete canceled"]


def test_hooks_of_what_never_ran_need_no_earlier_run(app: Holdfast) -> None:
    """As in production, where workers have announced the task long before."""
    told: list[str] = []

    @app.task
    def charge(user: User) -> int:
        return 1

    charge.on_failure(lambda failure: told.append(failure.error.type))
    with app.testing() as jobs:
        charge.trigger(ada, ttl="1m", delay="1m")
        charge.trigger(ada, delay="1h").cancel()
        jobs._stage.clock.advance("1h")
        jobs.work()
    assert told == ["RunExpired"]


def test_what_cannot_stand_in_is_refused(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def charge(user: User) -> int:
        return 1

    with pytest.raises(NotSerializable):
        jobs.replace(charge, "five")  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="Only a task and a function of a step can be replaced"):
        jobs.replace("charge", 5)  # type: ignore[call-overload]


# -- the stage --------------------------------------------------------------------------------------------------------


def test_each_test_has_a_database_of_its_own_and_the_apps_own_is_never_asked(app: Holdfast) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    for name in ("Ada", "Grace"):
        with app.testing() as jobs:
            jobs.run(greet, name, idempotency_key="k")
            app.close()  # what a web app does when it ends: the test goes on
            assert jobs.payloads(greet) == [name]
            assert len(app.runs.list()) == 1


def test_options_and_payloads_are_checked_as_ever(app: Holdfast, jobs: Jobs) -> None:
    @app.task
    def greet(user: User) -> None: ...

    with pytest.raises(PayloadInvalid):
        jobs.run(greet, {"id": "x"})  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="delay"):
        jobs.run(greet, ada, delay="soon")
    with pytest.raises(InvalidOption, match="duration"):
        jobs.advance("soon")


def test_outside_of_with_there_is_no_test(app: Holdfast) -> None:
    jobs = app.testing()
    with pytest.raises(HoldfastError, match="No test is under way"):
        jobs.work()
    with jobs, pytest.raises(HoldfastError, match="under way already"):
        jobs.__enter__()
    with pytest.raises(HoldfastError, match="No test is under way"):
        _ = jobs.now
    with pytest.raises(InvalidOption, match="at has no time zone"):
        app.testing(at=datetime(2027, 1, 1))


def test_one_test_inside_another(app: Holdfast) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    with app.testing() as outer:
        outer.run(greet, "Ada")
        with app.testing() as inner:
            assert inner.payloads(greet) == []
        assert outer.payloads(greet) == ["Ada"]


def test_what_does_not_end_is_told(app: Holdfast) -> None:
    @app.task
    async def endless() -> None:
        await asyncio.sleep(60)

    with app.testing(patience="0.1s") as jobs, pytest.raises(Stuck, match=r"For 100 ms nothing has moved .*of endless"):
        jobs.run(endless)


def test_a_circle_of_triggers_is_told(app: Holdfast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.testing.stepping.RUNS", 50)

    @app.task
    async def again() -> None:
        await again.atrigger()

    with app.testing() as jobs, pytest.raises(Stuck, match=r"Runs lead to runs without end .*of again"):
        jobs.run(again)


def test_a_step_is_quick(app: Holdfast) -> None:
    @app.task
    def greet(name: str, ctx: Context) -> str:
        return name

    began = time.perf_counter()
    for _ in range(20):
        with app.testing() as jobs:
            jobs.run(greet, "Ada")
    assert time.perf_counter() - began < 20 * 1.0  # nothing is polled for once a second


@pytest.fixture
def flaky(app: Holdfast) -> Any:
    @app.task(retry=Retry(min_delay="1h", max_delay="1h"))
    def flaky(n: int, ctx: Context) -> int:
        if ctx.attempt.number == 1:
            raise ConnectionError("not yet")
        return n

    return flaky


def test_updates_carry_out_what_is_due_and_end(flaky: Any, jobs: Jobs) -> None:
    handle = flaky.trigger(1)
    seen: list[str] = []
    with pytest.raises(ResultTimeout, match=r"nothing else is due .*delayed until .*jobs.advance"):
        for run in handle.updates():
            seen.append(run.status)  # noqa: PERF401 - what came before the error counts
    assert seen == ["pending_version", "delayed"]
    jobs.advance("1h")
    assert [run.status for run in handle.updates()] == ["completed"]


async def test_updates_in_async_tests(flaky: Any, jobs: Jobs) -> None:
    handle = await flaky.atrigger(1)
    seen: list[str] = []

    async def look() -> None:
        async for run in handle.aupdates():
            seen.append(run.status)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ResultTimeout, match="nothing else is due"):
        await look()
    assert seen == ["pending_version", "delayed"]
    await jobs.aadvance("1h")
    await look()
    assert seen[2:] == ["completed"]


def test_updates_inside_a_task(app: Holdfast) -> None:
    @app.task
    def watch(n: int) -> list[str]:
        return [run.status for run in leaf.trigger(n).updates()]

    @app.task
    def leaf(n: int) -> int:
        return n

    with app.testing() as jobs:
        assert jobs.run(watch, 1).output[-1] == "completed"


@pytest.mark.parametrize("start", [datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC), None])
def test_runs_since_a_time_are_found_wherever_the_clock_is(app: Holdfast, start: datetime | None) -> None:
    @app.task
    def greet(name: str) -> str:
        return name

    with app.testing(at=start) as jobs:
        old = greet.trigger("old")
        jobs.advance("30d")
        new = greet.trigger("new")
        moment = jobs.now
        jobs.advance("10m")
        assert [run.id for run in app.runs.list(since="1h")] == [new.id]
        assert [run.id for run in app.runs.list(since=moment)] == [new.id]
        assert [run.id for run in app.runs.list(since="31d")] == [new.id, old.id]


def test_what_no_task_can_wait_for_is_refused(app: Holdfast) -> None:
    @app.task
    def parent(ctx: Context) -> list[str]:
        asked: list[Any] = [lambda: ctx.trigger_and_wait(None), lambda: ctx.token("User")]  # type: ignore[call-overload,arg-type]
        refused = []
        for ask in asked:
            with pytest.raises(HoldfastError) as caught:
                ask()
            refused.append(str(caught.value.seen))
        return refused

    with app.testing() as jobs:
        assert jobs.run(parent).output == ["None", "'User'"]
