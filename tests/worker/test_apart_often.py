"""What must hold of runs in processes of their own, ten times each."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import RunCanceled
from tests.support import apart, ledger
from tests.support.host import Host, kill, reached
from tests.worker.test_apart import APP, NEIGHBOURS, ended, gone, members

TIMES = 10
Hosts = Callable[..., Host]
pytestmark = pytest.mark.slow


@pytest.fixture
def app(database_url: str) -> Iterator[Any]:
    apart.app.settings.use_flags(database=database_url)
    yield apart.app
    apart.app.close()


def afresh(folder: Path) -> None:
    for name in ("ledger", "gate"):
        (folder / name).unlink(missing_ok=True)


def test_who_allocates_without_end_ends_and_twenty_neighbours_do_not(app: Any, host: Hosts, folder: Path) -> None:
    host(app=APP, concurrency=40).ready()
    for _ in range(TIMES):
        afresh(folder)
        beside = [apart.beside.trigger(n) for n in range(NEIGHBOURS)]
        reached(lambda: len(ledger.lines(folder, "began")) == NEIGHBOURS)
        run = ended(apart.hoards.trigger(1))
        assert run.error is not None
        assert run.error.type == "OutOfMemory"
        assert run.usage is not None
        assert run.usage.wall_seconds < 10
        ledger.open_gate(folder)
        assert len({each.result(timeout=60) for each in beside}) == 1


def test_of_a_canceled_run_no_process_remains(app: Any, host: Hosts, folder: Path) -> None:
    host(app=APP).ready()
    for _ in range(TIMES):
        afresh(folder)
        handle = apart.parent.trigger(1)
        reached(lambda: len(members(folder)) == 5)
        handle.cancel()
        with pytest.raises(RunCanceled):
            handle.result(timeout=60)
        assert gone(members(folder))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_goes_on_when_the_supervisor_is_killed(app: Any, host: Hosts, folder: Path) -> None:
    for _ in range(TIMES):
        afresh(folder)
        hired = host(app=APP, lease=6.0).ready()
        handle = apart.parent.trigger(1)
        reached(lambda: len(members(folder)) == 5)
        family = members(folder)
        began = time.monotonic()
        kill(hired.supervisor, signal.SIGKILL)
        reached(lambda: gone(family))  # noqa: B023
        assert time.monotonic() - began < 6.0
        handle.cancel()
