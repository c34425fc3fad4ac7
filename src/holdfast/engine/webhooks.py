"""Webhook tasks: what paths there are, and the requests that were refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.records import Rejected
from holdfast.storage.base import Tx, repeatable

KEPT = 10_000  # requests that were refused, the latest
KEPT_MS = 7 * 24 * 3_600_000
BODY_BYTES = 16_384  # of the body of one
LAST = "~"  # after every id


class Announced(NamedTuple):
    """A path at which requests come in, as it was announced last."""

    task: str
    path: str
    verified_by: str
    seen_at: int


def announced(tx: Tx) -> list[Announced]:
    return [Announced(*row) for row in tx.rows("webhooks")]


def tasks_at(tx: Tx, path: str) -> list[str]:
    """The tasks that take what comes in at a path."""
    return [row[0] for row in tx.rows("webhook", path=path)]


@repeatable
def reject(tx: Tx, requests: Sequence[Rejected]) -> list[None]:
    """Keep these, of all the latest."""
    tx.batch("insert_rejected", list(requests))
    tx.rows("trim_rejected", kept=KEPT)
    return [None for _ in requests]


def rejected(tx: Tx, *, path: str | None = None, before: str | None = None, n: int = 50) -> list[Rejected]:
    """The requests that were refused, the newest first."""
    return [record(row) for row in tx.rows("rejected", path=path, before=before or LAST, n=n)]


def rejected_one(tx: Tx, id: str) -> Rejected | None:
    row = tx.row("rejected_one", id=id)
    return None if row is None else record(row)


def record(row: tuple[object, ...]) -> Rejected:
    names = ("id", "at", "path", "reason", "source", "headers", "body", "size")
    return Rejected(**dict(zip(names, row, strict=True)))  # type: ignore[arg-type]


def prune(tx: Tx) -> None:
    """Forget those of long ago."""
    tx.rows("prune_rejected", older_ms=KEPT_MS)
