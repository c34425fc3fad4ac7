"""Errors: runs that ended badly, in groups of those that went wrong in the same way.

No end of a run pays for this. Upkeep looks at those that ended since, gives each the fingerprint of its error, and
counts it in its group, in one transaction: each run is counted once, however many hosts do it at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from holdfast import jsontext
from holdfast.errors import PayloadInvalid
from holdfast.fingerprint import fingerprint
from holdfast.names import storable
from holdfast.storage.base import Tx

SWEEP: Final = 500
LONGEST: Final = 1_000  # characters of a message


class Grouped(msgspec.Struct):
    """A run and its fingerprint: the columns of ``set_fingerprints``."""

    id: str
    fingerprint: str


class Group(msgspec.Struct, kw_only=True):
    """Runs that went wrong in the same way: the columns of ``count_errors``. Versions are those of the first and the
    last run."""

    fingerprint: str
    task: str
    type: str
    message: str
    place: str
    runs: int
    first_at: int
    last_at: int
    first_version: str | None
    last_version: str | None
    last_run: str


class Said(msgspec.Struct):
    """What is read of a stored error."""

    type: str = ""
    message: str = ""
    traceback: str = ""


def group(tx: Tx, n: int = SWEEP) -> int:
    """Group up to so many runs that ended badly. Answers how many there were."""
    found = [grouped(*row) for row in tx.rows("ungrouped", n=n)]
    if found:
        tx.batch("set_fingerprints", [Grouped(one.last_run, one.fingerprint) for one in found])
        tx.batch("count_errors", merged(found))
    return len(found)


def grouped(run_id: str, task: str, status: str, error: str | None, version: str | None, ended_at: int) -> Group:
    """A run as a group of its own."""
    said = said_in(error)
    kind = said.type or status
    print_ = fingerprint(task, kind, said.message, said.traceback)
    return Group(
        fingerprint=print_.id,
        task=task,
        type=kind,
        message=said.message[:LONGEST],
        place=print_.place,
        runs=1,
        first_at=ended_at,
        last_at=ended_at,
        first_version=version,
        last_version=version,
        last_run=run_id,
    )


def said_in(error: str | None) -> Said:
    """What a stored error says, as columns take it. One that cannot be read says nothing: it must not keep others from
    being counted."""
    try:
        found = None if error is None else jsontext.decode(error)
    except PayloadInvalid:
        return Said()
    said = found if isinstance(found, dict) else {}
    return Said(*(storable(str(said.get(field, ""))) for field in Said.__struct_fields__))


def merged(found: Iterable[Group]) -> list[Group]:
    """One group for each fingerprint, in their order: two hosts that count the same ones wait, and never for each
    other."""
    groups: dict[str, Group] = {}
    for one in sorted(found, key=lambda one: (one.last_at, one.last_run)):
        before = groups.get(one.fingerprint)
        if before is not None:
            one.runs, one.first_at, one.first_version = before.runs + 1, before.first_at, before.first_version
        groups[one.fingerprint] = one
    return [groups[name] for name in sorted(groups)]


def prune(tx: Tx, older_ms: int) -> None:
    """Forget groups of which no run has ended for so long."""
    tx.rows("prune_error_groups", older_ms=older_ms)
