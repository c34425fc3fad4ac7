"""Mistakes with what the page of public names shows, that a checker must report."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel

from holdfast import (
    AsyncContext,
    Blueprint,
    Context,
    Debounce,
    Depends,
    Failure,
    Holdfast,
    Queue,
    Retry,
    RunHandle,
    Stripe,
    Success,
    Task,
    Webhook,
)
from holdfast.testing import AsyncFakeContext, FakeContext

app = Holdfast()


class User(BaseModel):
    id: int


class Session: ...


def session() -> Session:
    return Session()


ada = User(id=1)


@app.task
async def onboard(user: User, ctx: AsyncContext, db: Annotated[Session, Depends(session)]) -> str:
    ctx.run.id = "other"  # E
    ctx.attempt.total  # E
    ctx.metadata.increment(5)  # E
    ctx.metadata.increment("rows", "2")  # E
    ctx.metadata[5] = "row"  # E
    return "active"


@app.task
def greet(name: str, ctx: Context) -> str:
    return name


@app.task
def nothing() -> None: ...


# -- options ----------------------------------------------------------------------------------------------------------

greet.trigger("Ada", delay=None)  # E
greet.trigger("Ada", scheduled_for="tomorrow")  # E
greet.trigger("Ada", priority="high")  # E
greet.trigger("Ada", metadata=[1])  # E
greet.trigger("Ada", idempotency_scope="task")  # E
greet.trigger("Ada", debounce="10s")  # E
greet.trigger("Ada", debounce=Debounce(key="k"))  # E
greet.trigger("Ada", machine="large")  # E
greet.trigger("Ada", "5m")  # E
greet.trigger(name="Ada")  # E
greet.item("Ada", delay=[1])  # E
greet.reset_idempotency_key(5)  # E
greet.reset_idempotency_key("k", scope="task")  # E
Debounce("k", "10s")  # E
Debounce(key=5, delay="10s")  # E
Debounce(key="k", delay="10s", leading="yes")  # E
Queue("mail", 5)  # E
Queue("mail", rate_limit=100)  # E
Retry(max_attempts="5")  # E
Retry(on=[ValueError])  # E
Retry(delay="5s")  # E
Holdfast("jobs.db", "1h")  # E
Holdfast(retry=5)  # E
Holdfast(payload_limit="10MB")  # E

# -- handles ----------------------------------------------------------------------------------------------------------

handle = greet.trigger("Ada")
handle.result(timeout=[5])  # E
other: RunHandle[int] = handle  # E
greet.handle(5)  # E
app.handle(handle)  # E
app.trigger(5)  # E
app.batch_trigger(greet.item("Ada", user=1))  # E


async def in_async_code() -> None:
    await handle.result()  # E
    for _ in handle.aupdates():  # E
        pass
    async for _ in handle.updates():  # E
        pass
    (await onboard.atrigger(ada)).aresult().upper()  # E
    await onboard(ada, AsyncContext(), 3)  # E
    await onboard(ada, AsyncFakeContext())  # E
    await onboard(ada, FakeContext(), Session())  # E


# -- tasks as values, libraries ---------------------------------------------------------------------------------------


def later(task: Task[User, Any]) -> None:
    task.trigger(ada)


later(greet)  # E
later(nothing)  # E
wrong: Task[User, int] = onboard  # E
app.declare("train", User)  # E
app.declare("train", User, str).trigger("x")  # E
app.declare("train", None, str).trigger(ada)  # E
app.include("billing")  # E
Blueprint("billing")  # E
library = Blueprint()


@library.task(max_crash=1)  # E
def invoice(number: int) -> str:
    return str(number)


@greet.on_success  # E
def counted(success: Success[int, str]) -> None: ...


@greet.on_failure  # E
def told(failure: Failure[User]) -> None: ...


# -- operating and testing --------------------------------------------------------------------------------------------

app.runs.retrieve(handle)  # E
app.runs.list("failed")  # E
app.runs.list(since=[1])  # E
app.runs.list(limit="5")  # E
app.queues.pause(5)  # E
app.queues.limit("mail", 2.5)  # E
app.running(concurrency="4")  # E
app.running(drain=[1])  # E
app.testing(at="2027-01-01")  # E

with app.testing() as jobs:
    jobs.advance([1])  # E
    jobs.payloads("greet")  # E
    jobs.override(5, Session())  # E
    jobs.replace(greet, 5)  # E
    jobs.run(greet, "Ada", dealy="5m")  # E
    jobs.run(greet, "Ada").output.real  # E
    jobs.assert_triggered(greet, "Ada", times="1")  # E
FakeContext(attempt="2")  # E
AsyncFakeContext(labels=["a"])  # E
app.webhook("/stripe")  # E
app.webhook("/stripe", verify="secret")  # E
app.webhook(5, verify=Stripe("whsec_secret"))  # E
Stripe(5)  # E


@app.webhook("/stripe", verify=Stripe("whsec_secret"))
async def stripe(hook: Webhook[User]) -> None:
    hook.body.email  # E
