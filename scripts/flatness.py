"""Does the cost of a claim grow with the backlog, with history, or with the number of keys?

    python scripts/flatness.py DATABASE_URL [--runs 1000000] [--done 1000000] [--keys 10000]

One process and one connection, opened while every table is empty, so that its plans are made then; nobody runs ANALYZE.
A round claims 200 runs and completes the 200 before. It prints the median of a round's milliseconds for each setting,
and the ratio to the smallest backlog, or to one key; what promoting costs is not in it. The database is filled with
made-up runs and should be a throwaway one.
"""

from __future__ import annotations

import argparse
import statistics
import time

from holdfast import storage
from holdfast.engine import catalogue, claim, limits, trigger, workers
from holdfast.engine.claim import Ask
from holdfast.engine.trigger import queue_id
from holdfast.ids import new_id
from holdfast.records import Ended, NewRun, QueueEntry, TaskEntry
from holdfast.worker.pace import Heads

ROUND = 200
CHUNK = 250_000
COLUMNS = """(queue_id, priority_ms, created_at, finished_at, claim, attempt, crashes, id, status, task, payload,
  output, worker_id, started_at)"""
HISTORY = {
    "postgres": f"""INSERT INTO holdfast.done {COLUMNS}
SELECT 1, 0, n, n, 1, 1, 0, '00' || lpad(n::text, 24, '0'), 'completed', 't' || n % 50, '{{{{"n":1}}}}',
  'null', '{{me}}', n
FROM generate_series({{first}}, {{last}}) n;""",
    "sqlite": f"""INSERT INTO holdfast_done {COLUMNS}
WITH RECURSIVE numbers(n) AS (SELECT {{first}} UNION ALL SELECT n + 1 FROM numbers WHERE n < {{last}})
SELECT 1, 0, n, n, 1, 1, 0, printf('00%024d', n), 'completed', 't' || n % 50, '{{{{"n":1}}}}', 'null', '{{me}}', n
FROM numbers;""",
}


class Bench:
    """A worker that claims and completes by hand."""

    def __init__(self, url: str, keys: int) -> None:
        self.store, self.keys, self.me = storage.open(url), keys, new_id()
        queues = [
            QueueEntry(name="one key", concurrency_limit_per_key=2 * ROUND),
            QueueEntry(name="keyed", concurrency_limit_per_key=1),
        ]
        self.store.run_sync(catalogue.announce, [TaskEntry(id="t", queue="plain", options="{}")], queues)
        self.store.run_sync(catalogue.ensure_names, [], [(queue.name, "t") for queue in queues])
        entry = workers.WorkerEntry(id=self.me, lease_ms=30_000, host="h", pid=1, concurrency=10)
        self.store.run_sync(workers.register, entry, ["t"])
        self.routes = {route.queue: route.id for route in self.store.read_sync(workers.routes, ["t"], None)}
        self.names = {queue_id(name): name for name in self.routes}

    def make(self, count: int, queue: str = "plain") -> None:
        keys = {"plain": 0, "one key": 1, "keyed": self.keys}[queue]
        for start in range(0, count, 5000):
            runs = [
                NewRun(id=new_id(), task="t", queue=queue, concurrency_key=str(n % keys) if keys else None)
                for n in range(start, min(count, start + 5000))
            ]
            self.store.run_sync(trigger.trigger, runs)

    def finish(self, count: int) -> None:
        """Make history: runs that ended long ago. By the database itself, or it would take hours."""
        for start in range(0, count, CHUNK):
            text = HISTORY[self.store.kind].format(first=start + 1, last=min(count, start + CHUNK), me=self.me)
            self.store.run_sync(lambda tx, text: tx.script(text), text)

    def rounds(self, count: int, queue: str = "plain") -> float:
        """The median milliseconds of a round."""
        times: list[float] = []
        ended: list[Ended] = []
        heads = Heads()
        for _ in range(count):
            if queue != "plain":
                self.store.run_sync(limits.promote)
            began = time.perf_counter()
            ask = Ask(self.me, [self.routes[queue]], ROUND, ROUND, since=heads.known())
            result = self.store.run_sync(claim.exchange, ask, ended, [], [])
            heads.learn(result.claimed, self.names)
            times.append((time.perf_counter() - began) * 1000)
            ended = [Ended(run.id, run.claim, "completed", "null") for run in result.claimed]
        self.store.run_sync(claim.exchange, Ask(self.me), ended, [], [])
        return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("database")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--done", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=10_000)
    arguments = parser.parse_args()
    bench = Bench(arguments.database, arguments.keys)
    bench.make(20 * ROUND)
    bench.rounds(20)  # the plans are made here
    waiting, first = 0, 0.0
    for backlog in (5_000, 100_000, arguments.runs):
        bench.make(backlog - waiting)
        cost = bench.rounds(20)
        waiting = backlog - 20 * ROUND
        first = first or cost
        print(f"{backlog:>10,} waiting   {cost:7.2f} ms a round of {ROUND}   {cost / first:4.2f} times", flush=True)
    bench.finish(arguments.done)
    cost = bench.rounds(20)
    print(f"{arguments.done:>10,} finished  {cost:7.2f} ms a round of {ROUND}   {cost / first:4.2f} times", flush=True)
    bench.make(arguments.keys * 2, "one key")
    one = bench.rounds(20, "one key")
    print(f"{1:>10,} key       {one:7.2f} ms a round of {ROUND}", flush=True)
    bench.make(arguments.keys * 2, "keyed")
    cost = bench.rounds(20, "keyed")
    print(f"{arguments.keys:>10,} keys      {cost:7.2f} ms a round of {ROUND}   {cost / one:4.2f} times", flush=True)


if __name__ == "__main__":
    main()
