"""A process that forks: each child has connections and threads of its own, and the parent's go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

ONE_CHILD = """
import os, sys
from holdfast import storage
from tests.storage.notes import put, get

store = storage.open(sys.argv[1])
store.run_sync(put, "parent before")
store.listen()
child = os.fork()
store.run_sync(put, "child" if child == 0 else "parent after")
if child == 0:
    assert store.read_sync(get, "parent before") is not None
    assert store.gather(lambda tx, keys: [put(tx, key) for key in keys], "child in a group").result(30)
    sys.exit(0)  # an orderly end, which must not close what is the parent's
assert os.waitpid(child, 0)[1] == 0
store.run_sync(put, "parent at last")
for key in ("child", "child in a group", "parent after", "parent at last"):
    assert store.read_sync(get, key) is not None, key
store.close()
"""

# Forks while other threads are in the middle of transactions: what they hold in the child is held for ever.
UNDER_LOAD = """
import os, sys, threading
from holdfast import storage
from tests.storage.notes import put, get

store = storage.open(sys.argv[1])
stop = threading.Event()

def load(name):
    n = 0
    while not stop.is_set():
        n += 1
        store.run_sync(put, f"{name} {n % 50}", "x" * 2000)
        store.read_sync(get, f"{name} {n % 50}")

threads = [threading.Thread(target=load, args=(f"load {n}",), daemon=True) for n in range(3)]
for thread in threads:
    thread.start()
for n in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        store.run_sync(put, f"child {n}")
        assert store.read_sync(get, f"child {n}") is not None
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert all(store.read_sync(get, f"child {n}") is not None for n in range(int(sys.argv[2])))
store.close()
"""

CLOSED = """
import os, sys
from holdfast import storage
from holdfast.errors import DatabaseUnavailable
from tests.storage.notes import get, put

store = storage.open(sys.argv[1])
store.close()
child = os.fork()
if child == 0:
    refused = 0
    for call in (lambda: store.run_sync(put, "a"), lambda: store.read_sync(get, "a")):
        try:
            call()
        except DatabaseUnavailable:
            refused += 1
    os._exit(0 if refused == 2 else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def run(script: str, *arguments: str, timeout: float = 60) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, timeout=timeout, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_has_its_own_connections_and_the_parents_go_on(database_url: str) -> None:
    run(ONE_CHILD, database_url)


def test_a_fork_in_the_middle_of_transactions_leaves_the_child_nothing_that_is_locked(database_url: str) -> None:
    run(UNDER_LOAD, database_url, "40")


def test_a_store_that_was_closed_stays_closed_in_a_child(database_url: str) -> None:
    run(CLOSED, database_url)
