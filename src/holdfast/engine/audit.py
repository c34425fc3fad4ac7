"""The audit log: who changed what, when, and from where.

What is in it is what operators and programs change from outside: over HTTP, and with the command line. Runs that are
triggered are a record of their own.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast.ids import new_id
from holdfast.names import storable
from holdfast.storage.base import Tx

LAST = "~"  # comes after every id
FORGET = 500
LONGEST = 500


class AuditLine(NamedTuple):
    """One change. ``at`` is milliseconds since the epoch; ``key_id`` is None where no stored key was used."""

    id: str
    at: int
    actor: str
    key_id: str | None
    verb: str
    subject: str
    origin: str


def write(tx: Tx, actor: str, verb: str, subject: str, origin: str, key_id: str | None = None) -> None:
    """Note a change. What is too long is cut."""
    texts = {"actor": actor, "verb": verb, "subject": subject, "origin": origin}
    said = {name: storable(text)[:LONGEST] for name, text in texts.items()}
    tx.rows("insert_audit", id=new_id(), key_id=key_id, **said)


def page(tx: Tx, *, before: str | None = None, n: int = 50) -> list[AuditLine]:
    """The newest changes, or those before this one."""
    return [AuditLine(*row) for row in tx.rows("audit", before=before or LAST, n=n)]


def forget(tx: Tx, older_ms: int, n: int = FORGET) -> int:
    """Forget what is older than this, and tokens for one use that have expired. Returns how many lines; call again
    while n."""
    tx.rows("forget_spent")
    return len(tx.rows("forget_audit", older_ms=older_ms, n=n))
