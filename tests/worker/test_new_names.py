"""New names, made by everybody at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from holdfast.engine import catalogue
from holdfast.records import QueueEntry, TaskEntry
from holdfast.storage import Store


def test_a_queue_that_is_made_and_declared_at_once_is_one_queue(store: Store) -> None:
    """A first trigger, and the workers that start with it. Fails with ON CONFLICT (id) alone, which does not speak of
    the index of the names: one of them was told that PostgreSQL refused a statement."""
    together = threading.Barrier(4)

    def make(n: int) -> None:
        for name in range(60):
            together.wait(30)
            if n % 2:
                store.run_sync(catalogue.ensure_names, [QueueEntry(name=f"q{name}")], [(f"q{name}", "t")])
            else:
                task = TaskEntry(id="t", queue=f"q{name}", options="{}")
                store.run_sync(catalogue.announce, [task], [QueueEntry(name=f"q{name}", concurrency_limit=n + 1)])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(make, n) for n in range(4)]:
            done.result(60)
