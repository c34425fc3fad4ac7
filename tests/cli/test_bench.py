"""``holdfast bench``: every figure is there, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast, storage
from holdfast.bench import measure
from holdfast.storage import Store

pytestmark = pytest.mark.usefixtures("processes")

HOLDFAST = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
TABLES = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'holdfast_%'",
    "postgres": "SELECT 'holdfast.' || table_name FROM information_schema.tables WHERE table_schema = 'holdfast'",
}


def bench(*arguments: str) -> dict[str, Any]:
    command = [*HOLDFAST, "bench", "--runs", "300", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def rows_of(url: str) -> dict[str, list[Any]]:
    """Everything that is in a database, table by table."""
    store = storage.open(url)
    try:
        return {name: sorted(map(repr, rows)) for name, rows in everything(store).items()}
    finally:
        store.close()


def everything(store: Store) -> dict[str, list[Any]]:
    if store.kind == "sqlite":
        import apsw

        connection: Any = apsw.Connection(store.url.removeprefix("sqlite:///"))
    else:
        import psycopg

        connection = psycopg.connect(store.url)
    try:
        names = [row[0] for row in connection.execute(TABLES[store.kind]).fetchall()]
        names = [name for name in names if not name.endswith("stat_until")]  # any host writes up to when it has looked
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    finally:
        connection.close()


def test_every_figure_is_there_and_the_database_is_left_as_it_was(database_url: str) -> None:
    app = Holdfast(database=database_url)
    app.trigger("somebody.elses", {"n": 1}, tags=["kept"], idempotency_key="kept")
    app.close()
    before = rows_of(database_url)
    assert sum(map(len, before.values())) > 3
    figures = bench("--database", database_url, "--processes", "2")
    assert rows_of(database_url) == before
    assert set(figures) == {
        "drain_per_s",
        "children_per_s",
        "trigger_per_s",
        "concurrent_trigger_per_s",
        "batch_trigger_per_s",
        "latency_ms",
        "worker_mib",
        "runs",
        "processes",
        "database",
        "versions",
    }
    assert set(figures["latency_ms"]) == {"p50", "p95", "p99"}
    assert set(figures["versions"]) == {"holdfast", "python", "database"}
    assert (figures["runs"], figures["processes"]) == (300, 2)
    assert figures["database"] == ("sqlite" if database_url.startswith("sqlite") else "postgres")
    assert all(figures[name] > 0 for name in figures if name.endswith("_per_s"))
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"] <= figures["latency_ms"]["p99"]
    assert 10 < figures["worker_mib"] < 1000


def test_what_fails_in_the_middle_is_cleaned_up_too(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows_of(database_url)
    monkeypatch.setattr(measure, "WORKER", [sys.executable, "-c", "raise SystemExit('no worker today')"])
    with pytest.raises(measure.BenchFailed, match="did not start") as failed:
        measure.measure(database_url, runs=100, processes=1)
    assert "no worker today" in failed.value.__notes__[0]
    assert rows_of(database_url) == before


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
def test_a_file_that_was_not_there_is_not_there_afterwards(empty: Path, there: bool) -> None:
    file = empty / "runs.db"
    if there:
        file.touch()
    with measure.database(f"sqlite:///{file}") as url:
        for end in ("", "-wal", "-shm"):
            Path(url.removeprefix("sqlite:///") + end).touch()
    assert file.exists() == there
    assert there or list(empty.iterdir()) == []


def test_people_get_a_table_and_without_a_database_none_of_theirs_is_used(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", f"sqlite:///{empty}/production.db")
    monkeypatch.setenv("TMPDIR", str(empty))
    command = [*HOLDFAST, "bench", "--runs", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert "no-op runs finished" in done.stdout
    assert "SQLite" in done.stdout
    assert f"{os.cpu_count()} processors" in done.stdout
    assert done.stderr == ""
    assert list(empty.iterdir()) == []


def test_a_temporary_folder_in_memory_is_avoided() -> None:
    place = measure.on_disk() or tempfile.gettempdir()
    kinds = {}
    for line in Path("/proc/mounts").read_text().splitlines() if Path("/proc/mounts").exists() else []:
        point, kind = line.split()[1:3]
        if Path(place).is_relative_to(point):
            kinds[len(point)] = kind
    assert not kinds or kinds[max(kinds)] != "tmpfs"
