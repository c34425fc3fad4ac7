"""Changes of many runs that somebody has asked for and does not wait for: cancel them, or trigger them once more.

Which runs they are is written down first. Then they are changed in steps, each of which says in its own transaction how
far it has come: it does not matter who makes the next one, and a process that dies in between has lost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast import jsontext
from holdfast.engine import bulk
from holdfast.storage.base import Tx, repeatable

STEP: Final = 200
FORGET: Final = 100
LAST: Final = "~"
WELL: Final = frozenset(("canceled", "requested", "replayed"))


class BulkRecord(NamedTuple):
    """A change as it stands. ``kind`` is cancel or replay, ``state`` pending, completed or aborted."""

    id: str
    kind: str
    state: str
    name: str | None
    total: int
    success: int
    failure: int
    created_at: int
    ended_at: int | None


@repeatable
def create(tx: Tx, action_id: str, kind: str, name: str | None, ids: Sequence[str]) -> None:
    """Write down what is to be done."""
    tx.rows("insert_bulk", id=action_id, kind=kind, name=name, run_ids=jsontext.encode(list(ids)), total=len(ids))


def step(tx: Tx, action_id: str) -> bool:
    """Change the next few runs. Answers whether there is more to do. The runs of a replay are of a batch with the
    action's own id."""
    row = tx.row("lock_bulk", id=action_id)
    if row is None or row[1] != "pending":
        return False
    kind, _, text, done, success, failure = row
    every: list[str] = jsontext.decode(text)
    ids = every[done : done + STEP]
    changed = bulk.cancel(tx, ids) if kind == "cancel" else bulk.replay(tx, ids, action_id)
    well = sum(each.outcome in WELL for each in changed)
    done += len(changed)
    tx.rows("note_bulk", id=action_id, done=done, success=success + well, failure=failure + len(changed) - well)
    return bool(done < len(every))


def go_on(tx: Tx) -> bool:
    """Make a step of the oldest one that is not finished, whoever has begun it. Answers whether there was one."""
    row = tx.row("next_bulk")
    if row is None:
        return False
    step(tx, row[0])
    return True


def abort(tx: Tx, action_id: str) -> None:
    """Let it go no further. What was done is done."""
    tx.rows("abort_bulk", id=action_id)


def retrieve(tx: Tx, action_id: str) -> BulkRecord | None:
    row = tx.row("bulk", id=action_id)
    return None if row is None else BulkRecord(*row)


def page(tx: Tx, before: str | None, n: int) -> list[BulkRecord]:
    """The newest ones, or those made before this one."""
    return [BulkRecord(*row) for row in tx.rows("list_bulk", before=before or LAST, n=n)]


def page_after(tx: Tx, after: str, n: int) -> list[BulkRecord]:
    """Those made after this one, the oldest first."""
    return [BulkRecord(*row) for row in tx.rows("list_bulk_after", after=after, n=n)]


def forget(tx: Tx, older_ms: int, n: int = FORGET) -> int:
    """Forget those that were asked for longer ago than this. Returns how many; call again while n."""
    return len(tx.rows("forget_bulk", older_ms=older_ms, n=n))
