"""How soon is a change on the screen, with many runs a second going through? Needs Chromium.

    python scripts/bench_screen.py [--rate 1000] [--changes 30] [--database URL]

Without a URL it is measured on SQLite and on a PostgreSQL that is started for it, one after the other; each takes less
than a minute. A worker in a process of its own carries out as many runs a second as are triggered there; the server is
another one; a browser has the page of queues open. Then a queue is paused and resumed again and again, at no particular
moment of the page's, and it is measured from when that is on disk to when the page shows it. All of it is on this
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_both import server
from bench_live import cpu_seconds, serve

from holdfast import Holdfast
from tests.support.browser import Page, browser

LOAD = """
import asyncio, sys, time
from holdfast import Holdfast
app = Holdfast(sys.argv[1])
rate = int(sys.argv[2])

ended = 0

@app.task
async def nothing(n: int) -> None:
    global ended
    ended += 1

async def main() -> None:
    async with app.running():
        made, began = 0, time.monotonic()
        while True:
            print(time.monotonic(), ended, flush=True)
            due = int((time.monotonic() - began) * rate) - made
            if due > 0:
                await nothing.abatch_trigger([nothing.item(n) for n in range(due)])
                made += due
            await asyncio.sleep(0.05)

asyncio.run(main())
"""
PAUSED = "!!document.querySelector('a.row[href$=\"/queues/screen\"] ~ .s-paused')"


async def measured(rate: int, changes: int, database: str) -> dict[str, Any]:
    app = Holdfast(database)
    app.declare("screen", None, None).trigger(None, queue="screen", delay="1d")
    pages, load = serve(database), working(database, rate)
    assert pages.stdout is not None
    url = pages.stdout.readline().decode().strip()
    try:
        async with browser() as chromium:
            page = await chromium.page(f"{url}/queues")
            await asyncio.sleep(5)
            before, began = cpu_seconds(pages.pid), time.monotonic()
            took = sorted([await change(app, page, paused=n % 2 == 0) for n in range(changes)])
            used = (cpu_seconds(pages.pid) - before) / (time.monotonic() - began)
    finally:
        for process in (load, pages):
            process.terminate()
        lines = [tuple(map(float, line.split())) for line in load.communicate()[0].splitlines()]
        pages.wait()
        app.close()
    (first, some), (last, all_of_them) = lines[len(lines) // 2], lines[-1]
    return {
        "database": database.partition(":")[0],
        "ms": {"p50": round(statistics.median(took)), "p95": round(took[int(changes * 0.95)]), "most": round(took[-1])},
        "runs_per_s": round((all_of_them - some) / (last - first)),
        "server_cpus": round(used, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def working(database: str, rate: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOAD, database, str(rate)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def change(app: Holdfast, page: Page, *, paused: bool) -> float:
    """Pause or resume, and see it."""
    await asyncio.sleep(random.uniform(0.3, 1.3))
    await (app.queues.apause("screen") if paused else app.queues.aresume("screen"))
    began = time.perf_counter()
    await page.until(PAUSED if paused else f"!({PAUSED})")
    return (time.perf_counter() - began) * 1000


def databases(said: str | None) -> Iterator[str]:
    """Those to measure on, each there for as long as it is measured."""
    if said is not None:
        yield said
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/bench.db"
    with server(None) as url:
        yield url


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--changes", type=int, default=30)
    parser.add_argument("--database", metavar="URL")
    said = parser.parse_args()
    for database in databases(said.database):
        print(json.dumps(asyncio.run(measured(said.rate, said.changes, database))), flush=True)
