"""Processes are killed all the time: nothing is lost, nothing is done twice at once, and nobody has to help."""

from __future__ import annotations

import random
import signal
import threading
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from holdfast import Holdfast
from tests.support import jobs, ledger
from tests.support.host import Host, kill
from tests.support.looking import open_runs

Hosts = Callable[..., Host]
LEASE = 30.0  # nobody is to wait for its end: a supervisor says at once that a process of its own is dead
PROGRESS = 10  # runs that end between two kills


class Killer:
    """Kills one of a host's workers every so many seconds, for as long as it is entered.

    But only when some runs have ended since the last kill: where processes start more slowly than they are killed,
    nobody could get anywhere.
    """

    def __init__(self, host: Host, seconds: float, seed: int = 7) -> None:
        self.host, self.seconds, self.random = host, seconds, random.Random(seed)
        self.killed: list[int] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        ended = 0
        while not self.stopping.wait(self.seconds):
            now = len(ledger.lines(self.host.folder, "ended"))
            if now >= ended + PROGRESS and (children := self.host.ready_children()):
                ended = now
                self.killed.append(self.random.choice(children))
                kill(self.killed[-1], signal.SIGKILL)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()


def work_through(app: Holdfast, host: Host, folder: Path, *, runs: int, seconds: float, every: float) -> None:
    """All of what item 1 of the promises says."""
    batch = jobs.work.batch_trigger([{"n": n, "seconds": seconds} for n in range(runs)])
    with Killer(host, every) as killer:
        results = batch.results(timeout=max(runs, 400))
    assert [run.status for run in results] == ["completed"] * runs
    assert results.outputs() == list(range(runs))
    assert len(killer.killed) >= 3
    assert ledger.lines(folder, "crowd") == []  # never two at once
    retried = {n for n in range(runs) if n % 10 == 7}
    assert [run.attempts for run in results] == [2 if n in retried else 1 for n in range(runs)]  # a crash costs none
    began = ledger.counts(folder, "began")
    assert sum(began.values()) > runs + len(retried)  # some had to start again
    assert_recovered_in_time(folder, retried)
    assert open_runs(app) == 0  # none is stranded
    assert host.stop() == 0


def assert_recovered_in_time(folder: Path, retried: set[int]) -> None:
    """Between two beginnings of a run lies no more than a lease. One that fails goes to the end of the line, though."""
    began: dict[int, list[float]] = {}
    for _, n, _, at in ledger.lines(folder, "began"):
        began.setdefault(int(n), []).append(float(at))
    gaps = [b - a for n, times in began.items() if n not in retried for a, b in pairwise(times)]
    assert max(gaps) < LEASE


def test_two_hundred_runs_while_workers_are_killed(app: Holdfast, host: Hosts, folder: Path) -> None:
    """Fails with a sweep that recovers nothing: the runs of the killed were executing for ever."""
    hired = host(processes=4, concurrency=2, lease=LEASE).ready()
    work_through(app, hired, folder, runs=200, seconds=0.1, every=0.6)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_runs_with_a_kill_every_second(app: Holdfast, host: Hosts, folder: Path) -> None:
    hired = host(processes=4, concurrency=4, lease=LEASE).ready()
    work_through(app, hired, folder, runs=2000, seconds=0.2, every=1.0)


# -- limits -----------------------------------------------------------------------------------------------------------


class Samples:
    """Looks into the database again and again: how many of a lane have a slot."""

    def __init__(self, url: str, app: Holdfast) -> None:
        self.url, self.app = url, app
        self.most: dict[tuple[str, Any], int] = {}
        self.count = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        while not self.stopping.wait(0.005):
            self.count += 1
            for queue, key, used in self.look():
                place = queue, key
                self.most[place] = max(self.most.get(place, 0), used)

    def look(self) -> list[tuple[str, Any, int]]:
        prefix = "holdfast." if self.url.startswith("postgres") else "holdfast_"
        holding = "state IN ('ready', 'executing')"
        question = f"SELECT task, concurrency_key, count(*) FROM {prefix}run WHERE {holding} GROUP BY 1, 2"
        if self.url.startswith("postgres"):
            with psycopg.connect(self.url) as connection:
                return connection.execute(question.encode()).fetchall()
        return self.app.client.store.read_sync(lambda tx: tx.connection.execute(question).fetchall())  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()


def test_limits_hold_while_workers_are_killed(app: Holdfast, host: Hosts, folder: Path, database_url: str) -> None:
    """Sampled from the database and by the tasks themselves, which take locks that die with their process. Broken by
    promoting one more than there is room for."""
    hired = host(processes=2, concurrency=20, lease=LEASE).ready()
    runs = [jobs.narrow.item(n) for n in range(60)]
    runs += [jobs.keyed.item(n, concurrency_key=f"k{n % 3}") for n in range(90)]
    batch = app.batch_trigger(runs)
    with Samples(database_url, app) as samples, Killer(hired, 0.5) as killer:
        results = batch.results(timeout=90)
    assert [run.status for run in results] == ["completed"] * len(runs)
    assert ledger.lines(folder, "crowd") == []
    assert killer.killed
    assert samples.count > 50
    narrow = [most for (task, _), most in samples.most.items() if task == "narrow"]
    keyed = [most for (task, _), most in samples.most.items() if task == "keyed"]
    assert narrow == [3]  # never more, and as many as may be
    assert len(keyed) == 3
    assert max(keyed) <= 3
    assert hired.stop() == 0


@pytest.mark.slow
def test_a_rate_holds_in_every_window_while_workers_are_killed(app: Holdfast, host: Hosts, folder: Path) -> None:
    """Of real starts, as the tasks themselves saw them: also those of runs that a dead process had begun. Broken by
    granting one start too many in each window."""
    hired = host(processes=2, concurrency=20, lease=LEASE).ready()
    batch = jobs.rated.batch_trigger(range(120))
    with Killer(hired, 1.0) as killer:
        results = batch.results(timeout=120)
    assert [run.status for run in results] == ["completed"] * 120
    assert killer.killed
    starts = sorted(float(at) for _, _, at in ledger.lines(folder, "rated"))
    assert len(starts) >= 120
    assert max(bisect_left(starts, at + 1.0) - index for index, at in enumerate(starts)) <= jobs.RATE
    assert hired.stop() == 0


# -- the poison pill --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "crashes"), [(jobs.bomb, 3), (jobs.short_fuse, 1)], ids=["three", "one"])
def test_of_a_hundred_only_the_one_that_crashes_ends_as_crashed(
    app: Holdfast, host: Hosts, folder: Path, task: Any, crashes: int
) -> None:
    """All hundred are held when the process dies for the first time, and nobody can know which of them it was. Broken
    by counting that death against all: three of them, and ninety-nine were condemned with the one."""
    hired = host(processes=1, concurrency=100, lease=LEASE).ready()
    batch = task.batch_trigger(range(100))
    hired.ready(2)
    ledger.open_gate(folder)
    results = batch.results(timeout=90)
    assert [run.status for run in results] == ["crashed"] + ["completed"] * 99
    assert [run.attempts for run in results] == [1] * 100
    assert ledger.counts(folder, "began")["0"] == crashes + 1
    assert f"{crashes} such deaths were its own" in results[0].error.message
    assert hired.said().count("was killed by SIGKILL") == crashes + 1
    assert jobs.leaf.trigger(1).result(timeout=30) == 1
