"""Tokens: what a run waits for, and somebody else completes with a value.

A token is completed once; the second one is told so and changes nothing. Its row is locked first, and then those of the
runs that wait for it, so that a completion and a wait that meet see each other. A token that no run has made is
forgotten some time after it was completed or has expired; the others go with their runs.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from holdfast.engine import journal
from holdfast.records import NewToken
from holdfast.storage.base import Row, Tx, repeatable

Completed = Literal["completed", "already", "expired", "unknown"]
LAST = "~"  # comes after every id
FORGET = 500


class TokenRecord(NamedTuple):
    """A token as it stands. Times are milliseconds since the epoch; ``tags`` and ``result`` are JSON text."""

    id: str
    state: str
    run_id: str | None
    schema: str | None
    tags: str | None
    idempotency_key: str | None
    secret: str | None
    created_at: int
    expires_at: int | None
    completed_at: int | None
    result: str | None


class TokenTag(msgspec.Struct):
    """The columns of ``insert_token_tags``."""

    tag: str
    token_id: str


class Search(NamedTuple):
    """Which tokens are meant: those in this state, with all of these tags."""

    state: str | None = None
    tags: tuple[str, ...] = ()


@repeatable
def create(tx: Tx, token: NewToken) -> tuple[TokenRecord, bool]:
    """Make a token outside of a run. Answers it, and whether it is new: one with this idempotency key may be there."""
    made = journal.make_token(tx, None, token)
    if made and token.tags is not None:
        tags = msgspec.json.decode(token.tags, type=list[str])
        tx.batch("insert_token_tags", [TokenTag(tag, token.id) for tag in tags])
    found = of_key(tx, token.idempotency_key) if not made and token.idempotency_key is not None else None
    there = read(tx, token.id) or found
    return (there, there.id == token.id) if there is not None else create(tx, token)  # forgotten in between


def of_key(tx: Tx, key: str) -> TokenRecord | None:
    row = tx.row("token_by_key", key=key)
    return None if row is None else read(tx, row[0])


@repeatable
def complete(tx: Tx, token_id: str, result: str) -> Completed:
    """Complete a token with a value, as JSON text, and wake who waits for it."""
    if tx.row("lock_token", id=token_id) is None:
        return "unknown"
    waiting = sorted({row[0] for row in tx.rows("waiting_for_token", id=token_id)})
    if waiting:
        tx.rows("lock_waiting", ids=waiting)
    # The clock is read when all is locked: a run that was told of the time-out must not be the only one who knows.
    if (over := settled(read(tx, token_id))) is not None:
        return over
    tx.rows("complete_token", id=token_id, result=result)
    if waiting:
        tx.rows("settle_wait", ids=waiting, id=token_id, result=result)
        journal.wake(tx, waiting)
    return "completed"


def settled(record: TokenRecord | None) -> Completed | None:
    """Why this token can no longer be completed; None if it can."""
    if record is None:
        return "unknown"
    return None if record.state == "open" else "already" if record.state == "completed" else "expired"


def read(tx: Tx, token_id: str) -> TokenRecord | None:
    """One token, or None if there is none. One whose time is over is ``expired``."""
    row = tx.row("token", id=token_id)
    return None if row is None else record(row)


def page(tx: Tx, search: Search, *, before: str | None = None, n: int = 50) -> list[TokenRecord]:
    """The newest tokens that are meant, or those of them made before this one."""
    return found(tx, search, "", {"before": before or LAST, "n": n})


def page_after(tx: Tx, search: Search, after: str, n: int) -> list[TokenRecord]:
    """The tokens that are meant and were made after this one, the oldest first."""
    return found(tx, search, "_after", {"after": after, "n": n})


def found(tx: Tx, search: Search, way: str, asked: dict[str, object]) -> list[TokenRecord]:
    statement, standing = statement_of(search)
    return [record(row) for row in tx.rows(f"{statement}{way}", **standing, **asked)]


def statement_of(search: Search) -> tuple[str, dict[str, object]]:
    """How these tokens are looked for: along one index, whichever they are."""
    state = "open" if search.state == "expired" else search.state
    standing: dict[str, object] = {"state": state or "", "expired": int(search.state == "expired")}
    if search.tags:
        tags = list(dict.fromkeys(search.tags))
        return "tokens_with_tag", {"tag": tags[0], "tags": tags, "count": len(tags), **standing}
    return ("tokens", {}) if state is None else ("tokens_in_state", standing)


def forget(tx: Tx, older_ms: int, n: int = FORGET) -> int:
    """Forget tokens of no run that were over longer ago than this. Returns how many; call again while n."""
    old = [row[0] for row in tx.rows("tokens_long_over", older_ms=older_ms, n=n)]
    if old:
        tx.rows("forget_token_tags", ids=old)
        tx.rows("forget_tokens", ids=old)
    return len(old)


def record(row: Row) -> TokenRecord:
    *facts, now = row
    found = TokenRecord._make(facts)
    expired = found.state == "open" and found.expires_at is not None and found.expires_at <= now
    return found._replace(state="expired") if expired else found
