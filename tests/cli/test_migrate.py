"""``holdfast migrate``: applies what is missing, or prints it."""

from __future__ import annotations

from pathlib import Path

from holdfast import schema, storage
from tests.cli.conftest import Cli


def test_an_empty_postgres(bare: Cli, empty_postgres: str) -> None:
    first = bare("migrate", "--json", "--database", empty_postgres).json
    assert first["applied"][0].startswith("0001")
    assert first["version"] == len(first["applied"])
    again = bare("migrate", "--json", "--database", empty_postgres).json
    assert (again["applied"], again["version"]) == ([], first["version"])
    assert bare("runs", "list", "--database", empty_postgres).code == 0


def test_a_file(bare: Cli, tmp_path: Path) -> None:
    file = tmp_path / "new.db"
    assert bare("migrate", "--database", str(file)).code == 0
    assert bare("runs", "list", "--database", str(file)).code == 0


def test_the_printed_sql_does_the_same(bare: Cli, empty_postgres: str) -> None:
    script = bare("migrate", "--sql", "--database", empty_postgres)
    assert script.code == 0
    with schema.opened(empty_postgres) as store:
        assert schema.read(store).version == 0
        body = script.out.replace("BEGIN;", "").replace("COMMIT;", "")
        store.run_sync(lambda tx: tx.script(body))
        assert schema.read(store).current
    nothing_left = bare("migrate", "--sql", "--database", empty_postgres).out
    assert nothing_left.startswith("-- ")
    assert nothing_left.endswith(": nothing to do.\n")
    assert len(nothing_left.splitlines()) == 1
    storage.open(empty_postgres).close()


def test_sql_for_a_database_that_cannot_be_asked(bare: Cli) -> None:
    answer = bare("migrate", "--sql", "--database", "postgresql://localhost:1/nothing?connect_timeout=2")
    assert answer.code == 0
    assert "CREATE TABLE holdfast.run" in answer.out
    assert "from nothing" in answer.err


def test_sql_makes_no_file(bare: Cli, tmp_path: Path) -> None:
    file = tmp_path / "new.db"
    answer = bare("migrate", "--sql", "--database", str(file))
    assert "CREATE TABLE holdfast_run" in answer.out
    assert not file.exists()
