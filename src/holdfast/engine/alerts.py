"""Alerts as the database has them: what is declared, how they stand, and the facts that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from holdfast import jsontext
from holdfast.names import storable
from holdfast.records import AlertEntry
from holdfast.storage.base import Tx

NAMED = 5  # runs that a message names
SCHEDULES = 20
ERROR_LENGTH = 200


class Declared(msgspec.Struct):
    """The columns of ``put_alerts``."""

    app: str
    name: str
    body: str


class Standing(msgspec.Struct):
    """The columns of ``set_alerts``: how an alert stands, and when it is looked at again."""

    app: str
    name: str
    state: str
    next_at: int


class AlertRow(NamedTuple):
    """An alert as it is kept: two texts of JSON."""

    app: str
    name: str
    body: str
    state: str


class Failed(NamedTuple):
    """Runs of a task that ended in this way, and the first of them."""

    task: str
    status: str
    n: int
    first: str


class FailedRun(NamedTuple):
    """One of them."""

    id: str
    task: str
    status: str
    error: str


class Late(NamedTuple):
    """A schedule, and since when it should have fired."""

    id: str
    task: str
    at: int


def declare(tx: Tx, app: str, alerts: Sequence[AlertEntry]) -> None:
    """What the code of an app declares, all of it. What stands of an alert that is still declared stays."""
    there = {row[0] for row in tx.rows("alert_names", app=app)}
    for name in sorted(there - {each.name for each in alerts}):
        tx.rows("drop_alert", app=app, name=name)
    if alerts:
        tx.batch("put_alerts", [Declared(app, each.name, each.body) for each in alerts])


def alerts(tx: Tx) -> list[AlertRow]:
    return [AlertRow(*row) for row in tx.rows("alerts")]


def due(tx: Tx) -> list[AlertRow]:
    """Those that it is time to look at, locked."""
    return [AlertRow(*row) for row in tx.rows("due_alerts")]


def settle(tx: Tx, standing: Sequence[Standing]) -> None:
    tx.batch("set_alerts", list(standing))


# -- facts ------------------------------------------------------------------------------------------------------------


def failures(tx: Tx, since: int, until: int) -> list[Failed]:
    """What ended badly in this time."""
    return [Failed(*row) for row in tx.rows("failures", since=since, until=until)]


def errors(tx: Tx, ids: Sequence[str]) -> list[FailedRun]:
    """Why these runs ended, in a line."""
    return [FailedRun(row[0], row[1], row[2], line(row[3])) for row in tx.rows("errors_of", ids=list(ids))]


def line(error: str | None) -> str:
    if error is None:
        return ""
    said = jsontext.decode(error)
    if not isinstance(said, dict):
        return ""
    text = storable(" ".join(f"{said.get('type', '')}: {said.get('message', '')}".split()))
    return text if len(text) <= ERROR_LENGTH else f"{text[:ERROR_LENGTH]}…"


def late_schedules(tx: Tx, late_ms: int) -> list[Late]:
    return [Late(*row) for row in tx.rows("late_schedules", late_ms=late_ms, n=SCHEDULES)]


def missed_slots(tx: Tx) -> list[Late]:
    return [Late(*row) for row in tx.rows("missed_slots", n=SCHEDULES)]
