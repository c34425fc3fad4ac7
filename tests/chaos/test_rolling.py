"""Rolling deploys under load: hosts of one version make room for those of the next, again and again; no run notices."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from typing import Any, Self

import pytest

from holdfast import Holdfast
from tests.support import jobs
from tests.support.host import Host
from tests.support.looking import open_runs

Hosts = Callable[..., Host]
DRAIN = 1.0  # shorter than some of the runs: those are handed back


class Load:
    """Triggers runs of every kind for as long as it is entered; ``expected`` are their ids and what they return."""

    def __init__(self, app: Holdfast, seed: int = 7) -> None:
        self.app, self.random = app, random.Random(seed)
        self.expected: dict[str, Any] = {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        for n in itertools.count():
            if self.stopping.wait(0.1):
                return
            nap = self.random.choice([0.01, 0.1, 1.5])
            items = [jobs.trip.item(n), jobs.nap.item(nap), jobs.leaf.item(n), jobs.sized.item(n)]
            dozes = [jobs.work.item({"n": 10 * (2 * n + each), "seconds": 0.2 + 1.6 * each}) for each in (0, 1)]
            batch = self.app.batch_trigger([*items, *dozes])
            returned = [n, nap, n, n, 20 * n, 20 * n + 10]
            self.expected |= {handle.id: value for handle, value in zip(batch.runs, returned, strict=True)}

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()


def roll(app: Holdfast, host: Hosts, *, times: int) -> None:
    """All of what a deploy promises."""

    def deploy(number: int) -> Host:
        return host(processes=1, drain=DRAIN, environment={"HOLDFAST_VERSION": f"v{number}"}).ready()

    codes, current = [], deploy(0)
    with Load(app) as load:
        for number in range(1, times + 1):
            following = deploy(number)
            codes.append(current.stop())
            current = following
    runs = [app.handle(run_id) for run_id in load.expected]
    assert [run.result(timeout=60) for run in runs] == [*load.expected.values()]
    assert codes == [0] * times
    assert len(runs) > 20 * times
    records = [run.retrieve() for run in runs]
    assert {record.attempts for record in records} == {1}
    assert {record._record.crashes for record in records} == {0}
    assert len({record.version for record in records}) > times // 2
    assert open_runs(app) == 0
    assert current.stop() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_three_deploys_under_load_lose_and_fail_nothing(app: Holdfast, host: Hosts, folder: Any) -> None:
    """Broken by handing back as a failed attempt, and by not handing back at all."""
    (folder / "gate").touch()
    roll(app, host, times=3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_deploys_under_load_lose_and_fail_nothing(app: Holdfast, host: Hosts, folder: Any) -> None:
    (folder / "gate").touch()
    roll(app, host, times=50)
