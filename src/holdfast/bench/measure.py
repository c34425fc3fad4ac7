"""The measurements, one after the other, in one database.

    latency       a trigger every now and then, for idle workers: from the call to the first line of the task
    trigger       one caller, each trigger durable before the next
    concurrent    64 callers on an event loop, each for itself
    batch         one call for all runs; they become the backlog of the next measurement
    drain         workers that are up and wait are let at the backlog; counted from the first start to the last end
    children      a run triggers a thousand others and waits for them, a few times: the median
    memory        what a worker process holds resident after that

Latency comes first, for a database that has just been busy is not idle: it writes out what it has in memory. Starting a
worker is not measured: its queue is paused until all workers have registered. The first start and the last end are
those that the database has recorded. Whatever happens, all that was made is erased in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from holdfast.bench.tasks import VARIABLE, Measured, measured
from holdfast.engine import catalogue, erase
from holdfast.engine.erase import Erasable
from holdfast.errors import HoldfastError
from holdfast.ids import new_id
from holdfast.task import Task
from holdfast.views import hosts

WORKER = [sys.executable, "-c", "from holdfast.cli.main import main; main()", "worker", "holdfast.bench.tasks:app"]
CALLERS = 64
CHILDREN, PARENTS, WARM_PARENTS = 1000, 9, 4
LONGEST_SECONDS = 2.0  # of triggering, for each of the two ways
MOST_SAMPLES = 200
PAUSE_SECONDS = (0.02, 0.04)  # between two triggers that find workers idle
WARM_UP = 10
SETTLE_SECONDS = 1.0
READY_SECONDS = 60.0
STUCK_SECONDS = 60.0  # without a run that ends

Say = Callable[[str], None]


class BenchFailed(HoldfastError):
    """The measurement could not be made."""


class Latency(msgspec.Struct):
    """Milliseconds that so many per cent of the triggers stayed below."""

    p50: float
    p95: float
    p99: float


class Figures(msgspec.Struct, kw_only=True):
    """What was measured. Rates are per second, memory is in MiB."""

    trigger_per_s: float
    concurrent_trigger_per_s: float
    batch_trigger_per_s: float
    drain_per_s: float
    children_per_s: float
    latency_ms: Latency
    worker_mib: float
    runs: int
    processes: int
    database: str
    versions: dict[str, str]


def measure(url: str | None, *, runs: int, processes: int, say: Say = lambda _: None) -> Figures:
    """Measure in the database that ``url`` names, or in an SQLite file that is removed afterwards.

    ``runs`` is how many no-op runs are carried out; the other measurements are shorter if it is small. ``say`` is told
    what is being measured.

    Raises:
        BenchFailed: the workers did not do what they were to do.
        DatabaseError: the database cannot be used.
    """
    with database(url) as place:
        bench = Bench(place, runs, processes, say)
        try:
            return bench.figures()
        finally:
            say("cleaning up")
            bench.close()


@contextmanager
def database(url: str | None) -> Iterator[str]:
    """A database to measure in: the one that is named, or a file in a folder that goes away."""
    if url is not None:
        with absent_again(url):
            yield url
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=on_disk()) as folder:
        yield f"sqlite:///{folder}/bench.db"


@contextmanager
def absent_again(url: str) -> Iterator[None]:
    """An SQLite file that was not there before is not there afterwards."""
    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    known = path is None or path.exists()
    try:
        yield
    finally:
        if path is not None and not known:
            for end in ("", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)


def on_disk() -> str | None:
    """Where temporary files are on a disk: on many machines the usual folder is in memory, where a commit is free."""
    usual = tempfile.gettempdir()
    with contextlib.suppress(OSError):
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
        above = [(point, kind) for point, kind in mounts if Path(usual).is_relative_to(point)]
        if above and max(above, key=lambda mount: len(mount[0]))[1] == "tmpfs" and os.access("/var/tmp", os.W_OK):
            return "/var/tmp"
    return None


class Bench:
    """One measurement: its tasks, and what has to be erased after it."""

    def __init__(self, url: str, runs: int, processes: int, say: Say) -> None:
        self.url, self.runs, self.processes, self.say = url, runs, processes, say
        self.name = f"bench-{new_id()}"
        self.tasks: Measured = measured(self.name)
        self.tasks.app.settings.use_flags(database=url)
        self.store = self.tasks.app.client.store
        self.seconds = min(LONGEST_SECONDS, max(0.2, runs / 10_000))
        self.samples = min(MOST_SAMPLES, max(20, runs // 100))
        self.brood = min(CHILDREN, max(10, runs // 10))
        self.worker_ids: set[str] = set()

    def figures(self) -> Figures:
        self.say("latency of idle workers")
        with self.workers():
            latency = self.latency()
        self.say("triggers, one caller")
        single = self.one_caller()
        self.say(f"triggers, {CALLERS} callers")
        concurrent = asyncio.run(self.many_callers())
        self.erase(self.tasks.sink)
        self.say(f"a batch of {self.runs} triggers")
        batch = self.backlog()
        self.say(f"{self.runs} runs")
        with self.workers() as pids:
            drain = self.drain()
            self.say(f"runs with {self.brood} children")
            children = self.children()
            mib = max(resident_mib(pid) for pid in pids)
        return Figures(
            trigger_per_s=round(single, 1),
            concurrent_trigger_per_s=round(concurrent, 1),
            batch_trigger_per_s=round(batch, 1),
            drain_per_s=round(drain, 1),
            children_per_s=round(children, 1),
            latency_ms=latency,
            worker_mib=round(mib, 1),
            runs=self.runs,
            processes=self.processes,
            database=self.store.kind,
            versions=self.versions(),
        )

    # triggers

    def one_caller(self) -> float:
        sink = self.tasks.sink
        sink.trigger(0)  # names are entered with the first one
        number, began = 0, time.perf_counter()
        while time.perf_counter() - began < self.seconds:
            sink.trigger(number)
            number += 1
        return number / (time.perf_counter() - began)

    async def many_callers(self) -> float:
        sink, began = self.tasks.sink, time.perf_counter()

        async def caller() -> int:
            number = 0
            while time.perf_counter() - began < self.seconds:
                await sink.atrigger(number)
                number += 1
            return number

        numbers = await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return sum(numbers) / (time.perf_counter() - began)

    def backlog(self) -> float:
        """Trigger all runs but one in one call; the last one wakes the workers up. Nobody may start them yet."""
        noop = self.tasks.noop
        self.tasks.noop.trigger(0)
        self.store.run_sync(catalogue.pause, noop.queue.name)
        began = time.perf_counter()
        noop.batch_trigger(range(self.runs - 2))
        return (self.runs - 2) / (time.perf_counter() - began)

    # runs

    @contextmanager
    def workers(self) -> Iterator[list[int]]:
        """``holdfast worker`` in processes of its own, up and waiting. Yields their process ids."""
        environment = os.environ | {VARIABLE: self.name, "HOLDFAST_DATABASE_URL": self.url}
        with tempfile.TemporaryFile() as log:
            supervisor = subprocess.Popen(
                [*WORKER, "--processes", str(self.processes)], env=environment, stdout=log, stderr=log
            )
            try:
                yield self.ready(supervisor)
            except BenchFailed as error:
                log.seek(0)
                error.add_note("The workers said:\n" + log.read().decode(errors="replace")[-2000:])
                raise
            finally:
                stop(supervisor)

    def ready(self, supervisor: subprocess.Popen[bytes]) -> list[int]:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and supervisor.poll() is None:
            found = self.store.read_sync(hosts.workers_of, self.tasks.noop.id)
            self.worker_ids.update(worker.id for worker in found)
            if len(found) == self.processes:
                return [worker.pid for worker in found]
            time.sleep(0.05)
        raise BenchFailed("The workers did not start", seen=f"exit code {supervisor.poll()}", do="Try holdfast worker.")

    def drain(self) -> float:
        """Let the workers at the backlog, and wait for the end without getting in their way."""
        noop = self.tasks.noop
        self.store.run_sync(catalogue.resume, noop.queue.name)
        last = noop.trigger(0)
        progress, moved_at = -1, time.monotonic()
        while not (last.retrieve().finished and progress == self.runs):
            time.sleep(0.05)
            ended = self.store.read_sync(erase.span, noop.id).ended if last.retrieve().finished else 0
            if ended != progress:
                progress, moved_at = ended, time.monotonic()
            if time.monotonic() - moved_at > STUCK_SECONDS:
                raise BenchFailed(
                    "The runs do not end", seen=f"{ended} of {self.runs}", do="See the workers' log below."
                )
        span = self.store.read_sync(erase.span, noop.id)
        if span.completed != self.runs:
            raise BenchFailed("Not all runs completed", seen=f"{span.completed} of {self.runs}")
        return self.runs / max(1, span.finished_at - span.started_at) * 1000

    def children(self) -> float:
        """From the call that triggers them to its return, in workers that have had a few such runs before: each of
        their connections has to learn the statements."""
        parent = self.tasks.parent
        for _ in range(WARM_PARENTS):
            parent.trigger(self.brood).result(timeout="1m")
        waited = [parent.trigger(self.brood).result(timeout="1m") for _ in range(PARENTS)]
        return self.brood / statistics.median(waited)

    def latency(self) -> Latency:
        """From the call of a trigger to the first line of its task, in workers that sleep."""
        clock, called, handles = self.tasks.clock, [], []
        for number in range(WARM_UP):
            clock.trigger(number).result(timeout="1m")
        time.sleep(SETTLE_SECONDS)
        for number in range(self.samples):
            time.sleep(random.uniform(*PAUSE_SECONDS))
            called.append(time.monotonic_ns())
            handles.append(clock.trigger(number))
        waited = sorted((handle.result(timeout="1m") - at) / 1e6 for handle, at in zip(handles, called, strict=True))
        return Latency(*(round(percentile(waited, share), 2) for share in (0.50, 0.95, 0.99)))

    # facts, and the end

    def versions(self) -> dict[str, str]:
        return {
            "holdfast": metadata.version("holdfast"),
            "python": platform.python_version(),
            "database": self.store.read_sync(erase.version),
        }

    def erase(self, task: Task[Any, Any]) -> None:
        while self.store.run_sync(erase.runs, Erasable(task.id, task.queue.name), sorted(self.worker_ids)):
            pass

    def close(self) -> None:
        """Leave nothing behind."""
        tasks = self.tasks[1:]
        try:
            for task in tasks:
                self.erase(task)
            names = [Erasable(task.id, task.queue.name) for task in tasks]
            self.store.run_sync(erase.names, names, sorted(self.worker_ids))
        finally:
            self.tasks.app.close()


def stop(supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.terminate()
    try:
        supervisor.wait(20)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def percentile(ordered: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def resident_mib(pid: int) -> float:
    """The memory that a process holds resident, in MiB."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    answer = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(answer.stdout) / 1024
