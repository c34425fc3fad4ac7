"""What a worker keeps of runs that wait, and how their code is stopped, told and let go."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast import AsyncContext, Context, Queue, Retry
from holdfast.engine import journal
from holdfast.engine.journal import Written
from holdfast.errors import AbortRun, InvalidOption, NotDurable, RunCanceled
from holdfast.records import NewEntry
from holdfast.storage.base import Tx
from holdfast.worker.live import Live
from tests.support.inside import Inside
from tests.support.ledger import until

BOTH = pytest.mark.parametrize("suspend_after", [0.0, 30.0])


async def test_a_run_that_goes_on_is_let_go_no_more(inside: Inside) -> None:
    """The timer of its wait is over while its code is at work. Fails with leaving it set: the code began anew."""
    begun: list[int] = []

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> int:
        await ctx.sleep(0.05)
        begun.append(n)
        await asyncio.sleep(1.5)
        return n

    inside.start(suspend_after=0.7)
    run = await inside.run(work, 1)
    assert (run.status, run.output, begun) == ("completed", 1, [1])


@BOTH
async def test_a_canceled_run_that_waits_runs_its_finally(inside: Inside, suspend_after: float) -> None:
    """And what waits below it is canceled, too; its own parent hears of it."""
    begun: list[int] = []
    ended: list[str] = []

    @inside.app.task
    async def below(n: int, ctx: AsyncContext) -> None:
        begun.append(n)
        try:
            await ctx.sleep("1h")
        except asyncio.CancelledError:
            ended.append("below")
            raise

    @inside.app.task
    async def middle(n: int, ctx: AsyncContext) -> None:
        try:
            await ctx.trigger_and_wait(below, n)
        except asyncio.CancelledError:
            ended.append("middle")
            raise

    @inside.app.task
    async def top(n: int, ctx: AsyncContext) -> str:
        try:
            await ctx.trigger_and_wait(middle, n)
        except RunCanceled as canceled:
            return canceled.run_id
        return ""

    inside.start(suspend_after=suspend_after)
    handle = await top.atrigger(1)
    await until(lambda: begun)
    (one,) = below_it(inside, handle.id)
    await inside.app.runs.acancel(one)
    run = await inside.ended(handle)
    assert (run.status, run.output) == ("completed", one)
    await until(lambda: len(ended) == 2)
    assert sorted(ended) == ["below", "middle"]


@BOTH
@pytest.mark.parametrize("busy", [False, True])
async def test_a_canceled_run_hears_of_that_before_it_hears_of_its_children(
    inside: Inside, suspend_after: float, busy: bool
) -> None:
    """They are canceled with it, some of them at once. Fails with telling it of them first: it failed with the error of
    its child, and was to be tried again, which a run that is canceled never is."""
    ended: list[str] = []
    begun = asyncio.Event()

    @inside.app.task
    async def below(n: int) -> None: ...

    @inside.app.task
    async def middle(n: int, ctx: AsyncContext) -> None:
        async def work() -> None:
            if busy:
                begun.set()
                await asyncio.Event().wait()

        try:
            await asyncio.gather(ctx.trigger_and_wait(below, n, delay="1h"), work())
        except (asyncio.CancelledError, RunCanceled) as error:
            ended.append(type(error).__name__)
            raise

    @inside.app.task
    async def top(n: int, ctx: AsyncContext) -> str:
        try:
            await ctx.trigger_and_wait(middle, n)
        except RunCanceled as canceled:
            return canceled.run_id
        return ""

    inside.start(suspend_after=suspend_after)
    handle = await top.atrigger(1)
    await until(lambda: below_it(inside, *below_it(inside, handle.id)))
    (one,) = below_it(inside, handle.id)
    if busy:
        await begun.wait()
    else:
        await until(lambda: standing(inside, one) == "waiting")
    await inside.app.runs.acancel(one)
    run = await inside.ended(handle)
    assert (run.status, run.output, ended) == ("completed", one, ["CancelledError"])


def below_it(inside: Inside, *ids: str) -> list[str]:
    """The children of these runs that are not final."""
    return [row[0] for row in inside.store.read_sync(lambda tx: tx.rows("children", ids=list(ids)))]


def standing(inside: Inside, run_id: str) -> str | None:
    rows = inside.store.read_sync(lambda tx: tx.rows("standing", ids=[run_id]))
    return rows[0][1] if rows else None


async def test_a_child_that_has_ended_when_its_making_is_answered(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent asks for news between the two, and hears of the end. Fails with taking the answer, which says that it
    is waited for, for the newer word: the parent waited for ever."""
    ended = asyncio.Event()
    hear = Live.hear

    async def hear_late(live: Live) -> None:
        if live.task is parent:
            await ended.wait()
            await until(lambda: not below_it(inside, live.claimed.id))
        await hear(live)

    monkeypatch.setattr(Live, "hear", hear_late)
    monkeypatch.setattr("holdfast.worker.journal.Journal.follows", lambda journal, entry: False)

    @inside.app.task
    async def child(n: int) -> int:
        ended.set()
        return n

    @inside.app.task
    async def parent(n: int, ctx: AsyncContext) -> int:
        return await ctx.trigger_and_wait(child, n)

    inside.start()
    assert (await inside.run(parent, 7)).output == 7


