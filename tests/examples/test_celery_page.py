"""docs/coming-from-celery.md: its files work as they stand there, and it names whatever is refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.contrib.celery import ApplyOptions, SharedOptions
from holdfast.contrib.celery.refused import AT_A_CALL, AT_A_TASK, OF_A_TASK

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-celery.md").read_text(encoding="utf-8")
HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files of the page."""
    files = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    assert set(files) == {"mail.py", "jobs.py", "script.py"}
    (test,) = re.findall(r"^```python\n(def test_.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for name, text in {**files, "test_mail.py": f"from jobs import app\nfrom mail import send\n\n{test}"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_its_files_work(project: Path, database_url: str) -> None:
    environment = os.environ | {"HOLDFAST_DATABASE_URL": database_url}
    worker = subprocess.Popen([*HOLDFAST, "worker", "jobs.py"], cwd=project, env=environment, start_new_session=True)
    try:
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=project, env=environment, capture_output=True, text=True, timeout=100
        )
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
    assert done.stdout == "Hello, Ada\n", done.stderr
    assert f"$ python script.py\n{done.stdout}" in PAGE


def test_its_test_passes(project: Path) -> None:
    said = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mail.py"]
    done = subprocess.run(said, cwd=project, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout


def test_it_names_every_option_and_whatever_is_refused() -> None:
    told = set(re.findall(r"\w+", PAGE))
    names = {*SharedOptions.__annotations__, *ApplyOptions.__annotations__, *AT_A_TASK, *AT_A_CALL, *OF_A_TASK}
    assert sorted(names - told) == []
