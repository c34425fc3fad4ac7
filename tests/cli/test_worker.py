"""``holdfast worker``: a process that carries out runs until it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import views
from holdfast.cli.room import offer
from holdfast.engine.trigger import trigger
from holdfast.ids import new_id
from holdfast.records import NewRun
from holdfast.storage import Store
from holdfast.worker.isolated.confine import enforced
from holdfast.worker.supervisor import SAME_SECONDS
from tests.cli.conftest import Cli
from tests.support.host import ALONE, children_of, kill, reached

HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
TASKS = """
import asyncio
import os
from holdfast import Holdfast

app = Holdfast()

@app.task
def greet(name: str) -> str:
    print("hello", name)
    return f"Hello, {name}!"

@app.task
async def doze(seconds: float) -> None:
    await asyncio.sleep(seconds)

@app.task
async def wait(gate: str) -> None:
    open(gate + ".seen", "w").close()
    while not os.path.exists(gate):
        await asyncio.sleep(0.01)
"""
SECONDS = 60


class Worker:
    """``holdfast worker`` as a process; ``facts`` are what it says once it is ready."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        self.process = subprocess.Popen(
            [*HOLDFAST, "worker", *arguments],
            cwd=folder,
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.facts: dict[str, Any] = {}

    def ready(self) -> Worker:
        text = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text += line
            if line.startswith("}"):
                self.facts = json.loads(text)
                return self
        raise AssertionError(f"it ended: {self.ended()}")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Its exit code, and what it said on stderr."""
        _, said = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, said


Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path, processes: None) -> Iterator[Start]:
    """Starts workers in a folder with an app, and ends them."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "tasks.py").write_text(TASKS)
    workers: list[Worker] = []

    def begin(*arguments: str, **environment: str) -> Worker:
        workers.append(Worker(folder, *arguments, **environment))
        return workers[-1]

    yield begin
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.communicate()


def send(store: Store, task: str, payload: str, queue: str | None = None) -> str:
    run = NewRun(id=new_id(), task=task, queue=queue or f"task/{task}", payload=payload)
    store.run_sync(trigger, [run])
    return run.id


def began(gate: Path) -> Callable[[], None]:
    """That a run is carried out, which is a little later than its claim; what has not begun goes back at once."""

    def check() -> None:
        assert Path(f"{gate}.seen").exists()

    return check


def becomes(store: Store, run: str, status: str) -> Callable[[], None]:
    def check() -> None:
        assert store.read_sync(views.records, [run])[0].status == status

    return check