async def test_what_settles_before_a_run_that_was_claimed_starts(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held here, and has no slot yet. Fails with telling only those at work: the one branch waited for what had
    come, and the other for that one, for ever."""
    monkeypatch.setattr("holdfast.worker.pace.Pace.ahead", lambda pace: 5)
    monkeypatch.setattr("holdfast.worker.hold.PATIENCE_SECONDS", 60.0)
    slot, at_work = asyncio.Event(), asyncio.Event()

    @inside.app.task
    async def busy(n: int) -> None:
        at_work.set()
        await slot.wait()

    @inside.app.task
    async def work(names: tuple[str, str], ctx: AsyncContext) -> int:
        come = asyncio.Event()
        first, second = [await ctx.token(int, timeout="1h") for _ in names]
        tokens[:] = [first.id, second.id]

        async def one() -> None:
            await ctx.wait_for(first)
            await come.wait()

        async def other() -> int:
            value = await ctx.wait_for(second)
            come.set()
            return value

        return (await asyncio.gather(one(), other()))[1]

    tokens: list[str] = []
    worker = inside.start(concurrency=1, suspend_after=0.0)
    handle = await work.atrigger(("a", "b"))
    await until(lambda: standing(inside, handle.id) == "waiting")
    blocker = await busy.atrigger(1)
    await at_work.wait()
    await inside.app.tokens.acomplete(tokens[0], 1)
    await until(lambda: handle.id in worker.hold.held)
    await inside.app.tokens.acomplete(tokens[1], 2)
    await until(lambda: not inside.store.read_sync(lambda tx: tx.row("outlook", me=worker.me))[4])
    slot.set()
    assert (await inside.ended(handle)).output == 2
    await inside.ended(blocker)


async def test_a_def_task_that_is_canceled_before_it_waits_hears_of_it_there(inside: Inside) -> None:
    """Fails with interrupting it only where it is: it was suspended and refused without end."""
    at_work, go_on, heard = threading.Event(), threading.Event(), []

    @inside.app.task
    def work(n: int, ctx: Context) -> None:
        ctx.step(len, "a")
        at_work.set()
        go_on.wait(30)
        try:
            ctx.sleep("1h")
        except asyncio.CancelledError:
            heard.append(n)
            raise

    worker = inside.start()
    handle = await work.atrigger(1)
    await until(at_work.is_set)
    await handle.acancel()
    await until(lambda: any(live.reason == "canceled" for live in worker.hold.held.values()))
    go_on.set()
    assert ((await inside.ended(handle)).status, heard) == ("canceled", [1])


@BOTH
@pytest.mark.parametrize("colour", ["async", "def"])
async def test_a_parent_and_its_children_in_one_place(inside: Inside, suspend_after: float, colour: str) -> None:
    """A queue with one slot, a worker with one: who waits has neither."""
    queue = Queue("one", concurrency_limit=1)

    @inside.app.task(queue=queue)
    async def count(n: int, ctx: AsyncContext) -> int:
        return 0 if n == 0 else 1 + await ctx.trigger_and_wait(count, n - 1)

    @inside.app.task(queue=queue)
    def count_def(n: int, ctx: Context) -> int:
        return 0 if n == 0 else 1 + ctx.trigger_and_wait(count_def, n - 1)

    inside.start(suspend_after=suspend_after, concurrency=1)
    task: Any = count if colour == "async" else count_def
    assert (await inside.run(task, 4)).output == 4


async def test_runs_are_not_nested_without_end(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.options.DEEPEST", 5)

    @inside.app.task(retry=Retry(max_attempts=1))
    async def down(n: int, ctx: AsyncContext) -> int:
        return await ctx.trigger_and_wait(down, n + 1)

    inside.start()
    run = await inside.run(down, 0)
    assert run.status == "failed"
    below = inside.store.read_sync(lambda tx: tx.rows("journal", run_id=run.id))
    assert len(below) == 1
    assert "RunFailed" in run.error.type


async def test_code_that_has_changed_is_refused(inside: Inside) -> None:
    """A step was renamed: nothing is run twice, whatever the code makes of the error."""
    done: list[str] = []

    async def old(n: int) -> None:
        done.append("old")

    async def new(n: int) -> None:
        done.append("new")

    @inside.app.task(retry=Retry(max_attempts=3, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> str:
        try:
            await ctx.step(new if done else old, n)
        except Exception:
            return "never mind"
        raise RuntimeError("again")

    inside.start()
    run = await inside.run(work, 1)
    assert (run.status, done) == ("system_failure", ["old"])
    assert "was step old" in run.error.message
    assert "asks for step new" in run.error.message


@pytest.mark.parametrize("what", ["step", "child", "token", "fewer"])
async def test_other_arguments_are_refused(inside: Inside, what: str) -> None:
    """Fails, for a child, with keeping no digest of its payload."""
    attempts: list[int] = []

    @inside.app.task
    async def echo(n: int) -> int:
        return n

    @inside.app.task(retry=Retry(max_attempts=3, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> None:
        attempts.append(n)
        turn = len(attempts)
        if what == "step":
            await ctx.step(abs, turn)
        elif what == "child":
            await ctx.trigger_and_wait(echo, turn)
        elif what == "token":
            await ctx.sleep(0) if turn == 1 else await ctx.token(int)
        else:
            await ctx.step(abs, 1)
            if turn == 1:
                await ctx.step(len, "a")
            await ctx.step(abs, 2)
        raise RuntimeError("again")

    inside.start()
    run = await inside.run(work, 1)
    assert (run.status, len(attempts)) == ("system_failure", 2), run.error
    assert "does not fit what this run has recorded" in run.error.message


async def test_two_steps_with_one_key_are_refused(inside: Inside) -> None:
    """Fails with taking the second for the first: both ran, and one waited for ever."""

    async def slow(n: int) -> int:
        await asyncio.sleep(0.05)
        return n

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> str:
        first = ctx.step(slow, 1, key="a")
        try:
            ctx.step(slow, 1, key="a")
        except InvalidOption as error:
            return f"{await first} {error}"
        return ""

    inside.start()
    run = await inside.run(work, 1)
    assert "1 Two steps slow have the same key" in run.output


@BOTH
async def test_a_failure_is_tried_again_by_the_next_attempt(inside: Inside, suspend_after: float) -> None:
    """Of a step and of a child; what the code has gone on from is not."""
    calls: list[str] = []

    def fail(name: str) -> None:
        calls.append(name)
        if calls.count(name) < 2:
            raise ConnectionError(name)

    @inside.app.task
    async def bad(n: int) -> int:
        calls.append("child")
        if calls.count("child") < 2:
            raise ValueError(n)
        return n

    @inside.app.task(retry=Retry(max_attempts=5, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> list[Any]:
        try:
            await ctx.step(fail, "caught")
            caught = False
        except Exception:
            caught = True
        await ctx.step(len, "after")
        await ctx.step(fail, "raised")
        return [caught, await ctx.trigger_and_wait(bad, n)]

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 3)
    assert (run.status, run.output) == ("completed", [True, 3]), run.error
    assert sorted(calls) == ["caught", "child", "child", "raised", "raised"]


@BOTH
@pytest.mark.parametrize("goes_on", [False, True])
async def test_failed_children_of_a_batch_are_tried_again(inside: Inside, suspend_after: float, goes_on: bool) -> None:
    """Those alone, and only if the code has made nothing more of it. Fails with keeping the whole batch as it was, and
    with making all of it anew."""
    calls: list[int] = []
    seen: list[list[str]] = []

    @inside.app.task(retry=Retry(max_attempts=1))
    async def child(n: int) -> int:
        calls.append(n)
        if n in (2, 4) and calls.count(n) == 1:
            raise ValueError(n)
        return n

    @inside.app.task(retry=Retry(max_attempts=3, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> list[int]:
        results = await ctx.batch_trigger_and_wait(child, [1, 2, 3, 4])
        seen.append([run.id for run in results])
        if goes_on:
            await ctx.step(len, "a")
        if goes_on and len(seen) == 1:
            raise RuntimeError("for another reason")
        return [run.output if (goes_on and run.ok) or not goes_on else 0 for run in results]

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.output == ([1, 0, 3, 0] if goes_on else [1, 2, 3, 4]), run.error
    first, last = seen[0], seen[-1]
    assert len(seen) >= 2
    kept = [one for one, other in zip(first, last, strict=True) if one == other]
    assert kept == (first if goes_on else [first[0], first[2]])
    assert sorted(calls) == ([1, 2, 3, 4] if goes_on else [1, 2, 2, 3, 4, 4])


async def test_what_a_step_triggers_is_below_its_run(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent and root are known, and how deep it is. Fails with counting from the top again: it went on for
    ever."""
    monkeypatch.setattr("holdfast.options.DEEPEST", 3)
    family: list[tuple[str, str | None, str | None]] = []

    @inside.app.task(retry=Retry(max_attempts=1))
    async def down(n: int, ctx: AsyncContext) -> None:
        family.append((ctx.run.id, ctx.run.parent_id, ctx.run.root_id))

        async def trigger() -> str:
            return (await down.atrigger(n + 1)).id

        await ctx.step(trigger)

    inside.start()
    await down.atrigger(0)
    await until(lambda: len(family) == 4)
    last = await inside.ended(inside.app.handle(family[-1][0]))
    assert "nested more than 3 deep" in last.error.message
    ids = [one[0] for one in family]
    assert [one[1] for one in family] == [None, *ids[:-1]]
    assert {one[2] for one in family[1:]} == {ids[0]}


@pytest.mark.parametrize("given", [list, tuple, iter])
async def test_as_completed_starts_coroutines_in_the_order_of_a_set(inside: Inside, given: Any) -> None:
    """Their branches are known by the order of the list; where there is none, that is said. Fails with numbering them
    as they start: the next attempt asked for other arguments in the same place."""
    numbers = list(range(12))
    orders: list[list[int]] = []

    @inside.app.task(retry=Retry(max_attempts=4, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> int:
        orders.append([])

        async def branch(number: int) -> int:
            orders[-1].append(number)
            return await ctx.step(abs, number)

        kept = [asyncio.sleep(0) for _ in range(len(orders) * 7)]  # so that the next ones are elsewhere in memory
        try:
            total = sum([await each for each in asyncio.as_completed(given([branch(number) for number in numbers]))])
        except NotDurable as error:
            raise AbortRun(str(error)) from error
        finally:
            for each in kept:
                each.close()
        if ctx.attempt.number < 4:
            raise RuntimeError("again")
        return total

    inside.start()
    run = await inside.run(work, 1)
    if given is iter:
        assert "in the order of a set" in run.error.message
    else:
        assert (run.status, run.output) == ("completed", sum(numbers)), run.error
        assert len({tuple(order) for order in orders}) > 1


async def test_what_was_recorded_first_comes_first(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its branch hears of that last. Fails without waiting for what is being written: a replay went another
    way."""
    write, hear = journal.write, Live.hear
    recorded, heard = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    @functools.wraps(write)
    def written(tx: Tx, entries: list[NewEntry]) -> list[Written | Exception]:
        answers = write(tx, entries)
        for entry, answer in zip(entries, answers, strict=True):
            if entry.name == "first" and isinstance(answer, Written):
                answer.news = True  # so that it reads what else has settled, before it goes on
        return answers

    async def slowly(live: Live) -> None:
        if not recorded.is_set():  # the first branch
            recorded.set()
            await heard.wait()
            for _ in range(50):  # passes of the loop, in which the second branch could go on
                await asyncio.sleep(0)
            await hear(live)
        else:
            await hear(live)
            heard.set()

    async def first(n: int) -> str:
        return "first"

    async def second(n: int) -> str:
        await recorded.wait()
        return "second"

    @inside.app.task
    async def work(n: int, ctx: AsyncContext) -> None:
        async def branch(fn: Callable[[int], Awaitable[str]]) -> None:
            order.append(await ctx.step(fn, n))

        await asyncio.gather(branch(first), branch(second))

    monkeypatch.setattr(journal, "write", written)
    monkeypatch.setattr(Live, "hear", slowly)
    inside.start()
    run = await inside.run(work, 1)
    assert (run.status, order) == ("completed", ["first", "second"]), run.error


@BOTH
@pytest.mark.parametrize("how", ["wait", "as_completed", "group", "gather"])
async def test_a_race_goes_as_it_went(inside: Inside, suspend_after: float, how: str) -> None:
    """A replay hands results out in the order in which they were recorded."""
    orders: list[list[str]] = []

    async def wait(n: float) -> str:
        await asyncio.sleep(n if not orders else 0.1 - n)
        return str(n)

    @inside.app.task(retry=Retry(max_attempts=3, min_delay=0))
    async def work(n: int, ctx: AsyncContext) -> list[str]:
        order: list[str] = []

        async def branch(k: float) -> str:
            await ctx.sleep(k / 2)
            value = await ctx.step(wait, k)
            order.append(value)
            return value

        parts = [branch(0.08), branch(0.02), branch(0.05)]
        if how == "wait":
            todo = {asyncio.ensure_future(part) for part in parts}
            while todo:
                _, todo = await asyncio.wait(todo, return_when=asyncio.FIRST_COMPLETED)
        elif how == "as_completed":
            for each in asyncio.as_completed([asyncio.ensure_future(part) for part in parts]):
                await each
        elif how == "group":
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(part)
        else:
            await asyncio.gather(*parts)
        await ctx.step(len, "".join(order))
        orders.append(order)
        if len(orders) < 3:
            raise RuntimeError("again")
        return order

    inside.start(suspend_after=suspend_after)
    run = await inside.run(work, 1)
    assert run.status == "completed", run.error
    assert orders[0] == orders[1] == orders[2]
