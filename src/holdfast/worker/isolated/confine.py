"""What a machine means on this host.

Where this process may make cgroups (version 2) below its own, each run with a machine gets one: the kernel holds its
memory and its CPU share, children included. Elsewhere memory is watched, that of the whole family of processes, with a
hard limit on each far above; and the CPU is bounded by affinity and niceness. `enforced` says which of it is true here.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import cast

from holdfast.machine import Machine
from holdfast.sizes import MIB

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIGKILL = signal.SIGKILL.value
PERIOD_US = 100_000
SLACK = 256 * MIB  # of address space that a process has and never uses: stacks of threads, arenas
LEAF = "holdfast-worker"
LINUX = sys.platform.startswith("linux")


@cache
def prctl() -> Callable[..., int]:
    """That of the C library; nothing where there is none. It keeps no errno: that would be much memory for a fork."""
    return cast("Callable[..., int]", ctypes.CDLL(None).prctl) if LINUX else lambda *args: 0


def die_with_parent() -> None:
    """Be killed when the parent ends, however it does."""
    prctl()(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none is out of sight."""
    prctl()(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def begin_life(zygote: int, errors: int) -> None:
    """What the process of a run does first: it ends with the zygote, now if that has ended, and says errors there."""
    die_with_parent()
    if os.getppid() != zygote:
        os._exit(0)
    adopt_orphans()
    os.dup2(errors, 2)
    os.close(errors)


def other_threads() -> int:
    """How many threads this process has besides the main one, those too that Python does not know."""
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task")) - 1
    return threading.active_count() - 1


# -- cgroups ----------------------------------------------------------------------------------------------------------


@cache
def cgroup_root() -> Path | None:
    """The cgroup below which this process may make others with limits, made ready for that; None if there is none."""
    root = handed_cgroup()
    with contextlib.suppress(OSError):
        return root if root is not None and ready(root) else None
    return None


def handed_cgroup() -> Path | None:
    """The cgroup that was handed to us, if one was, and has what limits need. Changes nothing.

    It is the one in ``HOLDFAST_CGROUP``, or that of this process where it was handed to us: by systemd
    (``Delegate=yes``), or as the root of a container that lets us write to it.
    """
    said = os.environ.get("HOLDFAST_CGROUP")
    root = Path(said) if said else own_cgroup()
    if root is None or not (said or delegated(root)):
        return None
    with contextlib.suppress(OSError):
        return root if can_limit(root) and os.access(root / "cgroup.procs", os.W_OK) else None
    return None


def can_limit(root: Path) -> bool:
    """Whether cgroups below this one could have limits."""
    return {"cpu", "memory"} <= set((root / "cgroup.controllers").read_text().split())


def own_cgroup(table: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Path | None:
    """The cgroup of this process, where version 2 has the whole tree."""
    if not LINUX or not (mount / "cgroup.controllers").is_file():
        return None
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines():
            if line.startswith("0::"):
                found = mount / line[3:].lstrip("/")
                return found.parent if found.name == LEAF else found
    return None


def delegated(root: Path) -> bool:
    """Whether this cgroup was handed to us, to do with it as we like."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(root, name) == b"1":
                return True
    return root == Path("/sys/fs/cgroup") and os.access(root / "cgroup.procs", os.W_OK) and Path("/.dockerenv").exists()


def ready(root: Path) -> bool:
    """Let cgroups below this one have limits. Those that limit may hold no processes: ours move down into a leaf."""
    if not can_limit(root):
        return False
    if {"cpu", "memory"} <= set((root / "cgroup.subtree_control").read_text().split()):
        return True
    (root / LEAF).mkdir(exist_ok=True)
    for pid in (root / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):  # it has ended
            (root / LEAF / "cgroup.procs").write_text(pid)
    (root / "cgroup.subtree_control").write_text("+cpu +memory")
    return True


class Cage:
    """The cgroup of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def close_around(self, machine: Machine) -> None:
        """Put this process, and all that it starts, into it. Raises OSError."""
        self.path.mkdir()
        (self.path / "memory.max").write_text(str(machine.memory_bytes))
        with contextlib.suppress(OSError):  # without swap there is no such file
            (self.path / "memory.swap.max").write_text("0")
        with contextlib.suppress(OSError):
            (self.path / "memory.oom.group").write_text("1")
        (self.path / "cpu.max").write_text(f"{max(1000, machine.cpu_millis * PERIOD_US // 1000)} {PERIOD_US}")
        (self.path / "cgroup.procs").write_text("0")

    def ran_out(self) -> bool:
        """Whether the kernel has killed something in it for its memory."""
        with contextlib.suppress(OSError, ValueError):
            events = dict(line.split() for line in (self.path / "memory.events").read_text().splitlines())
            return int(events.get("oom_kill", 0)) > 0
        return False

    def peak(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self.path / "memory.peak").read_text())
        return 0

    def cpu(self) -> float:
        """Seconds."""
        with contextlib.suppress(OSError, ValueError):
            stat = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
            return int(stat["usage_usec"]) / 1e6
        return 0.0

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.rmdir()


def cage_of(worker: int, number: int) -> Cage | None:
    """The cgroup of a run, by the process of its zygote and its number there; None where there are none."""
    root = cgroup_root()
    return None if root is None else Cage(root / f"holdfast-run-{worker}-{number}")


# -- without cgroups --------------------------------------------------------------------------------------------------


def limit(machine: Machine, number: int) -> None:
    """What a process can be held to where there are no cgroups: its children inherit it."""
    most = 2 * machine.memory_bytes + SLACK
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores(machine.cpu, number, sorted(os.sched_getaffinity(0))))
    with contextlib.suppress(OSError):
        os.nice(niceness(machine.cpu))


