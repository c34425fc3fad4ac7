"""``holdfast dev``: one command, and what is saved is what runs."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast

HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
TASKS = """
from holdfast import Holdfast

app = Holdfast()

@app.task
def greet(name: str) -> str:
    return f"Hello, {name}!"
"""
SECONDS = 60


class Dev:
    """``holdfast dev`` in a folder, as a process, with the lines it prints."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        self.process = subprocess.Popen(
            [*HOLDFAST, "dev", "--port", "0", *arguments],
            cwd=folder,
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def until(self, word: str) -> str:
        """The next line with this word."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line with {word!r} came; what came was:\n{''.join(self.said)}")
            self.said.append(line)
            if word in line:
                return line

    def save(self, text: str, name: str = "tasks.py") -> None:
        (self.folder / name).write_text(text)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def dev(tmp_path: Path, processes: None) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(*arguments: str, tasks: str = TASKS, **environment: str) -> Dev:
        (tmp_path / "tasks.py").write_text(tasks)
        started.append(Dev(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def result(database: str, *arguments: Any, task: str = "greet") -> Any:
    app = Holdfast(database=database)
    try:
        return app.trigger(task, *arguments).result(timeout=SECONDS)
    finally:
        app.close()


def test_it_says_where_everything_is_and_stops_cleanly(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running = dev()
    url = running.until("Server").split()[1]
    assert f"sqlite:///{tmp_path}/holdfast.db" in running.until("Database")
    assert "greet" in running.until("Tasks")
    running.until("ready")
    assert get(f"{url}/healthz")[0] == 200
    status, body = get(f"{url}/readyz")
    assert status == 200
    assert json.loads(body) == {"status": "ready", "database": "sqlite", "workers": 1}
    page = get(url)[1]
    assert "greet" in page
    assert str(tmp_path) in page
    assert running.stop() == 0
    assert "Traceback" not in "".join([*running.said, *running.lines.queue])


def test_it_works_on_either_database(dev: Callable[..., Dev], database_url: str) -> None:
    running = dev("--database", database_url)
    running.until("ready")
    assert result(database_url, "Ada") == "Hello, Ada!"


def test_it_tells_what_runs_print_and_how_they_end(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running = dev(tasks=TASKS.replace("    return", "    print('for', name)\n    return"))
    running.until("ready")
    result(f"{tmp_path}/holdfast.db", "Ada")
    assert "for Ada" in running.until("greet ")
    assert "completed" in running.until("greet ")


def test_saved_code_is_the_code_that_runs(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running, database = dev(), f"{tmp_path}/holdfast.db"
    running.until("ready")
    assert result(database, "Ada") == "Hello, Ada!"
    running.save(TASKS.replace("Hello", "Good evening"))
    running.until("changed")
    running.until("ready")
    assert result(database, "Ada") == "Good evening, Ada!"


def test_a_module_of_the_project_counts_and_so_does_a_new_task(dev: Callable[..., Dev], tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text('WORD = "Hello"\n')
    running = dev(
        tasks=TASKS.replace('f"Hello', 'f"{WORD}').replace("import Holdfast", "import Holdfast\nfrom words import WORD")
    )
    running.until("ready")
    running.save('WORD = "Servus"\n', "words.py")
    running.until("ready")
    assert result(f"{tmp_path}/holdfast.db", "Ada") == "Servus, Ada!"
    running.save(TASKS + "\n@app.task\ndef double(n: int) -> int:\n    return 2 * n\n")
    assert "double" in running.until("new")
    running.until("ready")
    assert result(f"{tmp_path}/holdfast.db", 21, task="double") == 42


def test_broken_code_is_told_and_the_next_save_recovers(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running, database = dev(), f"{tmp_path}/holdfast.db"
    running.until("ready")
    running.save(TASKS.replace("return", "retrun"))
    running.until("tasks.py")
    running.until("SyntaxError")
    running.until("code from before")
    assert result(database, "Ada") == "Hello, Ada!"
    running.save(TASKS.replace("Hello", "Back again"))
    running.until("ready")
    assert result(database, "Ada") == "Back again, Ada!"


def test_it_starts_with_broken_code_and_waits(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running = dev(tasks="import nothing_of_this_name\n")
    running.until("ModuleNotFoundError")
    running.until("Waiting for a change")
    running.save(TASKS)
    running.until("ready")
    assert result(f"{tmp_path}/holdfast.db", "Ada") == "Hello, Ada!"


def test_another_database_in_the_code_is_followed(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running = dev()
    running.until("ready")
    running.save(TASKS.replace("Holdfast()", 'Holdfast("other.db")'))
    assert "other.db" in running.until("Database")
    running.until("ready")
    assert result(f"{tmp_path}/other.db", "Ada") == "Hello, Ada!"


SLOW = """
import asyncio
import os
from holdfast import Holdfast

app = Holdfast()

@app.task
async def greet(name: str) -> str:
    print(name, file=open("starts", "a"))
    while not os.path.exists("gate"):
        await asyncio.sleep(0.01)
    return f"Hello, {name}!"
"""


def test_what_runs_while_code_is_saved_ends_where_it_is(dev: Callable[..., Dev], tmp_path: Path) -> None:
    running, app = dev(tasks=SLOW), Holdfast(database=f"{tmp_path}/holdfast.db")
    running.until("ready")
    handle = app.trigger("greet", "Ada")
    next(run for run in handle.updates() if run.status == "executing")
    for number in range(3):  # a worker that is told twice to stop does not drain any more
        running.save(f"{SLOW}# {number}\n")
        running.until("changed")
    (tmp_path / "gate").touch()
    assert handle.result(timeout=SECONDS) == "Hello, Ada!"
    assert (tmp_path / "starts").read_text() == "Ada\n"
    app.close()


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [*HOLDFAST, "dev", "--port", str(port)], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
        )
    assert done.returncode == 2
    assert f"Port {port} is in use" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "holdfast.db").exists()


@pytest.mark.parametrize("arguments", [["nothing.py"], ["--no-reload"]])
def test_what_cannot_be_mended_by_a_save_ends_it(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "tasks.py").write_text("raise RuntimeError('not today')\n")
    command = [*HOLDFAST, "dev", "--port", "0", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert "nothing.py" in done.stderr or "not today" in done.stderr
