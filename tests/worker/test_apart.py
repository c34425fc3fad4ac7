"""Runs in processes of their own: what they can do, how they end, and that nothing is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast, Run, RunCanceled, RunCrashed, RunFailed, RunTimedOut, views
from holdfast.sizes import MIB
from tests.support import apart, ledger
from tests.support.host import Host, children_of, hosts, kill, reached, state

APP = "tests.support.apart:app"
NEIGHBOURS = 20
Hosts = Callable[..., Host]


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """One worker on SQLite for most of these tests, and the folder that its tasks share with them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        database = f"sqlite:///{folder / 'apart.db'}"
        apart.app.settings.use_flags(database=database)
        with hosts(database, folder) as start:
            start(app=APP, concurrency=40).ready()
            yield folder
        apart.app.close()


@pytest.fixture
def place(shared: Path, processes: None) -> Path:
    """The same folder, with nothing in it that another test has noted."""
    for name in ("ledger", "gate"):
        with contextlib.suppress(FileNotFoundError):
            (shared / name).unlink()
    return shared


def ended(handle: Any) -> Run[Any]:
    """The run, when it has ended, however that was."""
    with contextlib.suppress(RunFailed):
        handle.result(timeout=60)
    run: Run[Any] = handle.retrieve()
    return run


def gone(pids: list[int]) -> bool:
    return all(state(pid) in ("", "Z", "X") for pid in pids)


def worker(place: Path) -> int:
    """The worker's own process."""
    ledger.open_gate(place)
    return apart.beside.trigger(0).result(timeout=60)


def test_what_the_process_of_a_run_uses_is_told_with_the_beats(place: Path) -> None:
    """Beneath its worker, which stands beneath the supervisor, with the pids that each has. Fails with telling nobody
    which process carries out which run."""
    run = apart.stays.trigger(7)

    def there() -> Any:
        found = apart.app.client.read(views.workers)
        return next((each for each in found if each.usage and run.id in [one.run_id for one in each.usage.runs]), None)

    reached(there)
    seen = there()
    carried = next(each for each in seen.usage.runs if each.run_id == run.id)
    assert [str(carried.pid)] == [line[1] for line in ledger.lines(place, "stays")]
    assert seen.usage.pid == seen.pid
    assert seen.pid in children_of(seen.usage.supervisor.pid)
    assert min(each.memory_bytes for each in (carried, seen.usage, seen.usage.supervisor)) > 5 * MIB
    ledger.open_gate(place)
    run.result(timeout=60)


def heard(place: Path, word: str, run: Run[Any]) -> list[tuple[str, ...]]:
    """What hooks have noted of this run; those of one before it may still be at it."""
    return [tuple(line[2:]) for line in ledger.lines(place, word) if line[1] == run.id]


def members(place: Path, word: str = "family") -> list[int]:
    return [int(line[1]) for line in ledger.lines(place, word)]


# -- what they can do -------------------------------------------------------------------------------------------------


def test_each_run_has_a_process_of_its_own(place: Path) -> None:
    found = apart.here.batch_trigger(range(8)).results(timeout=60).outputs()
    assert [n for n, _ in found] == list(range(8))
    assert len({pid for _, pid in found}) == 8
    reached(lambda: gone([pid for _, pid in found]))


def test_runs_with_machines_share_a_session(place: Path) -> None:
    """Fails with a session for each: many kernels share the CPU out between sessions, whatever their niceness is."""
    assert apart.group.trigger(1, machine="micro").result(timeout=60) == (True, True)
    assert apart.group.trigger(1).result(timeout=60) == (True, False)


