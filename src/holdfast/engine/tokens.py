"""Tokens: what a run waits for, and somebody else completes with a value.

A token is completed once; the second one is told so and changes nothing. Its row is locked first, and then those of the
runs that wait for it, so that a completion and a wait that meet see each other.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from holdfast.engine import journal
from holdfast.records import NewToken
from holdfast.storage.base import Row, Tx, repeatable

Completed = Literal["completed", "already", "expired", "unknown"]
LAST = "~"  # comes after every id


class TokenRecord(NamedTuple):
    """A token as it stands. Times are milliseconds since the epoch; ``result`` is JSON text."""

    id: str
    state: str
    run_id: str | None
    schema: str | None
    tags: str | None
    idempotency_key: str | None
    created_at: int
    expires_at: int | None
    completed_at: int | None
    result: str | None


def create(tx: Tx, token: NewToken) -> tuple[str, bool]:
    """Make a token. Answers its id, and whether it is new: one with this idempotency key may be there."""
    if journal.make_token(tx, None, token):
        return token.id, True
    row = tx.row("token_by_key", key=token.idempotency_key)
    return (str(row[0]), False) if row else (token.id, False)


@repeatable
def complete(tx: Tx, token_id: str, result: str) -> Completed:
    """Complete a token with a value, as JSON text, and wake who waits for it."""
    row = tx.row("lock_token", id=token_id)
    if row is None:
        return "unknown"
    _, state, _, expires_at, _, now = row
    if state == "completed":
        return "already"
    if expires_at is not None and expires_at <= now:
        return "expired"
    tx.rows("complete_token", id=token_id, result=result)
    waiting = sorted({run_id for run_id, _ in tx.rows("waiting_for_token", id=token_id)})
    if waiting:
        tx.rows("lock_waiting", ids=waiting)
        tx.rows("settle_wait", ids=waiting, id=token_id, result=result)
        journal.wake(tx, waiting)
    return "completed"


def token(tx: Tx, token_id: str) -> TokenRecord | None:
    """One token, or None if there is none. One whose time is over is ``expired``."""
    row = tx.row("token", id=token_id)
    return None if row is None else record(row)


def page(tx: Tx, *, before: str | None = None, n: int = 50) -> list[TokenRecord]:
    """The newest tokens, or those made before this one."""
    return [record(row) for row in tx.rows("tokens", before=before or LAST, n=n)]


def record(row: Row) -> TokenRecord:
    *facts, now = row
    found = TokenRecord._make(facts)
    expired = found.state == "open" and found.expires_at is not None and found.expires_at <= now
    return found._replace(state="expired") if expired else found
