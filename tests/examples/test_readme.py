"""What README.md shows works as it stands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("processes")

README = Path(__file__).parents[2] / "README.md"
HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]


def shown() -> dict[str, str]:
    """The Python files of the page, by the names in their first lines."""
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    return dict(blocks)


def test_its_code_runs(tmp_path: Path, database_url: str) -> None:
    for name, text in shown().items():
        (tmp_path / name).write_text(text)
    environment = os.environ | {"HOLDFAST_DATABASE_URL": database_url, "PYTHONPATH": str(tmp_path)}
    workers = [
        subprocess.Popen([*HOLDFAST, "worker", name], cwd=tmp_path, env=environment, start_new_session=True)
        for name in ("tasks.py", "orders.py")
    ]
    try:
        assert said(["-c", greeting()], tmp_path, environment) == ["Hello, Ada!"]
        assert said(["shop.py"], tmp_path, environment) == ["order 7 is packed", "True False", "100"]
    finally:
        for worker in workers:
            os.killpg(worker.pid, signal.SIGTERM)
        for worker in workers:
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(worker.pid, signal.SIGKILL)


MAIL = """
def send_welcome(user): ...
def has_logged_in(user): return user.id == 2
def send_nudge(user): print("nudge", user.email)
"""
THREE_DAYS = """
from onboard import User, app, onboard
with app.testing() as jobs:
    runs = [jobs.run(onboard, User(id=number, email=f"{number}@example.com")) for number in (1, 2)]
    print([run.status for run in runs])
    jobs.advance("3d")
    print([run.output for run in runs])
"""


def test_the_second_minute(tmp_path: Path) -> None:
    (tmp_path / "onboard.py").write_text(shown()["onboard.py"])
    (tmp_path / "mail.py").write_text(MAIL)
    said_so = said(
        ["-c", THREE_DAYS], tmp_path, dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    )
    assert said_so == ["['waiting', 'waiting']", "nudge 1@example.com", "['nudged', 'active']"]


def greeting() -> str:
    found = re.search(r"python -c '(.+)'", README.read_text())
    assert found is not None
    return found[1].replace('delay="5s"', 'delay="100ms"')


def said(arguments: list[str], folder: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
