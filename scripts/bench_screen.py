"""How soon is a change on the screen, with many runs a second going through? Needs Chromium.

    python scripts/bench_screen.py [--rate 1000] [--changes 20] [--database URL]

A worker in a process of its own carries out as many runs a second as are triggered there; the server is another one; a
browser has the page of queues open. Then a queue is paused and resumed again and again, at no particular moment of the
page's, and it is measured from when that is on disk to when the page shows it. All of it is on this machine.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

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


async def main(rate: int, changes: int, database: str) -> None:
    app = Holdfast(database)
    app.declare("screen", None, None).trigger(None, queue="screen", delay="1d")
    server, load = serve(database), working(database, rate)
    assert server.stdout is not None
    url = server.stdout.readline().decode().strip()
    try:
        async with browser() as chromium:
            page = await chromium.page(f"{url}/queues")
            await asyncio.sleep(5)
            before, began = cpu_seconds(server.pid), time.monotonic()
            took = sorted([await change(app, page, paused=n % 2 == 0) for n in range(changes)])
            used = (cpu_seconds(server.pid) - before) / (time.monotonic() - began)
    finally:
        for process in (load, server):
            process.terminate()
        lines = [tuple(map(float, line.split())) for line in load.communicate()[0].splitlines()]
        server.wait()
        app.close()
    (first, some), (last, all_of_them) = lines[len(lines) // 2], lines[-1]
    print(
        json.dumps(
            {
                "ms": {"p50": round(statistics.median(took)), "p95": round(took[int(len(took) * 0.95)])},
                "runs_per_s": round((all_of_them - some) / (last - first)),
                "server_cpus": round(used, 2),
                "load": os.getloadavg()[0],
            }
        )
    )


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--database")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(said.rate, said.changes, said.database or f"sqlite:///{folder}/bench.db"))
