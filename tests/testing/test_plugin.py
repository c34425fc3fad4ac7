"""The pytest plugin, in a project of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TASKS = """
from holdfast import Holdfast
app = Holdfast()

@app.task
def greet(name: str) -> str:
    return f"Hello, {name}!"

@app.task
def mail(to: str) -> None: ...
"""


def run_pytest(folder: Path, *arguments: str) -> str:
    plugin = [] if installed() else ["-p", "holdfast.pytest_plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def installed() -> bool:
    """Whether this interpreter's Holdfast was installed with its entry point."""
    from importlib.metadata import entry_points

    return any(each.value == "holdfast.pytest_plugin" for each in entry_points(group="pytest11"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def test_the_fixture_finds_the_app_and_the_words_say_what_was_triggered_instead(project: Path) -> None:
    (project / "test_tasks.py").write_text(
        "from tasks import greet, mail\n"
        "def test_good(holdfast_jobs):\n"
        "    assert holdfast_jobs.run(greet, 'Ada').output == 'Hello, Ada!'\n"
        "def test_each_has_its_own(holdfast_jobs):\n"
        "    assert holdfast_jobs.payloads(greet) == []\n"
        "def test_bad(holdfast_jobs):\n"
        "    greet.trigger('Grace')\n"
        "    assert holdfast_jobs.payloads(mail) == ['Ada']\n"
        "def test_worse(holdfast_jobs):\n"
        "    holdfast_jobs.assert_triggered(mail, 'Ada')\n"
    )
    said = run_pytest(project)
    assert "2 failed, 2 passed" in said
    assert "assert [] == ['Ada']" in said
    assert re.search(r"Triggered so far:\nE\s+greet\('Grace'\)", said)
    assert "mail('Ada') was not triggered." in said
    assert re.search(r"Triggered so far:\nE\s+nothing", said)


def test_another_app_is_a_fixture_of_that_name(project: Path) -> None:
    (project / "elsewhere.py").write_text(TASKS.replace("greet", "welcome"))
    (project / "conftest.py").write_text(
        "import pytest, elsewhere\n@pytest.fixture\ndef holdfast_app(): return elsewhere.app\n"
    )
    (project / "test_it.py").write_text(
        "from elsewhere import welcome\n"
        "def test_it(holdfast_jobs): assert holdfast_jobs.run(welcome, 'Ada').output == 'Hello, Ada!'\n"
    )
    assert "1 passed" in run_pytest(project)


def test_without_an_app_the_test_says_so(project: Path) -> None:
    (project / "tasks.py").unlink()
    (project / "test_it.py").write_text("def test_it(holdfast_jobs): ...\n")
    assert "No Holdfast app was found" in run_pytest(project)


def test_a_project_that_does_not_use_it_imports_nothing_of_it(project: Path) -> None:
    (project / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    loaded = {name for name in sys.modules if name.partition('.')[0] in ('holdfast', 'pydantic', 'msgspec')}\n"
        "    assert loaded == {'holdfast', 'holdfast.pytest_plugin'}\n"
    )
    assert "1 passed" in run_pytest(project)
