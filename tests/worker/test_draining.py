"""Deploys: a worker that is told to stop takes nothing more, ends what it can, and hands back the rest as it was."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.engine import claim
from holdfast.errors import DatabaseUnavailable
from holdfast.worker.supervisor import SAME_SECONDS
from tests.support import jobs, ledger
from tests.support.host import Host, reached, state
from tests.support.inside import Inside
from tests.support.ledger import until
from tests.support.looking import worker_states

Hosts = Callable[..., Host]


def test_what_runs_may_end_within_the_drain_time(app: Holdfast, host: Hosts, folder: Path) -> None:
    hired = host(processes=1, drain=20).ready()
    runs = [jobs.gated.trigger(1), jobs.gated_def.trigger(2)]
    reached(lambda: len(ledger.lines(folder, "began")) == 2)
    pid = hired.children()[0]
    hired.send(signal.SIGTERM)
    reached(lambda: worker_states(app) == ["draining"])
    reached(lambda: "draining: 2 runs are under way, and have up to 20s to end" in hired.said())
    late = jobs.leaf.trigger(3)
    ledger.open_gate(folder)
    assert [run.result(timeout=30) for run in runs] == [pid, pid]
    assert hired.wait() == 0
    assert hired.said().count("draining: ") == hired.said().count("drained, after ") == 1
    assert late.retrieve().status == "pending_version"  # nobody took it any more
    assert worker_states(app) == ["stopped"]


def test_what_does_not_end_in_time_goes_back_as_it_was(app: Holdfast, host: Hosts, folder: Path) -> None:
    """Async code is interrupted, a def task is left alone; neither has used up an attempt, and neither is under
    suspicion. Fails with handing back as a failed attempt."""
    hired = host(processes=1, drain=0.3).ready()
    runs = [jobs.tidy.trigger(1), jobs.gated_def.trigger(2)]
    reached(lambda: len(ledger.lines(folder, "began")) == 2)
    assert hired.stop() == 0
    assert "it is killed" not in hired.said()
    assert "2 of the runs here did not end in time: they are stopped and go back in line" in hired.said()
    assert ledger.counts(folder, "interrupted") == {"1": 1}
    for run in runs:
        record = run.retrieve()
        assert (record.status, record.attempts) == ("pending_version", 0)
        assert record._record.crashes == 0
    assert_no_suspects(app)

    heir = host(processes=1).ready()
    ledger.open_gate(folder)
    assert runs[0].result(timeout=30) == 1  # the number of the attempt
    assert runs[1].result(timeout=30) == heir.children()[0]
    assert [run.retrieve().attempts for run in runs] == [1, 1]


def assert_no_suspects(app: Holdfast) -> None:
    assert app.client.store.read_sync(lambda tx: tx.row("outlook", me="x"))[1] in (0, False)  # type: ignore[index]


def test_a_second_signal_stops_hard(app: Holdfast, host: Hosts, folder: Path) -> None:
    """And its runs go on elsewhere long before the lease ends, with the same attempt: whoever killed them knows that
    they are gone."""
    heir = host(processes=1, lease=300).ready()
    heir.send(signal.SIGSTOP)  # the supervisor only: its worker takes no part for a while …
    kept = heir.children()[0]
    os.kill(kept, signal.SIGSTOP)
    hired = host(processes=1, drain=60, lease=300).ready()
    pid = hired.children()[0]
    runs = [jobs.tidy.trigger(1), jobs.gated_def.trigger(2)]
    reached(lambda: len(ledger.lines(folder, "began")) == 2)
    hired.send(signal.SIGTERM)
    reached(lambda: "draining" in worker_states(app))
    began = time.monotonic()
    reached(lambda: time.monotonic() - began > 3 * SAME_SECONDS)  # two at once are one
    hired.send(signal.SIGTERM)
    assert hired.wait() == 128 + signal.SIGTERM
    assert "stopped at once" in hired.said()
    assert state(pid) in ("", "Z")
    os.kill(kept, signal.SIGCONT)
    heir.send(signal.SIGCONT)
    ledger.open_gate(folder)
    assert runs[0].result(timeout=30) == 1
    assert runs[1].result(timeout=30) == kept
    assert [run.retrieve().attempts for run in runs] == [1, 1]


def test_a_worker_process_that_is_terminated_drains(app: Holdfast, host: Hosts, folder: Path) -> None:
    """However often it is told: whoever signals a whole group reaches it twice. Its supervisor puts another in its
    place. Fails with ending at the second signal."""
    hired = host(processes=1, drain=60).ready()
    pid = hired.children()[0]
    run = jobs.gated.trigger(1)
    reached(lambda: ledger.lines(folder, "began"))
    for _ in range(2):
        os.kill(pid, signal.SIGTERM)
        reached(lambda: "draining" in _states(app))
    ledger.open_gate(folder)
    assert run.result(timeout=30) == pid
    hired.ready(2)
    assert jobs.gated.trigger(2).result(timeout=30) != pid


def _states(app: Holdfast) -> list[str]:
    return worker_states(app)


def test_code_that_never_ends_does_not_keep_a_drained_process(app: Holdfast, host: Hosts, folder: Path) -> None:
    """A task that swallows its cancel, and a thread of asyncio.to_thread. Fails with ending the event loop in order,
    which waits for both."""
    hired = host(processes=1, drain=0.2).ready()
    runs = [jobs.stubborn.trigger(1), jobs.threaded.trigger(2)]
    reached(lambda: len(ledger.lines(folder, "began")) == 2)
    assert hired.stop() == 0
    assert "it is killed" not in hired.said()
    assert [run.retrieve().status for run in runs] == ["pending_version"] * 2


# -- in this process --------------------------------------------------------------------------------------------------


async def test_what_has_not_started_goes_back_at_once(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the drain is long: others may be free. Fails with handing it back with the rest."""
    release = asyncio.Event()

    @inside.app.task
    async def waits(n: int) -> int:
        await release.wait()
        return n

    worker = inside.start(concurrency=2, drain_seconds=60)
    await until(lambda: worker.me)
    monkeypatch.setattr(worker.hold.pace, "ahead", lambda: 100)  # it takes itself to be fast, and claims ahead
    batch = await waits.abatch_trigger(range(20))
    await until(lambda: len(worker.hold.held) > 10)
    worker.drain()
    assert len(worker.hold.held) == 2
    other = inside.start(concurrency=30)
    await asyncio.wait_for(until(lambda: other.hold.running == 18), 30)
    release.set()
    assert (await batch.aresults(timeout=30)).outputs() == list(range(20))


