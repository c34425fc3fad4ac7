"""The database goes away, loses an answer, or is locked: workers go on, nothing is lost, and nobody has to help."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast import Holdfast, RunHandle, storage
from holdfast.engine.trigger import trigger
from holdfast.errors import DatabaseError
from holdfast.ids import new_id
from holdfast.records import NewRun
from tests.chaos.conftest import OwnServer
from tests.support import jobs, ledger
from tests.support.host import Host, hosts, kill, reached
from tests.support.inside import Inside
from tests.support.looking import worker_states
from tests.support.proxy import Proxy

Hosts = Callable[..., Host]
LEASE = 4.0
PLAIN = [n for n in range(200) if n % 10 != 7]  # those that do not fail the first time


def states(app: Holdfast) -> list[str]:
    return sorted(worker_states(app))


@pytest.fixture
def served(own_server: OwnServer, folder: Path, processes: None) -> Iterator[Callable[..., Host]]:
    """Starts hosts on the server that may be stopped."""
    jobs.app.settings.use_flags(database=own_server.url)
    with hosts(own_server.url, folder) as start:
        yield start
    jobs.app.close()


def go_through_a_restart(server: OwnServer, hired: Host, folder: Path, away: float, runs: int) -> None:
    """Runs are triggered all the time, before, while and after the server is away."""
    children = hired.children()
    handles: list[RunHandle[int]] = []
    refused = 0
    stopped = threading.Event()

    def crash() -> None:
        reached(lambda: len(handles) > runs // 4)
        server.stop()
        time.sleep(away)
        server.start()
        stopped.set()

    crasher = threading.Thread(target=crash)
    crasher.start()
    for n in PLAIN[:runs]:
        while True:
            try:
                handles.append(jobs.work.trigger({"n": n, "seconds": 0.2}))
                break
            except DatabaseError:
                refused += 1
                stopped.wait(0.2)
        time.sleep(0.02)
    crasher.join()
    assert [handle.result(timeout=30) for handle in handles] == PLAIN[:runs]
    assert refused > 0
    assert [handle.retrieve().attempts for handle in handles] == [1] * runs
    began = ledger.counts(folder, "began")
    assert set(began.values()) == {1}  # what was under way went on, and was reported later
    assert hired.children() == children
    assert states(jobs.app) == ["live", "live"]


def test_the_server_crashes_and_is_away_for_longer_than_the_lease(
    own_server: OwnServer, served: Hosts, folder: Path
) -> None:
    """Fails with judging beats by what was read before the outage: workers were declared lost when it was over. And by
    ending the worker at the first error."""
    hired = served(processes=2, concurrency=10, lease=LEASE).ready()
    go_through_a_restart(own_server, hired, folder, away=6, runs=60)
    assert hired.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_server_is_away_for_twenty_seconds(own_server: OwnServer, served: Hosts, folder: Path) -> None:
    hired = served(processes=2, concurrency=10, lease=10).ready()
    go_through_a_restart(own_server, hired, folder, away=20, runs=150)
    assert hired.stop() == 0


def test_a_worker_that_is_replaced_while_the_server_is_away(own_server: OwnServer, served: Hosts, folder: Path) -> None:
    """The new process waits for the server. Fails with taking it for one that cannot start, and never trying again."""
    hired = served(processes=1, concurrency=4, lease=LEASE).ready()
    first = hired.children()[0]
    runs = [jobs.gated.trigger(n) for n in range(2)]
    reached(lambda: len(ledger.lines(folder, "began")) == 2)
    own_server.stop()
    kill(first, signal.SIGKILL)
    reached(lambda: hired.children() not in ([], [first]))
    reached(lambda: "The database is away" in hired.said())
    own_server.start()
    ledger.open_gate(folder)
    hired.ready(2)
    assert {run.result(timeout=30) for run in runs} == set(hired.children())
    assert hired.stop() == 0


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_the_sessions_of_all_are_ended_by_the_server(
    app: Holdfast, host: Hosts, folder: Path, database_url: str
) -> None:
    """As an operator or a failover does, again and again in the middle of everything."""
    host(processes=2, concurrency=10).ready()
    batch = jobs.work.batch_trigger([{"n": n, "seconds": 0.05} for n in PLAIN])
    end_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(8):
            connection.execute(end_all.encode())
            time.sleep(0.15)
    assert batch.results(timeout=30).outputs() == PLAIN
    assert states(app) == ["live", "live"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_file_is_locked_for_longer_than_the_lease(
    app: Holdfast, host: Hosts, folder: Path, database_url: str
) -> None:
    """Two hosts that read, and cannot write. Fails with judging beats that nobody could write."""
    both = [host(processes=1, concurrency=4, lease=LEASE).ready() for _ in range(2)]
    runs = [jobs.gated.trigger(n) for n in range(8)]
    reached(lambda: len(ledger.lines(folder, "began")) == 8)
    other = storage.connect(database_url)
    release, inside = threading.Event(), threading.Event()

    def sit(tx: Any) -> None:
        inside.set()
        release.wait(30)

    sitting = other.submit(sit)
    assert inside.wait(30)
    time.sleep(LEASE + 2)  # nothing to wait for: this is the outage
    release.set()
    sitting.result(30)
    other.close()
    ledger.open_gate(folder)
    pids = {run.result(timeout=30) for run in runs}
    assert pids == {each.children()[0] for each in both}
    assert set(ledger.counts(folder, "began").values()) == {1}
    assert states(app) == ["live", "live"]


# -- the answer of a claim is lost ------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # for SQLite there is one in test_refused
async def test_a_connection_that_is_cut_after_the_commit_of_a_claim(database_url: str) -> None:
    """The database says that the worker holds the run, and the worker has never heard of it; its beats go on. Broken by
    not comparing: nobody else may take it, and here nobody does."""
    proxy = Proxy(database_url)
    inside, times = Inside(proxy.url), Counter[int]()

    @inside.app.task
    async def count(n: int) -> int:
        times[n] += 1
        return n

    direct = storage.open(database_url)
    worker = inside.start()
    await inside.run(count, 0)
    me = worker.me
    for n in range(1, 4):
        made = NewRun(id=new_id(), task="count", queue=count.queue.name, payload=str(n))
        proxy.lose(made.id)
        await direct.run(trigger, [made])
        assert await asyncio.to_thread(proxy.lost.wait, 30)
        run = await inside.ended(count.handle(made.id))
        assert (run.output, run.attempts, run._record.claim) == (n, 1, 2)
    assert times == {0: 1, 1: 1, 2: 1, 3: 1}
    assert worker.me == me
    await inside.close()
    direct.close()
    proxy.close()
