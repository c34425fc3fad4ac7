"""Holdfast: an ``async def`` task whose payload is validated, on PostgreSQL or SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from workload import URL, Jobs, stamp

from holdfast import Holdfast

app = Holdfast(URL)


class Job(TypedDict):
    n: int


@app.task
async def noop(job: Job) -> None:
    stamp(job["n"])


class HoldfastJobs(Jobs):
    def prepare(self) -> None:
        noop.trigger({"n": 0}).cancel()  # the first verb migrates; what is announced once need not be measured

    def one(self, n: int) -> None:
        noop.trigger({"n": n})

    def many(self, numbers: Sequence[int]) -> None:
        noop.batch_trigger([{"n": n} for n in numbers])


jobs = HoldfastJobs()
