"""The family of a run: which run has triggered it, which one is at the top, and what it has triggered itself."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.records import RunRecord
from holdfast.storage import Tx
from holdfast.views.detail import heads
from holdfast.views.lists import Listed, listed_runs

CHILDREN: Final = 100


class Family(NamedTuple):
    """The runs around one; of its children the first hundred, those that it made first."""

    parent: RunRecord | None
    root: RunRecord | None
    children: list[RunRecord]


def children(tx: Tx, run_id: str) -> list[Listed]:
    """What a run has triggered, as it stands in a list: the first hundred."""
    return listed_runs(tx, sorted(row[0] for row in tx.rows("children_of", id=run_id, n=CHILDREN))[:CHILDREN])


def family(tx: Tx, run: RunRecord) -> Family:
    """The family of this run, as far as it is still there."""
    children = sorted(row[0] for row in tx.rows("children_of", id=run.id, n=CHILDREN))[:CHILDREN]
    above = [each for each in (run.parent_id, run.root_id) if each is not None]
    known = {each.id: each for each in heads(tx, [*dict.fromkeys(above), *children])}
    return Family(
        known.get(run.parent_id or ""),
        known.get(run.root_id or ""),
        [known[each] for each in children if each in known],
    )
