"""Change runs that are there, from outside of their code: when they start, their tags, their metadata.

What an attempt tells of its own run is in ``telling``; both change the same metadata, each under the run's lock. A run
that ends meanwhile is looked for in history next, where its tags and metadata may still be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from holdfast import jsontext
from holdfast.engine.telling import Row, Written
from holdfast.engine.trigger import Tag
from holdfast.storage.base import Tx, repeatable

Rescheduled = Literal["rescheduled", "too_late"]
Document = dict[str, Any]


def reschedule(tx: Tx, run_id: str, *, due_at: int | None = None, delay_ms: int | None = None) -> Rescheduled:
    """Let a delayed run start at another time. ``too_late``: it is not delayed, or there is no such run."""
    moved = tx.rows("reschedule", id=run_id, due_at=due_at, delay_ms=delay_ms)
    return "rescheduled" if moved else "too_late"


@repeatable
def add_tags(tx: Tx, run_id: str, tags: Sequence[str], *, most: int) -> list[str] | None:
    """Add tags to a run. Answers all that it would have: when they are more than ``most``, nothing has changed. None:
    there is no such run."""
    row, hot = tx.row("lock_tagged", id=run_id), True
    if row is None:
        row, hot = tx.row("lock_tagged_done", id=run_id), False
    if row is None:
        return None
    before: list[str] = [] if row[1] is None else msgspec.json.decode(row[1], type=list[str])
    after = list(dict.fromkeys([*before, *tags]))
    if len(after) <= most and after != before:
        tx.rows("set_tags" if hot else "set_tags_done", id=run_id, tags=jsontext.encode(after))
        tx.batch("insert_tags", [Tag(tag, run_id) for tag in after])
    return after


@repeatable
def change_metadata(tx: Tx, changes: Mapping[str, Callable[[Document], Document]]) -> dict[str, Document]:
    """Make of the metadata of these runs what the functions make of it. Answers what it is then; the unknown are left
    out. What a function raises changes nothing at all."""
    rows = {row[0]: Row._make(row) for row in tx.rows("lock_told", ids=sorted(changes))}
    gone = sorted(changes.keys() - rows.keys())
    done: dict[str, str | None] = dict(tx.rows("lock_told_done", ids=gone)) if gone else {}
    texts = {run_id: row.metadata for run_id, row in rows.items()} | done
    after = {run_id: changes[run_id](jsontext.decode(text) if text else {}) for run_id, text in texts.items()}
    written = {run_id: jsontext.encode(value) for run_id, value in after.items()}
    if rows:
        tx.batch("set_told", [Written(run_id, written[run_id], row.noted) for run_id, row in rows.items()])
    if done:
        tx.batch("set_told_done", [Written(run_id, written[run_id]) for run_id in done])
    return after
