"""The tables are what the checked-in dumps say, however they were made.

After a change of a migration: ``HOLDFAST_WRITE_SCHEMA=1 pytest tests/migrations``, and read the difference.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from holdfast import storage
from holdfast.errors import MigrationNeeded
from holdfast.storage import migrate
from tests.engine.making import Hand, know, new, send
from tests.migrations.catalogue import dump, dump_or_nothing, kind_of, run_script


def test_the_tables_are_what_the_dump_says(database_url: str) -> None:
    file = Path(__file__).with_name(f"schema.{kind_of(database_url)}.sql")
    found = dump(database_url)
    if os.environ.get("HOLDFAST_WRITE_SCHEMA"):
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


def test_the_script_for_a_dba_makes_the_same_tables(database_url: str, empty_url: str) -> None:
    run_script(empty_url, migrate.as_sql(kind_of(empty_url)))
    assert dump(empty_url) == dump(database_url)
    store = storage.open(empty_url, migrate=False)  # nothing is left to do
    know(store)
    assert Hand(store).claim() == []
    assert len(send(store, new())) == 1
    store.close()


def test_whoever_makes_the_tables_goes_on_with_them(empty_url: str) -> None:
    """What the driver has prepared before a table changes is void after that, and says so where it is used."""
    store = storage.open(empty_url)
    for _ in range(3):
        know(store)
        made = send(store, new())
        assert [run.id for run in Hand(store).claim()] == made
    store.close()


def test_the_script_writes_the_same_ledger(database_url: str, empty_url: str) -> None:
    run_script(empty_url, migrate.as_sql(kind_of(empty_url)))
    assert ledger(empty_url) == ledger(database_url)


def ledger(url: str) -> list[tuple[object, ...]]:
    if kind_of(url) == "postgres":
        with closing(psycopg.connect(url)) as connection:
            return connection.execute(
                "SELECT version, name, checksum, compatible, applied_at > 1700000000000 FROM holdfast.migration"
            ).fetchall()
    with closing(apsw.Connection(url.removeprefix("sqlite:///"))) as connection:
        rows = connection.execute(
            "SELECT version, name, checksum, compatible, applied_at > 1700000000000 FROM holdfast_migration"
        )
        return [(*row[:4], bool(row[4])) for row in rows]


def test_a_script_that_is_run_twice_changes_nothing_and_says_so(empty_url: str) -> None:
    script = migrate.as_sql(kind_of(empty_url))
    run_script(empty_url, script)
    before = dump(empty_url)
    with pytest.raises((psycopg.Error, apsw.Error)):
        run_script(empty_url, script)
    assert dump(empty_url) == before


def test_the_script_since_a_version_has_only_what_came_later(empty_url: str) -> None:
    assert "CREATE TABLE" not in migrate.as_sql(kind_of(empty_url), since=migrate.latest())


def test_the_numbers_of_the_migrations_have_no_gap() -> None:
    assert [one.version for one in migrate.migrations()] == list(range(1, migrate.latest() + 1))


def test_every_migration_says_what_it_is_compatible_with() -> None:
    assert all(1 <= one.compatible <= one.version for one in migrate.migrations())


def test_an_empty_database_is_set_up_without_asking(empty_url: str, database_url: str) -> None:
    storage.open(empty_url).close()
    assert dump(empty_url) == dump(database_url)


def test_nothing_is_set_up_where_that_is_not_wanted(empty_url: str) -> None:
    with pytest.raises(MigrationNeeded, match="holdfast migrate"):
        storage.open(empty_url, migrate=False)
    assert dump_or_nothing(empty_url) == ""