def test_an_app_that_starts_threads_is_not_forked(processes: None, tmp_path: Path) -> None:
    """A lock that such a thread holds would stay locked in the child: fails with forking all the same, by a run that
    waits for it for ever."""
    file = tmp_path / "threaded.py"
    file.write_text(THREADED.format(gate=str(tmp_path / "gate")))
    database = f"sqlite:///{tmp_path / 'threaded.db'}"
    with hosts(database, tmp_path) as start, contextlib.closing(Holdfast(database)) as app:
        hired = start(app=str(file)).ready()
        reached(lambda: "importing the app starts threads (1: holds)" in hired.said())
        (pid,) = hired.children()
        reached(lambda: any(children_of(child) for child in children_of(pid)))
        ledger.open_gate(tmp_path)  # not before: whoever is forked now has the lock as it is
        pid, session, parent = app.trigger("locks").result(timeout=60)
        assert pid == session
        assert parent not in (hired.children()[0], hired.supervisor)
        assert app.trigger("locks").result(timeout=60)[0] != pid
        broken = app.trigger("breaks")
        reached(lambda: broken.retrieve().status == "crashed")
        assert "SIGKILL" in broken.retrieve().error.message  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("how", "attempts", "asked", "errors"),
    [
        ("crash", 1, 0, [("RunCrashed", "executing", "True"), ("RunCrashed", "crashed", "False")]),
        ("there too", 1, 0, [("RunCrashed", "executing", "True"), ("RunCrashed", "crashed", "False")]),
        ("memory", 2, 2, [("OutOfMemory", "executing", "True"), ("OutOfMemory", "crashed", "False")]),
        ("abort", 1, 1, [("OutOfMemory", "crashed", "False")]),
    ],
)
def test_hooks_hear_of_a_death_in_another_process(
    place: Path, how: str, attempts: int, asked: int, errors: list[tuple[str, ...]]
) -> None:
    """Of each, and not of the end only; also when they die there themselves. Fails with leaving it to whoever calls
    the hooks of runs that have ended."""
    run = ended(apart.falls.trigger(how))
    reached(lambda: heard(place, "failure", run))
    assert (run.status, run.attempts) == ("crashed", attempts)
    assert heard(place, "error", run) == errors
    assert len(heard(place, "asked", run)) == asked
    assert heard(place, "failure", run) == [("crashed",)]
    written = [line.message for line in run.logs]
    assert sum("a hook has heard of it" in each for each in written) == len(errors)


