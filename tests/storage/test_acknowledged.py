"""A trigger that returned is kept, whatever becomes of the process that made it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import storage
from holdfast.storage import Store
from tests.engine.making import know, statuses

ROOT = Path(__file__).parents[2]

TRIGGER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from holdfast import storage
from holdfast.engine import trigger
from tests.engine.making import new

store = storage.open(sys.argv[1])
def make(_):
    for _ in range(10_000):
        made = store.gather(trigger.trigger, new()).result(30)
        os.write(1, f"{made.id}\\n".encode())
with ThreadPoolExecutor(4) as pool:
    list(pool.map(make, range(4)))
"""


def test_what_was_acknowledged_survives_its_process(store: Store, database_url: str) -> None:
    know(store)
    process = subprocess.Popen(
        [sys.executable, "-c", TRIGGER, database_url], cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(200)]
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()
    acknowledged += rest.rpartition("\n")[0].split()
    process.wait()
    assert statuses(store, acknowledged) == ["queued"] * len(acknowledged)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_waits_for_the_disk(store: Store) -> None:
    connection = store.write_connection()  # type: ignore[attr-defined]
    settings = {name: connection.pragma(name) for name in ("synchronous", "journal_mode")}
    assert settings == {"synchronous": 2, "journal_mode": "wal"}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_postgres_is_asked_to_wait_for_the_disk(database_url: str) -> None:
    store = storage.open(database_url)
    assert store.read_sync(lambda tx: tx.connection.execute("SHOW synchronous_commit").fetchone()) == ("on",)  # type: ignore[attr-defined]
    store.close()
