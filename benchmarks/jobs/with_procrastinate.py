"""procrastinate: psycopg 3 with the binary wheel, and no line of log per job."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import procrastinate
from workload import URL, Jobs, stamp

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL))


@app.task(name="noop")
async def noop(n: int) -> None:
    stamp(n)


class ProcrastinateJobs(Jobs):
    async def prepare(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with app.open_async():
            yield

    async def one(self, n: int) -> None:
        await noop.defer_async(n=n)

    async def many(self, numbers: Sequence[int]) -> None:
        await noop.batch_defer_async(*({"n": n} for n in numbers))

    def work(self, *arguments: str) -> None:
        logging.basicConfig(level=logging.WARNING)
        app.run_worker(concurrency=int(arguments[0]))


jobs = ProcrastinateJobs()
