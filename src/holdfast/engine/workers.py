"""Workers: registration, beats, and who is dead.

A lease belongs to a worker process and covers all that it holds. Its beat is a counter: nobody compares clocks. A
worker is declared lost by a process that has itself watched the counter stand still for the whole lease, by
compare-and-set on what it saw; or by the supervisor that saw it exit. Every start of a process is a new worker, so an
old name never comes back to life.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from holdfast.machine import machine_of
from holdfast.storage.base import Tx


class WorkerEntry(msgspec.Struct, kw_only=True):
    """A worker as it registers."""

    id: str
    lease_ms: int
    host: str
    pid: int
    concurrency: int
    queues: list[str] | None = None
    version: str | None = None
    app: str | None = None
    declares: str | None = None  # the digest of what the app's code declares
    cpu_millis: int | None = None  # what it has for runs with machines; None: it takes them whatever they ask for
    memory_bytes: int | None = None
    machines: list[str] | None = None  # … of these only


class WorkerTask(msgspec.Struct):
    """A task a worker knows."""

    worker_id: str
    task: str


class Route(NamedTuple):
    """A route: the runs of a task in a queue, of those that are pinned to a version or of all others, and of those for
    a machine or for none."""

    id: int
    queue: str
    task: str
    version: str | None
    machine: str | None


class Serving(NamedTuple):
    """A task that a live worker serves: the JSON list of the queues it is bound to, or None for all; its version; what
    it has for runs with machines, or None where it takes all of them, and the JSON list of those it takes."""

    task: str
    queues: str | None = None
    version: str | None = None
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    machines: str | None = None

    def takes(self, task: str, version: str | None, machine: str | None) -> bool:
        """Whether a run of this task may be for it, by the version it is pinned to and the machine it asks for."""
        if task != self.task or version not in (None, self.version):
            return False
        if machine is None or self.cpu_millis is None or self.memory_bytes is None:
            return True
        asked = machine_of(machine)
        fits = asked.cpu_millis <= self.cpu_millis and asked.memory_bytes <= self.memory_bytes
        return fits and (self.machines is None or asked.name in msgspec.json.decode(self.machines, type=list[str]))


class Beat(msgspec.Struct):
    """A live worker's beat as it was read."""

    id: str
    beat: int
    lease_ms: int


class ProcessUsage(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a process uses: CPU in thousandths of one since it was looked at before, None the first time; and memory
    that is in use, in bytes."""

    pid: int
    cpu_millis: int | None = None
    memory_bytes: int = 0


class RunUsage(ProcessUsage, frozen=True, kw_only=True):
    """The same of a run in a process of its own, with all that it has started."""

    run_id: str


class WorkerUsage(ProcessUsage, frozen=True, kw_only=True, omit_defaults=True):
    """The same of a worker's process, of the supervisor that has started it, if there is one, and of the largest of its
    runs in processes of their own."""

    supervisor: ProcessUsage | None = None
    runs: Sequence[RunUsage] = ()


class Told(msgspec.Struct):
    """A beat as it is written: with the JSON text of what the worker uses."""

    id: str
    usage: str | None


NOTHING: Mapping[str, WorkerUsage] = {}


def register(tx: Tx, worker: WorkerEntry, tasks: list[str]) -> None:
    """Enter a worker under a new id, live from now on, with the tasks it knows."""
    tx.rows(
        "insert_worker",
        id=worker.id,
        lease_ms=worker.lease_ms,
        host=worker.host,
        pid=worker.pid,
        concurrency=worker.concurrency,
        queues=None if worker.queues is None else msgspec.json.encode(worker.queues).decode(),
        version=worker.version,
        app=worker.app,
        declares=worker.declares,
        cpu_millis=worker.cpu_millis,
        memory_bytes=worker.memory_bytes,
        machines=None if worker.machines is None else msgspec.json.encode(worker.machines).decode(),
    )
    tx.batch("insert_worker_tasks", [WorkerTask(worker.id, task) for task in tasks])


def beat(tx: Tx, ids: Sequence[str], usage: Mapping[str, WorkerUsage] = NOTHING) -> dict[str, bool]:
    """Beat for these workers, and say what they use; answers those that are still taken to be alive, and whether each
    was asked to drain."""
    said = [Told(worker, usage_text(usage.get(worker))) for worker in ids]
    return {worker: bool(asked) for worker, asked in tx.alone("beat", said).rows()}


def usage_text(usage: WorkerUsage | None) -> str | None:
    return None if usage is None else msgspec.json.encode(usage).decode()


def beats(tx: Tx) -> list[Beat]:
    """The beats of all live workers; changes nothing."""
    return [Beat(*row) for row in tx.rows("beats")]


def declare_lost(tx: Tx, seen: list[Beat]) -> list[str]:
    """Declare those lost whose beat is still the one that was seen; answers which."""
    return [row[0] for one in seen for row in tx.rows("declare_lost", id=one.id, beat=one.beat)]


def declare_gone(tx: Tx, worker_id: str) -> bool:
    """Declare a worker lost whose process has been seen to exit."""
    return bool(tx.rows("declare_gone", id=worker_id))


def drain(tx: Tx, worker_id: str) -> bool:
    """This worker takes no more runs; false if it was not live."""
    return bool(tx.rows("set_worker_state", id=worker_id, state="draining"))


def ask_to_drain(tx: Tx, worker_id: str) -> bool:
    """This worker takes no more runs, and whoever beats for it has it end, and starts none in its place; false if it
    is not alive."""
    return bool(tx.rows("ask_to_drain", id=worker_id))


def stop(tx: Tx, worker_id: str) -> bool:
    """This worker has ended, and holds nothing."""
    return bool(tx.rows("set_worker_state", id=worker_id, state="stopped"))


def held(tx: Tx, ids: Sequence[str]) -> int:
    """How many runs these workers hold."""
    return sum(len(tx.rows("held", me=worker)) for worker in ids)


def routes(
    tx: Tx, tasks: Sequence[str], queues: Sequence[str] | None = None, version: str | None = None
) -> list[Route]:
    """The routes that a worker of this version with these tasks, and perhaps only these queues, may claim from."""
    rows = tx.rows("routes", tasks=list(tasks), version=version)
    found = [Route(number, queue, task, pinned, machine) for number, task, queue, pinned, machine in rows]
    return [route for route in found if queues is None or route.queue in queues]


def served(tx: Tx) -> list[Serving]:
    """What live workers serve."""
    return [Serving(*row) for row in tx.rows("live_worker_tasks")]
