"""The words of these tests: runs to trigger, a hand that works, and what to ask afterwards.

Everything goes through the engine's verbs and the store's doors, as a client or a worker would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from holdfast.engine import cancel, catalogue, claim, journal, limits, read, reap, telling, trigger, workers
from holdfast.engine.claim import Ask, Round
from holdfast.engine.trigger import queue_id
from holdfast.engine.workers import Route
from holdfast.ids import new_id
from holdfast.machine import machine_of
from holdfast.records import (
    Again,
    Claimed,
    Ended,
    LogLine,
    NewEntry,
    NewRun,
    Note,
    QueueEntry,
    RunRecord,
    Suspension,
    TaskEntry,
    Telling,
    Tidings,
    Triggered,
)
from holdfast.storage import Store, Tx
from holdfast.storage.runs import Fence, Place, again_row
from holdfast.worker.capacity import Room

TASK = "greet"
QUEUE = "task/greet"


def new(task: str = TASK, **given: Any) -> NewRun:
    """A run of ``greet`` for Ada, but for what is given."""
    given.setdefault("queue", f"task/{task}")
    given.setdefault("payload", '"Ada"')
    return NewRun(id=given.pop("id", None) or new_id(), task=task, **given)


def know(store: Store, *queues: QueueEntry, tasks: Sequence[str] = (TASK,), options: str = "{}") -> None:
    """Announce tasks, each with its own queue, and these queues, from which each of the tasks may be taken."""
    entries = [TaskEntry(id=task, queue=f"task/{task}", options=options) for task in tasks]
    store.run_sync(catalogue.announce, entries, list(queues))
    store.run_sync(catalogue.ensure_names, [], [(queue.name, task) for queue in queues for task in tasks])


def queue(name: str, limit: int | None = None, per_key: int | None = None) -> QueueEntry:
    return QueueEntry(name=name, concurrency_limit=limit, concurrency_limit_per_key=per_key)


def send(store: Store, *runs: NewRun) -> list[str]:
    """Trigger these in one call; answers the ids they led to, and raises what was refused."""
    return [outcome(result).id for result in store.run_sync(trigger.trigger, list(runs))]


def outcome(result: Triggered | Exception) -> Triggered:
    if isinstance(result, Exception):
        raise result
    return result


def look(store: Store, run_id: str) -> RunRecord:
    """What a reader is told of a run that must be there."""
    found = store.read_sync(read.run, run_id)
    assert found is not None, f"run {run_id} is lost"
    return found


def status(store: Store, run_id: str) -> str:
    return look(store, run_id).status


def statuses(store: Store, ids: Iterable[str]) -> list[str]:
    return [record.status for record in store.read_sync(read.runs, list(ids))]


def state(store: Store, run_id: str) -> str | None:
    """The stored state of a run that is not final; None for one that is, or is unknown."""
    row = store.read_sync(lambda tx: tx.row("state", id=run_id))
    return row[0] if row else None


def stop(store: Store, run_id: str) -> str:
    """Cancel one run; answers what became of the wish."""
    return store.run_sync(cancel.cancel, [run_id])[run_id]


def promote(store: Store) -> int:
    return store.run_sync(limits.promote)


def relane(store: Store, name: str, n: int = 1000) -> None:
    """What a host does after the limits of a queue have changed."""
    after: str | None = ""
    while after is not None:
        after = store.run_sync(limits.relane, name, queue_id(name), after, n)


def override(store: Store, name: str, limit: int | None, per_key: int | None = None) -> None:
    assert store.run_sync(catalogue.override, name, limit, per_key)
    relane(store, name)


def record(store: Store, run: Claimed, kind: str, name: str, **given: Any) -> NewEntry:
    """Write an entry into the journal of a run that is held, as its attempt would."""
    seq = 1 + len(store.read_sync(journal.of_run, run.id))
    given = {"key": f"{name}#{seq}", "seq": seq, "branch": ""} | given
    entry = NewEntry(run_id=run.id, claim=run.claim, attempt=run.attempt, kind=kind, name=name, **given)
    (made,) = store.run_sync(journal.write, [entry])
    assert not isinstance(made, Exception), made
    return entry


class Hand:
    """A worker as the engine knows it: registered, with the routes of its tasks."""

    def __init__(
        self,
        store: Store,
        *tasks: str,
        queues: list[str] | None = None,
        lease_ms: int = 30_000,
        version: str | None = None,
        pins: bool = False,
        room: Room | None = None,
        machines: list[str] | None = None,
        host: str = "reef",
    ) -> None:
        self.room, self.machines = room, machines
        self.store, self.tasks, self.queues = store, list(tasks or (TASK,)), queues
        self.version, self.pins = version, pins
        self.id = new_id()
        entry = workers.WorkerEntry(
            id=self.id,
            lease_ms=lease_ms,
            host=host,
            pid=1,
            concurrency=10,
            app="tests",
            queues=queues,
            version=version,
            cpu_millis=None if room is None else room.cpu_millis,
            memory_bytes=None if room is None else room.memory_bytes,
            machines=machines,
        )
        store.run_sync(workers.register, entry, self.tasks)
        if pins and version is not None:
            store.run_sync(catalogue.pin_routes, [(f"task/{task}", task) for task in self.tasks], version)

    @property
    def routes(self) -> list[int]:
        return [route.id for route in self.ways if route.machine is None or self.room is None]

    @property
    def ways(self) -> list[Route]:
        return self.store.read_sync(workers.routes, self.tasks, self.queues, self.version)

    @property
    def places(self) -> list[Place]:
        sized = [(way.id, machine_of(way.machine)) for way in self.ways if way.machine is not None]
        fit = [(way, machine) for way, machine in sized if self.room is not None and self.room.holds(machine)]
        return [Place(way, machine.cpu_millis, machine.memory_bytes) for way, machine in fit]

    def exchange(
        self,
        n: int = 0,
        *,
        each: int | None = None,
        group: int = 0,
        suspects: int = 0,
        ended: Sequence[Ended] = (),
        again: Sequence[tuple[Claimed, Again]] = (),
        logs: Sequence[LogLine] = (),
        idle: bool | None = None,
        waits: Sequence[Suspension] = (),
        free: Room | None = None,
    ) -> Round:
        each = n if each is None else each
        ask = Ask(self.id, self.routes, n, each, group, suspects, idle, version=self.version, pins=self.pins)
        if room := free or self.room:
            ask = ask._replace(places=self.places, cpu_millis=room.cpu_millis, memory_bytes=room.memory_bytes)
        rows = [again_row(how, self.id, run.attempt, run.started_at) for run, how in again]
        return self.store.run_sync(claim.exchange, ask, list(ended), rows, list(logs), waits=list(waits))

    def claim(self, n: int = 100, *, each: int | None = None, free: Room | None = None) -> list[Claimed]:
        return self.exchange(n, each=each, free=free).claimed

    def claim_one(self) -> Claimed:
        (run,) = self.claim(1)
        return run

    def claim_suspects(self, group: int = 0) -> list[Claimed]:
        """Those of which a process may hold so many; of those that come first, if nothing is said."""
        for each in (group,) if group else reap.GROUPS:
            if found := self.exchange(group=each, suspects=each).claimed:
                return found
        return []

    def end(self, *runs: Claimed, status: str = "completed", **more: str | None) -> list[Fence]:
        """Report these as final; answers the fences that did not hold any more."""
        more.setdefault("output", "null" if status == "completed" else None)
        return self.exchange(ended=[Ended(run.id, run.claim, status, **more) for run in runs]).lost

    def retry(self, run: Claimed, delay_ms: int = 0, **more: Any) -> list[Fence]:
        return self.exchange(again=[(run, Again(run.id, run.claim, delay_ms, True, **more))]).lost

    def give_back(self, *runs: Claimed, begun: bool = True) -> list[Fence]:
        again = [(run, Again(run.id, run.claim, 0, False, "returned", begun=begun)) for run in runs]
        return self.exchange(again=again).lost

    def say(self, run: Claimed, *messages: str, start: int = 1) -> None:
        self.exchange(logs=[line(run, seq, message) for seq, message in enumerate(messages, start)])

    def gone(self) -> None:
        """Its process was seen to exit."""
        assert self.store.run_sync(workers.declare_gone, self.id)


def line(run: Claimed, seq: int, message: str) -> LogLine:
    return LogLine(run.id, run.claim, seq, 1, "INFO", run.attempt, "reef", json.dumps(message))


def note(run: Claimed, number: int, kind: str, key: str, value: Any, of: str | None = None) -> Note:
    """An operation on the metadata of a run, or of another one."""
    return Note(number, of or run.id, kind, key, json.dumps(value))


def tell(store: Store, *runs: Claimed, **metadata: Any) -> None:
    """Let running attempts write to their metadata."""
    notes = {
        run: [note(run, n, "set", key, value) for n, (key, value) in enumerate(metadata.items(), 1)] for run in runs
    }
    store.run_sync(telling.write, [Telling(run.id, run.claim, Tidings(notes[run], [])) for run in runs])


def said(store: Store, run_id: str) -> list[str]:
    return [json.loads(entry.message) for entry in store.read_sync(read.logs, run_id)]


def ids(runs: Iterable[Claimed]) -> list[str]:
    return [run.id for run in runs]


class Between:
    """A transaction in which something happens before one of its statements."""

    def __init__(self, tx: Tx, statement: str, happens: Callable[[], object]) -> None:
        self.tx, self.statement, self.happens = tx, statement, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tx, name)

    def rows(self, statement: str, /, **parameters: Any) -> Any:
        return self.send(statement, **parameters).rows()

    def send(self, statement: str, /, **parameters: Any) -> Any:
        if statement == self.statement:
            self.happens()
        return self.tx.send(statement, **parameters)


def between(tx: Tx, statement: str, happens: Callable[[], object]) -> Any:
    """The transaction in which this happens right before that statement."""
    return Between(tx, statement, happens)
