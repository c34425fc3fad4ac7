"""Workers, and the tasks they announce."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast import codec
from holdfast.engine.workers import WorkerUsage
from holdfast.machine import Machine, machine_of
from holdfast.storage import Tx
from holdfast.views.served import served


class WorkerView(msgspec.Struct, kw_only=True, frozen=True):
    """A worker process. ``silent`` is a live one that has not beaten for longer than its lease: no host is left to
    declare it lost, or one will soon. ``held`` are the runs it has claimed; it carries ``concurrency`` out at once.

    For runs with machines it has so much CPU, in thousandths of a vCPU, and memory, of which those that it holds use
    some. None: it takes them whatever they ask for. ``machines`` are those it takes, None for all that fit.
    ``usage`` is what its process was seen to use with its last beat."""

    id: str
    state: str
    silent: bool
    held: int
    concurrency: int
    tasks: int
    queues: list[str] | None
    host: str
    pid: int
    version: str | None
    started_at: int
    seen_at: int
    silent_ms: int
    lease_ms: int
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    cpu_millis_used: int = 0
    memory_bytes_used: int = 0
    machines: list[str] | None = None
    usage: WorkerUsage | None = None

    @property
    def alive(self) -> bool:
        """Whether it claims runs."""
        return self.state == "live" and not self.silent

    @property
    def room(self) -> str | None:
        """What runs with machines use of what there is for them: "1/2 vCPU, 1/4 GB". None where nobody counts."""
        if self.cpu_millis is None or self.memory_bytes is None:
            return None
        used, there = gigabytes(self.memory_bytes_used), gigabytes(self.memory_bytes)
        return f"{self.cpu_millis_used / 1000:g}/{self.cpu_millis / 1000:g} vCPU, {used}/{there} GB"

    def takes_from(self, queue: str) -> bool:
        """Whether it takes runs from this queue."""
        return self.queues is None or queue in self.queues

    def takes(self, machine: Machine) -> bool:
        """Whether a run with this machine fits into it, when it holds no others."""
        return self.has(machine.cpu_millis, machine.memory_bytes) and (
            self.machines is None or machine.name in self.machines
        )

    def has_room(self, machine: Machine) -> bool:
        """Whether such a run fits beside those it holds."""
        cpu, memory = machine.cpu_millis + self.cpu_millis_used, machine.memory_bytes + self.memory_bytes_used
        return self.takes(machine) and self.has(cpu, memory)

    def has(self, cpu_millis: int, memory_bytes: int) -> bool:
        """Whether it has so much in all."""
        if self.cpu_millis is None or self.memory_bytes is None:
            return True
        return cpu_millis <= self.cpu_millis and memory_bytes <= self.memory_bytes


def gigabytes(size: int) -> str:
    return f"{math.floor(10 * size / 1024**3) / 10:g}"


class TaskView(msgspec.Struct, kw_only=True, frozen=True):
    """A task as workers announced it last; ``workers`` are the live ones that know it."""

    id: str
    queue: str
    workers: int
    options: Mapping[str, Any]
    payload_schema: Any
    version: str | None
    announced_at: int


def workers(tx: Tx, *, ended: int = 0) -> list[WorkerView]:
    """The workers that are live or drain, the oldest first; then up to ``ended`` that are lost or stopped."""
    rows = tx.rows("list_workers")
    if ended:
        rows += tx.rows("list_ended_workers", n=ended)
    return [worker_view(row) for row in rows]


def pushers(tx: Tx) -> frozenset[str]:
    """Those of the workers that send requests, and carry out no code."""
    return frozenset(row[0] for row in tx.rows("pushers"))


def tasks_of(tx: Tx, run_ids: Sequence[str]) -> dict[str, str]:
    """The tasks of those of these runs that have not ended."""
    return dict(tx.rows("tasks_of_runs", ids=list(run_ids))) if run_ids else {}


def worker(tx: Tx, worker_id: str) -> WorkerView | None:
    """One worker, or None if it is long forgotten."""
    row = tx.row("one_worker", id=worker_id)
    return None if row is None else worker_view(row)


def workers_of(tx: Tx, task: str) -> list[WorkerView]:
    """The workers that know a task, live or draining."""
    return [worker_view(row) for row in tx.rows("workers_of_task", task=task)]


def worker_view(row: tuple[Any, ...]) -> WorkerView:
    worker_id, state, seen, lease, host, pid, concurrency, queues, version, started, now, held, tasks, *room = row
    cpu, memory, machines, busy, usage = room
    used = [machine_of(word) for word in (busy or "").split()]
    return WorkerView(
        id=worker_id,
        state=state,
        silent=state in ("live", "draining") and now - seen > lease,
        held=held,
        concurrency=concurrency,
        tasks=tasks,
        queues=None if queues is None else msgspec.json.decode(queues, type=list[str]),
        host=host,
        pid=pid,
        version=version,
        started_at=started,
        seen_at=seen,
        silent_ms=max(0, now - seen),
        lease_ms=lease,
        cpu_millis=cpu,
        memory_bytes=memory,
        cpu_millis_used=sum(machine.cpu_millis for machine in used),
        memory_bytes_used=sum(machine.memory_bytes for machine in used),
        machines=None if machines is None else msgspec.json.decode(machines, type=list[str]),
        usage=None if usage is None else msgspec.json.decode(usage, type=WorkerUsage),
    )


def tasks(tx: Tx) -> list[TaskView]:
    """The catalogue: all tasks that were ever announced, by id."""
    live = served(tx)
    return [
        TaskView(
            id=task,
            queue=queue,
            workers=live.workers[task],
            options=codec.decode(options),
            payload_schema=None if schema is None else codec.decode(schema),
            version=version,
            announced_at=seen,
        )
        for task, queue, options, schema, version, seen in tx.rows("catalogue")
    ]


def task(tx: Tx, task_id: str) -> TaskView | None:
    """One task, or None if nobody has announced it."""
    return next((each for each in tasks(tx) if each.id == task_id), None)
