"""Is anything wrong, and what to do?

`health` reads the facts in one transaction, `findings` decides purely what they mean. A finding is ``ok``, a ``note``
(worth knowing, nobody waits for it) or ``wrong`` (a promise is broken or somebody waits in vain), and one that is wrong
says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from holdfast.duration import format_ms
from holdfast.engine import pushes
from holdfast.engine.pushes import CircuitRow
from holdfast.machine import format_bytes, machine_of
from holdfast.storage import Tx
from holdfast.views.backlog import COUNTED, QueueView, Waiting, standing
from holdfast.views.hosts import WorkerView, pushers, workers
from holdfast.views.scheduled import Scheduled, scheduled

LONG_MS: Final = 60_000  # a run that could start and has not for so long
LATE_MS: Final = 30_000  # a run that is due and has not been made ready for so long
OPEN_MS: Final = 300_000  # a transaction that is open for so long keeps vacuum from its work
RECENT_MS: Final = 3_600_000  # workers that were lost within this time are told of
ENDED: Final = 50
NAMED: Final = 5  # runs that are named in a finding
SAFE_SQLITE: Final = (3, 51, 3)  # earlier ones can corrupt a database in WAL mode
OLDEST_POSTGRES: Final = 140_000
MIB: Final = 1024 * 1024

Level = Literal["ok", "note", "wrong"]


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """Something that was looked at: what about, how it stands, and what to do if it is wrong. ``of`` is the one thing
    with which something is to be done: a kind and its name, as in ``("queue", "mail")``."""

    about: str
    level: Level
    text: str
    do: str | None = None
    of: tuple[str, str] | None = None


class Suspect(NamedTuple):
    """A ready run whose process died."""

    id: str
    task: str
    crashes: int
    since: int


class Stranded(NamedTuple):
    """A run that is pinned to a version which no live worker has."""

    id: str
    task: str
    version: str


class OpenTransaction(NamedTuple):
    """A transaction that has been open for long."""

    who: str
    name: str
    open_ms: int


class Engine(msgspec.Struct, frozen=True):
    """What the database says of itself. ``connections`` are those in use and those there may be."""

    version: int | str
    size: int
    free: int = 0
    only_reads: bool = False
    connections: tuple[int, int] = (0, 0)
    settings: dict[str, str] = {}
    transactions: tuple[OpenTransaction, ...] = ()


class Health(NamedTuple):
    """The facts of one moment."""

    kind: str
    now: int
    engine: Engine
    workers: list[WorkerView]  # live, draining, and those that ended not long ago; pushers among them
    queues: list[QueueView]
    waiting: list[Waiting]
    overdue: int
    overdue_since: int | None
    suspects: list[Suspect]
    unswept: int
    stranded: Sequence[Stranded] = ()
    circuits: Sequence[CircuitRow] = ()
    scheduled: Scheduled = Scheduled()
    pushers: frozenset[str] = frozenset()

    @property
    def alive(self) -> list[WorkerView]:
        return [each for each in self.workers if each.alive]

    @property
    def carrying(self) -> list[WorkerView]:
        """Those that carry out code."""
        return [each for each in self.alive if each.id not in self.pushers]


# -- reading ----------------------------------------------------------------------------------------------------------


def health(tx: Tx) -> Health:
    """Read the facts."""
    all_queues, stand = standing(tx)
    overdue, overdue_since = tx.rows("overdue", late_ms=LATE_MS, bound=COUNTED)[0]
    return Health(
        kind=tx.kind,
        now=tx.now(),
        engine=engine(tx),
        workers=workers(tx, ended=ENDED),
        pushers=pushers(tx),
        queues=all_queues,
        waiting=stand,
        overdue=overdue,
        overdue_since=overdue_since,
        suspects=[Suspect(*row[:4]) for row in tx.rows("suspects", n=ENDED)],
        unswept=tx.rows("unswept", bound=COUNTED)[0][0],
        stranded=[Stranded(*row) for row in tx.rows("stranded", n=COUNTED)],
        circuits=pushes.circuits(tx),
        scheduled=scheduled(tx),
    )


def engine(tx: Tx) -> Engine:
    row = tx.rows("engine")[0]
    if tx.kind == "sqlite":
        return Engine(version=row[0], size=row[1], free=row[2])
    version, standby, read_only, used, most, size = row
    return Engine(
        version=version,
        size=size,
        only_reads=standby or read_only,
        connections=(used, most),
        settings=dict(tx.rows("server_settings")),
        transactions=tuple(OpenTransaction(*each) for each in tx.rows("long_transactions", older_ms=OPEN_MS)),
    )


# -- deciding ---------------------------------------------------------------------------------------------------------


def findings(seen: Health) -> list[Finding]:
    """What the facts mean."""
    of_engine = of_sqlite(seen) if seen.kind == "sqlite" else of_postgres(seen)
    return [
        *of_engine,
        *of_workers(seen),
        *of_tasks(seen),
        *of_machines(seen),
        *of_versions(seen),
        *of_queues(seen),
        *of_runs(seen),
        *of_hosts(seen),
        *of_schedules(seen),
    ]


def of_sqlite(seen: Health) -> Iterator[Finding]:
    engine = seen.engine
    version = tuple(int(part) for part in str(engine.version).split("."))
    if version < SAFE_SQLITE:
        yield Finding(
            about="sqlite",
            level="wrong",
            text=f"SQLite {engine.version} can corrupt a database in WAL mode.",
            do="Upgrade what brings it: pip install -U apsw",
        )
    else:
        yield Finding(about="sqlite", level="ok", text=f"SQLite {engine.version}, a file of {megabytes(engine.size)}.")
    if engine.free > engine.size // 2 and engine.free > 256 * MIB:
        yield Finding(
            about="file",
            level="note",
            text=f"{megabytes(engine.free)} of the file are free: they are used again before it grows.",
            do="To shrink it, stop everything and run VACUUM",
        )


def of_postgres(seen: Health) -> Iterator[Finding]:
    engine = seen.engine
    version = int(engine.version)
    if version < OLDEST_POSTGRES:
        yield Finding(
            about="postgresql",
            level="wrong",
            text=f"PostgreSQL {version // 10_000} is older than what Holdfast is tested with.",
            do=f"Upgrade to {OLDEST_POSTGRES // 10_000} or newer",
        )
    else:
        yield Finding(
            about="postgresql",
            level="ok",
            text=f"PostgreSQL {version // 10_000}.{version % 10_000}, a database of {megabytes(engine.size)}.",
        )
    if engine.only_reads:
        yield Finding(
            about="postgresql",
            level="wrong",
            text="This server only reads: it is a standby, or its transactions are read-only.",
            do="Connect to the primary: add target_session_attrs=read-write to the URL",
        )
    yield from of_settings(engine)
    used, most = engine.connections
    if most and used > most * 9 // 10:
        yield Finding(
            about="connections",
            level="wrong",
            text=f"{used} of {most} connections are taken: the next worker may find none.",
            do="Raise max_connections, or put PgBouncer (transaction mode) between",
        )
    for each in engine.transactions:
        yield Finding(
            about="transactions",
            level="wrong",
            text=f"{each.who} ({each.name}) has had a transaction open for {format_ms(each.open_ms)}. Nothing that was "
            "changed since then can be cleaned up, so every table grows and claims get slower.",
            do="End it, and set idle_in_transaction_session_timeout",
        )


def of_settings(engine: Engine) -> Iterator[Finding]:
    """Settings of the server that break promises."""
    told = {
        "fsync": "A crash of the machine can corrupt the whole database.",
        "full_page_writes": "A crash of the machine can corrupt tables.",
        "synchronous_commit": "A trigger that returned may be lost if the server crashes.",
        "autovacuum": "Tables grow without end and claims get slower.",
    }
    for name, consequence in told.items():
        if engine.settings.get(name) == "off":
            yield Finding(
                about="settings",
                level="wrong",
                text=f"{name} is off. {consequence}",
                do=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();",
            )


def of_workers(seen: Health) -> Iterator[Finding]:
    if alive := seen.carrying:
        slots = sum(each.concurrency for each in alive)
        taken = sum(min(each.held, each.concurrency) for each in alive)
        yield Finding(
            about="workers",
            level="ok",
            text=f"{many(len(alive), 'worker is', 'workers are')} alive, {taken} of {slots} slots are taken.",
        )
    elif any(each.count and not each.served for each in seen.waiting):
        yield Finding(
            about="workers", level="wrong", text="No worker is alive, and runs wait.", do="Start one: holdfast worker"
        )
    else:
        yield Finding(about="workers", level="note", text="No worker is alive. No run waits for one.")
    yield from of_lost(seen)


def of_lost(seen: Health) -> Iterator[Finding]:
    for each in seen.workers:
        if each.silent:
            yield Finding(
                about="workers",
                level="wrong",
                text=f"Worker {each.id} ({each.host}, pid {each.pid}) has been silent for {format_ms(each.silent_ms)}; "
                f"its lease is {format_ms(each.lease_ms)}, and it holds {many(each.held, 'run', 'runs')}.",
                do="Start a worker: its host declares this one lost, and takes its runs",
            )
    lost = [each for each in seen.workers if each.state == "lost" and each.silent_ms < RECENT_MS]
    if lost:
        yield Finding(
            about="workers",
            level="note",
            text=f"{many(len(lost), 'worker was', 'workers were')} lost within the last hour, the last one "
            f"{format_ms(min(each.silent_ms for each in lost))} ago ({lost[0].host}, pid {lost[0].pid}).",
            do="Look for a signal or for memory in the logs of its host",
        )
    if seen.unswept:
        yield Finding(
            about="workers",
            level="note" if seen.alive else "wrong",
            text=f"{many(seen.unswept, 'run is', 'runs are')} held by workers that are gone, until the next sweep.",
            do=None if seen.alive else "Start a worker: holdfast worker",
        )


def of_tasks(seen: Health) -> Iterator[Finding]:
    """Runs that wait and that nobody takes, while there are workers."""
    if not seen.carrying:
        return
    for each in seen.waiting:
        if not each.served and each.version is None:
            yield Finding(
                about="tasks",
                level="wrong",
                of=("task", each.task),
                text=f"{runs(each.count)} of {each.task} in the queue {each.queue} {wait(each.count)}, "
                f"and no live worker takes {'it' if each.count == 1 else 'them'}.",
                do="Start a worker whose app has the task and that takes from this queue, or cancel: "
                f"holdfast runs cancel --task {each.task} --status pending_version",
            )


def of_machines(seen: Health) -> Iterator[Finding]:
    """Runs that ask for more than any worker has."""
    for each in seen.waiting:
        machine = None if each.machine is None or not each.served else machine_of(each.machine)
        if machine is not None and seen.alive and not any(worker.takes(machine) for worker in seen.alive):
            largest = max(worker.memory_bytes or 0 for worker in seen.alive)
            most = max(worker.cpu_millis or 0 for worker in seen.alive)
            yield Finding(
                about="machines",
                level="wrong",
                text=f"{runs(each.count)} of {each.task} {wait(each.count)} for {machine}; no live worker takes that. "
                f"The largest have {most / 1000:g} vCPU and {format_bytes(largest)}.",
                do="Start a worker where there is as much, or that may use more: holdfast worker --cpu, --memory",
            )


def of_versions(seen: Health) -> Iterator[Finding]:
    """Runs that can go on only where a version is that is nowhere."""
    for version in sorted({each.version for each in seen.stranded}):
        ids = [each.id for each in seen.stranded if each.version == version]
        yield Finding(
            about="versions",
            level="wrong",
            of=("version", version),
            text=f"{runs(len(ids))} can go on with version {version} only, and no live worker has that: "
            f"{', '.join(ids[:NAMED])}{', …' if len(ids) > NAMED else ''}.",
            do=f"Start a worker of that version (HOLDFAST_VERSION={version}), or cancel and replay them",
        )


def of_queues(seen: Health) -> Iterator[Finding]:
    for each in seen.queues:
        backlog = each.queued + each.pending_version
        if each.paused_at is not None and backlog:
            yield Finding(
                about="queues",
                level="wrong",
                of=("queue", each.name),
                text=f"The queue {each.name} has been paused for {format_ms(max(0, seen.now - each.paused_at))}, "
                f"and {runs(backlog)} {wait(backlog)} in it.",
                do=f"holdfast queues resume {each.name}",
            )


def of_runs(seen: Health) -> Iterator[Finding]:
    yield from of_oldest(seen)
    if seen.overdue and seen.alive and seen.overdue_since is not None:
        yield Finding(
            about="runs",
            level="wrong",
            text=f"{runs(seen.overdue)} {were(seen.overdue)} due up to {format_ms(seen.now - seen.overdue_since)} ago, "
            "and not made ready.",
            do="Look for errors in the logs of the workers: they make due runs ready",
        )
    stuck = [each for each in seen.suspects if seen.now - each.since > LONG_MS]
    if stuck and seen.alive:
        names = ", ".join(each.id for each in stuck[:3]) + (", …" if len(stuck) > 3 else "")
        yield Finding(
            about="runs",
            level="wrong",
            of=("run", stuck[0].id),
            text=f"{runs(len(stuck))} whose process died {wait(len(stuck))} to be tried alone: {names}.",
            do="See holdfast runs show of one of them; cancel it if it takes processes down",
        )


def of_oldest(seen: Health) -> Iterator[Finding]:
    """How long the first run that could start has waited."""
    paused = {each.name for each in seen.queues if each.paused_at is not None}
    lines = [each for each in seen.waiting if each.served and each.since is not None and each.queue not in paused]
    if not lines:
        yield Finding(about="runs", level="ok", text="No run waits that could start.")
        return
    oldest = min(lines, key=lambda each: each.since or 0)
    age = max(0, seen.now - (oldest.since or seen.now))
    total = sum(each.count for each in lines)
    text = f"{runs(total)} {wait(total)}, the first for {format_ms(age)} ({oldest.task} in {oldest.queue})."
    free = any(each.held < each.concurrency for each in seen.alive)
    limited = any(each.name == oldest.queue and is_limited(each) for each in seen.queues)
    if age < LONG_MS:
        yield Finding(about="runs", level="ok", text=text)
    elif free and not limited:
        yield Finding(
            about="runs",
            level="wrong",
            of=("queue", oldest.queue),
            text=f"{text} There are free slots.",
            do="See holdfast runs list --status queued, and holdfast runs show of the oldest",
        )
    else:
        do = (
            f"holdfast queues limit {oldest.queue}"
            if limited
            else "Start another worker, or give them more --concurrency"
        )
        yield Finding(about="runs", level="note", of=("queue", oldest.queue), text=text, do=f"To be faster: {do}")


def of_hosts(seen: Health) -> Iterator[Finding]:
    """Hosts that requests are sent to and that do not answer."""
    for each in seen.circuits:
        if each.until_at > seen.now - LATE_MS:
            yield Finding(
                about="push",
                level="wrong",
                text=f"{each.host} has been down for {format_ms(max(0, seen.now - each.since_at))}: {each.failures} "
                f"failures in a row, the last: {each.reason}. Requests to it wait, and are tried one at a time.",
                do="Look whether it runs, and can be reached from the hosts that push",
            )


def of_schedules(seen: Health) -> Iterator[Finding]:
    """Whether schedules fire, and whether anybody carries out what they make."""
    facts = seen.scheduled
    late_ms = 0 if facts.due_at is None else seen.now - facts.due_at
    if facts.due_at is not None and late_ms > LONG_MS:
        yield Finding(
            about="schedules",
            level="wrong",
            text=f"A schedule is {format_ms(late_ms)} late: nobody fires it.",
            do="Look for errors in the logs of the workers" if seen.alive else "Start one: holdfast worker",
        )
    elif facts.due_at is not None:
        active = f"{many(facts.active, 'schedule is', 'schedules are')} active"
        yield Finding(
            about="schedules", level="ok", text=f"{active}, the next one is due in {format_ms(max(0, -late_ms))}."
        )
    for each in facts.broken:
        yield Finding(
            about="schedules",
            level="wrong",
            of=("schedule", each.id),
            text=f"Schedule {each.id} of {each.task} does not go on: {each.problem}",
            do="Give it another rule, or delete it: holdfast schedules delete",
        )
    for task, count in facts.unserved if seen.alive else ():
        yield Finding(
            about="schedules",
            level="wrong",
            text=f"{many(count, 'schedule makes', 'schedules make')} runs of {task}, which no live worker knows.",
            do=f"Start a worker whose app has it, or delete them: holdfast schedules list --task {task}",
        )


# -- words ------------------------------------------------------------------------------------------------------------


def is_limited(each: QueueView) -> bool:
    limits = (each.concurrency_limit, each.concurrency_limit_per_key, each.rate, each.rate_per_key)
    return any(limit is not None for limit in limits)


def runs(count: int) -> str:
    return f"{count} or more runs" if count >= COUNTED else many(count, "run", "runs")


def many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


def were(count: int) -> str:
    return "was" if count == 1 else "were"


def megabytes(size: int) -> str:
    return f"{size / MIB:.1f} MiB"