async def test_what_a_claim_brings_during_the_drain_goes_back_at_once(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked for before. Fails with letting it wait for a slot that it will not get: it went back when the drain
    time was over."""

    @inside.app.task
    async def quick(n: int) -> int:
        return n

    worker = inside.start(drain_seconds=60)
    await inside.run(quick, 0)
    door = inside.store.run

    async def run(f: Any, *args: Any) -> Any:
        answer = await door(f, *args)
        if getattr(answer, "claimed", None):
            monkeypatch.undo()
            worker.drain()
        return answer

    monkeypatch.setattr(inside.store, "run", run)
    handle = await quick.atrigger(1)
    await asyncio.wait_for(inside.workers[worker], 30)
    assert (await handle.aretrieve()).status == "pending_version"
    inside.start()
    assert (await inside.ended(handle)).output == 1


async def test_a_drain_before_the_first_round_ends_the_worker(inside: Inside) -> None:
    @inside.app.task
    async def quick(n: int) -> int:
        return n

    worker = inside.start()
    await asyncio.sleep(0)
    worker.drain()
    worker.drain()
    await asyncio.wait_for(inside.workers[worker], 30)


async def test_outcomes_are_told_before_a_drained_worker_ends(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the database is away."""
    monkeypatch.setattr("holdfast.worker.worker.BACKOFF_SECONDS", 0.3)
    away = threading.Event()
    door = inside.store.run
    refused = [0]

    async def run(f: Any, *args: Any) -> Any:
        if away.is_set() and f is claim.exchange:
            refused[0] += 1
            raise DatabaseUnavailable("away")
        return await door(f, *args)

    @inside.app.task
    async def waits(n: int) -> int:
        away.set()
        return n

    monkeypatch.setattr(inside.store, "run", run)
    worker = inside.start(drain_seconds=60)
    handle = await waits.atrigger(1)
    await until(lambda: refused[0] >= 2)
    worker.drain()
    await until(lambda: refused[0] >= 4)
    assert not inside.workers[worker].done()
    away.clear()
    await asyncio.wait_for(inside.workers[worker], 30)
    assert (await handle.aretrieve()).output == 1
