"""Payloads that are brought before the triggers that they are for, since they are large. They are kept for a day."""

from __future__ import annotations

from typing import Final

from holdfast.storage.base import Tx, repeatable

KEPT_MS: Final = 86_400_000
FORGET: Final = 100


@repeatable
def put(tx: Tx, packet_id: str, kind: str, body: str) -> None:
    """Keep one; what was there under this id is replaced."""
    tx.rows("put_packet", id=packet_id, kind=kind, body=body)


def read(tx: Tx, packet_id: str) -> tuple[str, str] | None:
    """The kind of a packet, and what is in it; None if there is none."""
    row = tx.row("packet", id=packet_id)
    return None if row is None else (row[0], row[1])


def forget(tx: Tx, older_ms: int = KEPT_MS, n: int = FORGET) -> int:
    """Forget packets that are older than this. Returns how many; call again while n."""
    return len(tx.rows("forget_packets", older_ms=older_ms, n=n))
