"""``holdfast doctor``: it finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from holdfast import storage
from holdfast.cli import doctor
from holdfast.engine import catalogue
from holdfast.storage import Store, migrate, sqlite
from holdfast.worker.capacity import Room
from tests.cli.conftest import Answer, Cli
from tests.engine.making import Hand, know, new, send

GIB = 1 << 30


def wrong(answer: Answer, *but: str) -> list[str]:
    """What it found wrong, but for what the test's server is known for."""
    return [each["about"] for each in answer.json["findings"] if each["level"] == "wrong" and each["about"] not in but]


def texts(answer: Answer) -> str:
    return " ".join(f"{each['text']} {each['do']}" for each in answer.json["findings"])


def test_a_sound_database(cli: Cli, store: Store) -> None:
    know(store)
    Hand(store)
    answer = cli("doctor", "--json")
    assert wrong(answer, "settings") == []  # the test's PostgreSQL runs without fsync, and is told of
    assert answer.json["healthy"] == (answer.code == 0) == (store.kind == "sqlite")
    assert {each["about"] for each in answer.json["findings"]} >= {"app", "database", "workers", "runs"}


def test_what_is_wrong_has_something_to_do_and_exit_code_1(cli: Cli, store: Store) -> None:
    know(store)
    Hand(store, "wave")
    send(store, new())
    store.run_sync(catalogue.pause, "task/greet")
    answer = cli("doctor", "--json")
    assert (answer.code, wrong(answer, "settings")) == (1, ["tasks", "queues"])
    assert all(each["do"] for each in answer.json["findings"] if each["level"] == "wrong")
    text = cli("doctor").out
    assert "holdfast queues resume task/greet" in text
    assert "wrong" in text


