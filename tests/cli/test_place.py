"""Which app and which database a command means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import storage
from holdfast.cli.place import is_complete, place
from holdfast.cli.show import masked
from holdfast.errors import AppNotFound, HoldfastError
from tests.cli.conftest import Cli

WITHOUT = "from holdfast import Holdfast\napp = Holdfast()\n"
WITH = "from holdfast import Holdfast\napp = Holdfast('of_the_app.db')\n"


def database(answer_of: Cli, *arguments: str) -> str:
    """The database that a command says it uses."""
    return str(answer_of("doctor", "--json", *arguments).json["database"])


def test_a_flag_beats_the_app_which_beats_the_environment(
    bare: Cli, nowhere: Path, app_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database(bare) == f"sqlite:///{nowhere}/holdfast.db"
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "of_the_environment.db")
    assert database(bare) == f"sqlite:///{nowhere}/of_the_environment.db"
    assert database(bare, "--app", app_of(WITHOUT)) == f"sqlite:///{nowhere}/of_the_environment.db"
    named = app_of(WITH)
    assert database(bare, "--app", named) == f"sqlite:///{nowhere}/of_the_app.db"
    assert database(bare, "--app", named, "--database", "flag.db") == f"sqlite:///{nowhere}/flag.db"


def test_a_path_starts_at_the_project_wherever_one_is(
    bare: Cli, nowhere: Path, app_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = nowhere / "deep" / "down"
    deep.mkdir(parents=True)
    file = nowhere / app_of(WITHOUT)
    monkeypatch.chdir(deep)
    assert database(bare) == f"sqlite:///{nowhere}/holdfast.db"
    assert database(bare, "--database", "a.db") == f"sqlite:///{nowhere}/a.db"
    assert database(bare, "--app", str(file)) == f"sqlite:///{nowhere}/holdfast.db"


def test_looking_makes_no_database(bare: Cli, nowhere: Path) -> None:
    answer = bare("runs", "list")
    assert (answer.code, "--database" in answer.err) == (2, True)
    answer = bare("runs", "list", "--database", str(nowhere / "typo.db"))
    assert (answer.code, str(nowhere / "typo.db") in answer.err) == (2, True)
    assert [file.name for file in nowhere.iterdir()] == ["pyproject.toml"]


def test_a_trigger_makes_one(bare: Cli, nowhere: Path) -> None:
    assert bare("trigger", "greet").code == 0
    assert (nowhere / "holdfast.db").exists()
    assert len(bare("runs", "list", "--json").json["runs"]) == 1


def test_a_complete_database_needs_no_app(bare: Cli, nowhere: Path, tmp_path: Path) -> None:
    (nowhere / "tasks.py").write_text("raise RuntimeError('imported')\n")
    storage.open(str(tmp_path / "a.db")).close()
    assert bare("runs", "list", "--database", str(tmp_path / "a.db")).code == 0


def test_a_broken_app_is_in_nobodys_way_who_does_not_need_it(
    bare: Cli, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "tasks.py").write_text("x = 1\nraise RuntimeError('imported')\n")
    storage.open(str(tmp_path / "a.db")).close()
    answer = bare("runs", "list")
    assert (answer.code, "imported" in answer.err, "tasks.py:2" in answer.err) == (2, True, True)
    assert "Traceback" not in answer.err
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", str(tmp_path / "a.db"))
    assert bare("runs", "list").code == 0
    assert bare("runs", "list", "--app", "tasks.py").code == 2


@pytest.mark.parametrize("code", ["import nothing_of_the_kind", "def broken(:", "import sys; sys.exit(3)"])
def test_an_app_that_cannot_be_imported_says_where(bare: Cli, app_of: Callable[[str], str], code: str) -> None:
    answer = bare("tasks", "--app", app_of(code))
    assert (answer.code, "cannot be imported" in answer.err, "Traceback" in answer.err) == (2, True, False)


def test_an_option_that_cannot_be_used_says_where(bare: Cli, nowhere: Path) -> None:
    (nowhere / "tasks.py").write_text("from holdfast import Queue\n\nmail = Queue('mail', concurrency_limit=0)\n")
    answer = bare("tasks", "--app", "tasks.py")
    assert (answer.code, "concurrency_limit" in answer.err, "tasks.py:3" in answer.err) == (2, True, True)


def test_an_app_that_is_not_there() -> None:
    with pytest.raises(AppNotFound):
        place(None, "nothing.py")
    with pytest.raises(HoldfastError):
        place("postgresql://a/b", None, need_app=True)


@pytest.mark.parametrize(
    ("url", "complete"),
    [
        ("postgresql://localhost/a", True),
        ("/srv/a.db", True),
        ("sqlite:////srv/a.db", True),
        ("~/a.db", True),
        ("sqlite://:memory:", True),
        ("a.db", False),
        ("sqlite:///a.db", False),
        ("./a.db", False),
    ],
)
def test_what_needs_no_project(url: str, complete: bool) -> None:
    assert is_complete(url) is complete


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:pw@host/db", "postgresql://ada:…@host/db"),
        ("postgresql://ada:p@w@host/db", "postgresql://ada:…@host/db"),
        ("postgresql://ada@host/db?password=pw&x=1", "postgresql://ada@host/db?password=…&x=1"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("sqlite:////srv/a@b:c.db", "sqlite:////srv/a@b:c.db"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
