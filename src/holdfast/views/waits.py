"""What a run that is suspended waits for: the open entries of its journal."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast import codec
from holdfast.storage import Tx

MANY: Final = 1_000
NAMED: Final = 5  # runs that are named


class Wait(NamedTuple):
    """One thing that is waited for. Of ``total`` children ``left`` have not ended, and ``runs`` are some of them."""

    kind: str
    name: str
    token: str | None
    until_at: int | None
    left: int
    total: int
    runs: list[str]
    error: str | None


def waits(tx: Tx, run_id: str) -> list[Wait]:
    """All that this run waits for, what comes first by the clock first; a thousand at most."""
    return [wait(tx, *row) for row in tx.rows("open_entries", run_id=run_id, n=MANY)]


def wait(
    tx: Tx,
    kind: str,
    name: str,
    target: str | None,
    left: int,
    due_at: int | None,
    error: str | None,
    result: str | None,
) -> Wait:
    ids: list[str] = codec.decode(result) if kind in ("child", "children") and result is not None else []
    runs = [row[0] for row in tx.rows("some_unfinished", ids=ids, n=NAMED)] if ids else []
    token = target if kind == "wait" else None
    return Wait(kind, name, token, due_at, left, len(ids), runs, None if error is None else brief(error))


def brief(error: str) -> str:
    """A stored error, in short."""
    stored = codec.decode(error)
    return f"{stored['type']}: {stored['message'].splitlines()[0] if stored['message'] else ''}"
