"""Holdfast: an ``async def`` task whose payload is validated, on PostgreSQL or SQLite."""

from __future__ import annotations

import logging
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

    def work(self, *arguments: str) -> None:
        from holdfast import storage
        from holdfast.worker.channel import Orders
        from holdfast.worker.supervisor import Supervisor

        count, concurrency = map(int, arguments)
        logging.basicConfig(level=logging.INFO)
        orders = Orders(
            app=__file__, database=URL, concurrency=concurrency, queues=None, lease_ms=30_000, drain_seconds=5.0
        )
        Supervisor(storage.open(URL), orders, count=count).run()


jobs = HoldfastJobs()
