"""A host: a supervisor in a process of its own, with its worker processes, for tests that kill, stop and count them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support import ledger

JOBS = "tests.support.jobs:app"
ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
ALONE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


class Host:
    """A supervisor with ``processes`` workers. ``folder`` is what its tasks share with the test; ``first`` has it
    started as process 1 of a namespace of its own, as in a container; ``more`` are further orders."""

    def __init__(
        self,
        database: str,
        folder: Path,
        *,
        app: str = JOBS,
        processes: int = 1,
        concurrency: int = 10,
        lease: float = 30.0,
        drain: float = 10.0,
        environment: dict[str, str] | None = None,
        first: bool = False,
        **more: Any,
    ) -> None:
        self.folder = folder
        self.processes = processes
        self.errors = folder / f"errors-{len(list(folder.glob('errors-*')))}"
        orders: dict[str, Any] = {
            "app": app,
            "database": database,
            "concurrency": concurrency,
            "queues": None,
            "lease_ms": round(lease * 1000),
            "drain_seconds": drain,
            "processes": processes,
            **more,
        }
        self.first = first
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*(ALONE if first else []), sys.executable, "-m", "tests.support.supervise", json.dumps(orders)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | {ledger.VARIABLE: str(folder)} | (environment or {}),
                start_new_session=True,
            )
        self.group = self.process.pid
        self.announced: list[int] = []  # process ids, as they became ready
        self.changed = threading.Condition()
        self.listening = threading.Thread(target=self.listen, daemon=True)
        self.listening.start()

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ready "):
                with self.changed:
                    self.announced.append(int(line.split()[1]))
                    self.changed.notify_all()

    def ready(self, count: int | None = None) -> Host:
        """Wait until so many workers in all have become ready; default is as many as there are processes."""
        wanted = self.processes if count is None else count
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.announced) >= wanted, START_SECONDS), self.said()
        return self

    @property
    def supervisor(self) -> int:
        """Its process, also if it is the first one of a namespace."""
        return children_of(self.process.pid)[0] if self.first else self.process.pid

    def children(self) -> list[int]:
        """The worker processes that live."""
        return [pid for pid in children_of(self.supervisor) if state(pid) not in ("", "Z")]

    def ready_children(self) -> list[int]:
        return [pid for pid in self.children() if pid in self.announced]

    def send(self, number: int) -> None:
        kill(self.supervisor, number)

    def wait(self, timeout: float = 60.0) -> int:
        """The exit code of the supervisor."""
        return self.process.wait(timeout)

    def stop(self) -> int:
        """Drain, and answer the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def said(self) -> str:
        """What it and its workers wrote to their standard error."""
        return self.errors.read_text(errors="replace")

    def clear_away(self) -> None:
        """End whatever is left, stopped processes too."""
        for pid in {*(self.children() if children_of(self.process.pid) else []), self.process.pid}:
            kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self.process.wait(30)
        self.listening.join(10)


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def children_of(pid: int) -> list[int]:
    """The children of a process, ended ones too."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def reached(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def state(pid: int) -> str:
    """The letter of a process's state; empty if there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    return ""


@contextlib.contextmanager
def hosts(database: str, folder: Path) -> Iterator[Callable[..., Host]]:
    """Starts hosts, and clears them away."""
    started: list[Host] = []

    def start(**settings: Any) -> Host:
        started.append(Host(settings.pop("database", database), folder, **settings))
        return started[-1]

    try:
        yield start
    finally:
        for host in started:
            host.clear_away()
