"""What providers give: once per attempt or once per worker, and closed again whatever happens."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from holdfast import AsyncContext, Context, Depends, Retry
from tests.support.inside import Inside

ONCE = Retry(max_attempts=1)
AT_ONCE = Retry(max_attempts=2, min_delay=0, max_delay=0, jitter=False)


class Trail(list[str]):
    """What was opened and closed, in order; makes providers that leave their names."""

    def sync(self, name: str) -> Callable[[], Iterator[str]]:
        def provider() -> Iterator[str]:
            self.append(f"open {name}")
            try:
                yield name
            except BaseException as error:
                self.append(f"{name} saw {type(error).__name__}")
                raise
            finally:
                self.append(f"close {name}")

        return provider

    def later(self, name: str) -> Callable[[], AsyncIterator[str]]:
        async def provider() -> AsyncIterator[str]:
            self.append(f"open {name}")
            try:
                yield name
            except BaseException as error:
                self.append(f"{name} saw {type(error).__name__}")
                raise
            finally:
                self.append(f"close {name}")

        return provider


@pytest.fixture
def trail() -> Trail:
    return Trail()


async def test_once_per_attempt_and_once_per_worker(inside: Inside, trail: Trail) -> None:
    pool = trail.later("pool")

    async def session(pool: Annotated[str, Depends(pool, scope="worker")], ctx: AsyncContext) -> AsyncIterator[str]:
        trail.append("open session")
        yield f"session of {pool}, attempt {ctx.attempt.number}"
        trail.append("close session")

    def again(db: Annotated[str, Depends(session)]) -> str:
        return db

    @inside.app.task(retry=AT_ONCE)
    async def charge(
        n: int, ctx: AsyncContext, db: Annotated[str, Depends(session)], same: Annotated[str, Depends(again)]
    ) -> str:
        assert db is same
        trail.append("task")
        if ctx.attempt.number == 1:
            raise ValueError
        return db

    worker = inside.start()
    for _ in range(2):
        assert (await inside.run(charge, 1)).output == "session of pool, attempt 2"
    attempts = ["open session", "task", "open session", "task", "close session"]  # the first one saw the error
    assert trail == ["open pool", *attempts, *attempts]
    await inside.drained(worker)
    assert trail[-1] == "close pool"


async def test_closed_in_reverse_order(inside: Inside, trail: Trail) -> None:
    def of(*names: str, scope: Any) -> Any:
        """A provider that needs the one before it."""
        name, *before = reversed(names)
        need = Depends(of(*reversed(before), scope=scope), scope=scope) if before else Depends(lambda: "", scope=scope)

        def provider(before: Annotated[str, need]) -> Iterator[str]:
            trail.append(f"open {name}")
            yield name
            trail.append(f"close {name}")

        provider.__annotations__["before"] = Annotated[str, need]
        return provider

    abc, xyz = of("a", "b", "c", scope="attempt"), of("x", "y", "z", scope="worker")

    def now(n: int, c: Annotated[str, Depends(abc)], z: Annotated[str, Depends(xyz, scope="worker")]) -> str:
        return c + z

    async def later(n: int, c: Annotated[str, Depends(abc)], z: Annotated[str, Depends(xyz, scope="worker")]) -> str:
        return c + z

    tasks: list[Any] = [inside.app.task(fn) for fn in (now, later)]
    worker = inside.start()
    for task in tasks:
        assert (await inside.run(task, 1)).output == "cz"
    attempt = ["open a", "open b", "open c", "close c", "close b", "close a"]
    assert trail == ["open x", "open y", "open z", *attempt, *attempt]
    await inside.drained(worker)
    assert trail[-3:] == ["close z", "close y", "close x"]


async def test_the_worker_opens_a_provider_once_whoever_asks_first(inside: Inside, trail: Trail) -> None:
    async def slow() -> AsyncIterator[str]:
        trail.append("open")
        await asyncio.sleep(0.05)
        yield "slow"

    @inside.app.task
    async def one(n: int, s: Annotated[str, Depends(slow, scope="worker")]) -> str:
        return s

    @inside.app.task
    async def other(n: int, s: Annotated[str, Depends(slow, scope="worker")]) -> str:
        return s

    inside.start()
    batch = await inside.app.abatch_trigger([task.item(n) for n in range(10) for task in (one, other)])
    assert (await batch.aresults()).outputs() == ["slow"] * 20
    assert trail == ["open"]


async def test_a_provider_of_the_worker_that_cannot_be_opened_is_tried_again(inside: Inside, trail: Trail) -> None:
    def pool() -> Iterator[str]:
        trail.append("try")
        if len(trail) == 1:
            raise ConnectionError("not yet")
        yield "pool"

    @inside.app.task(retry=AT_ONCE)
    async def work(n: int, p: Annotated[str, Depends(pool, scope="worker")]) -> str:
        return p

    inside.start()
    ended = await inside.run(work, 1)
    assert (ended.output, ended.attempts) == ("pool", 2)
    assert trail == ["try", "try"]


async def test_a_canceled_attempt_takes_no_others_provider_along(inside: Inside, trail: Trail) -> None:
    """Fails with opening it in the asyncio task of the attempt that asked first."""
    gate, asked = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        asked.set()
        await gate.wait()
        yield "slow"

    @inside.app.task
    async def work(n: int, s: Annotated[str, Depends(slow, scope="worker")]) -> str:
        return s

    worker = inside.start()
    first = await work.atrigger(1)
    await asyncio.wait_for(asked.wait(), 30)
    second = await work.atrigger(2)
    worker.hold.interrupt(first.id, 1, "canceled")
    assert (await inside.ended(first)).status == "canceled"
    gate.set()
    assert (await inside.ended(second)).output == "slow"


@pytest.mark.parametrize("colour", ["async", "def"])
async def test_they_see_what_the_task_raises_and_cannot_undo_it(inside: Inside, trail: Trail, colour: str) -> None:
    def forgiving() -> Iterator[str]:
        try:
            yield "forgiving"
        except ValueError:
            trail.append("forgiven")

    def now(n: int, a: Annotated[str, Depends(forgiving)], b: Annotated[str, Depends(trail.sync("b"))]) -> None:
        raise ValueError("no luck")

    async def later(n: int, a: Annotated[str, Depends(forgiving)], b: Annotated[str, Depends(trail.sync("b"))]) -> None:
        raise ValueError("no luck")

    task: Any = inside.app.task(retry=ONCE)(later if colour == "async" else now)
    inside.start()
    ended = await inside.run(task, 1)
    assert (ended.status, ended.error.message) == ("failed", "no luck")
    assert trail == ["open b", "b saw ValueError", "close b", "forgiven"]


@pytest.mark.parametrize("colour", ["async", "def"])
async def test_what_cannot_be_opened_fails_the_attempt_and_what_is_open_is_closed(
    inside: Inside, trail: Trail, colour: str
) -> None:
    def broken(a: Annotated[str, Depends(trail.sync("a"))]) -> Iterator[str]:
        raise ConnectionError("refused")
        yield

    def now(n: int, b: Annotated[str, Depends(broken)]) -> None: ...
    async def later(n: int, b: Annotated[str, Depends(broken)]) -> None: ...

    task: Any = inside.app.task(retry=ONCE)(later if colour == "async" else now)
    inside.start()
    ended = await inside.run(task, 1)
    assert (ended.status, ended.error.type, ended.error.message) == ("failed", "ConnectionError", "refused")
    assert trail == ["open a", "a saw ConnectionError", "close a"]


@pytest.mark.parametrize("colour", ["async", "def"])
async def test_what_fails_to_close_is_written_down_and_the_others_are_closed(
    inside: Inside, trail: Trail, colour: str
) -> None:
    first = trail.sync("a")

    def stubborn(a: Annotated[str, Depends(first)]) -> Iterator[str]:
        yield "stubborn"
        raise OSError("cannot close")

    def endless(a: Annotated[str, Depends(first)]) -> Iterator[str]:
        yield "endless"
        yield "endless"

    def now(n: int, b: Annotated[str, Depends(stubborn)], c: Annotated[str, Depends(endless)]) -> str:
        return b

    async def later(n: int, b: Annotated[str, Depends(stubborn)], c: Annotated[str, Depends(endless)]) -> str:
        return b

    task: Any = inside.app.task(retry=ONCE)(later if colour == "async" else now)
    inside.start()
    ended = await inside.run(task, 1)
    assert (ended.status, ended.output) == ("completed", "stubborn")
    text = "\n".join(line.message for line in ended.logs)
    assert "stubborn failed: OSError: cannot close" in text
    assert "endless failed: RuntimeError: generator didn't stop" in text
    assert trail == ["open a", "close a"]


async def test_a_canceled_run_closes_what_it_had_open(inside: Inside, trail: Trail) -> None:
    started = asyncio.Event()

    @inside.app.task
    async def work(
        n: int, a: Annotated[str, Depends(trail.later("a"))], b: Annotated[str, Depends(trail.sync("b"))]
    ) -> None:
        started.set()
        await asyncio.sleep(3600)

    worker = inside.start()
    handle = await work.atrigger(1)
    await asyncio.wait_for(started.wait(), 30)
    worker.hold.interrupt(handle.id, 1, "canceled")
    assert (await inside.ended(handle)).status == "canceled"
    seen = ["b saw CancelledError", "close b", "a saw CancelledError", "close a"]
    assert trail == ["open a", "open b", *seen]


async def test_what_is_opened_in_a_thread_while_the_run_is_canceled_is_closed(inside: Inside, trail: Trail) -> None:
    """Fails with leaving the thread alone at once: what it then opened was nobody's."""
    gate, asked = threading.Event(), threading.Event()

    def slow() -> Iterator[str]:
        asked.set()
        gate.wait(30)
        trail.append("open")
        try:
            yield "slow"
        finally:
            trail.append("close")

    @inside.app.task
    async def work(n: int, s: Annotated[str, Depends(slow)]) -> None:
        trail.append("task")

    worker = inside.start()
    handle = await work.atrigger(1)
    await asyncio.to_thread(asked.wait, 30)
    worker.hold.interrupt(handle.id, 1, "canceled")
    await asyncio.sleep(0.05)
    gate.set()
    assert (await inside.ended(handle)).status == "canceled"
    assert trail == ["open", "close"]


