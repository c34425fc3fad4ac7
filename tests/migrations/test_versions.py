"""A database of another version: newer but compatible works, newer and incompatible is refused, older is migrated."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from holdfast import storage
from holdfast.errors import DatabaseTooNew, MigrationNeeded
from holdfast.storage import migrate
from holdfast.storage.migrate import Migration, migrations
from tests.engine.making import know, new, send
from tests.migrations.catalogue import dump, kind_of, run_script

ROOT = Path(__file__).parents[2]

MIGRATE = """
import sys
from holdfast import storage
from holdfast.storage import migrate
store = storage.connect(sys.argv[1])
sys.stdin.readline()  # all at once
print(*store.run_sync(migrate.apply))
store.close()
"""


def pretend(url: str, version: int, compatible: int) -> None:
    """Enter a migration of a newer Holdfast."""
    prefix = "holdfast." if kind_of(url) == "postgres" else "holdfast_"
    run_script(url, f"INSERT INTO {prefix}migration VALUES ({version}, 'newer', '', {compatible}, 0)")


def test_a_newer_database_that_is_compatible_works(database_url: str) -> None:
    pretend(database_url, migrate.latest() + 1, migrate.latest())
    store = storage.open(database_url)
    know(store)
    assert len(send(store, new())) == 1
    assert store.run_sync(migrate.apply) == []
    store.close()


def test_a_newer_database_that_is_not_compatible_is_refused(database_url: str) -> None:
    pretend(database_url, migrate.latest() + 1, migrate.latest() + 1)
    for choice in (None, True, False):
        with pytest.raises(DatabaseTooNew, match=f"schema {migrate.latest() + 1}.*pip install -U holdfast"):
            storage.open(database_url, migrate=choice)


@pytest.fixture
def older(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database whose code has gone one migration further."""
    number = migrate.latest() + 1
    later = Migration(number, "later", 1, "CREATE TABLE {s}later (id {text} PRIMARY KEY);\n")
    everything = (*migrations(), later)
    monkeypatch.setattr(migrate, "migrations", lambda: everything)
    return database_url


def test_an_older_database_is_migrated_when_asked_to(older: str) -> None:
    storage.open(older, migrate=True).close()
    assert "later" in dump(older)
    storage.open(older, migrate=False).close()


def test_an_older_database_is_migrated_unasked_on_sqlite_and_left_to_its_operator_on_postgres(older: str) -> None:
    if kind_of(older) == "postgres":
        with pytest.raises(MigrationNeeded, match="holdfast migrate --sql"):
            storage.open(older)
        assert "later" not in dump(older)
    else:
        storage.open(older).close()
        assert "later" in dump(older)


def test_the_script_for_a_dba_takes_an_older_database_further(older: str) -> None:
    run_script(older, migrate.as_sql(kind_of(older), since=migrate.latest() - 1))
    storage.open(older, migrate=False).close()


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "CREATE TABLE {s}later (id {text} PRIMARY KEY);\nCREATE TABLE {s}later (id {text} PRIMARY KEY);\n"
    everything = (*migrations(), Migration(migrate.latest() + 1, "later", 1, broken))
    monkeypatch.setattr(migrate, "migrations", lambda: everything)
    before = dump(database_url)
    with pytest.raises(Exception, match="already exists"):
        storage.open(database_url, migrate=True)
    assert dump(database_url) == before


def test_whoever_comes_while_another_migrates_waits_and_finds_nothing_to_do(empty_url: str) -> None:
    one, other = storage.connect(empty_url), storage.connect(empty_url)
    applied, gate = threading.Event(), threading.Event()

    def slowly(tx: storage.Tx) -> list[str]:
        names = migrate.apply(tx)
        tx.now()
        applied.set()
        assert gate.wait(30)
        return names

    first = one.submit(slowly)
    assert applied.wait(30)
    second = other.submit(migrate.apply)
    with pytest.raises(TimeoutError):
        second.result(0.2)
    gate.set()
    assert (len(first.result(30)), second.result(30)) == (migrate.latest(), [])
    one.close()
    other.close()


def test_of_several_processes_that_migrate_at_once_one_does_it(empty_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, empty_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=30) for process in processes]
    assert [errors for _, errors in said] == ["", "", ""]
    applied = " ".join(f"{one.version:04}_{one.name}" for one in migrations())
    assert sorted(names.strip() for names, _ in said) == ["", "", applied]
