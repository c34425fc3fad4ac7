"""A supervisor and its worker processes: who starts, who is replaced, who ends, and with which exit code."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import views
from holdfast.engine import variables, workers
from holdfast.sizes import MIB
from holdfast.storage import Store
from holdfast.worker import supervisor as module
from holdfast.worker.channel import CANNOT_START, Channel, Orders
from holdfast.worker.supervisor import Child, Supervisor
from tests.support import jobs, ledger
from tests.support.host import ALONE, Host, children_of, kill, reached, state
from tests.support.looking import worker_states

Hosts = Callable[..., Host]
on_one = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what is the same on both


def test_a_drained_supervisor_ends_with_zero(app: Any, host: Hosts) -> None:
    hired = host(processes=2).ready()
    assert jobs.leaf.trigger(7).result(timeout=30) == 7
    assert hired.stop() == 0
    states = [row[0] for row in app.client.store.read_sync(lambda tx: tx.rows("beats"))]
    assert states == []  # nobody is left who would have to be declared lost


@on_one
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name'"),
        ("def broken(:\n", "SyntaxError"),
        ("import sys; sys.exit('I do not want to')\n", "I do not want to"),
        ("x = 1\n", "Holdfast"),
    ],
    ids=["import", "syntax", "exit", "no app"],
)
def test_an_app_that_cannot_be_imported_ends_the_supervisor(
    host: Hosts, tmp_path: Path, source: str, says: str
) -> None:
    """With an exit code of its own and the reason, and without starting it again and again. Fails with treating it like
    a death."""
    file = tmp_path / "hopeless.py"
    file.write_text(source)
    hired = host(app=str(file), processes=2)
    assert hired.wait() == CANNOT_START
    assert says in hired.said()
    assert hired.said().count("the worker cannot start") <= 2
    assert hired.announced == []


@on_one
def test_a_worker_has_the_variables_that_are_kept_for_it(
    app: Any, host: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before its app is imported, beneath those of its own environment."""
    monkeypatch.setenv("OWN", "stronger")
    app.client.write(variables.put, {"GREETING": "Servus", "OWN": "weaker"}, secret=None, override=False)
    file = tmp_path / "greeting.py"
    file.write_text(
        "import os\nfrom holdfast import Holdfast\n\napp = Holdfast()\nSAID = os.environ['GREETING']\n\n\n"
        "@app.task\ndef said() -> list[str]:\n    return [SAID, os.environ['OWN']]\n"
    )
    host(app=str(file), processes=1).ready()
    assert app.trigger("said").result(timeout=30) == ["Servus", "stronger"]


def test_a_child_that_is_killed_is_replaced_at_once(app: Any, host: Hosts) -> None:
    hired = host(processes=2).ready()
    victim = hired.children()[0]
    kill(victim, signal.SIGKILL)
    hired.ready(3)
    assert victim not in hired.children()
    assert "was killed by SIGKILL and is replaced" in hired.said()


def test_a_child_that_is_terminated_drains_and_is_replaced(app: Any, host: Hosts, folder: Path) -> None:
    """As by an operator who wants to be rid of one process. What it does, it may end."""
    hired = host(processes=1).ready()
    run = jobs.gated.trigger(1)
    first = hired.children()[0]
    reached(lambda: ledger.lines(folder, "began"))
    kill(first, signal.SIGTERM)
    reached(lambda: _worker_states(app).get("draining"))
    ledger.open_gate(folder)
    assert run.result(timeout=30) == first
    hired.ready(2)
    assert run.retrieve().attempts == 1
    assert jobs.leaf.trigger(2).result(timeout=30) == 2
    assert state(first) == ""


def test_workers_that_are_asked_to_drain_end_and_are_not_replaced(app: Any, host: Hosts, folder: Path) -> None:
    """What they do, they may end; and once each was asked, the supervisor ends, too. Fails with putting others in their
    place, and with a worker that only takes nothing more: it stood there until somebody killed it."""
    hired = host(processes=2, drain=30).ready()
    run = jobs.gated.trigger(1)
    reached(lambda: ledger.lines(folder, "began"))
    first = run.retrieve()._record.worker_id
    assert app.client.write(workers.ask_to_drain, first)
    reached(lambda: "was asked to drain: it ends, and is not replaced" in hired.said())
    ledger.open_gate(folder)
    assert run.result(timeout=30) not in _alive_but(hired, 1)
    (left,) = [each.id for each in app.client.read(views.workers) if each.state == "live"]
    assert jobs.leaf.trigger(2).result(timeout=30) == 2
    assert app.client.write(workers.ask_to_drain, left)
    assert hired.wait() == 0
    assert len(hired.announced) == 2
    assert sorted(worker_states(app)) == ["stopped", "stopped"]


