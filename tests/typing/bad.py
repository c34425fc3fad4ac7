"""Planted mistakes. Every line with ``# E`` must be reported by each strict checker, and no other line.

``# E: pyright`` is for what only pyright tells.
"""

from __future__ import annotations

from pydantic import BaseModel

from holdfast import AsyncContext, Blueprint, Context, Holdfast, Queue, Retry
from holdfast.testing import FakeContext

app = Holdfast()


class Order(BaseModel):
    id: str


order = Order(id="1")


@app.task
async def fulfil(order: Order, ctx: AsyncContext) -> int:
    return 1


@app.task
def greet(name: str) -> str:
    return name


@app.task
def nothing() -> None: ...


# -- payloads and options ---------------------------------------------------------------------------------------------

fulfil.trigger("x")  # E
fulfil.trigger()  # E
nothing.trigger(order)  # E
fulfil.trigger(order, dealy="5m")  # E
fulfil.trigger(order, delay=[5])  # E
fulfil.trigger(order, tags=5)  # E
fulfil.trigger(order, max_attempts="3")  # E
fulfil.item("x")  # E
fulfil.batch_trigger(["x"])  # E
fulfil.batch_trigger(order)  # E
app.batch_trigger(["x"])  # E
app.trigger(greet, "Ada")  # E

# -- results ----------------------------------------------------------------------------------------------------------

number: int = greet.trigger("Ada").result()  # E
text: str = fulfil.trigger(order).result()  # E
flag: bool = greet.handle("r1").retrieve().output  # E
greet.trigger("Ada").wait()  # E


async def in_async_code() -> None:
    await greet.trigger("Ada")  # E
    (await greet.atrigger("Ada")).result().real  # E
    await fulfil(order)  # E
    await fulfil(order, Context())  # E


# -- functions --------------------------------------------------------------------------------------------------------

greet(5)  # E
greet()  # E
greet("Ada", FakeContext())  # E

# -- options of tasks, queues and apps --------------------------------------------------------------------------------


@app.task(retires=Retry())  # E
def misspelt(name: str) -> None: ...


@app.task(retry=5)  # E
def no_retry(name: str) -> None: ...


@app.task(queue=5)  # E
def no_queue(name: str) -> None: ...


Queue("mail", concurrency=5)  # E
Queue("mail", concurrency_limit="5")  # E
Retry(on="ConnectionError")  # E
Holdfast(database=5)  # E
Holdfast(imports=[5])  # E

# -- the rest of an app -----------------------------------------------------------------------------------------------

declared = app.declare("train", Order, str)
declared.trigger("x")  # E
wrong: int = declared.trigger(order).result()  # E
app.include(app)  # E
app.include(Blueprint(), prefix=5)  # E
app.runs.list(status="complete")  # E
app.runs.list(tags=["a"])  # E
app.queues.limit("mail", "5")  # E
app.running(workers=2)  # E

with app.testing() as jobs:
    jobs.run(fulfil, "x")  # E
    jobs.run(nothing, order)  # E
    jobs.replace(fulfil, "x")  # E
    jobs.assert_triggered(greet, 5)  # E
    jobs.payloads(fulfil)[0].email  # E
FakeContext(attempts=2)  # E
