"""One measurement of one peer, on a store that was just emptied.

    enqueue   seconds from before the first call to the return of the last, in one producer process
    drain     all jobs are enqueued, then the workers start; from the first body to the last one, and on until the store
              shows no queued or running job. A tail under 20 ms is not counted. Start-up is not in it, nor is the
              first claim.
    idle      jobs one at a time, with a pause; from just before the enqueue call to the body's first statement

Every wait is bounded, and every process that was started is ended by its id.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Load, seconds_of, tree
from benchmarks.peers import JOBS, Peer, Workers
from benchmarks.places import Places
from benchmarks.stores import Postgres, Store

POLL_SECONDS = 0.005
TAIL_SECONDS = 0.02
STALL_SECONDS = 60.0  # no body has started for so long: the rest is lost
ENQUEUE_SECONDS = 300.0
STOP_SECONDS = 15.0
SETTLE_SECONDS = 1.5
PAUSE_SECONDS = 0.02
WARM_JOBS = 5  # the first jobs of an idle run pay for imports and plans


class Failed(Exception):
    """A measurement did not come to its end; the text says why."""


@dataclass
class Figures:
    """What one measurement found. ``foreign`` is how many cores others used meanwhile."""

    rate: float = 0.0  # jobs a second
    bulk_rate: float = 0.0  # of the enqueueing before a drain
    latencies: list[float] = field(default_factory=list)  # seconds
    worker_cores: float = 0.0
    server_cores: float = 0.0
    foreign: float = 0.0


class Stamps:
    """The file into which the bodies write when they started."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        path.write_bytes(bytes(8 * count))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.slots = memoryview(self.map).cast("d")
        self.filled = 0  # all before this one are

    def any(self) -> bool:
        return self.filled > 0 or any(self.slots)

    def all(self) -> bool:
        while self.filled < self.count and self.slots[self.filled]:
            self.filled += 1
        return self.filled == self.count

    def started(self) -> int:
        return sum(1 for slot in self.slots if slot)

    def close(self) -> None:
        self.slots.release()
        self.map.close()


class Bench:
    """One peer and its store."""

    def __init__(self, peer: Peer, store: Store, places: Places) -> None:
        self.peer, self.store, self.places = peer, store, places

    # the three measurements

    def drain(self, count: int) -> Figures:
        with self.begun(count) as stamps:
            figures = Figures()
            load = Load()
            bulk_seconds = self.ask("many", str(count))["seconds"]
            figures.bulk_rate = count / bulk_seconds
            if isinstance(self.store, Postgres):
                self.store.settle()
            with self.working(self.peer.drain) as pids:
                self.until(stamps.any, stamps)
                began, workers, servers = time.monotonic(), seconds_of(pids), seconds_of(self.store.pids)
                self.until(stamps.all, stamps)
                end = self.until_finished()
                passed = time.monotonic() - began
                figures.worker_cores = (seconds_of(pids) - workers) / passed
                figures.server_cores = (seconds_of(self.store.pids) - servers) / passed
            figures.rate = count / drain_seconds(stamps, end)
            figures.foreign = load.foreign_cores()
            return figures

    def singles(self, count: int) -> Figures:
        with self.begun(count):
            load = Load()
            seconds = self.ask("one", str(count))["seconds"]
            return Figures(rate=count / seconds, foreign=load.foreign_cores())

    def idle(self, count: int) -> Figures:
        with self.begun(WARM_JOBS + count) as stamps, self.working(self.peer.idle):
            self.ask("one", "1")
            self.until(lambda: stamps.slots[0] > 0, stamps)
            time.sleep(SETTLE_SECONDS)
            load = Load()
            asked = self.ask("idle", str(WARM_JOBS + count), str(PAUSE_SECONDS))
            self.until(lambda: stamps.all() and stamps.slots[0] >= asked[0], stamps)
            latencies = [slot - at for slot, at in zip(stamps.slots, asked, strict=True)][WARM_JOBS:]
            return Figures(latencies=latencies, foreign=load.foreign_cores())

    # its parts

    @contextlib.contextmanager
    def begun(self, count: int) -> Iterator[Stamps]:
        """The store is empty but for the peer's tables, and there are ``count`` slots for stamps."""
        self.store.empty()
        stamps = Stamps(self.places.folder / "stamps", count)
        try:
            self.ask("prepare")
            yield stamps
        finally:
            stamps.close()

    def environment(self) -> dict[str, str]:
        own = {"BENCH_URL": self.store.url, "BENCH_STAMPS": str(self.places.folder / "stamps")}
        return {**os.environ, **self.peer.variables(self.places), **own}

    def program(self, template: str) -> list[str]:
        """A command with the peer's interpreter and program in it."""
        python = self.peer.interpreter(self.places)
        command = str(Path(sys.executable).parent / "holdfast")
        words = {"{python}": [python], "{play}": [python, *self.peer.play()], "{holdfast}": [command]}
        return [word for part in shlex.split(template) for word in words.get(part, [part])]

    def ask(self, *arguments: str) -> Any:
        """Run the peer's program for one verb; answers what it printed."""
        command = [*self.program("{play}"), *arguments]
        try:
            done = subprocess.run(
                command,
                env=self.environment(),
                cwd=JOBS,
                capture_output=True,
                text=True,
                timeout=ENQUEUE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(arguments)} took longer than {ENQUEUE_SECONDS:g} s") from error
        if done.returncode:
            raise Failed(f"{' '.join(arguments)}: {last_line(done.stderr)}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    @contextlib.contextmanager
    def working(self, workers: Workers) -> Iterator[list[int]]:
        """Workers at work, and their process ids."""
        command = self.program(workers.command)
        with (self.places.folder / f"{self.peer.name}.log").open("wb") as log:
            started = [
                subprocess.Popen(
                    command,
                    env=self.environment() | workers.environment,
                    cwd=JOBS,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                for _ in range(workers.processes)
            ]
            try:
                yield [process.pid for process in started]
            finally:
                for process in started:
                    process.send_signal(signal.SIGTERM)
                for process in started:
                    stop(process)

    def until(self, happened: Callable[[], bool], stamps: Stamps) -> None:
        """Wait for it, for as long as bodies start now and then."""
        seen, deadline = -1, 0.0
        while not happened():
            time.sleep(POLL_SECONDS)
            if time.monotonic() > deadline:
                started = stamps.started()
                if started == seen:
                    raise Failed(f"{started} of {stamps.count} jobs have started, and no more for {STALL_SECONDS:g} s")
                seen, deadline = started, time.monotonic() + STALL_SECONDS

    def until_finished(self) -> float:
        """Wait until the store shows no queued or running job. Answers when that was."""
        deadline = time.monotonic() + STALL_SECONDS
        while self.store.ask(self.peer.unfinished):
            if time.monotonic() > deadline:
                raise Failed(f"the store shows unfinished jobs {STALL_SECONDS:g} s after the last one started")
            time.sleep(POLL_SECONDS)
        return time.time()


def drain_seconds(stamps: Stamps, end: float) -> float:
    first, last = min(stamps.slots), max(stamps.slots)
    return (end if end - last > TAIL_SECONDS else last) - first


def stop(process: subprocess.Popen[bytes]) -> None:
    """Give it time to end; then end it and whatever it left, each by its id."""
    family = tree([process.pid])
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    alive = {found.pid: found.started for found in tree([member.pid for member in family])}
    for member in family:
        if alive.get(member.pid) == member.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
    process.wait()


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it said nothing"


def quantile(values: list[float], part: float) -> float:
    """The smallest value that so large a part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