def _alive_but(hired: Host, count: int) -> list[int]:
    reached(lambda: len(hired.children()) == count)
    return hired.children()


@on_one
def test_a_worker_that_is_blocked_and_asked_to_drain_is_killed(app: Any, host: Hosts, folder: Path) -> None:
    """Its supervisor sees to it: whoever is blocked hears nothing. Its run goes back in line. Fails with leaving it to
    the worker to look."""
    hired = host(processes=1, drain=0.2, deaf=1).ready()
    run = jobs.blocker.trigger(60)
    reached(lambda: ledger.lines(folder, "began"))
    assert app.client.write(workers.ask_to_drain, run.retrieve()._record.worker_id)
    assert hired.wait() == 0
    assert "did not end when it was drained: it is killed" in hired.said()
    assert run.retrieve().status in ("queued", "pending_version")


def test_who_has_more_than_workers_stays_when_they_were_asked_to_drain(idle: Supervisor) -> None:
    """As ``holdfast start``, whose API goes on."""
    child = Silent()
    child.names = ["one"]
    idle.children = [child]
    idle.stays = True
    idle.dismiss(child)
    idle.dismiss(child)
    child.process.kill()
    child.process.wait()
    child.theirs.close()
    idle.look()
    assert (idle.children, idle.finished()) == ([], False)
    idle.stays = False
    assert idle.finished()


def test_a_signal_to_the_whole_group_drains(app: Any, host: Hosts, folder: Path) -> None:
    """As ``timeout`` and systemd send it: the supervisor hears it twice, and its child from both. Fails with a child
    that took the second one for an order to end where it is."""
    hired = host(processes=1).ready()
    run = jobs.gated.trigger(1)
    reached(lambda: ledger.lines(folder, "began"))
    hired.send(signal.SIGTERM)
    os.killpg(hired.group, signal.SIGTERM)
    reached(lambda: _worker_states(app).get("draining"))
    ledger.open_gate(folder)
    assert hired.wait() == 0
    assert (run.result(timeout=30), run.retrieve().attempts) == (int(ledger.lines(folder, "ended")[0][2]), 1)


def test_children_whose_supervisor_is_killed_hand_back_and_end(app: Any, host: Hosts, folder: Path) -> None:
    """Nobody beats for them any more: they must be gone before the lease is, and what runs in a thread with them. Fails
    with not listening for the end of the channel: they worked on, and were lost with all they held."""
    orphaned = host(processes=2).ready()
    runs = [jobs.tidy.trigger(n) for n in range(4)]
    threads = [jobs.gated_def.trigger(n) for n in (4, 5)]
    reached(lambda: len(ledger.lines(folder, "began")) == 6)
    children = orphaned.children()
    orphaned.send(signal.SIGKILL)
    heir = host(processes=1).ready()
    reached(lambda: all(state(pid) in ("", "Z") for pid in children))
    assert "has not beaten for its whole lease" not in heir.said()
    ledger.open_gate(folder)
    assert [run.result(timeout=30) for run in runs] == [1, 1, 1, 1]  # the number of the attempt
    assert [run.result(timeout=30) for run in threads] == heir.ready_children() * 2
    assert ledger.counts(folder, "interrupted") == {str(n): 1 for n in range(4)}
    assert {line[2] for line in ledger.lines(folder, "ended")} == {str(heir.ready_children()[0])}
    assert [run.retrieve()._record.crashes for run in [*runs, *threads]] == [0] * 6


@on_one
def test_a_child_that_hangs_while_it_imports_the_app_is_killed_told_and_replaced(
    host: Hosts, folder: Path, tmp_path: Path
) -> None:
    """And where it hangs is said. Fails with waiting for it for ever."""
    file = tmp_path / "slow.py"
    file.write_text(
        "import os, time\n"
        f"while not os.path.exists({str(folder / 'gate')!r}):\n"
        "    time.sleep(0.01)\n"
        "from holdfast import Holdfast\n"
        "app = Holdfast()\n"
    )
    hired = host(app=str(file), processes=1, ready_seconds=3)
    reached(lambda: f'File "{file}", line 3' in hired.said())
    reached(lambda: "was killed by SIGKILL and is replaced" in hired.said())
    assert "was not ready after 3 s: it is killed" in hired.said()
    ledger.open_gate(folder)
    hired.ready(1)
    assert hired.stop() == 0


