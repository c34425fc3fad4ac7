"""An event loop that is kept busy: the lease holds, and somebody says who it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import Holdfast
from tests.support import jobs, ledger
from tests.support.host import Host, reached
from tests.support.looking import worker_states

Hosts = Callable[..., Host]


def block(app: Holdfast, host: Hosts, folder: Path, *, seconds: float, lease: float) -> None:
    first = host(processes=1, lease=lease).ready()
    child = first.children()[0]
    run = jobs.blocker.trigger(seconds)
    reached(lambda: ledger.lines(folder, "began"))
    watcher = host(processes=1, lease=lease).ready()
    assert run.result(timeout=seconds + 20) == "done"
    assert ledger.lines(folder, "began") == [["began", "blocker", str(child)]]
    assert run.retrieve().attempts == 1
    states = worker_states(app)
    assert states == ["live", "live"]
    assert "task blocker has blocked the event loop" in first.said()
    assert "declared lost" not in first.said()
    assert "has not beaten" not in watcher.said()
    assert first.stop() == 0


def test_a_blocked_loop_keeps_its_lease(app: Holdfast, host: Hosts, folder: Path) -> None:
    """Fails with beating from the event loop of the worker: it was lost, and its run began elsewhere as well."""
    block(app, host, folder, seconds=9, lease=4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_loop_that_is_blocked_for_two_minutes_keeps_its_lease(app: Holdfast, host: Hosts, folder: Path) -> None:
    block(app, host, folder, seconds=120, lease=10)
