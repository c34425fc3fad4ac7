"""The onboarding example: one customer from the welcome to the end, with a worker, and with the clock of a test."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("processes")

TASKS = Path(__file__).parents[2] / "examples" / "onboarding" / "tasks.py"


def test_it_runs(database_url: str) -> None:
    environment = os.environ | {"HOLDFAST_DATABASE_URL": database_url, "TRIAL": "1s"}
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
        assert done.stdout.splitlines()[-1] == "1500 rows, approved by Grace"
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)


def test_nobody_approves() -> None:
    spec = importlib.util.spec_from_file_location("onboarding", TASKS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["onboarding"] = module
    spec.loader.exec_module(module)
    with module.app.testing() as jobs:
        run = jobs.run(module.onboard, module.Customer(id=1, email="ada@example.com"))
        jobs.advance("1m")
        assert run.status == "waiting"
        jobs.advance("8d")
        assert run.output == "1500 rows, and nobody has approved"
