"""The command as a whole: quick to start, one way to fail, no traceback for anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import storage
from holdfast.cli import main
from tests.cli.conftest import Cli

HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
HEAVY = ("pydantic", "psycopg", "apsw", "fastapi", "asyncio", "holdfast.app")


def test_help_lists_the_commands(bare: Cli) -> None:
    answer = bare("--help")
    assert answer.code == 0
    for name, told in main.COMMANDS.items():
        assert name in answer.out
        assert told.split()[0] in answer.out


def test_help_imports_nothing_that_is_slow(nowhere: Path) -> None:
    code = f"import sys\n{HOLDFAST[2].replace('main()', '')}\ntry: main()\nexcept SystemExit: pass\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_an_interrupt_while_it_is_imported_is_one_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    asked = [sys.executable, "-m", "holdfast", "--version"]
    done = subprocess.run(asked, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_python_m_holdfast() -> None:
    asked = [sys.executable, "-m", "holdfast", "--version"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.startswith("holdfast ")


def test_every_command_tells_what_it_does(bare: Cli) -> None:
    for name in main.COMMANDS:
        answer = bare(name, "--help")
        assert answer.code == 0, name
        assert "--help" in answer.out


def test_the_version(bare: Cli) -> None:
    assert bare("--version").out.startswith("holdfast ")


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["runs", "nothing"], ["--nothing"], ["runs", "list", "--nothing"], ["runs", "show"]]
)
def test_a_misspelt_command_line(bare: Cli, arguments: list[str]) -> None:
    answer = bare(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert "--help" in answer.err
    assert "Traceback" not in answer.err


def test_an_argument_that_is_no_text(bare: Cli) -> None:
    answer = bare("webhooks", "show", "\udcff")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: An argument is not UTF-8")


@pytest.mark.parametrize("arguments", [[], ["runs"], ["schedules"]])
def test_without_a_command_there_is_help_and_nothing_else(bare: Cli, arguments: list[str]) -> None:
    answer = bare(*arguments)
    assert answer.code == 2
    assert "Commands" in answer.out + answer.err
    assert "Error:" not in answer.err


def test_an_error_of_the_database_is_three_parts(bare: Cli) -> None:
    answer = bare("runs", "list", "--database", "postgresql://localhost:1/nothing?connect_timeout=2")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert "Check that it runs" in answer.err
    assert "Traceback" not in answer.err


def test_a_bug_of_ours_is_told_without_a_traceback(bare: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("holdfast.cli.runs.list.searched", fail)
    file = tmp_path / "a.db"
    storage.open(str(file)).close()
    answer = bare("runs", "list", "--database", str(file))
    assert (answer.code, "a bug" in answer.err, "Traceback" in answer.err) == (2, True, False)
    monkeypatch.setenv("HOLDFAST_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        bare("runs", "list", "--database", str(file))


def test_whoever_reads_only_the_first_line_ends_it_quietly(nowhere: Path, tmp_path: Path) -> None:
    from holdfast.storage import Store
    from tests.engine.making import know, new, send

    store: Store = storage.open(str(tmp_path / "a.db"))
    know(store)
    send(store, *[new() for _ in range(3_000)])
    store.close()
    listing = subprocess.Popen(
        [*HOLDFAST, "runs", "list", "-n", "3000", "--json", "--database", str(tmp_path / "a.db")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    listing.stdout.readline()
    listing.stdout.close()
    assert (listing.stderr.read(), listing.wait(30)) == ("", 0)
