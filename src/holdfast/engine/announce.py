"""What the code of an app declares, told by a server that has the app loaded.

Workers tell it when they start, and then know best: the newest code is theirs. Where an app has no live worker, as one
whose tasks are all requests, a server tells it, so that its schedules fire, its alerts are looked at, and its webhooks
and tasks are known by their names.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.engine import alerts, catalogue, schedules
from holdfast.records import AlertEntry, NewSchedule, QueueEntry, TaskEntry
from holdfast.storage.base import Tx


class Declarations(msgspec.Struct, kw_only=True):
    """What an app declares, all of it."""

    app: str
    tasks: Sequence[TaskEntry] = ()
    queues: Sequence[QueueEntry] = ()
    schedules: Sequence[NewSchedule] = ()
    alerts: Sequence[AlertEntry] = ()


def without_workers(tx: Tx, said: Declarations) -> list[QueueEntry] | None:
    """Enter this unless the app has a live worker: then None. Else answers the queues whose limits that changed, as
    `catalogue.announce` does."""
    if tx.rows("app_lives", app=said.app):
        return None
    changed = catalogue.announce(tx, said.tasks, said.queues)
    schedules.declare(tx, said.app, said.schedules)
    alerts.declare(tx, said.app, said.alerts)
    return changed
