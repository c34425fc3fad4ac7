"""Settings: who said what, and where an SQLite file is."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast, storage
from holdfast.errors import DatabaseUrlInvalid, InvalidOption
from holdfast.settings import Settings, absolute_url, project_of

PROJECT = Path("/srv/shop")


def settings(environ: dict[str, str] | None = None, **constructor: Any) -> Settings:
    return Settings(constructor, PROJECT, environ or {})


def test_the_default_is_a_file_at_the_project() -> None:
    assert settings().get("database") == ("database", "sqlite:////srv/shop/holdfast.db", "default")


def test_flag_beats_constructor_beats_environment_beats_default() -> None:
    said = settings({"HOLDFAST_DATABASE_URL": "env.db"})
    assert said.get("database")[1:] == ("sqlite:////srv/shop/env.db", "HOLDFAST_DATABASE_URL")
    said = settings({"HOLDFAST_DATABASE_URL": "env.db"}, database="constructor.db")
    assert said.get("database")[1:] == ("sqlite:////srv/shop/constructor.db", "Holdfast(database=…)")
    said.use_flags(database=None)
    assert said.get("database").source == "Holdfast(database=…)"
    said.use_flags(database="flag.db")
    assert said.get("database")[1:] == ("sqlite:////srv/shop/flag.db", "--database")


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_says_nothing(value: str) -> None:
    assert settings({"HOLDFAST_DATABASE_URL": value}).get("database").source == "default"


@pytest.mark.parametrize(
    ("written", "value"),
    [("45", 45_000), ("0.5", 500), ("1h", 3_600_000), ("250ms", 250)],
)
def test_durations_of_the_environment(written: str, value: int) -> None:
    assert settings({"HOLDFAST_LEASE": written}).get("lease") == ("lease", value, "HOLDFAST_LEASE")


def test_sizes() -> None:
    assert settings().get("payload_limit").value == 10_485_760
    assert settings({"HOLDFAST_OUTPUT_LIMIT": "100"}).get("output_limit").value == 100
    assert settings(payload_limit=5).get("payload_limit").value == 5


@pytest.mark.parametrize(
    ("environ", "name", "message"),
    [
        ({"HOLDFAST_LEASE": "soon"}, "lease", "HOLDFAST_LEASE is not a duration"),
        ({"HOLDFAST_PAYLOAD_LIMIT": "10MB"}, "payload_limit", "HOLDFAST_PAYLOAD_LIMIT is not a whole number"),
        ({"HOLDFAST_PAYLOAD_LIMIT": "0"}, "payload_limit", "HOLDFAST_PAYLOAD_LIMIT is not a whole number"),
    ],
)
def test_a_bad_value_names_where_it_was_said(environ: dict[str, str], name: str, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        settings(environ).get(name)


def test_doctor_sees_them_all() -> None:
    every = settings({"HOLDFAST_LEASE": "10s"}).all()
    assert {"database", "lease", "retention", "payload_limit", "output_limit"} <= {each.name for each in every}
    assert {each.source for each in every} == {"default", "HOLDFAST_LEASE"}


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ("jobs.db", "sqlite:////srv/shop/jobs.db"),
        ("data/jobs.db", "sqlite:////srv/shop/data/jobs.db"),
        ("../jobs.db", "sqlite:////srv/jobs.db"),
        ("/var/jobs.db", "sqlite:////var/jobs.db"),
        ("sqlite:///jobs.db", "sqlite:////srv/shop/jobs.db"),
        ("sqlite:////var/jobs.db", "sqlite:////var/jobs.db"),
        ("sqlite://:memory:", "sqlite://:memory:"),
        ("sqlite:///:memory:", "sqlite://:memory:"),
        (":memory:", "sqlite://:memory:"),
        ("postgresql://user@host/db?x=1", "postgresql://user@host/db?x=1"),
    ],
)
def test_urls_mean_the_same_everywhere(database: str, url: str) -> None:
    assert absolute_url(database, PROJECT) == url
    if not url.startswith("postgresql"):  # storage reads them the same way
        assert storage.sqlite_path(url) == storage.sqlite_path(database, PROJECT)


def test_a_home_is_a_place() -> None:
    assert absolute_url("~/jobs.db", PROJECT) == f"sqlite:///{Path.home() / 'jobs.db'}"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"database": "mysql://host/db"}, "a scheme that is not known .*mysql"),
        ({"database": "sqlite://"}, "names no file"),
        ({"payload_limit": "5"}, "payload_limit.* is not a whole number"),
        ({"output_limit": 0}, "output_limit.* is not a whole number"),
        ({"max_duration": "90"}, "max_duration.* is not a duration"),  # a variable may say so, code writes 90
        ({"ttl": 0}, "ttl.* is no time at all"),
        ({"imports": ["shop orders"]}, "not a list of module names"),
    ],
)
def test_an_app_is_refused_where_it_is_written(said: Any, message: str) -> None:
    with pytest.raises((DatabaseUrlInvalid, InvalidOption), match=message):
        Holdfast(**said)


@pytest.mark.parametrize("database", ["sqlite://", "sqlite:///", ""])
def test_a_url_without_a_file_is_refused(database: str) -> None:
    with pytest.raises((DatabaseUrlInvalid, InvalidOption)):
        settings(database=database).get("database")


def test_the_project_is_the_nearest_pyproject(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "tasks.py"
    assert project_of(file) == tmp_path / "a" / "b"
    (tmp_path / "pyproject.toml").touch()
    assert project_of(file) == tmp_path
    (tmp_path / "a" / "pyproject.toml").touch()
    assert project_of(file) == tmp_path / "a"


def test_the_file_is_the_same_wherever_the_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = tmp_path / "shop"
    (shop / "deep").mkdir(parents=True)
    (shop / "pyproject.toml").touch()
    (shop / "deep" / "tasks.py").write_text("from holdfast import Holdfast\napp = Holdfast()\n")
    program = "import tasks; print(tasks.app.settings.get('database').value)"
    monkeypatch.delenv("HOLDFAST_DATABASE_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(shop / "deep"))
    urls = {
        subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True).stdout
        for folder in (tmp_path, shop, shop / "deep", Path("/"))
    }
    assert urls == {f"sqlite:///{shop.resolve() / 'holdfast.db'}\n"}


def test_the_constructor_checks_what_it_is_told() -> None:
    for options, message in (
        ({"retry": 3}, "retry is not a Retry"),
        ({"ttl": "soon"}, r"Holdfast\(ttl=…\) is not a duration"),
        ({"max_duration": -1}, r"Holdfast\(max_duration=…\) cannot be negative"),
        ({"payload_limit": 0}, r"Holdfast\(payload_limit=…\) is not a whole number"),
        ({"imports": "shop"}, "imports is not a list of module names"),
    ):
        with pytest.raises(InvalidOption, match=message):
            Holdfast(":memory:", **options)


def test_importing_an_app_opens_nothing(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, threading
        from holdfast import Holdfast
        app = Holdfast("x.db")
        @app.task
        def greet(name: str) -> str: return name
        assert threading.active_count() == 1
    """)
    (tmp_path / "tasks.py").write_text(program)
    subprocess.run([sys.executable, "tasks.py"], cwd=tmp_path, check=True)
    assert not (tmp_path / "x.db").exists()
