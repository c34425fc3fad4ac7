"""Whose CPU it was: ours, or somebody else's.

What the kernel says was used, less what the tree of our processes used, is foreign. A measurement starts when the
others are quiet, and says how loud they were while it ran. Linux only; elsewhere nothing is known and nothing is
waited for.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

QUIET_CORES = 0.2  # a run starts below this
LOUD_CORES = 0.3  # a run above this is repeated
SAMPLE_SECONDS = 1.0
PROC = Path("/proc")


def ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """CPU used by anybody since the machine started, and what its host took away."""
    with contextlib.suppress(OSError):
        user, nice, system, _idle, _wait, irq, softirq, steal = map(
            int, (PROC / "stat").read_text().split("\n")[0].split()[1:9]
        )
        return (user + nice + system + irq + softirq + steal) / ticks_per_second()
    return 0.0


@dataclass(frozen=True)
class Process:
    """What a line of /proc/<pid>/stat says. ``seconds`` has the children in it that were waited for."""

    pid: int
    parent: int
    seconds: float
    started: int


def processes() -> Iterator[Process]:
    if not PROC.is_dir():
        return
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks = sum(map(int, fields[11:15]))
                yield Process(int(entry.name), int(fields[1]), ticks / ticks_per_second(), int(fields[19]))


def tree(roots: Iterable[int]) -> list[Process]:
    """These processes and all their descendants, as far as they live."""
    all_of_them = {process.pid: process for process in processes()}
    children: dict[int, list[int]] = defaultdict(list)
    for process in all_of_them.values():
        children[process.parent].append(process.pid)
    found, ahead = [], list(roots)
    while ahead:
        pid = ahead.pop()
        if pid in all_of_them:
            found.append(all_of_them[pid])
            ahead.extend(children[pid])
    return found


def seconds_of(roots: Iterable[int]) -> float:
    """CPU used by these processes, their descendants, and those of them that were waited for."""
    return sum(process.seconds for process in tree(roots))


class Load:
    """How much CPU others use, from one reading to the next."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.at, self.busy, self.ours = time.monotonic(), busy_seconds(), seconds_of([os.getpid()])

    def foreign_cores(self) -> float:
        """Since the last reading. Never below zero: a tick is a hundredth of a second."""
        at, busy, ours = self.at, self.busy, self.ours
        self.restart()
        return max(0.0, (self.busy - busy) - (self.ours - ours)) / max(0.001, self.at - at)


def wait_for_quiet(patience: float) -> float:
    """Wait until the others are quiet, for so many seconds at most. Answers how loud they are."""
    deadline = time.monotonic() + patience
    load = Load()
    while True:
        time.sleep(SAMPLE_SECONDS)
        foreign = load.foreign_cores()
        if foreign < QUIET_CORES or time.monotonic() > deadline:
            return foreign


def facts() -> dict[str, str]:
    """What a reader needs to know of this machine; no names, no paths."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{gigabytes:.0f} GiB",
        "processor": processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in (PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
