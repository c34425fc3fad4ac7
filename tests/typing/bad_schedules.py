"""Planted mistakes in schedules."""

from __future__ import annotations

from holdfast import Cron, Holdfast, RRule, Slot

app = Holdfast()


@app.task(schedule="@daily")  # E
def wrong(slot: Slot) -> None: ...


@app.task
def remind(user: int) -> None: ...


Cron("@daily", overlap="wait")  # E
Cron("@daily", catch_up="some")  # E
Cron("@daily", "UTC")  # E
RRule("FREQ=DAILY", dtstart="tomorrow")  # E
app.schedules.create(remind, Cron("@daily"), "Ada")  # E
app.schedules.create(remind, "@daily", 1)  # E
app.schedules.create(remind, Cron("@daily"), 1, delay="5s")  # E
app.schedules.create(remind, Cron("@daily"))  # E
app.schedules.pause(5)  # E
app.schedules.list(limit="all")  # E
print(app.schedules.retrieve("x").expression)  # E
