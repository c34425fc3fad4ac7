"""Who takes part, each at the settings that were found best for it; docs/peers.md says why."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.places import Places

JOBS = Path(__file__).parent / "jobs"


@dataclass(frozen=True)
class Workers:
    """How many processes to start, with which arguments, and the settings in words.

    ``{python}`` stands for the peer's interpreter, ``{play}`` for its program with what is needed to run it,
    ``{holdfast}`` for our command.
    """

    words: str
    command: str
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """One way to run jobs.

    ``unfinished`` asks the store how many jobs are queued or running; for some stores any positive number will do.
    """

    name: str
    store: str
    program: str
    drain: Workers
    idle: Workers
    unfinished: str
    jobs: int  # drained, and enqueued in bulk
    singles: int = 1_000  # enqueued one after the other
    bulk: bool = True

    @property
    def ours(self) -> bool:
        return self.name.startswith("holdfast")

    @property
    def in_node(self) -> bool:
        return self.program.endswith(".mjs")

    def play(self) -> list[str]:
        """What the interpreter is told, to run the peer's program."""
        if self.in_node:
            return [str(JOBS / self.program)]
        return [str(JOBS / "play.py"), self.program]

    def interpreter(self, places: Places) -> str:
        if self.ours:
            return sys.executable
        return places.node() if self.in_node else places.python()

    def variables(self, places: Places) -> dict[str, str]:
        """What its processes find in their environment."""
        if self.in_node:
            return {"BENCH_NODE": str(places.node_modules()), "NODE_ENV": "production"}
        return {"PYTHONPATH": str(JOBS)}


HOLDFAST = "{{holdfast}} worker with_holdfast.py --processes {processes} --concurrency 100"
SQL_ANY = "SELECT CASE WHEN EXISTS (SELECT 1 FROM {table}) THEN 1 ELSE 0 END"

PEERS = (
    Peer(
        name="holdfast-postgres",
        store="postgres",
        program="with_holdfast",
        drain=Workers("2 processes, concurrency 100", HOLDFAST.format(processes=2)),
        idle=Workers("1 process, concurrency 100", HOLDFAST.format(processes=1)),
        unfinished=SQL_ANY.format(table="holdfast.run"),
        jobs=40_000,
    ),
    Peer(
        name="holdfast-sqlite",
        store="sqlite",
        program="with_holdfast",
        drain=Workers("1 process, concurrency 100", HOLDFAST.format(processes=1)),
        idle=Workers("1 process, concurrency 100", HOLDFAST.format(processes=1)),
        unfinished=SQL_ANY.format(table="holdfast_run"),
        jobs=40_000,
    ),
    Peer(
        name="graphile-worker",
        store="postgres",
        program="with_graphile_worker.mjs",
        drain=Workers("x2, concurrency 24, localQueue 500, batched completion", "{play} work 24 500", 2),
        idle=Workers("x1, concurrency 1 (default)", "{play} work 1 0"),
        unfinished=SQL_ANY.format(table="graphile_worker._private_jobs"),
        jobs=40_000,
    ),
    Peer(
        name="pgqueuer",
        store="postgres",
        program="with_pgqueuer",
        drain=Workers("x2, batch 500, uvloop", "{play} work 500", 2),
        idle=Workers("x1, batch 10 (default), uvloop", "{play} work 10"),
        unfinished=SQL_ANY.format(table="pgqueuer"),
        jobs=40_000,
    ),
    Peer(
        name="procrastinate",
        store="postgres",
        program="with_procrastinate",
        drain=Workers("x2, concurrency 30", "{play} work 30", 2),
        idle=Workers("x1, concurrency 1 (default)", "{play} work 1"),
        unfinished="SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
        jobs=2_000,
        singles=500,
    ),
    Peer(
        name="dramatiq",
        store="redis",
        program="with_dramatiq",
        drain=Workers(
            "-p2 -t2, prefetch 200",
            "{python} -m dramatiq with_dramatiq -p 2 -t 2",
            environment={"dramatiq_queue_prefetch": "200"},
        ),
        idle=Workers("-p2 -t8 (default)", "{python} -m dramatiq with_dramatiq -p 2 -t 8"),
        unfinished="HLEN dramatiq:default.msgs",
        jobs=10_000,
    ),
    Peer(
        name="taskiq",
        store="redis",
        program="with_taskiq",
        drain=Workers(
            "list, -w2, 100 tasks, uvloop",
            "{python} -m taskiq worker with_taskiq:broker -w 2 --max-async-tasks 100 --log-level WARNING",
        ),
        idle=Workers("list, -w2", "{python} -m taskiq worker with_taskiq:broker -w 2 --log-level WARNING"),
        unfinished="LLEN taskiq",
        jobs=10_000,
    ),
    Peer(
        name="huey",
        store="sqlite",
        program="with_huey",
        drain=Workers("process -w1, fsync", "{python} -m huey.bin.huey_consumer with_huey.huey -k process -w 1 -q"),
        idle=Workers("thread -w1, fsync", "{python} -m huey.bin.huey_consumer with_huey.huey -k thread -w 1 -q"),
        unfinished="SELECT count(*) FROM task",
        jobs=5_000,
        bulk=False,
    ),
)


def chosen(names: list[str] | None) -> list[Peer]:
    """The peers of these names; a beginning is enough, so ``holdfast`` means both."""
    if not names:
        return list(PEERS)
    unknown = [name for name in names if not any(peer.name.startswith(name) for peer in PEERS)]
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are {', '.join(peer.name for peer in PEERS)}")
    return [peer for peer in PEERS if peer.name.startswith(tuple(names))]
