"""taskiq with a Redis list. There is no bulk call: 100 at once is the fastest shape its documentation has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from taskiq_redis import ListQueueBroker
from workload import URL, Jobs, stamp

broker = ListQueueBroker(URL)
TOGETHER = 100


@broker.task(task_name="noop")
async def noop(n: int) -> None:
    stamp(n)


class TaskiqJobs(Jobs):
    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await broker.startup()
        yield
        await broker.shutdown()

    async def one(self, n: int) -> None:
        await noop.kiq(n=n)

    async def many(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), TOGETHER):
            await asyncio.gather(*(noop.kiq(n=n) for n in numbers[start : start + TOGETHER]))


jobs = TaskiqJobs()
