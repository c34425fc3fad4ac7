"""Enqueues the jobs of one Python peer, or works for it; prints what it measured as one line of JSON.

    python play.py with_<peer> prepare        make tables
    python play.py with_<peer> one N          enqueue N jobs, one awaited after the other
    python play.py with_<peer> many N         enqueue N jobs with the peer's bulk call, 1,000 at a time
    python play.py with_<peer> idle N PAUSE   enqueue N jobs with a pause after each
    python play.py with_<peer> work …         be a worker, where the peer's own command will not do

The peer's program is imported, not run: some name a task after its module, and workers must find the same name.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import time
from typing import Any

from workload import Jobs

CHUNK = 1000


def main() -> None:
    module, verb, *arguments = sys.argv[1:]
    jobs: Jobs = importlib.import_module(module).jobs
    if verb == "work":
        jobs.work(*arguments)
    else:
        print(json.dumps(asyncio.run(carry_out(jobs, verb, arguments))))


async def carry_out(jobs: Jobs, verb: str, arguments: list[str]) -> Any:
    if verb == "prepare":
        return await settled(jobs.prepare())
    async with jobs.opened():
        if verb == "idle":
            return await offer(jobs, int(arguments[0]), float(arguments[1]))
        return await enqueue(jobs, verb, int(arguments[0]))


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def enqueue(jobs: Jobs, verb: str, count: int) -> dict[str, float]:
    """Seconds from before the first call until the last one has returned."""
    began = time.perf_counter()
    if verb == "one":
        for n in range(count):
            await settled(jobs.one(n))
    else:
        for start in range(0, count, CHUNK):
            await settled(jobs.many(range(start, min(count, start + CHUNK))))
    return {"seconds": time.perf_counter() - began}


async def offer(jobs: Jobs, count: int, pause: float) -> list[float]:
    """The moments just before each job was enqueued."""
    asked = []
    for n in range(count):
        asked.append(time.time())
        await settled(jobs.one(n))
        await asyncio.sleep(pause)
    return asked


if __name__ == "__main__":
    main()
