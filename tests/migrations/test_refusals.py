"""A database that is not ours, not a database, or not to be written: each a clear error, and nothing is touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from holdfast import storage
from holdfast.errors import DatabaseNotOurs, DatabaseReadOnly
from tests.conftest import PostgresServer
from tests.migrations.catalogue import kind_of, run_script
from tests.storage.notes import get, put


@pytest.mark.parametrize("table", ["run", "done", "queue"])
def test_tables_with_our_names_that_are_not_ours_are_left_alone(empty_url: str, table: str) -> None:
    schema = "CREATE SCHEMA holdfast; " if kind_of(empty_url) == "postgres" else ""
    prefix = "holdfast." if schema else "holdfast_"
    run_script(empty_url, f"{schema}CREATE TABLE {prefix}{table} (theirs TEXT)")
    for choice in (None, True):
        with pytest.raises(DatabaseNotOurs, match="not ours"):
            storage.open(empty_url, migrate=choice)
    run_script(empty_url, f"INSERT INTO {prefix}{table} (theirs) VALUES ('still there')")


def test_other_tables_of_an_app_are_no_hindrance(empty_url: str) -> None:
    run_script(empty_url, "CREATE TABLE run (theirs TEXT); CREATE TABLE app_holdfast_run (theirs TEXT)")
    store = storage.open(empty_url)
    assert store.run_sync(put, "a") == "a"
    store.close()


@pytest.mark.parametrize("content", [b"a shopping list, which is longer than the head of a database\n" * 40, b"x"])
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    with pytest.raises(DatabaseNotOurs, match="not a sound SQLite database"):
        storage.open(str(file))
    assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "new.db").touch()
    storage.open(str(tmp_path / "new.db")).close()


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A database in a folder that cannot be written, not even by root."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    store = storage.open(str(inside / "holdfast.db"))
    store.run_sync(put, "a", "text")
    store.close()
    if os.geteuid() != 0:
        os.chmod(inside / "holdfast.db", 0o444)
        os.chmod(inside, 0o555)
        yield inside / "holdfast.db"
        os.chmod(inside, 0o755)
        return
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", inside, outside], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield outside / "holdfast.db"
    subprocess.run(["umount", outside], check=True)


def write_to(file: Path) -> None:
    store = storage.open(str(file))
    try:
        store.run_sync(put, "b")
    finally:
        store.close()


def test_a_folder_that_cannot_be_written_is_told(sealed: Path) -> None:
    with pytest.raises(DatabaseReadOnly, match="write access"):
        write_to(sealed)


def test_a_file_that_cannot_be_written_is_told_when_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.db"
    store = storage.open(str(file))
    store.run_sync(put, "a", "text")
    store.close()
    if not seal(file):
        pytest.skip("this file system knows no immutable files")
    try:
        with pytest.raises(DatabaseReadOnly, match="write access"):
            write_to(file)
    finally:
        unseal(file)
    store = storage.open(str(file))
    assert store.read_sync(get, "a") == "text"
    store.close()


def seal(file: Path) -> bool:
    if os.geteuid() == 0:
        return subprocess.run(["chattr", "+i", file], capture_output=True).returncode == 0
    os.chmod(file, 0o444)
    return True


def unseal(file: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["chattr", "-i", file], check=True)
    else:
        os.chmod(file, 0o644)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_server_that_only_reads_is_told(database_url: str) -> None:
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
    store = storage.open(database_url)  # there is nothing to migrate, and reading is allowed
    with pytest.raises(DatabaseReadOnly, match="primary"):
        store.run_sync(put, "a")
    store.close()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_user_without_the_rights_is_told_what_to_do(database_url: str, postgres: PostgresServer) -> None:
    role = f"guest_{os.getpid()}"
    postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'guest'")
    try:
        parts = psycopg.conninfo.conninfo_to_dict(database_url) | {"user": role, "password": "guest"}
        query = "&".join(f"{key}={value}" for key, value in parts.items())
        with pytest.raises(DatabaseReadOnly, match=r"(?i)\bgrant\b"):
            storage.open(f"postgresql:///?{query}")
    finally:
        postgres.execute(f"DROP ROLE {role}")


def test_a_broken_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.db"
    storage.open(str(file)).close()
    with file.open("r+b") as handle:
        handle.seek(4096)
        handle.write(b"\xff" * 4096 * 20)
    with pytest.raises(DatabaseNotOurs, match="backup"):
        write_to(file)


def test_apsw_is_new_enough_not_to_corrupt_a_log() -> None:
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)
