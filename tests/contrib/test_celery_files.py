"""Files from Celery with another import: what they say is carried out by workers, on both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Blueprint, Holdfast, RunFailed
from holdfast.contrib.celery import SharedTaskFactory, Task

HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]

FILES = {
    "mail.py": """
from holdfast.contrib.celery import shared_task

@shared_task(bind=True, autoretry_for=(ConnectionError,), max_retries=2, default_retry_delay=0.05, acks_late=True)
def send(self, to, subject="Hi", *, urgent=False):
    if to == "nobody":
        raise ValueError("there is no " + to)
    if self.request.retries == 0:
        raise ConnectionError("the server does not answer")
    return f"{subject}, {to}{'!' if urgent else ''} ({self.request.retries} retries)"
""",
    "reports.py": """
from mail import send
from holdfast.contrib.celery import shared_task

@shared_task
def weekly(names: list[str]) -> list[str]:
    return [send.delay(name).id for name in names]
""",
    "jobs.py": """
from holdfast import Holdfast
from holdfast.contrib.celery import shared_tasks

app = Holdfast(imports=["mail", "reports"])
app.include(shared_tasks)
""",
    "script.py": """
import sys
import jobs
from holdfast.contrib.celery import AsyncResult
from mail import send
from reports import weekly

print(send.delay("Ada", urgent=True).get(timeout=60))
later = send.apply_async(("Grace",), {"subject": "Bye"}, countdown=0.05, expires=60)
print(AsyncResult(later.id).get(timeout=60), later.state)
for id in weekly.delay(["Ada", "Grace"]).get(timeout=60):
    print(AsyncResult(id).get(timeout=60))
failed = send.delay("nobody")
print(failed.get(timeout=60, propagate=False).error.message, failed.state)
print([name for name in ("celery", "kombu") if name in sys.modules])
""",
}
SAID = """\
Hi, Ada! (1 retries)
Bye, Grace (1 retries) SUCCESS
Hi, Ada (1 retries)
Hi, Grace (1 retries)
there is no nobody FAILURE
[]
"""


def test_files_of_a_project(tmp_path: Path, database_url: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    environment = os.environ | {"HOLDFAST_DATABASE_URL": database_url, "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen([*HOLDFAST, "worker", "jobs.py"], cwd=tmp_path, env=environment, start_new_session=True)
    try:
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110
        )
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
    assert done.stdout == SAID, done.stderr


# -- in this process --------------------------------------------------------------------------------------------------


@pytest.fixture
def shared_task() -> SharedTaskFactory:
    return SharedTaskFactory(Blueprint())


@pytest.fixture
def app(shared_task: SharedTaskFactory, database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)
    app.include(shared_task.blueprint)
    yield app
    app.close()


def test_a_worker_carries_out_what_was_delayed(shared_task: SharedTaskFactory, app: Holdfast) -> None:
    @shared_task(bind=True, max_retries=2)
    def add(self: Task[..., Any], *numbers: int, times: int = 1) -> int:
        if self.request.retries < times:
            self.retry(countdown=0.01)
        return sum(numbers)

    waits, fails = add.delay(1, 2, times=2), add.delay(1, times=3)
    revoked = add.apply_async((1,), countdown=3600)
    revoked.revoke()
    assert waits.state == "PENDING"
    with app.running():
        assert waits.get(timeout=60) == 3
        with pytest.raises(RunFailed, match="has no retry left"):
            fails.get(timeout=60)
    assert (waits.state, fails.state, revoked.state) == ("SUCCESS", "FAILURE", "REVOKED")
    assert waits.handle.retrieve().payload == {"numbers": [1, 2], "times": 2}


def test_a_revoked_run_that_executes_goes_on_to_its_end(shared_task: SharedTaskFactory, app: Holdfast) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @shared_task
    def work() -> str:
        begun.set()
        assert go_on.wait(60)
        return "done"

    with app.running():
        result = work.delay()
        assert begun.wait(60)
        assert result.state == "STARTED"
        result.revoke()
        go_on.set()
        assert result.get(timeout=60) == "done"