def cores(cpu: float, number: int, there: list[int]) -> set[int]:
    """As many cores as a machine has vCPUs, each run beginning with another one."""
    wanted = min(len(there), math.ceil(cpu))
    return {there[(number + index) % len(there)] for index in range(wanted)}


def niceness(cpu: float) -> int:
    """Less than a whole core: behind those that have one."""
    return 0 if cpu >= 1 else round(10 * (1 - cpu))


def confine(machine: Machine, worker: int, number: int) -> None:
    """Hold this process to its machine, before any code of a task runs in it.

    It has a group of its own and no session: where the kernel shares the CPU out between sessions (autogroup), the
    niceness of one means nothing beside another.
    """
    os.setpgid(0, 0)
    cage = cage_of(worker, number)
    if cage is not None:
        with contextlib.suppress(OSError):
            cage.close_around(machine)
            return
    limit(machine, number)


def enforced() -> list[str]:
    """What of a machine is enforced on this host, a sentence each. Changes nothing."""
    if (root := handed_cgroup()) is not None:
        return [
            f"Memory is held by the kernel, children included (cgroups below {root}).",
            "The CPU share is held by the kernel.",
        ]
    why = "no cgroup of version 2 was handed to this process" if LINUX else "this system has no cgroups"
    if not LINUX:
        return [f"Memory is limited for each process alone: {why}.", "The CPU share is a matter of niceness only."]
    return [
        f"Memory is watched, children included, and a run that exceeds its machine is killed: {why}.",
        "The CPU share is bounded by affinity to whole cores and by niceness.",
    ]


# -- watching ---------------------------------------------------------------------------------------------------------

PAGE = resource.getpagesize()


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:
        found += children(each)
    return found


def children(pid: int) -> list[int]:
    """The processes that this one is the parent of, whichever of its threads has started them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as there:
                found += map(int, there.read().split())
    return found


def memory(pids: list[int], most: int) -> int:
    """How much memory these use together. What they share is counted once, as far as it matters: that is asked only if
    the quick answer is more than ``most``."""
    quick = sum(map(resident, pids))
    return quick if quick <= most else sum(map(proportional, pids))


def resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE
    return 0


def proportional(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return resident(pid)
