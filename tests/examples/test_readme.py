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


def test_its_links_lead_somewhere() -> None:
    for page in [README, *README.parent.glob("docs/*.md"), README.with_name("CONTRIBUTING.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
