"""The hello example: its functions are functions, and with a worker it prints what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("processes")

TASKS = Path(__file__).parents[2] / "examples" / "hello" / "tasks.py"


def test_it_runs(database_url: str) -> None:
    environment = os.environ | {"HOLDFAST_DATABASE_URL": database_url}
    worker = subprocess.Popen(
        [sys.executable, "-c", "from holdfast.cli.main import main; main()", "worker", str(TASKS)],
        env=environment,
        start_new_session=True,
    )
    try:
        done = subprocess.run(
            [sys.executable, str(TASKS)], env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "Hello, Ada!",
            "order 1 for Ada is packed",
            "order 2 for Grace is packed",
            "order 3 for Ada is packed",
            "order 1 is on its way",
        ]
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
