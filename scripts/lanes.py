"""What do limits cost? No-op runs a second without one, in 3,000 lanes of one slot each, and in one lane of 100 slots.

    python scripts/lanes.py [DATABASE_URL] [--runs 20000] [--processes 2]

Without a URL it is an SQLite file, which is removed afterwards; what is named should be a throwaway database. Workers
are processes of ``holdfast worker``. The runs of a task are triggered while its queue is paused; a rate is counted from
when it is resumed to the last end, as the database has recorded it. That no limit is ever exceeded is what tests show.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast import Holdfast, Queue
from holdfast.engine import erase

KEYS, SLOTS = 3_000, 100
STUCK_SECONDS = 300.0
LOOK_SECONDS = 1.0  # a look reads what has ended, and takes its time from the workers

app = Holdfast()


@app.task(queue=Queue("free"))
async def free(n: int) -> None:
    pass


@app.task(queue=Queue("keyed", concurrency_limit_per_key=1))
async def keyed(n: int) -> None:
    pass


@app.task(queue=Queue("slots", concurrency_limit=SLOTS))
async def slots(n: int) -> None:
    pass


def rate(name: str, count: int) -> float:
    """Trigger so many runs of a task, let the workers at them, and wait for their end."""
    task = {"free": free, "keyed": keyed, "slots": slots}[name]
    task.trigger(0, concurrency_key="0").result(timeout="1m")  # names are entered, and workers are up
    app.queues.pause(name)
    before = app.client.store.read_sync(erase.span, name)
    key = str if name == "keyed" else lambda n: None
    task.batch_trigger([task.item(n, concurrency_key=key(n % KEYS)) for n in range(count)])
    app.queues.resume(name)
    began, resumed = time.monotonic(), app.client.now()
    while (span := app.client.store.read_sync(erase.span, name)).completed < before.completed + count:
        if time.monotonic() - began > STUCK_SECONDS:
            sys.exit(f"{name}: {span.completed - before.completed} of {count} runs have ended in {STUCK_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)
    return 1000 * count / (span.finished_at - resumed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("database", nargs="?")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-lanes-") as folder:
        url = asked.database or f"sqlite:///{folder}/lanes.db"
        app.settings.use_flags(database=url)
        command = [str(Path(sys.executable).with_name("holdfast")), "worker", __file__, "--concurrency", "100"]
        workers = subprocess.Popen(
            [*command, "--processes", str(asked.processes)], env=os.environ | {"HOLDFAST_DATABASE_URL": url}
        )
        try:
            first = rate("free", asked.runs)
            print(f"no limit             {first:8,.0f}/s")
            for name, words in (("keyed", f"{KEYS:,} lanes of one slot"), ("slots", f"one lane of {SLOTS} slots")):
                figure = rate(name, asked.runs)
                print(f"{words:22} {figure:6,.0f}/s   {figure / first:4.2f} of that", flush=True)
        finally:
            workers.terminate()
            workers.wait(30)
            app.close()


if __name__ == "__main__":
    main()
