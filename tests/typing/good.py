"""A program that every strict checker must accept, with what it must infer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from holdfast import (
    AsyncContext,
    BatchHandle,
    Blueprint,
    Context,
    Duration,
    Holdfast,
    Invocation,
    JournalEntry,
    ListedRun,
    Machine,
    PushResponse,
    Queue,
    QueueState,
    Results,
    Retry,
    Run,
    RunError,
    RunFailed,
    RunHandle,
    RunPage,
    Task,
    Usage,
)
from holdfast.testing import AsyncFakeContext, FakeContext, Jobs

app = Holdfast(retry=Retry(max_attempts=5, on=(ConnectionError, TimeoutError)), imports=["json"])


class Order(BaseModel):
    id: str
    email: str


@dataclass
class Charge:
    id: str


order = Order(id="1", email="ada@example.com")

# -- what a task is ---------------------------------------------------------------------------------------------------


@app.task
def greet(name: str) -> str:
    return f"Hello, {name}"


assert_type(greet("Ada"), str)
assert_type(greet.trigger("Ada"), RunHandle[str])
assert_type(greet.trigger("Ada", delay="5m", tags=["a"], metadata={"n": 1}).result(), str)
assert_type(greet.handle("r1"), RunHandle[str])


@app.task
def nothing() -> None: ...


nothing.trigger()
nothing.trigger(delay=3)
assert_type(nothing(), None)


@app.task
async def only_context(ctx: AsyncContext) -> int:
    return ctx.attempt.number


assert_type(only_context.trigger(), RunHandle[int])


@app.task(retry=Retry(max_attempts=5), queue=Queue("labels", concurrency_limit=10), max_duration="15m")
def print_label(order: Order, ctx: Context) -> bytes:
    ctx.metadata["order"] = order.id
    return b""


@app.task(id="make-invoice", ttl=timedelta(hours=1), priority=2.5, machine="large-1x")
async def make_invoice(order: Order) -> dict[str, str]:
    return {"order": order.id}


@app.task(machine=Machine(cpu=1.5, memory="3GB"), isolation="process", retry=Retry(out_of_memory="large-2x"))
def learn(order: Order, ctx: Context) -> float:
    assert_type(ctx.machine, Machine | None)
    assert_type(ctx.usage(), Usage)
    return ctx.usage().wall_seconds


learn.trigger(order, machine="large-1x")


async def call_them() -> None:
    assert_type(await make_invoice(order), dict[str, str])
    assert_type(print_label(order, FakeContext()), bytes)
    assert_type(await only_context(AsyncFakeContext(attempt=2)), int)
    handle = await make_invoice.atrigger(order, concurrency_key="c", scheduled_for=datetime(2027, 1, 1, tzinfo=UTC))
    assert_type(await handle.aresult(timeout="1h"), dict[str, str])
    assert_type(await handle.aretrieve(), Run[dict[str, str]])
    async for run in handle.aupdates():
        assert_type(run, Run[dict[str, str]])
    again = await handle.areplay()
    assert_type(again, RunHandle[dict[str, str]])
    await again.acancel()
    assert_type(handle.replay(payload=order, from_step="charge"), RunHandle[dict[str, str]])
    assert_type((await again.aretrieve()).journal, list[JournalEntry])


@app.task
def with_default(order: Order | None = None) -> int:
    return 1


with_default.trigger(None)
with_default.trigger(order)


@app.task
def of_anything(payload: Any) -> int:
    return 1


of_anything.trigger({"x": 1})


@app.task
def of_dict(payload: dict[str, int]) -> int:
    return 1


of_dict.trigger({"x": 1})
of_dict.trigger({})


@app.task
def of_models(payload: list[Order]) -> int:
    return 1


of_models.trigger([order])

# -- batches ----------------------------------------------------------------------------------------------------------

batch = make_invoice.batch_trigger([order, make_invoice.item(order, delay="5m")])
assert_type(batch, BatchHandle[dict[str, str]])
results = batch.results(timeout=5)
assert_type(results, Results[dict[str, str]])
assert_type(results.outputs(), list[dict[str, str]])
assert_type(results[0], Run[dict[str, str]])
for run in results.failed:
    assert_type(run.error, RunError | None)
mixed = app.batch_trigger([print_label.item(order), greet.item("Ada", queue="slow")])
for each in mixed.runs:
    each.cancel()


def count(batch: BatchHandle[Any]) -> int:
    return len(batch)


count(mixed)

# -- failures ---------------------------------------------------------------------------------------------------------


def verdict(handle: RunHandle[str]) -> str:
    try:
        return handle.result(timeout="1h")
    except RunFailed as failed:
        assert_type(failed.run_id, str)
        return failed.error.traceback


# -- tasks as values --------------------------------------------------------------------------------------------------


def later(task: Task[Order, Any], delay: Duration) -> None:
    task.trigger(order, delay=delay)


later(make_invoice, "5m")
later(print_label, timedelta(minutes=5))

train = app.declare("train", Order, Charge)
assert_type(train, Task[Order, Charge])
assert_type(train.trigger(order).result(), Charge)
nightly = app.declare("nightly", None, int)
assert_type(nightly.trigger().result(), int)
fire = app.declare("fire", Order, None)
assert_type(fire.trigger(order).result(), None)

library = Blueprint()


@library.task
def invoice(number: int) -> str:
    return str(number)


@library.task(max_crashes=1)
async def receipt(number: int, ctx: AsyncContext) -> str:
    return str(number)


app.include(library, prefix="billing.")
assert_type(invoice.trigger(3).result(), str)
assert_type(receipt.trigger(3).result(), str)

# -- operating --------------------------------------------------------------------------------------------------------

assert_type(app.handle("r1"), RunHandle[Any])
assert_type(app.trigger("greet", "Ada", idempotency_key="k", idempotency_ttl="1d"), RunHandle[Any])
page = app.runs.list(status=["failed", "crashed"], task=greet, queue="slow", tag="a", since="1h", limit=5)
assert_type(page, RunPage)
assert_type(page[0], ListedRun)
assert_type(app.runs.retrieve("r1"), Run[Any])
assert_type(app.queues.retrieve(Queue("mail")), QueueState)
app.queues.limit("mail", 5, concurrency_limit_per_key=None)


async def operate() -> None:
    assert_type(await app.runs.alist(since=datetime(2027, 1, 1, tzinfo=UTC)), RunPage)
    assert_type(await app.queues.alist(), list[QueueState])
    async with app.running(concurrency=4, queues=["mail", Queue("slow")], drain="5s"):
        await app.aclose()


with app.running():
    pass

# - HTTP tasks ---------------------------------------------------------------------------------------------------------

notify = app.http_task("notify", "https://example.com/notify", Order, headers={"X-A": "1"}, timeout="1m")
assert_type(notify, Task[Order, PushResponse])
assert_type(notify.trigger(order, delay="1m"), RunHandle[PushResponse])
ping = app.http_task("ping", "https://example.com/ping")
assert_type(ping.trigger().result(), PushResponse)
pushed = app.push("https://example.com", json={"n": 1}, delay="5m", retry=Retry(delays=["5s"]), name="n", method="PUT")
assert_type(pushed, RunHandle[PushResponse])
assert_type(app.runs.invocations(pushed.id), Sequence[Invocation])


async def push_from_async_code() -> None:
    assert_type((await app.apush("https://example.com", content=b"x", any_2xx=True)).id, str)


# -- tests ------------------------------------------------------------------------------------------------------------

with app.testing(at=datetime(2027, 1, 1, tzinfo=UTC)) as jobs:
    assert_type(jobs, Jobs)
    run_of_invoice = jobs.run(make_invoice, order, delay="3d")
    jobs.advance("3d")
    assert_type(run_of_invoice.output, dict[str, str])
    assert_type(jobs.run(nothing), Run[None])
    payloads: list[Order] = jobs.payloads(print_label)
    assert_type(jobs.triggered(greet), Sequence[Run[str]])
    jobs.replace(print_label, b"label")
    jobs.replace(make_invoice, ConnectionError("no network"))
    jobs.replace(train, Charge("c"))
    jobs.assert_triggered(greet, "Ada", times=2)


async def in_async_tests(jobs: Jobs) -> None:
    assert_type((await jobs.arun(print_label, order)).output, bytes)
    await jobs.aadvance(timedelta(days=1))
