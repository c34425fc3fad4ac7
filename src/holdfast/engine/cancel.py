"""Cancel runs.

A run that no attempt holds is canceled at once. One that executes is asked: its worker reads that within a second,
raises it in the code, and reports; only then is the run final and its slot free. A completion that comes first wins.
One that waits, or has just been woken, is resumed to be told so. The runs below a canceled run are canceled, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from holdfast.engine import aftermath, journal
from holdfast.engine.states import FINAL, HOT, allows
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Row, Tx, repeatable
from holdfast.storage.runs import KeyRow

IDLE = frozenset(state for state in HOT if allows(state, "cancel") and state not in ("executing", "waiting"))

Canceled = Literal["canceled", "requested", "final", "unknown"]


@repeatable
def cancel(tx: Tx, ids: Sequence[str]) -> dict[str, Canceled]:
    """Cancel these runs. Answers for each: ``canceled`` at once, ``requested`` of its worker, already ``final``, or
    ``unknown``."""
    rows = lock_all(tx, ids)
    executing = [row[0] for row in rows if row[1] == "executing"]
    waiting = [row[0] for row in rows if row[1] == "waiting"]
    resumed = [row[0] for row in rows if row[1] in ("ready", "held") and row[8]]
    idle = [row[0] for row in rows if row[1] in IDLE and row[0] not in resumed]
    if executing:
        tx.rows("request_cancel", ids=executing)
    if waiting or resumed:
        tx.rows("unwind", ids=[*waiting, *resumed])
        journal.wake(tx, waiting)
    finish(tx, idle, "canceled")
    outcome: dict[str, Canceled] = {row[0]: "canceled" if row[0] in idle else "requested" for row in rows}
    rest = [run_id for run_id in ids if run_id not in outcome]
    final = {row[0] for row in tx.rows("finished", ids=rest)} if rest else set()
    missing: dict[str, Canceled] = {run_id: "final" if run_id in final else "unknown" for run_id in rest}
    asked = set(ids)
    return {run_id: status for run_id, status in (outcome | missing).items() if run_id in asked}


def lock_all(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Lock these runs and those below them that are not final. A level is looked for when the one above it is locked:
    what is being triggered now is seen."""
    rows: dict[str, Row] = {}
    level = sorted(set(ids))
    while level:
        rows.update({row[0]: row for row in tx.rows("lock_runs", ids=level)})
        level = sorted({row[0] for row in tx.rows("children", ids=level)} - rows.keys())
    return list(rows.values())


def finish(tx: Tx, ids: Sequence[str], status: str, error: str | None = None, *, deaths: int = 0) -> None:
    """End runs that no live attempt holds. Their rows are locked here; those that moved meanwhile are left alone.

    ``deaths`` of their process are added to those that count against them.
    """
    if status not in FINAL:
        raise ValueError(f"{status} is not final")
    rows = tx.rows("lock_runs", ids=sorted(ids)) if ids else []
    if not rows:
        return
    there = [row[0] for row in rows]
    awaited = [row[0] for row in rows if row[7] is not None]
    journal.lock(tx, awaited, awaited)
    tx.rows("finish", ids=there, status=status, error=error, deaths=deaths)
    tx.rows("delete_runs", ids=there)
    if awaited:
        journal.settle_children(tx, lambda: Counter((row[9], row[7]) for row in rows if row[7]), awaited)
    aftermath.note(tx, there, status)
    store_runs.leave_notes(tx, ((row[3], row[4]) for row in rows))
    if store_runs.frees_key(status):
        store_runs.free_keys(tx, [KeyRow(row[0], row[5], row[6]) for row in rows if row[6] is not None])