async def test_a_def_task_has_its_providers_in_its_own_thread(inside: Inside) -> None:
    """So that what belongs to one thread, as sqlite3 has it, can be handed in. Those of an async task are opened in
    another thread than the loop's."""

    def connect() -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(":memory:")
        yield connection
        connection.execute("SELECT 1")
        connection.close()

    def where() -> int:
        return threading.get_ident()

    @inside.app.task(retry=ONCE)
    def now(n: int, db: Annotated[Any, Depends(connect)], thread: Annotated[int, Depends(where)]) -> bool:
        assert db.execute("SELECT 2").fetchone() == (2,)
        return thread == threading.get_ident()

    @inside.app.task(retry=ONCE)
    async def later(n: int, thread: Annotated[int, Depends(where)]) -> bool:
        return thread == threading.get_ident()

    inside.start()
    ended = await inside.run(now, 1)
    assert (ended.output, ended.logs) == (True, [])
    assert (await inside.run(later, 1)).output is False


async def test_a_provider_may_have_an_asyncio_scope_around_its_yield(inside: Inside) -> None:
    """Opened and closed in one asyncio task: cancel scopes and task groups insist on it, in either scope."""

    async def grouped() -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            group.create_task(asyncio.sleep(0))
            yield "grouped"

    @inside.app.task(retry=ONCE)
    async def work(
        n: int, a: Annotated[str, Depends(grouped)], b: Annotated[str, Depends(grouped, scope="worker")]
    ) -> str:
        return a + b

    worker = inside.start()
    ended = await inside.run(work, 1)
    assert (ended.output, ended.logs) == ("groupedgrouped", [])
    await inside.drained(worker)


