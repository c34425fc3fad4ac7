"""Streams as they are read: piece by piece, from a place on."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.records import Chunk
from holdfast.storage.base import Tx

PAGE = 500


class Place(NamedTuple):
    """Up to where a stream was read: the last piece of it, and how many come after that which are not wanted."""

    claim: int = 0
    seq: int = 0
    skip: int = 0


def chunks(tx: Tx, run_id: str, name: str, place: Place, n: int = PAGE) -> list[Chunk]:
    """The next pieces of a stream, in order."""
    rows = tx.rows("chunks", run_id=run_id, name=name, claim=place.claim, seq=place.seq, skip=place.skip, n=n)
    return [Chunk(*row) for row in rows]


def end(tx: Tx, run_id: str, name: str, n: int) -> list[Chunk]:
    """The last pieces of a stream, in order."""
    return [Chunk(*row) for row in reversed(tx.rows("last_chunks", run_id=run_id, name=name, n=n))]
