"""How much CPU and memory there is here for runs with machines.

What a container may use is said by its cgroups: each of them on the way from this process up to the root can be a
limit, in version 1 and 2 alike, and the smallest counts. What they do not limit, the host does.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from holdfast.machine import Machine, format_bytes

TABLE: Final = Path("/proc/self/cgroup")
MOUNT: Final = Path("/sys/fs/cgroup")
FREE: Final = 1 << 60  # what version 1 says where there is no limit


class Room(NamedTuple):
    """So many thousandths of a vCPU, and so many bytes."""

    cpu_millis: int
    memory_bytes: int

    def share(self, count: int) -> Room:
        """What each of ``count`` has of it."""
        return Room(self.cpu_millis // count, self.memory_bytes // count)

    def holds(self, machine: Machine) -> bool:
        """Whether a run with this machine fits into it."""
        return machine.cpu_millis <= self.cpu_millis and machine.memory_bytes <= self.memory_bytes

    def nearly_holds(self, other: Room) -> bool:
        """Whether there is as much as ``other``, but for a tenth: a host shows a little less than it is sold with."""
        return other.cpu_millis <= 1.1 * self.cpu_millis and other.memory_bytes <= 1.1 * self.memory_bytes

    def without(self, machines: Iterable[Machine]) -> Room:
        """What is left beside these."""
        cpu, memory = self
        for machine in machines:
            cpu, memory = cpu - machine.cpu_millis, memory - machine.memory_bytes
        return Room(cpu, memory)

    def __str__(self) -> str:
        return f"{math.floor(self.cpu_millis / 10) / 100:g} vCPU, {format_bytes(self.memory_bytes)}"


def detect(table: Path = TABLE, mount: Path = MOUNT) -> Room:
    """What this process may use: the smallest limit of its cgroups and the host."""
    folders = list(groups(table, mount))
    cpus = [limit for folder in folders if (limit := cpu_limit(folder)) is not None]
    memory = [limit for folder in folders if (limit := memory_limit(folder)) is not None]
    host = host_room()
    return Room(min([host.cpu_millis, *cpus]), min([host.memory_bytes, *memory]))


def host_room() -> Room:
    """What the host has: the processors this process may run on, and its memory."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Room(1000 * processors, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def groups(table: Path, mount: Path) -> Iterator[Path]:
    """The folders of this process's cgroups and of all above them, as far as they can be seen from here.

    In a container the table may name a path of the host that is not there: then the mount is the container's own.
    """
    with contextlib.suppress(OSError):
        for line in table.read_text("utf-8", "replace").splitlines():
            number, controllers, path = line.split(":", 2)
            for top in {mount if number == "0" else mount / name for name in controllers.split(",")}:
                place = PurePosixPath(path.strip("/"))
                yield from (top / each for each in (place, *place.parents) if (top / each).is_dir())


def cpu_limit(folder: Path) -> int | None:
    """The CPU this cgroup may use, in thousandths: ``cpu.max`` is "quota period" or "max period"."""
    said = words(folder / "cpu.max") or [*words(folder / "cpu.cfs_quota_us"), *words(folder / "cpu.cfs_period_us")]
    if len(said) != 2 or not said[0].isdigit() or not said[1].isdigit() or int(said[1]) == 0:
        return None
    return max(1, math.floor(1000 * int(said[0]) / int(said[1])))


def memory_limit(folder: Path) -> int | None:
    """The bytes this cgroup may use."""
    said = words(folder / "memory.max") or words(folder / "memory.limit_in_bytes")
    return int(said[0]) if said and said[0].isdigit() and int(said[0]) < FREE else None


def words(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text("ascii", "replace").split()
    return []