@on_one
def test_a_child_is_replaced_after_so_many_runs_by_one_that_is_ready_before(
    app: Any, host: Hosts, folder: Path
) -> None:
    """It ends what it has. Fails with draining it before another one is ready, and with starting none."""
    hired = host(processes=1, max_runs=5).ready()
    first = hired.children()[0]
    long = jobs.gated.trigger(1)
    reached(lambda: ledger.lines(folder, "began"))
    assert jobs.leaf.batch_trigger(range(5)).results(timeout=30).outputs() == list(range(5))
    hired.ready(2)
    reached(lambda: worker_states(app) == ["draining", "live"])
    assert "it has carried out 5 runs" in hired.said()
    assert jobs.leaf.trigger(7).result(timeout=30) == 7
    assert {line[2] for line in ledger.lines(folder, "leaf")} == {str(pid) for pid in hired.announced}
    ledger.open_gate(folder)
    assert (long.result(timeout=30), long.retrieve().attempts) == (first, 1)
    reached(lambda: state(first) in ("", "Z"))
    assert hired.stop() == 0


@on_one
def test_a_child_that_has_grown_too_large_is_replaced(app: Any, host: Hosts) -> None:
    hired = host(processes=1, max_memory=256 * MIB).ready()
    grown = jobs.hoard.trigger(300).result(timeout=30)
    hired.ready(2)
    reached(lambda: grown not in hired.children())
    assert re.search(r"it uses \d+ MB, and 256 are allowed", hired.said())
    assert len(hired.announced) == 2
    assert hired.stop() == 0


@on_one
@pytest.mark.parametrize("victim", ["worker", "supervisor"])
def test_what_a_run_has_started_does_not_outlive_its_process(app: Any, host: Hosts, folder: Path, victim: str) -> None:
    """Whatever it has done to leave it: its run goes on elsewhere, and would be done twice at once. Fails with looking
    for it in the process group."""
    hired = host(processes=1).ready()
    runs = [jobs.parent.trigger(1), jobs.sized.trigger(2)]
    reached(lambda: len(ledger.lines(folder, "began")) == len(runs))
    began = {line[1]: [int(pid) for pid in line[2:]] for line in ledger.lines(folder, "began")}
    worker, far = began["1"]
    assert began["2"] != [worker]  # it has a process of its own
    kill(worker if victim == "worker" else hired.supervisor, signal.SIGKILL)
    reached(lambda: all(state(pid) in ("", "Z") for pid in (worker, far, *began["2"])))


@on_one
def test_a_worker_that_hears_nothing_ends_with_its_supervisor(app: Any, host: Hosts, folder: Path) -> None:
    """Before its lease does: one whose interpreter is held, and one that is stopped. Fails without a guard: it ran on
    beside the worker that took its runs over."""
    hired = host(processes=2, concurrency=1, lease=60).ready()
    jobs.deaf.trigger(1)
    reached(lambda: ledger.lines(folder, "began"))
    held = int(ledger.lines(folder, "began")[0][2])
    (stopped,) = {*hired.children()} - {held}
    kill(stopped, signal.SIGSTOP)
    heir = host(processes=1, lease=60).ready()
    hired.send(signal.SIGKILL)
    reached(lambda: all(state(pid) in ("", "Z") for pid in (held, stopped)), timeout=50)
    assert "has not beaten for its whole lease" not in heir.said()


@pytest.mark.skipif(subprocess.run([*ALONE, "true"], check=False).returncode != 0, reason="no namespaces here")
@on_one
def test_as_the_first_process_of_a_container_it_waits_for_orphans(app: Any, host: Hosts, folder: Path) -> None:
    """And drains when it is told to. Fails with waiting for its own children only: they stayed as zombies."""
    hired = host(processes=1, first=True).ready()
    jobs.orphans.trigger(20).result(timeout=30)
    reached(lambda: len(ledger.lines(folder, "orphan")) == 20)
    reached(lambda: not [pid for pid in children_of(hired.supervisor) if state(pid) == "Z"])
    run = jobs.gated.trigger(1)
    reached(lambda: ledger.lines(folder, "began"))
    hired.send(signal.SIGTERM)
    reached(lambda: worker_states(app) == ["draining"])
    ledger.open_gate(folder)
    assert hired.wait() == 0
    assert run.retrieve().status == "completed"


