"""Processes that stand still and come back: nothing is accepted from them for what has gone on elsewhere."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast import Holdfast, RunHandle
from tests.support import jobs, ledger
from tests.support.host import Host, kill, reached, state
from tests.support.looking import open_runs, worker_states

Hosts = Callable[..., Host]
LEASE = 2.0


def pause(pid: int, app: Holdfast) -> None:
    """Stop a process, but not while it holds the lock of the file: it would keep it for as long as it is stopped."""
    while True:
        kill(pid, signal.SIGSTOP)
        reached(lambda: state(pid) == "T")
        written = app.client.store.submit(lambda tx: tx.rows("declare_gone", id="nobody"))
        with contextlib.suppress(TimeoutError):
            written.result(2)
            return
        kill(pid, signal.SIGCONT)
        written.result(30)


def states(app: Holdfast) -> list[str]:
    return sorted(worker_states(app))


def leaves(app: Holdfast) -> int:
    """How many runs of the task leaf there are."""
    return open_runs(app, "leaf")


def assert_done_by(pids: set[int], runs: list[RunHandle[Any]], folder: Path) -> None:
    """All was accepted from these processes, and nothing from any other."""
    for handle in runs:
        run = handle.retrieve()
        assert (run.status, run.attempts) == ("completed", 1)
        assert run.output in pids
        assert dict(run.metadata) == {"pid": run.output}
        assert [line.message for line in run.logs if "passed" in line.message] == [f"passed in {run.output}"]
    assert {int(line[2]) for line in ledger.lines(folder, "ended")} <= pids


def beginnings(folder: Path, pids: set[int]) -> int:
    return sum(int(line[2]) in pids for line in ledger.lines(folder, "began"))


def test_a_worker_that_was_stopped_for_longer_than_its_lease(app: Holdfast, host: Hosts, folder: Path) -> None:
    """Its runs go on elsewhere; when it comes back nothing it says is accepted: no completion, no log line, no metadata
    and no trigger. It comes back under a new name and works on. Fails with a fence that looks only at the run's state,
    and by a trigger that does not look at all."""
    first = host(processes=1, concurrency=2, lease=LEASE).ready()
    sleeper = first.children()[0]
    runs = [jobs.gated.trigger(1), jobs.gated_def.trigger(2)]
    reached(lambda: beginnings(folder, {sleeper}) == 2)
    second = host(processes=2, concurrency=2, lease=LEASE).ready()
    others = set(second.children())
    pause(sleeper, app)
    reached(lambda: beginnings(folder, others) == 2)
    ledger.open_gate(folder)
    for run in runs:
        assert run.result(timeout=10) in others

    kill(sleeper, signal.SIGCONT)
    # Its thread goes on where it was, and triggers: that is refused.
    reached(lambda: any(int(line[2]) == sleeper for line in ledger.lines(folder, "refused")))
    assert {line[3] for line in ledger.lines(folder, "refused")} <= {"AttemptLost", "CancelledError"}
    reached(lambda: states(app).count("live") == 3)
    assert states(app) == ["live", "live", "live", "lost"]
    assert "declared lost" in first.said()
    assert_done_by(others, runs, folder)
    assert leaves(app) == 0
    assert len(ledger.lines(folder, "leaf")) == 2
    assert first.children() == [sleeper]

    assert second.stop() == 0
    assert jobs.gated.trigger(7).result(timeout=10) == sleeper
    assert first.stop() == 0


def test_a_supervisor_that_was_stopped_for_longer_than_the_lease(app: Holdfast, host: Hosts, folder: Path) -> None:
    """Nobody beats for its worker, which lives: its runs go on elsewhere, and until the supervisor is back it takes
    none that it would lose again. Fails with letting it come back at once: it took runs and lost them, lease after
    lease."""
    first = host(processes=1, concurrency=2, lease=LEASE).ready()
    orphan = first.children()[0]
    runs = [jobs.gated.trigger(n) for n in range(2)]
    reached(lambda: beginnings(folder, {orphan}) == 2)
    second = host(processes=2, concurrency=4, lease=LEASE).ready()
    others = set(second.children())
    pause(first.process.pid, app)
    reached(lambda: beginnings(folder, others) == 2)
    more = [jobs.work.trigger({"n": n, "seconds": 0.02}) for n in (100, 101, 102, 103, 104, 105, 106, 108)]
    for run in more:
        run.result(timeout=10)
    ledger.open_gate(folder)
    for run in runs:
        assert run.result(timeout=10) in others
    assert_done_by(others, runs, folder)
    assert states(app) == ["live", "live", "lost"]

    kill(first.process.pid, signal.SIGCONT)
    reached(lambda: states(app) == ["live", "live", "live", "lost"])
    assert second.stop() == 0
    assert jobs.gated.trigger(7).result(timeout=10) == orphan
    assert first.children() == [orphan]
    assert first.stop() == 0
