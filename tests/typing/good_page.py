"""The page of public names as one program, as far as it does not wait inside a task, with what must be inferred."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, assert_type

from pydantic import BaseModel

from holdfast import (
    AbortRun,
    AsyncContext,
    BatchHandle,
    BatchIncomplete,
    Blueprint,
    Context,
    Debounce,
    Depends,
    Failure,
    Holdfast,
    Item,
    LogLine,
    Queue,
    Results,
    ResultTimeout,
    Retry,
    RetryAfter,
    Run,
    RunCanceled,
    RunFailed,
    RunHandle,
    RunStatus,
    Secret,
    Stripe,
    Success,
    Task,
    Webhook,
    WebhookRequest,
)
from holdfast.testing import AsyncFakeContext, FakeContext

app = Holdfast()


class User(BaseModel):
    id: int
    email: str
    pin: Annotated[str, Secret] = ""


class Pool: ...


class Session: ...


def has_logged_in(user: User) -> bool:
    return True


# -- 1 to 3 -----------------------------------------------------------------------------------------------------------


@app.task
def greet(name: str) -> str:
    return f"Hello, {name}!"


@app.task
async def onboard(user: User, ctx: AsyncContext) -> str:
    assert_type(ctx.run.id, str)
    assert_type(ctx.run.tags, list[str])
    assert_type(ctx.run.parent_id, str | None)
    assert_type(ctx.attempt.number, int)
    assert_type(ctx.attempt.started_at, datetime)
    assert_type(ctx.task.id, str)
    assert_type(ctx.queue, str)
    assert_type(AsyncContext.current(), AsyncContext)
    ctx.metadata["row"] = user.id
    ctx.metadata.increment("rows", 2)
    ctx.metadata.append("seen", user.email)
    return "active"


assert_type(greet.trigger("Ada", delay="5s").result(), str)
assert_type(greet("Ada"), str)

ada = User(id=1, email="ada@example.com")
handle = onboard.trigger(ada, delay="5m", idempotency_key="user-1", tags=["signup"])
assert_type(handle, RunHandle[str])
assert_type(handle.created, bool)


def wait() -> str:
    try:
        return handle.result(timeout="1h")
    except RunCanceled:
        return "canceled"
    except RunFailed as failed:
        assert_type(failed.status, str)
        return f"{failed.run_id} {failed.error.type} {failed.error.traceback}"
    except ResultTimeout as late:
        return late.do or ""


onboard.trigger(ada, scheduled_for=datetime(2027, 1, 1, tzinfo=UTC), debounce=Debounce(key="user-1", delay="10s"))
onboard.trigger(ada, debounce=Debounce(key="k", delay=2.5, leading=True, max_delay=timedelta(minutes=1)))
onboard.trigger(ada, idempotency_key="k", idempotency_scope="run", idempotency_ttl="1d", connection=object())
assert_type(onboard.reset_idempotency_key("user-1", scope="global"), bool)
assert_type(app.reset_idempotency_key("onboard", "user-1"), bool)

batch = onboard.batch_trigger([ada, onboard.item(ada, priority=10)])
assert_type(batch, BatchHandle[str])
assert_type(onboard.item(ada), Item[str])
assert_type(batch.results(), Results[str])
assert_type(batch.results()[:2], Results[str])
assert_type(app.batch_trigger([onboard.item(ada), greet.item("Ada", queue="slow")]), BatchHandle[str])
onboard.handle(handle.id).cancel()
assert_type(app.handle(handle.id).replay(), RunHandle[Any])

for update in handle.updates():
    assert_type(update, Run[str])
    assert_type(update.status, RunStatus)
    assert_type(update.output, str)
    assert_type(update.logs, list[LogLine])
    assert_type(update.started_at, datetime | None)


async def from_async_code() -> None:
    handle = await onboard.atrigger(ada)
    print((await handle.aretrieve()).status, await handle.aresult())
    async for run in handle.aupdates():
        assert_type(run, Run[str])
    assert_type(await app.abatch_trigger([greet.item("Ada")]), BatchHandle[str])
    assert_type(await (await onboard.abatch_trigger([ada])).aresults("1h"), Results[str])
    assert_type(await onboard.areset_idempotency_key("user-1"), bool)
    try:
        await greet.abatch_trigger(["Ada"])
    except BatchIncomplete as incomplete:
        assert_type(incomplete.errors, dict[int, Exception])


# -- 5 ----------------------------------------------------------------------------------------------------------------


def open_pool() -> Iterator[Pool]:
    yield Pool()


def session(pool: Annotated[Pool, Depends(open_pool, scope="worker")]) -> Iterator[Session]:
    yield Session()


DB = Annotated[Session, Depends(session)]


@app.task
async def charge(user: User, ctx: AsyncContext, db: DB) -> int:
    return 1


@app.task(id="nightly")
def nightly(*, db: DB) -> None: ...


@app.task
def by_keyword(user: User, *, ctx: Context, db: DB) -> int:
    return 1


@app.task
def only_context(ctx: Context) -> int:
    return ctx.attempt.number


assert_type(charge.trigger(ada), RunHandle[int])
assert_type(nightly.trigger(), RunHandle[None])
assert_type(by_keyword.trigger(ada), RunHandle[int])
assert_type(by_keyword(ada, ctx=FakeContext(), db=Session()), int)
assert_type(only_context.trigger(), RunHandle[int])
assert_type(only_context(FakeContext()), int)

# -- 6 ----------------------------------------------------------------------------------------------------------------

orders = Queue(
    "orders", concurrency_limit=50, concurrency_limit_per_key=2, rate_limit="100/m", rate_limit_per_key="5/30s"
)


@app.task(
    id="fulfill-order",
    retry=Retry(max_attempts=5, on=ConnectionError, never=(ValueError, TypeError), jitter=False),
    max_duration="15m",
    queue=orders,
    machine="small-2x",
)
async def fulfill(user: User) -> str:
    return user.email


@fulfill.on_failure
async def tell_support(failure: Failure[User]) -> None:
    print(failure.run.id, failure.payload.email, failure.error.message)


@fulfill.on_success
def count(success: Success[User, str]) -> None:
    print(success.output.upper())


@fulfill.catch_error
def decide(failure: Failure[User]) -> RetryAfter | AbortRun | None:
    return RetryAfter("1h") if "429" in failure.error.message else None


# -- 7 ----------------------------------------------------------------------------------------------------------------

billing = Blueprint()


@billing.task
def invoice(number: int) -> str:
    return str(number)


@billing.webhook("/billing", verify=Stripe("whsec_secret"), retry=Retry(max_attempts=3))
async def paid(hook: Webhook[User]) -> str:
    return hook.body.email


assert_type(paid.trigger(Webhook(ada, id="1")).result(), str)
app.include(billing, prefix="billing.")
train: Task[User, str] = app.declare("train", User, str)
assert_type(train.trigger(ada).result(), str)
several: list[Task[User, str]] = [train, fulfill, onboard]


async def lifespan() -> None:
    async with app.running():
        pass


with app.connection() as connection:
    greet.trigger("Ada", connection=connection)


@app.webhook("/stripe", verify=Stripe("whsec_secret", tolerance="10m"))
async def stripe(hook: Webhook[User], ctx: AsyncContext) -> None:
    assert_type(hook.body.email, str)


def verified(request: WebhookRequest) -> bool | str:
    return request.headers.get("x-id", False)


@app.webhook("/own", verify=verified, id="own", retry=Retry(max_attempts=5))
def own(hook: Webhook[str]) -> int:
    return len(hook.body)


assert_type(own.trigger(Webhook("hi", id="1")).result(), int)

# -- 8 ----------------------------------------------------------------------------------------------------------------


def test_onboard() -> None:
    with app.testing() as jobs:
        jobs.override(session, Session())
        jobs.replace(charge, 1)
        jobs.replace(charge, ConnectionError)
        run = jobs.run(onboard, ada)
        assert run.status == "waiting"
        jobs.advance("3d")
        assert_type(jobs.now, datetime)
        assert run.output == "active"
        assert jobs.payloads(onboard) == [ada]
        jobs.assert_not_triggered(greet, "Ada")


async def test_plainly() -> None:
    assert_type(await charge(ada, AsyncFakeContext(tags=["vip"], attempt=2), Session()), int)


# What is not annotated passes, wherever the checker takes it.
@app.task
def untyped(payload, ctx):  # type: ignore[no-untyped-def]  # pyright: ignore
    return payload  # pyright: ignore


untyped.trigger({"a": 1})  # pyright: ignore
