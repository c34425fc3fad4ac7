"""Pieces that are added to a stream of a run from outside of it, by whoever may write to the run.

They are kept under claim 0, which no attempt has. A stream is written either by the run's own code or from outside:
pieces of both would have no order that readers could go by. Each writer's pieces are counted, so that what is sent
again, since an answer was lost, is kept once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from holdfast.sizes import STREAM_LIMIT, check_size, size_of
from holdfast.storage.base import Tx, repeatable

CLAIM = 0
LEAST = 128  # bytes that a piece counts: a row has some of its own
Refusal = Literal["unknown", "ended", "own"]


class Standing(NamedTuple):
    """How far a stream is that is written from outside: its last number, its size, and how many of its pieces are this
    writer's."""

    seq: int
    size: int
    mine: int


class Piece(msgspec.Struct):
    """The columns of ``add_chunks``."""

    run_id: str
    name: str
    seq: int
    writer: str
    value: str


@repeatable
def add(tx: Tx, run_id: str, name: str, writer: str, first: int, values: Sequence[str]) -> int | Refusal:
    """Add these pieces, the ``first`` of which is that writer's piece of this number, from 0. Answers how many pieces
    of the writer's there are then, or why there can be no more: no run, one that has ended, one that writes itself.

    Raises:
        TooLarge: the stream has more than 16 MiB.
    """
    if (refusal := refused(tx, run_id, name)) is not None:
        return refusal
    there = standing(tx, run_id, name, writer)
    fresh = values[max(0, there.mine - first) :]
    size = there.size + sum(max(LEAST, size_of(value)) for value in fresh)
    check_size(size, STREAM_LIMIT, what="The stream", limit="the limit for what is written from outside")
    pieces = [Piece(run_id, name, seq, writer, value) for seq, value in enumerate(fresh, there.seq + 1)]
    if pieces:
        tx.batch("add_chunks", pieces)
    return there.mine + len(pieces)


def refused(tx: Tx, run_id: str, name: str) -> Refusal | None:
    """Why nothing can be added; if it can, the run is locked."""
    if not tx.rows("lock_told", ids=[run_id]):
        return "ended" if tx.rows("lock_told_done", ids=[run_id]) else "unknown"
    last = tx.rows("last_chunks", run_id=run_id, name=name, n=1)
    return "own" if last and last[0][2] != CLAIM else None


def standing(tx: Tx, run_id: str, name: str, writer: str) -> Standing:
    """How far the stream is."""
    return Standing(*tx.rows("outside_chunks", run_id=run_id, name=name, writer=writer, least=LEAST)[0])
