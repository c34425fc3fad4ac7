"""pgqueuer: asyncpg and uvloop, and the worker through ``PgQueuer.run``, which its command calls as well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Sequence

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from workload import URL, Jobs, stamp


class PgqueuerJobs(Jobs):
    async def prepare(self) -> None:
        connection = await asyncpg.connect(URL)
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        connection = await asyncpg.connect(URL)
        self.queries = Queries(AsyncpgDriver(connection))
        yield
        await connection.close()

    async def one(self, n: int) -> None:
        await self.queries.enqueue("noop", json.dumps({"n": n}).encode())

    async def many(self, numbers: Sequence[int]) -> None:
        payloads: list[bytes | None] = [json.dumps({"n": n}).encode() for n in numbers]
        await self.queries.enqueue(["noop"] * len(payloads), payloads, [0] * len(payloads))

    def work(self, *arguments: str) -> None:
        uvloop.run(worker(int(arguments[0])))


async def worker(batch: int) -> None:
    queuer = PgQueuer.from_asyncpg_connection(await asyncpg.connect(URL))

    @queuer.entrypoint("noop")
    async def noop(job: Job) -> None:
        stamp(json.loads(job.payload or b"{}")["n"])

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queuer.shutdown.set)
    await queuer.run(batch_size=batch)


jobs = PgqueuerJobs()
