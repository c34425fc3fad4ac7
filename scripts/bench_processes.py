"""CPU-bound runs: how much faster four of them end with two worker processes than with one.

    python scripts/bench_processes.py [--jobs 4] [--times 3] [--seconds 2] [--processes 2]

Each job counts for about so many seconds of one core. ``holdfast worker --concurrency 1`` carries them out, as it
should for such tasks: first with one process, then with several, and so on in turn, from the trigger to the last end.
Two cores that do nothing else end four jobs 2.0 times as fast; what else the machine does meanwhile goes off that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from holdfast import Holdfast

TASKS = """
from holdfast import Holdfast

app = Holdfast()

@app.task
def count(times: int) -> int:
    n = 0
    while n < times:
        n += 1
    return n
"""
WORKER = [sys.executable, "-c", "from holdfast.cli.main import main; main()", "worker", "tasks.py", "--json"]


def counted(times: int) -> float:
    """The CPU seconds that counting so far takes here."""
    began, n = time.process_time(), 0
    while n < times:
        n += 1
    return time.process_time() - began


@contextlib.contextmanager
def workers(folder: Path, processes: int) -> Iterator[None]:
    """``holdfast worker`` with so many processes, ready."""
    command = [*WORKER, "--concurrency", "1", "--processes", str(processes)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    running = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert running.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            text += (line := running.stdout.readline())
            if not line:
                raise SystemExit("the workers cannot start")
        assert len(json.loads(text)["workers"]) == processes
        yield
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    finally:
        running.kill()
        running.communicate()


def took(jobs: int, times: int, processes: int) -> float:
    """The seconds from the trigger of so many jobs to the end of the last."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tasks.py").write_text(TASKS)
        app = Holdfast(database=f"sqlite:///{folder}/holdfast.db")
        count = app.declare("count", int, int)
        with workers(folder, processes):
            began = time.monotonic()
            results = count.batch_trigger([times] * jobs).results(timeout=600)
            seconds = time.monotonic() - began
        app.close()
        assert results.outputs() == [times] * jobs
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    step = 2_000_000
    times = round(step * given.seconds / min(counted(step) for _ in range(3)))
    ratios = []
    for _ in range(given.times):
        one, many = took(given.jobs, times, 1), took(given.jobs, times, given.processes)
        ratios.append(one / many)
        print(f"{given.jobs} jobs: {one:.2f} s with one process, {many:.2f} s with {given.processes}: {one / many:.2f}")
    load = os.getloadavg()[0]
    print(f"median {statistics.median(ratios):.2f} times as fast ({os.cpu_count()} cores, load {load:.1f})")


if __name__ == "__main__":
    main()