def test_a_signal_that_comes_while_a_child_is_started_reaches_it(app: Any, host: Hosts) -> None:
    """Fails with telling only those that were there when the signal came: the supervisor waited for ever."""
    hired = host(processes=3)
    reached(lambda: hired.children())
    assert hired.stop() == 0


# -- without processes ------------------------------------------------------------------------------------------------


class Pretended:
    """A child that died after so many seconds, and perhaps never became ready."""

    def __init__(self, age: float, ready: bool) -> None:
        self.started_at, self.names = time.monotonic() - age, ["x"] if ready else []


class Starting(Child):
    """A child that is started in thought, and gets ready when the test says so."""

    pid = 0

    def __init__(self, orders: Orders) -> None:
        self.names, self.spent, self.told_at = [], None, None

    def exited(self) -> int | None:
        return None

    def late(self) -> bool:
        return False

    def send(self, number: int) -> None:
        pass


@pytest.fixture
def idle(store: Store) -> Supervisor:
    orders = Orders(app=None, database=None, concurrency=1, queues=None, lease_ms=None, drain_seconds=1)
    return Supervisor(store, orders)


def pause(supervisor: Supervisor) -> float:
    return max(0.0, supervisor.start_at - time.monotonic())


def test_children_that_do_not_even_get_ready_are_replaced_more_and_more_slowly(idle: Supervisor) -> None:
    pauses = []
    for age in range(15):
        idle.pause(Pretended(20 * age, ready=False))  # type: ignore[arg-type]
        pauses.append(pause(idle))
    assert pauses[:3] == [0, 0, 0]
    assert 1 < pauses[3] < pauses[5] < pauses[7]
    assert 10 < pauses[14] <= module.LONGEST_PAUSE_SECONDS


def test_children_that_were_at_work_are_replaced_soon_however_often_they_die(idle: Supervisor) -> None:
    """A run may be to blame, and others wait. Fails with pausing up to thirty seconds: with a process killed every
    second soon none was left."""
    for _ in range(50):
        idle.pause(Pretended(0.5, ready=True))  # type: ignore[arg-type]
        assert pause(idle) <= module.SHORT_PAUSE_SECONDS
    at = idle.start_at
    idle.pause(Pretended(0.5, ready=True))  # type: ignore[arg-type]
    assert idle.start_at == at  # or a death every half second would put it off for ever
    idle.pause(Pretended(60, ready=True))  # type: ignore[arg-type]
    assert idle.failures == 0


def test_a_closed_terminal_drains_unless_it_was_said_not_to_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``nohup``, which has the signal ignored."""
    monkeypatch.setattr(signal, "getsignal", {signal.SIGHUP: signal.SIG_DFL}.__getitem__)
    assert module.signals() == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    monkeypatch.setattr(signal, "getsignal", {signal.SIGHUP: signal.SIG_IGN}.__getitem__)
    assert module.signals() == [signal.SIGTERM, signal.SIGINT]


def test_one_that_is_spent_works_on_until_another_is_ready_and_the_next_one_after_it(
    idle: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails with draining it at once, for there were no workers for a while, and with replacing all at the same time,
    for then there were twice as many."""
    monkeypatch.setattr(module, "Child", Starting)
    idle.count = 2
    idle.look()
    first, second = idle.children
    first.names, second.names = ["first"], ["second"]
    first.spent = second.spent = "it is old"
    idle.look()
    assert len(idle.children) == 3
    assert (first.told_at, second.told_at) == (None, None)
    idle.children[2].names = ["third"]
    idle.look()
    assert first.told_at is not None
    assert second.told_at is None
    idle.look()
    assert len(idle.children) == 4
    idle.children[3].names = ["fourth"]
    idle.look()
    assert second.told_at is not None
    idle.look()
    assert len(idle.children) == 4  # the old ones drain


