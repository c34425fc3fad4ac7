"""A supervisor and its worker processes: who starts, who is replaced, who ends, and with which exit code."""

from __future__ import annotations

import os
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

from holdfast.storage import Store
from holdfast.worker import supervisor as module
from holdfast.worker.channel import CANNOT_START, Channel, Orders
from holdfast.worker.supervisor import Child, Supervisor
from tests.support import jobs, ledger
from tests.support.host import Host, kill, reached, state
from tests.support.looking import worker_states

Hosts = Callable[..., Host]


def test_a_drained_supervisor_ends_with_zero(app: Any, host: Hosts) -> None:
    hired = host(processes=2).ready()
    assert jobs.leaf.trigger(7).result(timeout=30) == 7
    assert hired.stop() == 0
    states = [row[0] for row in app.client.store.read_sync(lambda tx: tx.rows("beats"))]
    assert states == []  # nobody is left who would have to be declared lost


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
    """Nobody beats for them any more: they must be gone before the lease is. Fails with not listening for the end of
    the channel: they worked on, and were lost with all they held."""
    orphaned = host(processes=2).ready()
    runs = [jobs.tidy.trigger(n) for n in range(4)]
    reached(lambda: len(ledger.lines(folder, "began")) == 4)
    children = orphaned.children()
    orphaned.send(signal.SIGKILL)
    heir = host(processes=1).ready()
    reached(lambda: all(state(pid) in ("", "Z") for pid in children))
    ledger.open_gate(folder)
    assert [run.result(timeout=30) for run in runs] == [1, 1, 1, 1]  # the number of the attempt
    assert ledger.counts(folder, "interrupted") == {str(n): 1 for n in range(4)}
    assert {line[2] for line in ledger.lines(folder, "ended")} == {str(heir.ready_children()[0])}
    assert [run.retrieve()._record.crashes for run in runs] == [0] * 4


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


@pytest.fixture
def idle(store: Store) -> Supervisor:
    orders = Orders(app=None, database=None, concurrency=1, queues=None, lease_ms=None, drain_seconds=1)
    return Supervisor(store, orders)


def pause(supervisor: Supervisor) -> float:
    return max(0.0, supervisor.start_at - time.monotonic())


def test_children_that_do_not_even_get_ready_are_replaced_more_and_more_slowly(idle: Supervisor) -> None:
    pauses = []
    for _ in range(15):
        idle.pause(Pretended(0.5, ready=False))  # type: ignore[arg-type]
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
        self.names, self.news, self.error, self.told_at = [], None, None, None
        self.listening = threading.Thread(target=self.listen, daemon=True)
        self.listening.start()


def test_a_child_that_does_not_get_ready_is_killed_and_replaced(
    idle: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails with waiting for it for ever."""
    monkeypatch.setattr(module, "READY_SECONDS", 0.0)
    monkeypatch.setattr(module, "Child", lambda orders: pytest.fail("started in this test"))
    silent = Silent()
    idle.children, idle.count = [silent], 0
    idle.look()
    assert silent.process.wait(30) == -signal.SIGKILL
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
    monkeypatch.setattr(idle.upkeep, "beat", lambda names: beaten.append(names) or set())
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
    monkeypatch.setattr(idle.upkeep, "beat", set)
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
