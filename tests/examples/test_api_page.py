"""The page of examples that the public names are held to, carried out as a user would, part by part.

Its tasks stand at the top, as on the page, with stand-ins for the mail, the shop and the web. What waits inside a task
is not here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import pytest
from pydantic import BaseModel

from holdfast import (
    AbortRun,
    AsyncContext,
    Blueprint,
    Context,
    Debounce,
    Depends,
    DuplicateTask,
    Failure,
    Holdfast,
    InvalidOption,
    InvalidTask,
    NotBound,
    Queue,
    Retry,
    RetryAfter,
    RunCanceled,
    RunCrashed,
    RunExpired,
    RunFailed,
    RunHandle,
    RunTimedOut,
    Success,
    Task,
)
from holdfast.testing import AsyncFakeContext, FakeContext, Jobs

app = Holdfast()
told: list[Any] = []
SOON = "30s"


class User(BaseModel):
    id: int
    email: str


ada = User(id=1, email="ada@example.com")
nobody = User(id=0, email="nobody")


class Pool:
    pass


class Session:
    def __init__(self, pool: Pool | None = None) -> None:
        self.pool, self.open = pool, True


def open_pool() -> Iterator[Pool]:
    yield Pool()


def session(pool: Annotated[Pool, Depends(open_pool, scope="worker")]) -> Iterator[Session]:
    opened = Session(pool)
    yield opened
    opened.open = False


DB = Annotated[Session, Depends(session)]


@app.task
def greet(name: str) -> str:
    return f"Hello, {name}!"


@app.task
async def onboard(user: User, ctx: AsyncContext) -> str:
    ctx.metadata["welcomed"] = user.email
    ctx.metadata.increment("mails")
    ctx.metadata.append("seen", "welcome")
    logging.getLogger("shop").info("welcome, %s", helper())
    if user.id == 0:
        raise AbortRun("nobody is there")
    return "active"


def helper() -> str:
    return AsyncContext.current().run.id


@app.task
async def charge(user: User, ctx: AsyncContext, db: DB) -> int:
    told.append(db)
    return 1


@app.task(id="nightly")
def nightly(*, db: DB) -> None:
    told.append(db)


@app.task
def with_the_context(ctx: Context) -> int:
    return ctx.attempt.number


@app.task(
    id="fulfill-order",
    retry=Retry(max_attempts=5, on=httpx.HTTPError, never=ValueError, min_delay="10ms", max_delay="10ms"),
    max_duration="15m",
    queue=Queue("orders", concurrency_limit=50, concurrency_limit_per_key=2),
)
async def fulfill(user: User, ctx: AsyncContext) -> str:
    if user.email == "later" and ctx.attempt.number == 1:
        raise httpx.ConnectError("429 Too Many Requests")
    if user.email == "never":
        raise ValueError("no such address")
    return user.email


@fulfill.on_failure
async def tell_support(failure: Failure[User]) -> None:
    told.append((failure.run.id, failure.payload.email, failure.error.message))


@fulfill.on_success
def count(success: Success[User, str]) -> None:
    told.append(success.output.upper())


@fulfill.catch_error
def decide(failure: Failure[User]) -> RetryAfter | AbortRun | None:
    return RetryAfter("20ms") if "429" in failure.error.message else None


billing = Blueprint()


@billing.task
def invoice(number: int) -> str:
    return str(number)


@pytest.fixture
def placed(database_url: str) -> Iterator[Holdfast]:
    """The app of this page over a database."""
    told.clear()
    app.settings.use_flags(database=database_url)
    yield app
    app.close()


@pytest.fixture
def carried_out(placed: Holdfast) -> Iterator[None]:
    """A worker for the app, in this process."""
    with placed.running():
        yield


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    told.clear()
    with app.testing() as jobs:
        yield jobs


# -- 1: the first minute ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("carried_out")
def test_the_first_minute() -> None:
    assert greet.trigger("Ada", delay="50ms").result(timeout=SOON) == "Hello, Ada!"
    assert greet("Ada") == "Hello, Ada!"


# -- 3: triggering ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("placed")
def test_a_known_key_is_the_earlier_run() -> None:
    handle = onboard.trigger(ada, delay="5m", idempotency_key="user-1", tags=["signup"])
    again = onboard.trigger(ada, idempotency_key="user-1")
    assert (handle.created, again.created, again.id) == (True, False, handle.id)
    run = handle.retrieve()
    assert (run.status, run.tags, run.idempotency_key) == ("delayed", ["signup"], "user-1")
    onboard.handle(handle.id).cancel()
    assert app.handle(handle.id).retrieve().status == "canceled"
    with pytest.raises(RunCanceled):
        handle.result(timeout=SOON)


@pytest.mark.usefixtures("carried_out")
def test_a_result_or_why_there_is_none() -> None:
    verdict: str = onboard.trigger(ada).result(timeout=SOON)
    assert verdict == "active"
    with pytest.raises(RunFailed) as caught:
        onboard.trigger(nobody).result(timeout=SOON)
    failed = caught.value
    assert (failed.status, failed.error.type, failed.error.message) == (
        "failed",
        "holdfast.errors.AbortRun",
        "nobody is there",
    )
    assert "raise AbortRun" in failed.error.traceback
    assert app.runs.retrieve(failed.run_id).status == "failed"
    assert all(issubclass(kind, RunFailed) for kind in (RunCanceled, RunExpired, RunTimedOut, RunCrashed))


@pytest.mark.usefixtures("placed")
def test_when_it_starts() -> None:
    new_year = datetime(2127, 1, 1, tzinfo=UTC)
    handle = onboard.trigger(ada, scheduled_for=new_year)
    assert handle.retrieve().due_at == new_year
    with pytest.raises(InvalidOption, match="delay and scheduled_for are both given"):
        onboard.trigger(ada, delay="5m", scheduled_for=new_year)
    burst = [onboard.trigger(ada, debounce=Debounce(key="user-1", delay="10s")) for _ in range(3)]
    assert len({each.id for each in burst}) == 1
    assert [each.created for each in burst] == [True, False, False]


@pytest.mark.usefixtures("carried_out")
def test_batches() -> None:
    batch = onboard.batch_trigger([ada, onboard.item(ada, priority=10)])
    assert batch.results(timeout=SOON).outputs() == ["active", "active"]
    assert [run.retrieve().priority for run in batch.runs] == [0, 10]
    mixed = app.batch_trigger([onboard.item(ada), greet.item("Ada", queue="slow")])
    results = mixed.results(timeout=SOON)
    assert results.outputs() == ["active", "Hello, Ada!"]
    assert [run.queue for run in results] == ["task/onboard", "slow"]
    [bad] = onboard.batch_trigger([ada, nobody]).results(timeout=SOON).failed
    assert (bad.ok, bad.status, bad.error and bad.error.message) == (False, "failed", "nobody is there")


async def test_from_async_code(placed: Holdfast) -> None:
    async with placed.running():
        handle = await onboard.atrigger(ada)
        assert await handle.aresult(timeout=SOON) == "active"
        run = await handle.aretrieve()
        assert run.status == "completed"
        assert run.metadata == {"welcomed": "ada@example.com", "mails": 1, "seen": ["welcome"]}
        assert [line.message for line in run.logs] == [f"welcome, {run.id}"]
        last = [run async for run in handle.aupdates()][-1]
        assert (last.status, last.metadata["mails"]) == ("completed", 1)
        assert [run.id async for run in handle.aupdates()] == [run.id for run in handle.updates()]
        assert [run.id for run in await app.runs.alist()] == [run.id for run in app.runs.list()] == [handle.id]


def test_what_is_triggered_inside_a_task_knows_its_parent(placed: Holdfast) -> None:
    app = Holdfast(str(placed.settings.get("database").value))

    @app.task
    def child(n: int, ctx: Context) -> list[str | None]:
        return [ctx.parent.id if ctx.parent else None, ctx.run.parent_id]

    @app.task
    def parent(n: int, ctx: Context) -> str:
        assert ctx.parent is None
        return child.trigger(n).id

    with app.running():
        top = parent.trigger(1)
        below: RunHandle[list[str | None]] = child.handle(top.result(timeout=SOON))
        assert below.result(timeout=SOON) == [top.id, top.id]
    app.close()


# -- 4: inside a task -------------------------------------------------------------------------------------------------


def test_the_wrong_context_is_refused_at_import() -> None:
    with pytest.raises(InvalidTask, match=r"is a def and asks for AsyncContext.*Write ctx: Context"):

        @Holdfast().task
        def plain(n: int, ctx: AsyncContext) -> None: ...

    with pytest.raises(TypeError, match="is an async def and asks for Context"):

        @Holdfast().task
        async def coloured(n: int, ctx: Context) -> None: ...


def test_facts_about_the_run() -> None:
    app = Holdfast()

    @app.task(queue="mail")
    def facts(n: int, ctx: Context) -> list[Any]:
        assert Context.current().run == ctx.run
        return [ctx.run.id, ctx.run.tags, ctx.attempt.number, ctx.task.id, ctx.queue, ctx.parent]

    with app.testing() as jobs:
        run = jobs.run(facts, 1, tags=["a"])
        assert run.output == [run.id, ["a"], 1, "facts", "mail", None]
    with pytest.raises(NotBound):
        Context.current()


# -- 5: after the payload, everything is asked for --------------------------------------------------------------------


@pytest.mark.usefixtures("carried_out")
def test_what_is_asked_for_is_opened_and_closed() -> None:
    assert charge.trigger(ada).result(timeout=SOON) == 1
    nightly.trigger().result(timeout=SOON)
    assert with_the_context.trigger().result(timeout=SOON) == 1
    first, second = told
    assert first is not second  # one per attempt
    assert first.pool is second.pool  # one per worker process
    assert (first.open, second.open) == (False, False)


def test_a_task_has_one_payload() -> None:
    with pytest.raises(InvalidTask, match=r"subject.*A task has one payload; make it a model, dataclass or TypedDict"):

        @Holdfast().task
        def send(to: str, subject: str) -> None: ...


# -- 6: options and hooks ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("carried_out")
def test_hooks_and_what_may_be_retried() -> None:
    assert fulfill.trigger(ada).result(timeout=SOON) == "ada@example.com"
    late = fulfill.trigger(User(id=2, email="later"))
    assert late.result(timeout=SOON) == "later"
    assert late.retrieve().attempts == 2
    never = fulfill.trigger(User(id=3, email="never"), concurrency_key="user-3")
    with pytest.raises(RunFailed, match="no such address"):
        never.result(timeout=SOON)
    assert never.retrieve().attempts == 1


def test_hooks_are_told(jobs: Jobs) -> None:
    jobs.run(fulfill, ada)
    never = jobs.run(fulfill, User(id=3, email="never"))
    assert told == ["ADA@EXAMPLE.COM", (never.id, "never", "no such address")]


@pytest.mark.usefixtures("placed")
def test_two_limits_two_words() -> None:
    fulfill.trigger(ada)
    orders = app.queues.retrieve("orders")
    assert (orders.concurrency_limit, orders.concurrency_limit_per_key) == (50, 2)
    machine = Holdfast().task(id="large", machine="small-2x")(lambda: None)
    assert machine.id == "large"


# -- 7: many modules, libraries, settings -----------------------------------------------------------------------------


def test_a_library_without_an_app(database_url: str) -> None:
    app = Holdfast(database_url)
    library = Blueprint()

    @library.task
    def invoice(number: int) -> str:
        return str(number)

    with pytest.raises(NotBound, match="belongs to no app yet"):
        invoice.trigger(7)
    app.include(library, prefix="billing.")
    assert list(app.tasks) == ["billing.invoice"]
    with app.running():
        assert invoice.trigger(7).result(timeout=SOON) == "7"
    app.close()


def test_typed_triggering_without_the_code(database_url: str) -> None:
    web, worker = Holdfast(database_url), Holdfast(database_url)
    train: Task[User, str] = web.declare("train", User, str)

    @worker.task(id="train")
    def expensive(user: User) -> str:
        return user.email

    with worker.running():
        assert train.trigger(ada).result(timeout=SOON) == "ada@example.com"
    web.close()
    worker.close()


def test_two_tasks_with_one_id_name_both_places() -> None:
    app = Holdfast()

    @app.task(id="one")
    def first() -> None: ...

    with pytest.raises(DuplicateTask, match=r"test_api_page\.py:\d+.* and .*test_api_page\.py:\d+"):

        @app.task(id="one")
        def second() -> None: ...


def test_several_modules(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_orders.py").write_text("from shop_app import app\n@app.task\ndef order(): pass\n")
    (tmp_path / "shop_app.py").write_text("from holdfast import Holdfast\napp = Holdfast(imports=['shop_orders'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    import shop_app  # type: ignore[import-not-found]

    assert list(shop_app.app.tasks) == []
    with shop_app.app.testing():
        assert list(shop_app.app.tasks) == ["order"]


def test_settings_and_where_each_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "sqlite:////srv/env.db")
    monkeypatch.setenv("HOLDFAST_TTL", "1h")
    settings = Holdfast("/srv/said.db").settings
    assert settings.get("database")[1:] == ("sqlite:////srv/said.db", "Holdfast(database=…)")
    assert settings.get("ttl")[1:] == (3_600_000, "HOLDFAST_TTL")
    settings.use_flags(database="/srv/flag.db")
    assert settings.get("database")[1:] == ("sqlite:////srv/flag.db", "--database")


# -- 8: tests ---------------------------------------------------------------------------------------------------------


def test_a_test_of_tasks(jobs: Jobs) -> None:
    jobs.override(session, Session())
    jobs.replace(onboard, "active")
    run = jobs.run(onboard, ada, delay="3d")
    assert run.status == "delayed"
    jobs.advance("3d")
    assert run.output == "active"
    assert jobs.payloads(onboard) == [ada]
    assert jobs.run(charge, ada).output == 1
    [db] = told
    assert (db.pool, db.open) == (None, True)  # what was handed in is neither opened nor closed


async def test_plainly() -> None:
    assert await charge(ada, AsyncFakeContext(), Session()) == 1
    assert with_the_context(FakeContext(attempt=2)) == 2
