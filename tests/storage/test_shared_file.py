"""Several processes work on one SQLite file, and none is ever told that the database is locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import storage
from tests.storage.notes import get

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from holdfast import storage
from tests.storage.notes import get, put

url, name = sys.argv[1:]
store = storage.open(url)
def work(thread):
    for n in range(60):
        key = f"{name} {thread} {n}"
        store.run_sync(put, key, "x" * 500)
        assert store.read_sync(get, key) is not None
with ThreadPoolExecutor(3) as pool:
    list(pool.map(work, range(3)))
store.close()
"""

OPENER = """
import sys
from holdfast import storage
from tests.storage.notes import put
for n in range(5):
    store = storage.open(sys.argv[1])
    store.run_sync(put, f"{sys.argv[2]} {n}")
    store.close()
"""


def together(script: str, url: str, count: int) -> None:
    """Run the script in so many processes at once; none may fail."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, url, f"process {n}"], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for n in range(count)
    ]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * count


def test_two_processes_write_under_load(database_url: str) -> None:
    together(WRITER, database_url, 2)
    store = storage.open(database_url)
    keys = [f"process {p} {thread} {n}" for p in range(2) for thread in range(3) for n in range(60)]
    assert [key for key in keys if store.read_sync(get, key) is None] == []
    store.close()


def test_processes_may_open_and_close_a_file_all_the_time(tmp_path: Path, database_url: str) -> None:
    # The last one to close a file removes its log, and the first one to open it makes it: others are in the way then.
    together(OPENER, f"sqlite:///{tmp_path}/fresh.db", 4)
    store = storage.open(f"sqlite:///{tmp_path}/fresh.db")
    assert all(store.read_sync(get, f"process {p} {n}") is not None for p in range(4) for n in range(5))
    store.close()
