"""What do steps, waits and children cost? Run it on a quiet machine; it says how loaded it was.

    python scripts/bench_durable.py [DATABASE_URL] [--runs 20000] [--children 1000] [--sleepers 100000]

Without a URL it is an SQLite file, which is removed afterwards; what is named should be a throwaway database. There is
one worker, a process of ``holdfast worker``. Its CPU is counted beside each rate: that is what a loaded machine changes
least.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast import AsyncContext, Context, Holdfast, Queue
from holdfast.engine import erase

STEPS, ROUNDS = 100, 30
STUCK_SECONDS = 600.0
IDLE_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

app = Holdfast(suspend_after=os.environ.get("BENCH_SUSPEND_AFTER", "30s"))


@app.task(queue=Queue("noop"))
async def noop(n: int) -> int:
    return n


@app.task
async def parent(n: int, ctx: AsyncContext) -> float:
    began = time.perf_counter()
    await ctx.batch_trigger_and_wait(noop, list(range(n)))
    return time.perf_counter() - began


def nothing(n: int) -> int:
    return n


async def anothing(n: int) -> int:
    return n


@app.task
async def steps(n: int, ctx: AsyncContext) -> float:
    began = time.perf_counter()
    for k in range(n):
        await ctx.step(anothing, k)
    return (time.perf_counter() - began) / n


@app.task
def steps_in_def(n: int, ctx: Context) -> float:
    began = time.perf_counter()
    for k in range(n):
        ctx.step(nothing, k)
    return (time.perf_counter() - began) / n


@app.task
async def waiter(n: int, ctx: AsyncContext) -> float:
    token = await ctx.token(int)
    ctx.metadata["token"] = token.id
    await ctx.wait_for(token)
    return time.time()


@app.task(queue=Queue("sleeper"))
async def sleeper(until: float, ctx: AsyncContext) -> None:
    await ctx.sleep_until(datetime.fromtimestamp(until, UTC))


class Cost:
    """Wall-clock and CPU seconds of a worker while something was done."""

    wall = cpu = 0.0

    def __str__(self) -> str:
        return f"{self.wall:.2f} s, the worker's CPU {self.cpu:.2f} s"


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


@contextmanager
def cost(pid: int) -> Iterator[Cost]:
    found, began, before = Cost(), time.perf_counter(), cpu(pid)
    yield found
    found.wall, found.cpu = time.perf_counter() - began, cpu(pid) - before


@contextmanager
def worker(url: str, suspend_after: str = "30s") -> Iterator[int]:
    """A worker process; its id."""
    command = [sys.executable, "-c", "from holdfast.cli.main import main; main()", "worker", __file__]
    environment = os.environ | {"HOLDFAST_DATABASE_URL": url, "BENCH_SUSPEND_AFTER": suspend_after}
    supervisor = subprocess.Popen([*command, "--processes", "1"], env=environment, stderr=subprocess.DEVNULL)
    try:
        noop.trigger(0).result(timeout="1m")
        yield child_of(supervisor.pid)
    finally:
        supervisor.terminate()
        supervisor.wait(60)


def child_of(pid: int) -> int:
    """The process that does the work: the only one that the supervisor has started, or the supervisor itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def until(what: str, condition: Any) -> None:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > STUCK_SECONDS:
            sys.exit(f"{what}: not within {STUCK_SECONDS:g} s")
        time.sleep(0.02)


def ended(task: str) -> int:
    return app.client.store.read_sync(erase.span, task).completed


def last_start(task: str) -> float:
    """When the last of its runs that have ended was claimed, for the first or for the last time, in seconds."""
    store = app.client.store
    table = "holdfast.done" if store.kind == "postgres" else "holdfast_done"
    text = f"SELECT max(COALESCE(claimed_at, started_at)) FROM {table} WHERE task LIKE '%{task}'"
    return float(store.read_sync(lambda tx: next(iter(tx.connection.execute(text)))[0])) / 1000  # type: ignore[attr-defined]


def drain(pid: int, runs: int) -> tuple[float, float]:
    """No-op runs a second, from a backlog: how many end, and how many start."""
    app.queues.pause("noop")
    before = ended("noop")
    noop.batch_trigger(list(range(runs)))
    with cost(pid) as found:
        began = time.time()
        app.queues.resume("noop")
        until("no-op runs", lambda: ended("noop") >= before + runs)
    starts = runs / (last_start("noop") - began)
    print(
        f"no-op runs            {runs / found.wall:8,.0f}/s       {found.cpu / runs * 1e6:6.0f} µs of CPU each; "
        f"{starts:,.0f}/s start"
    )
    return runs / found.wall, starts