@pytest.mark.parametrize("handed", [True, False])
def test_what_of_a_machine_is_enforced_here(
    bare: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handed: bool
) -> None:
    """And it does not make a cgroup ready for it, as a worker would: it changes nothing."""
    monkeypatch.setenv("HOLDFAST_CGROUP", str(tmp_path))
    if handed:
        (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (tmp_path / "cgroup.procs").write_text("1\n")
    before = sorted(tmp_path.iterdir())
    (said,) = [each for each in bare("doctor", "--json").json["findings"] if each["about"] == "host"]
    assert "for runs with machines" in said["text"]
    assert ("held by the kernel" in said["text"]) is handed
    assert sorted(tmp_path.iterdir()) == before


def test_workers_of_this_host_that_count_on_more_than_it_has(
    cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two supervisors side by side each took the whole host to be theirs. One on another host is no matter."""
    monkeypatch.setattr("platform.node", lambda: "reef")
    monkeypatch.setattr("holdfast.worker.capacity.detect", lambda: Room(4000, 8 * GIB))
    know(store)
    Hand(store, room=Room(4000, 8 * GIB))
    Hand(store, room=Room(4000, 8 * GIB), host="lagoon")
    assert "count on" not in texts(cli("doctor", "--json"))
    Hand(store, room=Room(4000, 8 * GIB))
    said = texts(cli("doctor", "--json"))
    assert "The 2 workers here count on 8 vCPU, 16 GB for runs with machines; this host has 4 vCPU, 8 GB" in said
    assert "--cpu and --memory" in said


def test_settings_and_where_each_came_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_LEASE", "12s")
    told = {each["name"]: (each["value"], each["source"]) for each in cli("doctor", "--json").json["settings"]}
    assert told["lease"] == (12_000, "HOLDFAST_LEASE")
    assert told["database"][1] == "--database"
    assert told["retention"][1] == "default"


def test_durations_are_shown_as_one_thinks_of_them(bare: Cli) -> None:
    said = dict(line.split()[:2] for line in bare("doctor").out.splitlines() if len(line.split()) == 3)
    shown = [said[name] for name in ("retention", "lease", "suspend_after", "push_timeout")]
    assert shown == ["30d", "30s", "30s", "15m"]


def test_a_setting_that_cannot_be_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_LEASE", "soon")
    answer = cli("doctor", "--json")
    assert (answer.code, "settings" in wrong(answer)) == (1, True)
    assert "HOLDFAST_LEASE" in texts(answer)


def test_a_database_that_is_not_there_is_not_made(bare: Cli, tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    answer = bare("doctor", "--json", "--database", str(file))
    assert (answer.code, file.exists()) == (0, False)
    assert str(file) in texts(answer)
    answer = bare("doctor", "--json", "--database", str(tmp_path / "no" / "folder.db"))
    assert (answer.code, wrong(answer)) == (1, ["database"])


@pytest.mark.parametrize(
    "url", ["postgresql://localhost:1/nothing?connect_timeout=2", "mysql://somewhere", "postgresql://[bad"]
)
def test_a_database_that_cannot_be_reached(bare: Cli, url: str) -> None:
    answer = bare("doctor", "--json", "--database", url)
    assert (answer.code, wrong(answer)) == (1, ["database"])


def test_a_file_that_is_no_database(bare: Cli, tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("this is no database, it only has the name of one" * 100)
    answer = bare("doctor", "--json", "--database", str(file))
    assert (answer.code, wrong(answer)) == (1, ["database"])


def test_tables_of_a_newer_version_and_of_none(cli: Cli, store: Store) -> None:
    prefix = "holdfast." if store.kind == "postgres" else "holdfast_"
    store.run_sync(lambda tx: tx.script(f"UPDATE {prefix}migration SET version = version + 98, compatible = 99"))
    answer = cli("doctor", "--json")
    assert (answer.code, wrong(answer), "pip install -U" in texts(answer)) == (1, ["database"], True)
    store.run_sync(lambda tx: tx.script(f"DELETE FROM {prefix}migration"))
    answer = cli("doctor", "--json")
    assert (answer.code, wrong(answer), "holdfast migrate" in texts(answer)) == (1, ["database"], True)


def test_a_migration_that_was_edited_after_it_was_applied(
    cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = migrate.migrations()
    edited = first._replace(text=first.text + "-- and one thing more\n")
    monkeypatch.setattr(migrate, "migrations", lambda: (edited, *others))
    answer = cli("doctor", "--json")
    assert (answer.code, wrong(answer, "settings")) == (1, ["database"])
    assert "0001_initial" in texts(answer)


def test_an_empty_postgres_is_not_migrated_by_looking(bare: Cli, empty_postgres: str) -> None:
    answer = bare("doctor", "--json", "--database", empty_postgres)
    assert (answer.code, "holdfast migrate" in texts(answer)) == (1, True)
    assert "holdfast migrate" in texts(bare("doctor", "--json", "--database", empty_postgres))


def test_a_transaction_that_is_left_open(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.kind != "postgres":
        pytest.skip("SQLite does not say who reads")
    from holdfast.storage.postgres import PostgresStore
    from holdfast.views import diagnosis

    monkeypatch.setattr(diagnosis, "OPEN_MS", 0)
    assert isinstance(store, PostgresStore)
    other = store.connect()
    try:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM holdfast.run")
        assert "transactions" in wrong(cli("doctor", "--json"))
    finally:
        other.close()


def test_an_app_that_cannot_be_imported(
    bare: Cli, nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (nowhere / "tasks.py").write_text("import nothing_of_the_kind\n")
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", str(tmp_path / "some.db"))
    answer = bare("doctor", "--json")
    assert (answer.code, wrong(answer)) == (1, ["app"])
    assert "nothing_of_the_kind" in texts(answer)


@pytest.mark.parametrize("arguments", [(), ("--app", "tasks.py")])
def test_a_broken_app_that_alone_knows_the_database(bare: Cli, nowhere: Path, arguments: tuple[str, ...]) -> None:
    (nowhere / "tasks.py").write_text("import nothing_of_the_kind\n")
    answer = bare("doctor", "--json", *arguments)
    assert (answer.code, wrong(answer)) == (1, ["app"])
    assert "nothing_of_the_kind" in texts(answer)
    assert "only the app can say" in texts(answer)


# -- the file ---------------------------------------------------------------------------------------------------------


def of_file(file: Path) -> list[Any]:
    return list(doctor.of_file(file))


def test_a_file_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.db"
    storage.open(str(file)).close()
    assert of_file(file) == []
    full = SimpleNamespace(total=10, used=9, free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert [each.level for each in of_file(file)] == ["wrong"]


def test_a_file_that_somebody_has_locked(bare: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on as ever then. Fails without trying to write."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    storage.open(url := str(tmp_path / "a.db")).close()
    other = apsw.Connection(url)
    other.execute("BEGIN IMMEDIATE")
    assert "held the write lock" in texts(bare("doctor", "--json", "--database", url))
    other.execute("ROLLBACK")
    assert "held the write lock" not in texts(bare("doctor", "--json", "--database", url))


def test_a_log_that_has_grown(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    file.touch()
    with open(f"{file}-wal", "wb") as wal:
        os.truncate(wal.fileno(), doctor.LARGE_WAL + 1)
    assert [each.level for each in of_file(file)] == ["wrong"]


def test_a_file_on_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.db"
    file.touch()
    monkeypatch.setattr(doctor, "network_file_system", lambda _: "nfs4")
    assert [each.level for each in of_file(file)] == ["wrong"]


def test_a_password_is_never_shown(bare: Cli) -> None:
    for arguments in (["doctor"], ["doctor", "--json"]):
        answer = bare(
            *arguments, "--database", "postgresql://ada:s3cr%40et@localhost:1/x?connect_timeout=2&password=s3cr@et"
        )
        assert "s3cr" not in answer.out + answer.err
