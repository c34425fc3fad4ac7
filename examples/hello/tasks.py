"""The first minute of Holdfast.

    holdfast dev examples/hello/tasks.py         everything in one command; save this file and the worker reloads
    holdfast trigger greet '"Ada"' --wait        from another terminal

A task is a function. It takes one payload, checked against its annotation, and after it the context if it asks for one.
"""

import asyncio
import random

from pydantic import BaseModel

from holdfast import AsyncContext, Context, Holdfast, Queue, Retry

app = Holdfast()


@app.task
def greet(name: str) -> str:
    return f"Hello, {name}!"


class Order(BaseModel):
    number: int
    customer: str


# However many orders come in, two are packed at a time, and no customer takes both places.
packing = Queue("packing", concurrency_limit=2, concurrency_limit_per_key=1)


@app.task(queue=packing, max_duration="1m")
async def pack(order: Order, ctx: AsyncContext) -> str:
    print(f"packing order {order.number}, attempt {ctx.attempt.number}")  # kept with the run, like logging
    await asyncio.sleep(0.5)
    return f"order {order.number} for {order.customer} is packed"


class CarrierBusy(Exception):
    pass


@app.task(retry=Retry(max_attempts=10, min_delay="200ms", max_delay="2s", on=CarrierBusy))
def ship(order: Order, ctx: Context) -> str:
    """Fails about every second time, and is tried again."""
    if random.random() < 0.5:
        raise CarrierBusy(f"nobody answers, attempt {ctx.attempt.number}")
    return f"order {order.number} is on its way"


if __name__ == "__main__":
    print(greet.trigger("Ada").result(timeout="1m"))
    orders = [Order(number=number, customer=customer) for number, customer in enumerate(["Ada", "Grace", "Ada"], 1)]
    packed = pack.batch_trigger([pack.item(order, concurrency_key=order.customer) for order in orders])
    for text in packed.results(timeout="1m").outputs():
        print(text)
    print(ship.trigger(orders[0]).result(timeout="1m"))