def children(pid: int, n: int, plain: float) -> None:
    rates, spent = [], []
    for _ in range(5):
        with cost(pid) as found:
            rates.append(n / parent.trigger(n).result(timeout="5m"))
        spent.append(found.cpu / n * 1e6)
    rate = statistics.median(rates)
    of_plain = f"{rate / plain:.2f} of the no-op rate (0.5 is wanted)"
    print(f"{n:,} children        {rate:8,.0f}/s       {statistics.median(spent):6.0f} µs of CPU each; {of_plain}")


def a_step(pid: int) -> None:
    for task in (steps, steps_in_def):
        with cost(pid) as found:
            each = [task.trigger(STEPS).result(timeout="1m") * 1e3 for _ in range(5)]
        used = found.cpu / 5 / STEPS * 1e6
        print(f"{task.id.rpartition('.')[2]:21} {statistics.median(each):8.2f} ms a step {used:6.0f} µs of CPU each")


def resume(what: str) -> None:
    found = []
    for _ in range(ROUNDS):
        handle = waiter.trigger(0)
        until("a run that waits", lambda handle=handle: handle.retrieve().status == "waiting")
        token = str(handle.retrieve().metadata["token"])
        time.sleep(0.05)
        began = time.time()
        app.tokens.complete(token, 1)
        found.append((handle.result(timeout="1m") - began) * 1e3)
    found.sort()
    print(f"resume, {what:13} {statistics.median(found):8.1f} ms p50    {found[int(ROUNDS * 0.95)]:6.1f} ms p95")


def asleep() -> bool:
    """Whether no run of the queue has still to go to sleep."""
    there = app.queues.retrieve("sleeper")
    return not (there.queued or there.executing or there.delayed)


def sleepers_in_line(pid: int, n: int) -> None:
    """The same function from a backlog, with nothing to sleep for: it is recorded, waits, and goes on."""
    app.queues.pause("sleeper")
    before = ended("sleeper")
    sleeper.batch_trigger([0.0] * n)
    with cost(pid) as found:
        app.queues.resume("sleeper")
        until("runs that sleep for nothing", lambda: ended("sleeper") >= before + n)
    rate = n / found.wall
    print(f"{n:,} sleep for 0 s {rate:10,.0f}/s       {found.cpu / n * 1e6:6.0f} µs of CPU each, from a backlog")


def sleepers(pid: int, n: int, plain: float, starting: float) -> None:
    """Runs that sleep until the same second. What is wanted is that they start as fast as queued runs do."""
    with cost(pid) as idle:
        time.sleep(IDLE_SECONDS)
    each = 0.002 if n > 1000 else 0.02
    due = datetime.now(UTC) + timedelta(seconds=20 + n * each)
    with cost(pid) as put:
        sleeper.batch_trigger([due.timestamp()] * n)
        until("runs that sleep", asleep)
    print(f"{n:,} go to sleep    {n / put.wall:8,.0f}/s       {put.cpu / n * 1e6:6.0f} µs of CPU each")
    if datetime.now(UTC) > due:
        sys.exit("they were due before the last one slept: give them more time")
    with cost(pid) as dormant:
        time.sleep(IDLE_SECONDS)
    before, now = idle.cpu / IDLE_SECONDS, dormant.cpu / IDLE_SECONDS
    print(f"… asleep              {now:8.2%} of a CPU, {before:.2%} before; the worker has {mib(pid):.0f} MiB")
    gone = ended("sleeper")
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
    with cost(pid) as found:
        until("runs that wake", lambda: ended("sleeper") >= gone + n)
    rate, starts = n / found.wall, n / (last_start("sleeper") - due.timestamp())
    of_plain = f"{rate / plain:.2f} of the no-op rate; {starts:,.0f}/s start, {starts / starting:.2f} of those"
    print(f"… all due at once     {rate:8,.0f}/s       {found.cpu / n * 1e6:6.0f} µs of CPU each; {of_plain}")


def measure(url: str, given: argparse.Namespace) -> None:
    app.settings.use_flags(database=url)
    print(f"{url.partition(':')[0]}, load {os.getloadavg()[0]:.1f} of {os.cpu_count()} processors")
    with worker(url) as pid:
        plain, starting = drain(pid, given.runs)
        children(pid, given.children, plain)
        a_step(pid)
        resume("in memory")
        if given.sleepers:
            sleepers_in_line(pid, min(given.sleepers, given.runs))
            sleepers(pid, given.sleepers, plain, starting)
    with worker(url, "0s"):
        resume("replayed")
    print(f"load {os.getloadavg()[0]:.1f} in the end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("database", nargs="?")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--children", type=int, default=1_000)
    parser.add_argument("--sleepers", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-durable-") as folder:
        try:
            measure(given.database or f"sqlite:///{folder}/durable.db", given)
        finally:
            app.close()


if __name__ == "__main__":
    main()
