"""Schedules, declared and made at run time: accepted as it stands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

from pydantic import BaseModel

from holdfast import AsyncContext, Context, Cron, Holdfast, RRule, RunHandle, Schedule, Slot
from holdfast.testing import FakeContext

app = Holdfast()


class User(BaseModel):
    id: int


@app.task(schedule=[Cron("0 9 * * MON-FRI", timezone="Europe/London"), RRule("FREQ=MONTHLY;BYDAY=3TU")])
def report(slot: Slot) -> None:
    assert_type(slot.at, datetime)
    assert_type(slot.previous, datetime | None)
    assert_type(slot.upcoming, list[datetime])


@app.task(schedule=Cron("@daily", jitter="10m", catch_up=3, overlap="queue"))
async def tidy(ctx: AsyncContext) -> None:
    assert_type(ctx.slot, Slot | None)


@app.task
def bare() -> None: ...


@app.task
def remind(user: User, ctx: Context) -> None: ...


made = app.schedules.create(remind, Cron("@daily"), User(id=1), external_id="user-1", tags=["a"], max_attempts=3)
assert_type(made, Schedule)
app.schedules.create(bare, Cron("@daily"))
app.schedules.create(report, RRule("FREQ=DAILY", dtstart=datetime(2027, 1, 1, tzinfo=UTC)))
app.schedules.create("train", Cron("@daily"), {"epochs": 3})
assert_type(app.schedules.update(made, Cron("@hourly"), external_id=None), Schedule)
assert_type(app.schedules.run_now(made.id), RunHandle[Any])
assert_type(app.schedules.list(task=remind, external_id="user-1"), list[Schedule])
assert_type(made.rule, Cron | RRule)
report(Slot(datetime(2027, 1, 1, tzinfo=UTC)))
FakeContext(slot=Slot(datetime(2027, 1, 1, tzinfo=UTC)))


async def later() -> None:
    assert_type(await app.schedules.acreate(remind, Cron("@daily"), User(id=1)), Schedule)
    assert_type(await app.schedules.alist(), list[Schedule])
    await app.schedules.apause(made)
