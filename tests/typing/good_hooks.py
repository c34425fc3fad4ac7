"""Hooks, middleware and providers as users write them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, assert_type

from pydantic import BaseModel

from holdfast import (
    AbortRun,
    AsyncContext,
    Cancellation,
    Completion,
    Context,
    Depends,
    Event,
    Failure,
    Holdfast,
    RetryAfter,
    RunError,
    RunHandle,
    Success,
)

app = Holdfast()


class User(BaseModel):
    id: int
    email: str


class Pool: ...


class Session: ...


def open_pool() -> Iterator[Pool]:
    yield Pool()


def session(pool: Annotated[Pool, Depends(open_pool, scope="worker")], ctx: Context) -> Iterator[Session]:
    yield Session()


async def later(ctx: AsyncContext) -> AsyncIterator[int]:
    yield ctx.attempt.number


DB = Annotated[Session, Depends(session)]


@app.task(id="fulfill-order")
async def fulfill(user: User, ctx: AsyncContext, db: DB, n: Annotated[int, Depends(later)]) -> str:
    return user.email


@app.task
def nightly(*, db: DB) -> None: ...


assert_type(fulfill.trigger(User(id=1, email="")), RunHandle[str])
assert_type(nightly.trigger(), RunHandle[None])
assert_type(nightly(db=Session()), None)


async def plainly() -> None:
    assert_type(await fulfill(User(id=1, email=""), AsyncContext(), Session(), 1), str)
    assert_type(await fulfill(User(id=1, email=""), ctx=AsyncContext(), db=Session(), n=1), str)


@fulfill.init
def begin(event: Event[User]) -> None:
    event.state["email"] = assert_type(event.payload.email, str)


@fulfill.on_start
async def started(event: Event[User]) -> None:
    print(event.run.id, event.run.status)


@fulfill.on_failure
async def tell_support(failure: Failure[User]) -> None:
    print(failure.run.id, failure.payload.email, failure.error.message)
    assert_type(failure.error, RunError)
    assert_type(failure.exception, BaseException | None)
    assert_type(failure.retry_in, timedelta | None)


@fulfill.on_success
def count(success: Success[User, str]) -> None:
    print(success.output.upper())


@fulfill.on_cancel
def canceled(event: Cancellation[User]) -> None:
    print(event.payload.email)


@fulfill.on_complete
def completed(completion: Completion[User, str]) -> int:
    assert_type(completion.output, str)
    assert_type(completion.error, RunError | None)
    return 1


@fulfill.catch_error
def decide(failure: Failure[User]) -> RetryAfter | AbortRun | None:
    return RetryAfter("1h") if "429" in failure.error.message else None


@fulfill.catch_error
async def decide_later(failure: Failure[User]) -> RetryAfter | AbortRun | None:
    return None


@fulfill.middleware
async def timed(event: Event[User], call_next: Callable[[], Awaitable[str]]) -> str:
    assert_type(event.payload, User)
    return (await call_next()).upper()


@fulfill.middleware
def around(event: Event[User], call_next: Callable[[], str]) -> None:
    call_next()


@app.middleware
async def traced(event: Event[Any], call_next: Callable[[], Awaitable[Any]]) -> None:
    await call_next()


@app.on_failure
def shout(failure: Failure[Any]) -> None:
    print(failure.error.message)


@app.cleanup
async def cleaned(event: Event[Any]) -> None: ...


# A hook is still its function.
assert_type(count(Success(app.handle("x").retrieve(), User(id=1, email=""), "done")), None)
assert_type(completed(Completion(app.handle("x").retrieve(), User(id=1, email=""))), int)
