"""Whether a run, or a stream of it, has changed: marks to compare, cheap enough to be asked for many times a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from holdfast.storage import Tx
from holdfast.views.served import QUEUED, served

Followed = tuple[str, str | None]  # a run, and the name of one of its streams; None: the run itself


class Mark(NamedTuple):
    """How far something is: it has changed when this has. ``final`` says that it will not change any more."""

    final: bool
    facts: tuple[Any, ...]


class Stream(msgspec.Struct):
    """The columns of ``stream_ends``."""

    run_id: str
    name: str


def pulse(tx: Tx) -> str:
    """Another text whenever something may have been written."""
    return str(tx.rows("pulse")[0][0])


def marks(tx: Tx, followed: Sequence[Followed]) -> dict[Followed, Mark]:
    """The marks of all these; there is none for a run that is unknown."""
    runs = {row[0]: row[1:] for row in tx.rows("marks", ids=sorted({run_id for run_id, _ in followed}))}
    streams = [Stream(run_id, name) for run_id, name in followed if name is not None]
    ends = {(row[0], row[1]): tuple(row[2:]) for row in tx.batch("stream_ends", streams).rows()} if streams else {}
    live = served(tx) if any(row[1] in QUEUED for row in runs.values()) else None
    found: dict[Followed, Mark] = {}
    for each in followed:
        if each[0] in runs:
            final, state, task, queue, *facts = runs[each[0]]
            status = live.status(state, task, queue or "") if live is not None else state
            found[each] = Mark(bool(final), (status, *facts) if each[1] is None else ends.get(each, ()))
    return found