async def test_a_provider_of_the_worker_that_does_not_close_keeps_nobody(
    inside: Inside, trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()

    async def deaf() -> AsyncIterator[str]:
        yield "deaf"
        await asyncio.sleep(3600)

    def stuck() -> Iterator[str]:
        yield "stuck"
        gate.wait(30)

    def broken() -> Iterator[str]:
        yield "broken"
        raise OSError("cannot close")

    @inside.app.task
    async def work(
        n: int,
        a: Annotated[str, Depends(trail.sync("first"), scope="worker")],
        b: Annotated[str, Depends(deaf, scope="worker")],
        c: Annotated[str, Depends(stuck, scope="worker")],
        d: Annotated[str, Depends(broken, scope="worker")],
    ) -> None: ...

    worker = inside.start(hook_seconds=0.1)
    await inside.run(work, 1)
    await inside.drained(worker, 5)
    gate.set()
    assert trail == ["open first", "close first"]
    for said in ("deaf did not close within 0.1 s", "stuck did not close within 0.1 s", "broken failed: cannot close"):
        assert said in caplog.text


async def test_providers_of_a_def_task_know_the_run(inside: Inside) -> None:
    def who(ctx: Context) -> str:
        return f"{ctx.run.id} {Context.current().run.id}"

    @inside.app.task
    def now(n: int, *, run: Annotated[str, Depends(who)]) -> str:
        return run

    inside.start()
    ended = await inside.run(now, 1)
    assert ended.output == f"{ended.id} {ended.id}"


async def test_overrides_stand_for_providers_and_for_what_those_need(inside: Inside, trail: Trail) -> None:
    """What tests use: neither the provider nor the pool behind it is opened."""
    pool = trail.sync("pool")

    def session(p: Annotated[str, Depends(pool, scope="worker")]) -> str:
        return f"session of {p}"

    def now(n: int, s: Annotated[str, Depends(session)]) -> str:
        return s

    async def later(n: int, s: Annotated[str, Depends(session)]) -> str:
        return s

    tasks: list[Any] = [inside.app.task(fn) for fn in (now, later)]
    worker = inside.start()
    await asyncio.sleep(0.01)
    worker.hold.scope.overrides = {session: "fake"}
    for task in tasks:
        assert (await inside.run(task, 1)).output == "fake"
    assert trail == []
    worker.hold.scope.overrides = {pool: "fake pool"}
    for task in tasks:
        assert (await inside.run(task, 1)).output == "session of fake pool"
    assert trail == []
