"""What can be seen of a process from outside: whether it runs, and what it uses. /proc on Linux, ``ps`` elsewhere.

Whoever beats for a worker measures it, too, for what hangs or spins cannot tell. The measure of a worker is that of its
own process; a run that has one of its own counts together with all that it has started.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from holdfast.engine.workers import ProcessUsage, RunUsage, WorkerUsage
from holdfast.sizes import KIB
from holdfast.worker.isolated.confine import PAGE, family

LOOK_SECONDS: Final = 2.0
RUNS: Final = 20  # of a worker that are told, those with the most memory: a beat stays small
LINUX = sys.platform.startswith("linux")


class Used(NamedTuple):
    """What a process has used so far: CPU seconds, and the bytes of memory that are in use now."""

    cpu: float
    memory: int


class Measured(NamedTuple):
    """A worker to be measured: its process, and the runs in processes of their own, by pid."""

    pid: int
    apart: Mapping[int, str]


class Meter:
    """Measures the workers of one host every other second. ``above`` is the process that has started them."""

    def __init__(self, above: int | None = None) -> None:
        self.above = above
        self.before: dict[int, Used] = {}
        self.at, self.took = float("-inf"), 0.0
        self.usage: dict[str, WorkerUsage] = {}

    def look(self, workers: Mapping[str, Measured]) -> dict[str, WorkerUsage]:
        """What these workers use, by their names, as it was seen last; nothing yet of one that is new."""
        now = time.monotonic()
        if now - self.at >= LOOK_SECONDS:
            self.took, self.at = now - self.at, now
            self.usage = self.measured(workers)
        return self.usage

    def measured(self, workers: Mapping[str, Measured]) -> dict[str, WorkerUsage]:
        families = {pid: family(pid) for each in workers.values() for pid in each.apart}
        heads = [each.pid for each in workers.values()] + ([] if self.above is None else [self.above])
        now = read({*heads, *(pid for family in families.values() for pid in family)})
        before, self.before = self.before, now

        def used(pid: int, *others: int) -> ProcessUsage:
            pids = [each for each in (pid, *others) if each in now]
            spent = sum(max(0.0, now[each].cpu - before.get(each, Used(0, 0)).cpu) for each in pids)
            share = round(1000 * spent / self.took) if pid in before else None
            return ProcessUsage(pid=pid, cpu_millis=share, memory_bytes=sum(now[each].memory for each in pids))

        def run(pid: int, run_id: str) -> RunUsage:
            seen = used(*families[pid])
            return RunUsage(pid=pid, cpu_millis=seen.cpu_millis, memory_bytes=seen.memory_bytes, run_id=run_id)

        above = None if self.above is None else used(self.above)
        found: dict[str, WorkerUsage] = {}
        for name, worker in workers.items():
            own = used(worker.pid)
            runs = sorted((run(*each) for each in worker.apart.items()), key=lambda each: -each.memory_bytes)
            found[name] = WorkerUsage(
                pid=own.pid,
                cpu_millis=own.cpu_millis,
                memory_bytes=own.memory_bytes,
                supervisor=above,
                runs=runs[:RUNS],
            )
        return found


def read(pids: Iterable[int]) -> dict[int, Used]:
    """What these processes have used; those that are gone are left out."""
    if not LINUX:
        return read_by_ps(pids)
    found: dict[int, Used] = {}
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = stat_of(pid)
            found[pid] = Used((int(fields[11]) + int(fields[12])) / TICKS, int(fields[21]) * PAGE)
    return found


TICKS: Final = os.sysconf("SC_CLK_TCK")


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/…/stat from the state on: the name before may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()


def read_by_ps(pids: Iterable[int]) -> dict[int, Used]:
    lines = [line.split() for line in asked_of_ps("pid=,rss=,time=", *pids).splitlines()]
    return {int(pid): Used(seconds_of(took), int(rss) * KIB) for pid, rss, took in lines}


def seconds_of(text: str) -> float:
    """A time as ``ps`` writes it: [[days-]hours:]minutes:seconds."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = 60 * seconds + float(part)
    return 86_400 * int(days or 0) + seconds


def alive(pid: int) -> bool:
    """Whether a process runs: not gone, not a zombie, and not stopped by a signal."""
    return state_of(pid) not in ("", "Z", "X", "T", "t")


def state_of(pid: int) -> str:
    """The letter of a process's state, as in ``ps``; empty if there is none."""
    if LINUX:
        with contextlib.suppress(OSError):
            return stat_of(pid)[0]
        return ""
    return asked_of_ps("stat=", pid)[:1]


def memory_of(pid: int) -> int:
    """The memory that a process has in use, in bytes; 0 if there is none."""
    return read([pid]).get(pid, Used(0, 0)).memory


def asked_of_ps(columns: str, *pids: int) -> str:
    command = ["ps", "-o", columns, "-p", ",".join(map(str, pids))]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