def test_a_process_that_cannot_be_started_does_not_end_the_others(
    idle: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(module, "spawn", refuse)
    idle.look()
    assert idle.children == []
    assert 0 < pause(idle) <= module.SHORT_PAUSE_SECONDS


SILENT = [sys.executable, "-c", "import time; time.sleep(60)"]


class Silent(Child):
    """A process that never says that it is ready."""

    def __init__(self, **how: Any) -> None:
        ours, self.theirs = socket.socketpair()
        self.process = subprocess.Popen(SILENT, **how)
        self.channel = Channel(ours)
        self.started_at = time.monotonic()
        self.names, self.news, self.error, self.told_at, self.spent = [], None, None, None, None
        self.mark, self.ready_seconds, self.asked_at, self.dismissed, self.apart = "", 60.0, None, False, {}
        self.listening = threading.Thread(target=self.listen, daemon=True)
        self.listening.start()


def test_a_child_that_does_not_get_ready_is_killed_and_replaced(
    idle: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails with waiting for it for ever."""
    monkeypatch.setattr(module, "Child", lambda orders: pytest.fail("started in this test"))
    silent = Silent()
    silent.ready_seconds = 0.0
    idle.children, idle.count = [silent], 0
    reached(lambda: idle.look() or silent.process.poll())
    silent.theirs.close()
    idle.look()
    assert idle.children == []


def test_a_child_that_does_not_drain_is_killed(idle: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocked event loop hears no signal. Fails with waiting for it: the supervisor never ended."""
    monkeypatch.setattr(module, "DEAF_SECONDS", 0.0)
    ignores = "import signal, time; signal.signal(15, lambda *_: None); print(flush=True); time.sleep(60)"
    monkeypatch.setattr(sys.modules[__name__], "SILENT", [sys.executable, "-c", ignores])
    deaf = Silent(stdout=subprocess.PIPE)
    assert deaf.process.stdout is not None
    deaf.process.stdout.readline()
    idle.children, idle.orders.drain_seconds = [deaf], 0.3
    idle.stop()
    idle.look()
    assert deaf.process.poll() is None
    reached(lambda: idle.look() or deaf.process.poll())
    assert deaf.process.returncode == -signal.SIGKILL
    deaf.theirs.close()
    idle.look()
    assert idle.finished()


@on_one
def test_a_pusher_does_not_keep_up_a_supervisor_that_has_no_workers(
    idle: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app cannot be imported. Fails with waiting for the pusher to end, which nobody had told to: no work was done
    beside it, and nobody started the supervisor again."""
    monkeypatch.setattr(module, "Child", lambda orders: pytest.fail("started in this test"))
    pusher = Silent()
    pusher.pushes = True
    monkeypatch.setattr(sys.modules[__name__], "SILENT", [sys.executable, "-c", f"raise SystemExit({CANNOT_START})"])
    hopeless = Silent()
    idle.children = [hopeless, pusher]
    reached(lambda: idle.look() or idle.finished())
    assert pusher.process.poll() == -signal.SIGTERM
    for child in (hopeless, pusher):
        child.theirs.close()


def test_what_a_child_said_last_is_heard(idle: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It became a worker and died in the same moment: its runs need not wait for the lease. Fails with looking at its
    names before its last line was read."""
    gone: list[str] = []
    monkeypatch.setattr(idle.upkeep, "gone", gone.append)
    child = Silent()
    child.theirs.sendall(b'{"worker":"the last one"}\n')
    child.process.kill()
    child.process.wait()
    child.theirs.close()
    idle.bury(child)
    assert gone == ["the last one"]


def test_a_beat_is_for_those_that_live(idle: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """None for one that is stopped by a signal, or gone: a lease says what is true."""
    beaten: list[list[str]] = []
    monkeypatch.setattr(idle.upkeep, "beat", lambda names, usage: beaten.append(names) or {})
    running, stopped, dead = Silent(), Silent(), Silent()
    idle.children = [running, stopped, dead]
    for name, child in (("running", running), ("stopped", stopped), ("dead", dead)):
        child.names = [name]
    stopped.process.send_signal(signal.SIGSTOP)
    reached(lambda: state(stopped.pid) == "T")
    dead.process.kill()
    reached(lambda: state(dead.pid) in ("Z", ""))
    idle.beat()
    assert beaten == [["running"]]
    stopped.process.send_signal(signal.SIGCONT)
    reached(lambda: state(stopped.pid) != "T")
    idle.beat()
    assert beaten[1] == ["running", "stopped"]
    for child in (running, stopped, dead):
        child.process.kill()
        child.process.wait()
        child.theirs.close()


def test_a_child_that_does_not_listen_holds_up_nobody(idle: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of every beat; when it takes nothing in, what it is told is dropped. Fails with waiting for it: no
    other child got its beats."""
    monkeypatch.setattr(idle.upkeep, "beat", dict.fromkeys)
    monkeypatch.setattr(module, "alive", lambda pid: True)
    deaf = Silent()
    deaf.names = ["deaf"]
    idle.children = [deaf]
    for _ in range(20_000):
        idle.beat()
    deaf.process.kill()
    deaf.process.wait()
    deaf.theirs.close()


def _worker_states(app: Any) -> dict[str, int]:
    return dict(Counter(worker_states(app)))
