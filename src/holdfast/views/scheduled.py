"""Schedules as the doctor sees them: whether they fire, and whether anybody carries out what they make."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.storage import Tx

TOLD: Final = 20
COUNTED: Final = 10_000


class Broken(NamedTuple):
    """A schedule whose rule cannot be followed any more."""

    id: str
    task: str
    problem: str


class Unserved(NamedTuple):
    """A task that has schedules, and that no live worker knows."""

    task: str
    schedules: int


class Scheduled(NamedTuple):
    """The facts: how many schedules fire (counted up to a bound), when the next one is due, and what is wrong."""

    active: int = 0
    due_at: int | None = None
    broken: tuple[Broken, ...] = ()
    unserved: tuple[Unserved, ...] = ()


def scheduled(tx: Tx) -> Scheduled:
    active, due_at = tx.rows("schedules_counted", bound=COUNTED)[0]
    return Scheduled(
        active,
        due_at,
        tuple(Broken(*row) for row in tx.rows("broken_schedules", n=TOLD)),
        tuple(Unserved(*row) for row in tx.rows("unserved_schedules", n=TOLD)),
    )
