"""What a worker uses, as whoever beats for it sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from holdfast import views
from holdfast.engine import workers
from holdfast.engine.workers import ProcessUsage, RunUsage, WorkerUsage
from holdfast.sizes import MIB
from holdfast.storage import Store
from holdfast.worker import meter as module
from holdfast.worker.meter import RUNS, Measured, Meter, Used
from tests.engine.making import Hand, know

SLEEPS = "import sys\nheap = bytearray(200 * 2**20)\nprint(flush=True)\nsys.stdin.read()"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process with 200 MiB that does nothing."""
    with subprocess.Popen([sys.executable, "-c", SLEEPS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def by_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINUX", False)


@pytest.mark.parametrize("way", ["proc", "ps"])
def test_what_a_process_has_used_is_seen_from_outside(
    way: str, other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Linux, and elsewhere. What is gone is left out."""
    if way == "ps":
        if shutil.which("ps") is None:
            pytest.skip("there is no ps")
        by_ps(monkeypatch)
    elif not module.LINUX:
        pytest.skip("there is no /proc")
    found = module.read([other.pid, os.getpid(), 2**22 + 1])
    assert set(found) == {other.pid, os.getpid()}
    assert 200 * MIB < found[other.pid].memory < 600 * MIB
    assert abs(found[os.getpid()].cpu - sum(os.times()[:2])) < 5
    assert module.alive(other.pid)
    other.kill()
    other.wait()
    assert not module.alive(other.pid)
    assert module.memory_of(other.pid) == 0


@pytest.mark.parametrize(("text", "seconds"), [("0:01.50", 1.5), ("01:02:03", 3723), ("2-00:00:01", 172801)])
def test_times_as_ps_writes_them(text: str, seconds: float) -> None:
    assert module.seconds_of(text) == seconds


class Clock:
    """A host on which everything is as it is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.used, self.families = 100.0, dict[int, Used](), dict[int, list[int]]()
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(module, "read", lambda pids: {pid: self.used[pid] for pid in pids if pid in self.used})
        monkeypatch.setattr(module, "family", lambda pid: self.families.get(pid, [pid]))


def test_a_share_is_of_the_time_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not known the first time; between two looks the last one is told again. A run counts with all that it has
    started, also what is new; one of these that has ended takes nothing away."""
    host = Clock(monkeypatch)
    host.used = {1: Used(5, MIB), 7: Used(50, 10 * MIB), 8: Used(3, MIB), 9: Used(1, 4 * MIB)}
    host.families = {8: [8, 9]}
    meter, seen = Meter(above=1), {"w": Measured(7, {8: "run_a"})}
    first = meter.look(seen)["w"]
    assert (first.pid, first.cpu_millis, first.memory_bytes) == (7, None, 10 * MIB)
    assert first.supervisor == ProcessUsage(pid=1, cpu_millis=None, memory_bytes=MIB)
    assert first.runs == [RunUsage(pid=8, cpu_millis=None, memory_bytes=5 * MIB, run_id="run_a")]
    host.now += 1
    assert meter.look(seen)["w"] is first
    host.now += 1
    host.used = {1: Used(5, MIB), 7: Used(51, 10 * MIB), 8: Used(4, MIB), 10: Used(2, 4 * MIB)}
    host.families = {8: [8, 10]}
    second = meter.look(seen)["w"]
    assert second.cpu_millis == 500
    assert second.supervisor is not None
    assert second.supervisor.cpu_millis == 0
    assert [each.cpu_millis for each in second.runs] == [1500]
    assert meter.look(seen | {"new": Measured(7, {})})["w"] is second


def test_of_many_runs_those_with_the_most_memory_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Clock(monkeypatch)
    host.used = {pid: Used(0, pid) for pid in range(1, 101)}
    found = Meter().look({"w": Measured(1, {pid: f"run_{pid}" for pid in range(2, 101)})})["w"]
    assert [each.pid for each in found.runs] == list(range(100, 100 - RUNS, -1))
    assert found.supervisor is None


def test_a_beat_says_what_a_worker_uses(store: Store) -> None:
    """Of each its own; None of one that nobody has measured."""
    know(store)
    one, other = Hand(store), Hand(store)
    run = RunUsage(pid=9, cpu_millis=1000, memory_bytes=MIB, run_id="run_a")
    usage = WorkerUsage(
        pid=8, cpu_millis=20, memory_bytes=2, supervisor=ProcessUsage(pid=7, memory_bytes=3), runs=[run]
    )
    assert set(store.run_sync(workers.beat, [one.id, other.id], {one.id: usage})) == {one.id, other.id}
    found = {each.id: each.usage for each in store.read_sync(views.workers)}
    assert found == {one.id: usage, other.id: None}