THREADED = """
import os, signal, threading, time
from holdfast import Holdfast

app = Holdfast()
lock = threading.Lock()
held = threading.Event()

def hold():
    with lock:
        held.set()
        while not os.path.exists({gate!r}):
            time.sleep(0.01)
    while True:
        time.sleep(1)

threading.Thread(target=hold, name="holds", daemon=True).start()
held.wait()

@app.task(isolation="process")
def locks():
    with lock:
        return [os.getpid(), os.getsid(0), os.getppid()]

@app.task(isolation="process", max_crashes=1)
def breaks():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_it_writes_is_kept_with_the_run(place: Path) -> None:
    run = ended(apart.says.trigger(3))
    assert [line.message for line in run.logs] == ["printed 3", "logged 3"]
    assert run.metadata["n"] == 3
    assert [chunk.value for chunk in apart.says.handle(run.id).stream("words")] == ["hello"]


def test_it_waits_without_a_process_and_goes_on_in_another(place: Path) -> None:
    handle = apart.waits.trigger(5)
    reached(lambda: handle.retrieve().status == "waiting" and ledger.lines(place, "token"))
    apart.app.tokens.complete(ledger.lines(place, "token")[0][1], 7)
    first, child, answer, last = handle.result(timeout=60)
    assert (child, answer) == (5, 7)
    assert first != last  # what was recorded by one process, another has read
    assert handle.retrieve().attempts == 1


def test_a_def_task_waits_and_triggers_as_anywhere(place: Path) -> None:
    handle = apart.waits_in_a_thread.trigger(5)
    first, child, last, other = handle.result(timeout=60)
    assert (child, first != last) == (5, True)
    assert apart.here.handle(other).result(timeout=60)[0] == 5


def test_what_code_forks_does_not_speak_for_the_run(place: Path) -> None:
    assert apart.doubled.trigger(5).result(timeout=60) == 5


def test_it_knows_its_machine_and_what_it_has_used(place: Path) -> None:
    handle = apart.uses.trigger(50)
    size, machine, cpu, wall, memory = handle.result(timeout=60)
    assert (size, machine) == (50, "micro")
    assert 0.1 <= cpu <= wall
    run = handle.retrieve()
    assert run.machine is not None
    assert run.machine.name == "micro"
    assert run.usage is not None
    assert run.usage.cpu_seconds is not None
    assert run.usage.peak_memory is not None
    assert run.usage.cpu_seconds >= cpu
    assert run.usage.peak_memory >= memory > 50 * MIB


def test_the_time_that_its_process_has_waited_for_it_does_not_count(place: Path) -> None:
    """Of one that dies it was the time since the fork."""
    apart.here.trigger(1).result(timeout=60)
    waited = time.monotonic() + 1
    reached(lambda: time.monotonic() > waited)
    run = ended(apart.dies_again.trigger(1))
    assert run.usage is not None
    assert None not in (run.started_at, run.finished_at)
    assert run.usage.wall_seconds <= (run.finished_at - run.started_at).total_seconds()  # type: ignore[operator]


# -- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("segfault", "was killed by SIGSEGV"),
        ("SIGKILL", "was killed by SIGKILL"),
        ("SIGABRT", "was killed by SIGABRT"),
        ("exit", "ended by itself, with exit code 7"),
    ],
)
def test_a_process_that_dies_is_a_crash_of_its_run(place: Path, how: str, says: str) -> None:
    run = ended(apart.dies.trigger(how))
    assert (run.status, run.attempts, run.crashes) == ("crashed", 1, 3)
    assert run.error is not None
    assert run.error.type == "RunCrashed"
    assert says in run.error.message
    assert "from below" in run.error.traceback
    assert [line.message for line in run.logs if line.logger == "stderr"] == ["last words"] * 3


def test_hooks_hear_of_a_crash(place: Path) -> None:
    run = ended(apart.dies.trigger("exit"))
    reached(lambda: heard(place, "failure", run))
    status, kind, pid = heard(place, "failure", run)[0]
    assert (status, kind) == ("crashed", "RunCrashed")
    assert int(pid) != worker(place)
    with pytest.raises(RunCrashed):
        apart.dies.handle(run.id).result(timeout=0)


def test_hooks_of_a_crash_may_crash_as_well(place: Path) -> None:
    before = worker(place)
    run = ended(apart.dies_again.trigger(1))
    reached(lambda: heard(place, "failure", run))
    assert (run.status, run.crashes) == ("crashed", 1)
    assert worker(place) == before


def test_a_crash_uses_up_no_attempt(place: Path) -> None:
    handle = apart.dies_once.trigger(1)
    assert handle.result(timeout=60) == 1
    assert handle.retrieve().crashes == 1


# -- out of memory ----------------------------------------------------------------------------------------------------


def test_who_allocates_without_end_ends_and_its_neighbours_do_not(place: Path) -> None:
    beside = [apart.beside.trigger(n) for n in range(NEIGHBOURS)]
    reached(lambda: len(ledger.lines(place, "began")) == NEIGHBOURS)
    began = time.monotonic()
    run = ended(apart.hoards.trigger(1))
    took = time.monotonic() - began
    ledger.open_gate(place)
    assert (run.status, run.attempts, run.crashes) == ("crashed", 1, 0)
    assert run.error is not None
    assert run.error.type == "OutOfMemory"
    assert "250 MB" in run.error.message
    assert took < 30
    assert len({each.result(timeout=60) for each in beside}) == 1


def test_children_count_too(place: Path) -> None:
    run = ended(apart.hoards_in_children.trigger(1))
    assert run.error is not None
    assert run.error.type == "OutOfMemory"
    assert len(members(place, "child")) == 3
    assert gone(members(place, "child"))


def test_the_next_attempt_runs_on_a_larger_machine(place: Path) -> None:
    handle = apart.grows.trigger(400)
    assert handle.result(timeout=60) == [400, 2, "small-2x"]
    run = handle.retrieve()
    assert run.machine is not None
    assert run.machine.name == "small-2x"


@pytest.mark.parametrize("how", ["MemoryError", "OutOfMemory"])
def test_what_code_raises_is_recorded_as_the_same(place: Path, how: str) -> None:
    run = ended(apart.gives_up.trigger(how))
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.type == "OutOfMemory"


# -- time, cancel, and the end of others ------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["parent", "async_parent"])
def test_of_a_canceled_run_no_process_remains(place: Path, task: str) -> None:
    """Its children ignore SIGTERM, are in sessions of their own, and one has lost its parent. Fails without looking for
    those that were left to the zygote."""
    handle = getattr(apart, task).trigger(1)
    reached(lambda: len(members(place)) == 5)
    handle.cancel()
    with pytest.raises(RunCanceled):
        handle.result(timeout=60)
    assert gone(members(place))
    assert ledger.lines(place, "finally") == [["finally", "1"]]


def test_children_are_told_to_end(place: Path) -> None:
    """Fails with interrupting the code alone."""
    handle = apart.considerate.trigger(1)
    reached(lambda: ledger.lines(place, "began"))
    handle.cancel()
    with pytest.raises(RunCanceled):
        handle.result(timeout=60)
    assert ledger.lines(place, "child") == [["child", str(-signal.SIGTERM)]]


def test_a_def_task_is_interrupted_at_its_time_limit(place: Path) -> None:
    with pytest.raises(RunTimedOut):
        apart.slow.trigger(1).result(timeout=60)
    assert ledger.lines(place, "finally") == [["finally", "1"]]


def test_a_def_task_is_interrupted_also_once_it_has_an_event_loop(place: Path) -> None:
    handle = apart.durable.trigger(1)
    reached(lambda: ledger.lines(place, "began"))
    handle.cancel()
    with pytest.raises(RunCanceled):
        handle.result(timeout=60)
    assert ledger.lines(place, "finally") == [["finally", "1"]]


def test_threads_of_a_def_task_may_be_the_first_to_tell_something(place: Path) -> None:
    """Fails with a loop for each that asks."""
    run = ended(apart.asks_in_threads.trigger(8))
    assert (run.output, run.metadata) == ([8], {"count": 28})


def test_what_it_logged_is_flushed_at_its_end(place: Path) -> None:
    """Fails without ending logging."""
    ended(apart.logs_elsewhere.trigger(1))
    assert ledger.lines(place, "logged") == [["logged", "said"]]


on_one = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def app(database_url: str) -> Iterator[Any]:
    before = apart.app.settings.get("database").value
    apart.app.close()
    apart.app.settings.use_flags(database=database_url)
    yield apart.app
    apart.app.close()
    apart.app.settings.use_flags(database=before)


def test_on_either_database(app: Any, host: Hosts, folder: Path) -> None:
    """The statements of a crash, of a larger machine, and of what was used."""
    host(app=APP).ready()
    assert apart.dies_once.trigger(1).result(timeout=60) == 1
    handle = apart.grows.trigger(400)
    assert handle.result(timeout=60) == [400, 2, "small-2x"]
    run = handle.retrieve()
    assert run.usage is not None
    assert (run.usage.peak_memory or 0) > 400 * MIB


@on_one
def test_code_that_will_not_end_is_killed_when_its_worker_must(app: Any, host: Hosts, folder: Path) -> None:
    hired = host(app=APP, drain=0.2).ready()
    handle = apart.stubborn.trigger(1)
    reached(lambda: members(folder, "began"))
    assert hired.stop() == 0
    reached(lambda: gone(members(folder, "began")))
    run = handle.retrieve()
    assert (run.status, run.attempts, run.crashes) == ("pending_version", 0, 0)


@on_one
def test_nothing_is_left_of_a_run_when_who_forks_them_is_killed(app: Any, host: Hosts, folder: Path) -> None:
    """And the run goes on in another process. Fails where the zygote alone looks after what runs have started."""
    hired = host(app=APP).ready()
    apart.parent.trigger(1)
    reached(lambda: len(members(folder)) == 5)
    first = members(folder)
    (zygote,) = (pid for pid in children_of(hired.children()[0]) if set(children_of(pid)) & set(first))
    kill(zygote, signal.SIGKILL)
    reached(lambda: gone(first))
    reached(lambda: len(members(folder)) == 10)
    assert ledger.lines(folder, "finally") == []


@on_one
@pytest.mark.parametrize("victim", ["worker", "supervisor"])
def test_nobody_goes_on_when_the_worker_or_its_supervisor_is_killed(
    app: Any, host: Hosts, folder: Path, victim: str
) -> None:
    """What runs has its children with it, within the lease."""
    hired = host(app=APP, lease=6.0).ready()
    apart.parent.trigger(1)
    reached(lambda: len(members(folder)) == 5)
    first = members(folder)
    began = time.monotonic()
    kill(hired.children()[0] if victim == "worker" else hired.supervisor, signal.SIGKILL)
    reached(lambda: gone(first))
    assert time.monotonic() - began < 6.0 + (14.0 if os.environ.get("CI") else 4.0)
