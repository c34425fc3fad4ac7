"""The catalogue: tasks, queues and routes, as code announced them last.

It is in the database so that triggers by name, from SQL or from another language know each task's defaults. New names
are made in a transaction of their own, never in a trigger's: that one may be open for minutes, and others would wait
for its names.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.engine.trigger import RouteName, queue_id, route_id
from holdfast.machine import machine_in
from holdfast.records import QueueEntry, TaskEntry
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Tx, repeatable

Names = RouteName | tuple[str, str]


class QueueRow(msgspec.Struct):
    """The columns of a declared queue."""

    id: int
    name: str
    cap: int | None
    cap_per_key: int | None
    rate: int | None
    rate_ms: int | None
    rate_per_key: int | None
    rate_per_key_ms: int | None


class RouteRow(msgspec.Struct):
    """The columns of a route."""

    id: int
    queue_id: int
    task: str
    version: str | None
    machine: str | None


def queue_row(queue: QueueEntry) -> QueueRow:
    return QueueRow(
        queue_id(queue.name),
        queue.name,
        queue.concurrency_limit,
        queue.concurrency_limit_per_key,
        queue.rate,
        queue.rate_ms,
        queue.rate_per_key,
        queue.rate_per_key_ms,
    )


def route_name(names: Names) -> RouteName:
    return names if isinstance(names, RouteName) else RouteName(names[0], names[1])


def route_row(names: Names) -> RouteRow:
    queue, task, machine, version = route_name(names)
    return RouteRow(route_id(queue, task, version, machine), queue_id(queue), task, version, machine)


@repeatable
def ensure_names(
    tx: Tx, queues: Sequence[QueueEntry], routes: Sequence[Names], tasks: Sequence[TaskEntry] = ()
) -> None:
    """Make the queues and the routes that are not there yet. What operators or workers said stays; routes of versions
    stay for a day, at least. ``tasks`` are those that whoever triggers them announces, too."""
    tx.batch(
        "insert_queues",
        sorted((queue_row(queue) for queue in queues), key=lambda row: row.id),
    )
    rows = sorted(map(route_row, routes), key=lambda row: row.id)
    tx.batch("insert_routes", rows)
    if named := [row.id for row in rows if row.version is not None]:
        tx.rows("keep_routes", ids=named)
    if tasks:
        tx.batch("upsert_tasks", sorted(tasks, key=lambda task: task.id))


@repeatable
def pin_routes(tx: Tx, routes: Sequence[Names], version: str) -> None:
    """Make these routes for runs that are pinned to a version."""
    rows = [route_row(route_name(names)._replace(version=version)) for names in routes]
    tx.batch("insert_routes", sorted(rows, key=lambda row: row.id))


def adopt_names(tx: Tx, n: int = 500) -> int:
    """Make the names that triggers in SQL have used for the first time; until then no worker looks for their runs.
    Answers how many notes there were; call again while n."""
    notes = tx.rows("take_new_names", n=n)
    if notes:
        routes = {RouteName(*note) for note in notes}
        ensure_names(tx, [QueueEntry(name=queue) for queue in {name.queue for name in routes}], list(routes))
    return len(notes)


@repeatable
def announce(tx: Tx, tasks: Sequence[TaskEntry], queues: Sequence[QueueEntry]) -> list[QueueEntry]:
    """Enter what this code declares; answers the queues whose limits that changed: their runs may need other lanes."""
    declared = {queue.name: queue for queue in queues}
    for task in tasks:
        declared.setdefault(task.queue, QueueEntry(name=task.queue))
    by_id = {queue_id(name): queue for name, queue in declared.items()}
    rows = sorted(map(queue_row, declared.values()), key=lambda row: row.id)
    tx.batch("insert_queues", rows)  # then they are there: what is declared meets them by their numbers
    changed = tx.batch("declare_queues", rows).rows()
    routes = {RouteName(task.queue, task.id, machine) for task in tasks for machine in (None, *machines_of(task))}
    ways = [route_row(names) for names in routes | elsewhere(tx, tasks)]
    tx.batch("insert_routes", sorted(ways, key=lambda row: row.id))
    tx.batch("upsert_tasks", sorted(tasks, key=lambda task: task.id))
    return [by_id[row[0]] for row in changed]


def elsewhere(tx: Tx, tasks: Sequence[TaskEntry]) -> set[RouteName]:
    """The routes of tasks that have a machine, in the other queues where they have runs: a schedule makes them by the
    defaults of the moment."""
    machines = {task.id: found for task in tasks if (found := machines_of(task))}
    known = tx.rows("queues_of_tasks", tasks=sorted(machines)) if machines else []
    return {RouteName(queue, name, machine) for queue, name in known for machine in machines[name]}


def machines_of(task: TaskEntry) -> list[str]:
    """The machines that runs of a task may need: its own, and the one for those that run out of memory."""
    return [machine for key in ("machine", "out_of_memory") if (machine := machine_in(task.options, key))]


def task(tx: Tx, task_id: str) -> TaskEntry | None:
    """A task as it was announced last."""
    row = tx.row("task", id=task_id)
    return None if row is None else TaskEntry(id=row[0], queue=row[1], options=row[2], schema=row[3], version=row[4])


def queue(tx: Tx, name: str) -> QueueEntry | None:
    """A queue with the limits its code declares."""
    row = tx.row("queue_by_name", name=name)
    return None if row is None else QueueEntry(name=row[1], concurrency_limit=row[2], concurrency_limit_per_key=row[3])


def pause(tx: Tx, name: str) -> bool:
    """No run of this queue starts until it is resumed; those that execute go on. False if there is no such queue."""
    return bool(tx.rows("pause_queue", name=name))


def resume(tx: Tx, name: str) -> bool:
    """Let a paused queue go on, and wake who sleeps. False if there is no such queue."""
    resumed = bool(tx.rows("resume_queue", name=name))
    store_runs.wake(tx)
    return resumed


def override(tx: Tx, name: str, limit: int | None, per_key: int | None) -> bool:
    """Set limits that are stronger than the code's; None gives the code its say back. False: no such queue."""
    return bool(tx.rows("override_queue", name=name, cap=limit, cap_per_key=per_key))
