"""A new customer: steps, a wait, an approval, and children. Kill it whenever you like: it goes on where it was.

holdfast dev examples/onboarding/tasks.py      everything in one command
python examples/onboarding/tasks.py            from another terminal: one customer, from the welcome to the report
holdfast runs show RUN                         what a run has done, and what it waits for
"""

import os
import random

from pydantic import BaseModel

from holdfast import AsyncContext, Holdfast, Retry, WaitTimedOut

app = Holdfast()
TRIAL = os.environ.get("TRIAL", "10s")  # in earnest "14d"


class Customer(BaseModel):
    id: int
    email: str


class Approval(BaseModel):
    by: str
    discount: int = 0


class MailServerBusy(Exception):
    pass


def send(text: str, to: str) -> str:
    """Stands for a mail server that is busy now and then."""
    if random.random() < 0.3:
        raise MailServerBusy(f"try again, {to}")
    print(f"mail to {to}: {text}")
    return text


@app.task
async def import_rows(part: int, ctx: AsyncContext) -> int:
    await ctx.sleep("200ms")
    return 100 * part


@app.task
async def onboard(customer: Customer, ctx: AsyncContext) -> str:
    patient = Retry(max_attempts=10, min_delay="100ms", on=MailServerBusy)
    await ctx.step(send, "welcome", customer.email, retry=patient, name="welcome")

    parts = await ctx.batch_trigger_and_wait(import_rows, range(1, 6))  # five runs, and no slot is held meanwhile
    rows = sum(parts.outputs())

    await ctx.sleep(TRIAL)

    token = await ctx.token(Approval, timeout="7d")
    await ctx.step(send, f"approve at {token.url}", "sales@example.com", retry=patient, name="ask")
    try:
        approval = await ctx.wait_for(token)
    except WaitTimedOut:
        return f"{rows} rows, and nobody has approved"
    await ctx.step(send, f"{approval.discount} % off", customer.email, retry=patient, name="offer")
    return f"{rows} rows, approved by {approval.by}"


if __name__ == "__main__":
    handle = onboard.trigger(Customer(id=1, email="ada@example.com"))
    print(f"holdfast runs show {handle.id}")
    for run in handle.updates():
        waits = [entry for entry in run.journal if entry.kind == "wait" and entry.status == "waiting"]
        if waits:
            app.tokens.complete(waits[0].token_id or "", {"by": "Grace", "discount": 10})
            break
    print(handle.result(timeout="1m"))