def test_it_carries_out_runs_and_drains(
    start: Start, store: Store, database_url: str, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    worker = start("--json", "--database", database_url, "--concurrency", "3").ready()
    assert (worker.facts["app"], worker.facts["tasks"]) == ("tasks:app", ["doze", "greet", "wait"])
    (known,) = store.read_sync(views.workers)
    assert (known.id, known.concurrency) == (worker.facts["workers"][0], 3)
    run = send(store, "greet", '"Ada"')
    eventually(becomes(store, run, "completed"), SECONDS)
    assert [line.message for line in store.read_sync(views.log_end, run, 9)] == ["hello Ada"]
    waiting = send(store, "wait", json.dumps(f"{tmp_path}/gate"))
    eventually(began(tmp_path / "gate"), SECONDS)
    worker.process.send_signal(signal.SIGTERM)

    def drains() -> None:
        assert [each.state for each in store.read_sync(views.workers)] == ["draining"]

    eventually(drains, SECONDS)
    (tmp_path / "gate").touch()
    code, said = worker.ended()
    assert code == 0, said
    becomes(store, waiting, "completed")()
    assert {each.state for each in store.read_sync(views.workers, ended=9)} == {"stopped"}


def test_what_is_not_done_in_the_drain_time_goes_back(
    start: Start, store: Store, database_url: str, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    worker = start("--json", "--database", database_url, "--drain-timeout", "200ms").ready()
    run = send(store, "wait", json.dumps(f"{tmp_path}/gate"))
    eventually(began(tmp_path / "gate"), SECONDS)
    assert worker.stop()[0] == 0
    (record,) = store.read_sync(views.records, [run])
    assert (record.status, record.attempts, record.crashes) == ("pending_version", 1, 0)


def test_a_second_signal_is_no_failure_to_start(
    start: Start, store: Store, database_url: str, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    """It was taken for one, and the worker said that it cannot start."""
    worker = start("--json", "--database", database_url).ready()
    send(store, "wait", json.dumps(f"{tmp_path}/gate"))
    eventually(began(tmp_path / "gate"), SECONDS)

    worker.process.send_signal(signal.SIGTERM)
    reached(lambda: "draining" in {each.state for each in store.read_sync(views.workers)})
    first = time.monotonic()
    reached(lambda: time.monotonic() - first > 3 * SAME_SECONDS)  # two at once are one
    code, said = worker.stop()
    assert (code, "stopped at once" in said, "cannot start" in said) == (128 + signal.SIGTERM, True, False)


def test_several_processes_and_only_some_queues(
    start: Start, store: Store, database_url: str, eventually: Callable[..., None]
) -> None:
    worker = start("--json", "--database", database_url, "--processes", "2", "--queues", "a, task/greet").ready()
    assert len(worker.facts["workers"]) == worker.facts["processes"] == 2
    known = store.read_sync(views.workers)
    assert [each.queues for each in known] == [["a", "task/greet"]] * 2
    run = send(store, "greet", '"Ada"')
    other = send(store, "doze", "0")
    eventually(becomes(store, run, "completed"), SECONDS)
    becomes(store, other, "pending_version")()


def test_it_says_where_it_works(start: Start, tmp_path: Path) -> None:
    worker = start("tasks.py", "--json").ready()
    assert worker.facts["database"] == f"{tmp_path}/shop/holdfast.db"
    code, said = worker.stop(signal.SIGINT)
    line = next(line for line in said.splitlines() if "holdfast worker" in line)
    assert all(text in line for text in ("tasks:app", f"{tmp_path}/shop/holdfast.db", "greet"))
    assert worker.facts["enforced"] == enforced()
    assert code == 0


def test_a_path_starts_at_the_app_wherever_it_is_started(start: Start, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    worker = Worker(elsewhere, str(tmp_path / "shop" / "tasks.py"), "--json", "--database", "mine.db").ready()
    assert worker.facts["database"] == f"{tmp_path}/shop/mine.db"
    worker.stop()
    assert list(elsewhere.iterdir()) == []


def test_the_environment_names_app_and_database(start: Start, database_url: str, store: Store) -> None:
    worker = start("--json", HOLDFAST_APP="tasks:app", HOLDFAST_DATABASE_URL=database_url, HOLDFAST_LEASE="7s").ready()
    (known,) = store.read_sync(views.workers)
    assert (worker.facts["workers"], known.lease_ms) == ([known.id], 7_000)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_the_kind", "nothing_of_the_kind"),
        ("x = 1\n1 / 0", "tasks.py:2"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import os; os._exit(3)", "3"),
        ("x = 1", "app = Holdfast()"),
    ],
)
def test_an_app_that_cannot_be_used(start: Start, tmp_path: Path, code: str, told: str) -> None:
    (tmp_path / "shop" / "tasks.py").write_text(code)
    exit_code, said = start("tasks.py").ended()
    assert exit_code == 2
    assert told in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing.py"],
        ["--lease", "1s"],
        ["--lease", "soon"],
        ["--drain-timeout", "soon"],
        ["--ready-timeout", "soon"],
        ["--max-runs", "0"],
        ["--max-memory", "much"],
        ["--cpu", "0"],
        ["--memory", "much"],
        ["--machines", "gigantic"],
        ["--machines", "large-1x", "--memory", "4GB"],
        ["--concurrency", "0"],
        ["--processes", "many"],
        ["--database", "mysql://localhost/x"],
        ["--database", "postgresql://localhost:1/nothing?connect_timeout=2"],
    ],
)
def test_what_cannot_be_meant(bare: Cli, app_of: Callable[[str], str], arguments: list[str]) -> None:
    app = [] if "nothing.py" in arguments else [app_of(TASKS)]
    answer = bare("worker", *app, *arguments)
    assert (answer.code, answer.out, "Error: " in answer.err, "Traceback" in answer.err) == (2, "", True, False)
    assert any(each in answer.err for each in arguments)


def test_what_cannot_be_meant_ends_the_process(start: Start) -> None:
    code, said = start("--lease", "1s").ended()
    assert (code, "Error: " in said, "Traceback" in said) == (2, True, False)


def test_an_app_whose_import_does_not_end(start: Start, tmp_path: Path) -> None:
    """It says so, and where it hangs. Fails with waiting for it for ever, without a word."""
    (tmp_path / "shop" / "tasks.py").write_text("import time\n\ntime.sleep(600)\n")
    for timeout in ("1s", "5s", "25s"):  # in the first second a busy machine may not have come to the app
        code, said = start("tasks.py", "--ready-timeout", timeout).ended()
        assert (code, "--ready-timeout" in said) == (2, True)
        if 'tasks.py", line 3' in said:
            return
    pytest.fail(said)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_processes_share_what_there_is_for_runs_with_machines(start: Start, store: Store, database_url: str) -> None:
    how = ("--json", "--database", database_url, "--processes", "2", "--cpu", "4", "--memory", "8GB")
    facts = start(*how, "--machines", "micro, small-2x").ready().facts
    assert (facts["cpu"], facts["memory_bytes"], facts["machines"]) == (2, 4 * 1024**3, ["micro", "small-2x"])
    known = store.read_sync(views.workers)
    assert [(each.cpu_millis, each.memory_bytes, each.machines) for each in known] == [
        (2000, 4 * 1024**3, ["micro", "small-2x"])
    ] * 2


def test_it_says_what_there_is_for_runs_with_machines_and_what_is_enforced(start: Start) -> None:
    worker = start("--cpu", "1.5", "--memory", "3GB", "--machines", "micro")
    assert worker.process.stderr is not None
    said = [next(worker.process.stderr) for _ in range(3 + len(enforced()))]
    assert said[2] == "for runs with machines: 1.5 vCPU, 3 GB, of micro only\n"
    assert [line.strip() for line in said[3:]] == enforced()


def test_a_machine_that_is_named_fits() -> None:
    """A host that is sold with 16 GB shows a little less."""
    room, machines = offer(None, None, ["large-2x"], 1)
    assert (room.cpu_millis >= 8000, room.memory_bytes >= 16 * 1024**3, machines) == (True, True, ["large-2x"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_processes_that_are_replaced_in_time(
    start: Start, store: Store, database_url: str, eventually: Callable[..., None]
) -> None:
    worker = start("--json", "--database", database_url, "--max-runs", "1", "--max-memory", "4GB").ready()
    run = send(store, "greet", '"Ada"')
    eventually(becomes(store, run, "completed"), SECONDS)

    def replaced() -> None:
        assert [each.id for each in store.read_sync(views.workers)] != worker.facts["workers"]
        assert [each.state for each in store.read_sync(views.workers)] == ["live"]

    eventually(replaced, SECONDS)
    assert worker.stop()[0] == 0


@pytest.mark.skipif(subprocess.run([*ALONE, "true"], check=False).returncode != 0, reason="no namespaces here")
def test_process_1_of_a_container_can_be_stopped_before_it_is_ready(tmp_path: Path) -> None:
    """Nobody ends that one for a signal it has no handler for. Fails with waiting for the supervisor's handlers."""
    (tmp_path / "tasks.py").write_text("open('began', 'w').close()\nimport time\ntime.sleep(600)\n")
    alone = subprocess.Popen([*ALONE, *HOLDFAST, "worker"], cwd=tmp_path, stderr=subprocess.PIPE)
    reached((tmp_path / "began").exists)
    kill(children_of(alone.pid)[0], signal.SIGTERM)
    alone.communicate(timeout=SECONDS)
    assert alone.returncode == 128 + signal.SIGTERM


def test_no_app_at_all(tmp_path: Path) -> None:
    code, said = Worker(tmp_path).ended()
    assert (code, "HOLDFAST_APP" in said, "Traceback" in said) == (2, True, False)


def test_the_command_itself_stays_small() -> None:
    """It is the supervisor: what it imports stays in memory beside the workers."""
    code = (
        "import sys, holdfast.cli.worker; print([name for name in ('pydantic', 'holdfast.app') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
