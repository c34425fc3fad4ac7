"""The tasks of a shop that sells kelp. Every ten seconds somebody orders something; then this happens:

fulfil-order      charges, packs, waits for the carrier, and asks for a review days later
charge-card       fails now and then, as cards do, and is tried again
pack              two at a time, one for each customer
refund            waits until somebody has approved it, with a token
import-catalogue  tells how far it is, and writes a stream
count-stock       every quarter of an hour, in a process of its own
payment           takes what the bank tells, as a webhook
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from holdfast import AsyncContext, Context, Cron, Holdfast, Queue, Retry, Stripe, Webhook, alerts

app = Holdfast()
app.alert("packers", alerts.Backlog("2h", queue="packing"), to=alerts.Mail("packing@reef.example"))
app.alert("nightly", alerts.MissedSchedule("1h"), to=alerts.Slack("https://hooks.reef.example/services/T00/B00"))
log = logging.getLogger("shop")

packing = Queue("packing", concurrency_limit=2, concurrency_limit_per_key=1)
mail = Queue("mail", concurrency_limit=10, rate_limit="100/m")
CUSTOMERS = ("ada", "grace", "linus", "barbara", "alan", "edsger", "katherine", "tim")
ITEMS: tuple[str, ...] = ("kelp crisps", "sea lettuce", "dulse flakes", "nori", "kombu", "wakame")


class Address(BaseModel):
    street: str = "Kelp Lane 7"
    city: str = "Reykjavík"
    country: str = Field(default="IS", description="Two letters, as in ISO 3166")


class Order(BaseModel):
    """What somebody has ordered."""

    number: int = Field(description="As it stands on the receipt", ge=1)
    customer: str
    items: list[str] = ["nori"]
    total: float = Field(default=12.5, ge=0)
    currency: Literal["EUR", "ISK", "USD"] = "EUR"
    express: bool = False
    address: Address = Address()
    note: str | None = None


class Charge(BaseModel):
    order: int
    customer: str
    amount: float
    card: SecretStr


class Approval(BaseModel):
    approved: bool
    amount: float = Field(default=12.5, ge=0)
    by: str
    reason: str | None = None


class Paid(BaseModel):
    id: str
    type: str
    order: int
    amount: float


class CardDeclined(Exception):
    """The bank says no."""


class BankUnreachable(Exception):
    """The bank says nothing."""


def an_order() -> Order:
    number, customer = random.randrange(10_000, 99_999), random.choice(CUSTOMERS)
    items = random.sample(ITEMS, random.randrange(1, 4))
    return Order(number=number, customer=customer, items=items, total=7.5 * len(items), express=random.random() < 0.2)


@app.task(id="order-arrives", schedule=Cron("*/10 * * * * *"))
def arrive() -> None:
    """Somebody orders something."""
    order = an_order()
    tags = [f"customer:{order.customer}", *(["express"] if order.express else [])]
    fulfil.trigger(order, tags=tags)
    receipt.trigger(order, tags=tags)


@app.task(id="fulfil-order", max_duration="1h")
async def fulfil(order: Order, ctx: AsyncContext) -> dict[str, str]:
    """From the order to the door."""
    await ctx.step(reserve, order)
    charge_of = Charge(order=order.number, customer=order.customer, amount=order.total, card=SecretStr("4242424242"))
    await ctx.trigger_and_wait(charge, charge_of)
    label = await ctx.step(print_label, order)
    await ctx.trigger_and_wait(pack, order, concurrency_key=order.customer)
    await ctx.sleep("20s" if order.express else "3m")
    return {"label": label, "status": "delivered"}


async def reserve(order: Order) -> dict[str, str]:
    await asyncio.sleep(random.uniform(0.1, 0.5))
    return {"shelf": f"B{order.number % 9}"}


async def print_label(order: Order) -> str:
    await asyncio.sleep(random.uniform(0.05, 0.3))
    return f"LBL-{order.number}"


@app.task(id="charge-card", retry=Retry(max_attempts=4, min_delay="1s", max_delay="5s", on=BankUnreachable))
def charge(wanted: Charge, ctx: Context) -> dict[str, object]:
    """One in twelve cards has nothing left, and one bank in six sleeps."""
    log.info("charging %s for order %d", wanted.customer, wanted.order)
    luck = random.random()
    if luck < 1 / 6:
        log.warning("no answer within 2 s")
        raise BankUnreachable("read timed out after 2 s")
    if luck < 1 / 4:
        raise CardDeclined(f"order {wanted.order}: insufficient funds")
    return {"order": wanted.order, "charged": wanted.amount, "receipt": f"R-{wanted.order}"}


@app.task(id="pack", queue=packing)
async def pack(order: Order, ctx: AsyncContext) -> str:
    """What was ordered, into a box."""
    for item in ctx.track(order.items, f"order {order.number}"):
        print(f"packed {item}")
        await asyncio.sleep(random.uniform(0.5, 2.5))
    return f"order {order.number} is packed"


@app.task(id="send-receipt", queue=mail)
async def receipt(order: Order) -> None:
    """By mail."""
    await asyncio.sleep(random.uniform(0.05, 0.4))
    log.info("receipt for order %d sent to %s@example.com", order.number, order.customer)


@app.task(id="refund")
async def refund(order: Order, ctx: AsyncContext) -> str:
    """Waits until somebody has approved it."""
    token = await ctx.token(Approval, timeout="3d")
    approval = await ctx.wait_for(token)
    return f"{approval.amount} {order.currency} refunded" if approval.approved else "refused"


@app.task(id="import-catalogue", max_duration="30m", isolation="process")
async def load(pages: int, ctx: AsyncContext) -> int:
    """Tells how far it is."""
    out = ctx.stream("lines")
    for page in ctx.track(range(1, pages + 1), "pages"):
        await asyncio.sleep(1)
        out.write(f"page {page}: {random.randrange(20, 90)} products")
    return pages


@app.webhook("/stripe", verify=Stripe("whsec_of_the_demo"), id="payment")
def payment(hook: Webhook[Paid]) -> str:
    """What the bank tells."""
    return f"{hook.body.amount} for order {hook.body.order}"


@app.task(id="count-stock", schedule=Cron("*/15 * * * *", overlap="skip"), isolation="process")
def count(ctx: Context) -> dict[str, int]:
    """What lies on each shelf."""
    found = {}
    for shelf in ctx.track([f"B{n}" for n in range(9)], "shelves"):
        time.sleep(random.uniform(2, 8))
        found[shelf] = random.randrange(400)
    return found


@app.task(id="nightly-report", schedule=Cron("30 2 * * *", timezone="Europe/Berlin", overlap="skip"))
def report() -> str:
    """What was sold."""
    return "27 orders"


@app.task(id="newsletter", queue="newsletter", schedule=Cron("0 9 * * MON", timezone="America/New_York"))
def newsletter() -> None:
    """Every Monday."""
