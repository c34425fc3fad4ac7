"""What runs in processes of their own cost: starts one by one, no-op runs in bulk, and CPU-bound work on all cores.

    python scripts/bench_isolated.py [--runs 2000] [--database URL]

It starts a worker of its own (``holdfast worker``) on a database of its own, and takes about half a minute. The figures
are worth something on a quiet machine only; how busy it was is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast import Holdfast

STARTS = 60
JOBS = 4

app = Holdfast(os.environ.get("BENCH_DATABASE"))


@app.task(isolation="process")
def begun() -> int:
    return time.monotonic_ns()


@app.task(isolation="process")
def nothing() -> None: ...


def count(n: int) -> int:
    found = 0
    for number in range(n):
        found += number % 7
    return found


@app.task(isolation="process")
def busy(n: int) -> float:
    began = time.process_time()
    count(n)
    return time.process_time() - began


@app.task
def busy_here(n: int) -> float:
    began = time.process_time()
    count(n)
    return time.process_time() - began


def starts() -> list[float]:
    """Milliseconds from the trigger to the first line of the task, one run after the other."""
    took = []
    for _ in range(STARTS):
        before = time.monotonic_ns()
        took.append((begun.trigger().result(timeout="30s") - before) / 1e6)
        time.sleep(0.02)
    return took


def bulk(runs: int) -> float:
    """Runs a second, from the first trigger to the last end."""
    before = time.monotonic()
    nothing.batch_trigger([None] * runs).results(timeout="120s")
    return runs / (time.monotonic() - before)


def jobs(task: object, n: int) -> tuple[float, float]:
    """Wall and CPU seconds for a few CPU-bound jobs at once."""
    before = time.monotonic()
    done = task.batch_trigger([n] * JOBS).results(timeout="120s")  # type: ignore[attr-defined]
    return time.monotonic() - before, sum(run.output for run in done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--database")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH_DATABASE"] = said.database or str(Path(folder, "bench.db"))
        app.settings.use_flags(database=os.environ["BENCH_DATABASE"])
        worker = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from holdfast.cli.main import main; main()",
                "worker",
                __file__,
                "--concurrency",
                "16",
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            measure(said.runs)
        finally:
            worker.terminate()
            worker.wait(60)


def measure(runs: int) -> None:
    begun.trigger().result(timeout="60s")
    load = os.getloadavg()[0]
    took = sorted(starts())
    print(f"load before: {load:.1f} on {os.cpu_count()} cores")
    print(f"start of an isolated run: p50 {statistics.median(took):.1f} ms, p95 {took[int(0.95 * len(took))]:.1f} ms")
    print(f"no-op runs: {max(bulk(runs) for _ in range(3)):.0f} a second")
    n = 20_000_000
    here, here_cpu = jobs(busy_here, n)
    apart, apart_cpu = jobs(busy, n)
    print(
        f"{JOBS} CPU-bound jobs: {here:.1f} s in one process ({here_cpu:.1f} s of CPU), "
        f"{apart:.1f} s in processes of their own ({apart_cpu:.1f} s): {here / apart:.2f} times as fast"
    )


if __name__ == "__main__":
    main()
