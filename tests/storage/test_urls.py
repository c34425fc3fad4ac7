"""A URL names a file or a server; one that does not is refused with what to write, and no error shows a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import storage
from holdfast.errors import DatabaseUnavailable, DatabaseUrlInvalid
from holdfast.storage import sqlite_path
from holdfast.storage.postgres import hide_password

BASE = Path("/project")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///jobs.db", "/project/jobs.db"),
        ("sqlite:///data/jobs.db", "/project/data/jobs.db"),
        ("sqlite:////srv/jobs.db", "/srv/jobs.db"),
        ("jobs.db", "/project/jobs.db"),
        ("/srv/jobs.db", "/srv/jobs.db"),
        ("./data/../jobs.db", "/project/jobs.db"),
        ("sqlite:///my jobs.db", "/project/my jobs.db"),
    ],
)
def test_a_path_is_absolute_or_starts_at_the_base(url: str, path: str) -> None:
    assert sqlite_path(url, BASE) == Path(path)


@pytest.mark.parametrize("url", ["sqlite://:memory:", "sqlite:///:memory:", ":memory:"])
def test_a_database_in_memory_has_no_path(url: str) -> None:
    assert sqlite_path(url, BASE) is None


@pytest.mark.parametrize(
    "url",
    [
        "mysql://localhost/jobs",
        "http://example.com/",
        "sqlite://",
        "sqlite:///",
        "",
        "sqlite:///jobs.db?mode=ro",
        "postgresql:/localhost/jobs",
        "postgres:jobs",
        "postgresql://localhost/jobs?no_such_option=1",
        "redis:jobs",
    ],
)
def test_what_names_no_database_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUrlInvalid) as refused:
        storage.open(url, base=tmp_path)
    assert refused.value.do
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="folder"):
        storage.open(f"sqlite:///{tmp_path}/nowhere/jobs.db")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        storage.open(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("address", ["localhost:1", "localhost:port", "no-such-host.invalid", "/no/such/socket"])
def test_a_server_that_is_not_there_is_told(address: str) -> None:
    host, _, port = address.partition(":")
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        storage.open(f"postgresql://ada:s3cret@/jobs?host={host}&port={port or 5432}&connect_timeout=2")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cret@localhost:1/jobs",
        "postgresql://ada:s3cret@@localhost:1/jobs",
        "postgresql://localhost:1/jobs?user=ada&password=s3cret",
        "postgresql://localhost:1/jobs?password=s3cret&user=ada",
        "postgresql://ada:s3cret@localhost:port/jobs",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises((DatabaseUnavailable, DatabaseUrlInvalid)) as refused:
        storage.open(url)
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in hide_password(url)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_database_that_does_not_exist_is_told_by_its_name(database_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="no_such_database"):
        storage.open(database_url.replace("dbname=holdfast_test", "dbname=no_such_database"))
