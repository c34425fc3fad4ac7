"""The command as a person calls it: arguments in, what it prints and its exit code out."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)


Cli = Callable[..., Answer]
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without an app, and an environment that says nothing."""
    for name in os.environ:
        if name.startswith("HOLDFAST_") and not name.startswith("HOLDFAST_TEST"):
            monkeypatch.delenv(name)
    folder = tmp_path / "nowhere"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.chdir(folder)
    return folder


def call(*arguments: str, text: str | None = None) -> Answer:
    """The command with just these arguments."""
    result = CliRunner().invoke(app, list(arguments), input=text)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def app_of(nowhere: Path) -> Callable[[str], str]:
    """Writes an app and answers its file's name: a new one each time, for a module is imported once."""

    def write(code: str) -> str:
        file = nowhere / f"app_{next(numbers)}.py"
        file.write_text(code)
        return file.name

    return write


@pytest.fixture
def cli(database_url: str) -> Cli:
    """The command over the test's database."""
    return lambda *arguments, text=None: call(*arguments, "--database", database_url, text=text)


@pytest.fixture
def bare() -> Cli:
    """The command without a database."""
    return call
