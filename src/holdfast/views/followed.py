"""Who belongs to what is followed: the runs with some tags, the runs of a batch; and how all of them stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from holdfast.ids import least_id
from holdfast.storage import Tx
from holdfast.views.marks import Mark, marks

MEMBERS = 1_000  # runs of one group, the newest
AT_ONCE = 5_000  # runs in one question


class Group(NamedTuple):
    """Runs that are followed together: those with all of these ``tags``, or those of a ``batch``; made since then."""

    tags: tuple[str, ...] = ()
    batch: str | None = None
    since: int = 0


class Wanted(msgspec.Struct):
    """The columns of ``members_tagged`` and ``members_of_batch``."""

    place: int
    name: str
    floor: str


def members(tx: Tx, groups: Sequence[Group]) -> list[list[str]]:
    """The runs of each of these groups, the newest ``MEMBERS`` of them."""
    tagged = [Wanted(n, each.tags[0], least_id(each.since)) for n, each in enumerate(groups) if each.tags]
    batched = [Wanted(n, each.batch, least_id(each.since)) for n, each in enumerate(groups) if each.batch is not None]
    found: list[list[str]] = [[] for _ in groups]
    for name, wanted in (("members_tagged", tagged), ("members_of_batch", batched)):
        for place, run_id in tx.batch(name, wanted).rows() if wanted else ():
            found[place].append(run_id)
    return [with_all_tags(tx, each, group.tags) for each, group in zip(found, groups, strict=True)]


def with_all_tags(tx: Tx, ids: list[str], tags: Iterable[str]) -> list[str]:
    wanted = set(tags)
    if len(wanted) < 2 or not ids:
        return ids
    have: dict[str, set[str]] = {}
    for run_id, tag in tx.rows("tags_of", ids=ids):
        have.setdefault(run_id, set()).add(tag)
    return [run_id for run_id in ids if wanted <= have.get(run_id, set())]


def standing(tx: Tx, ids: Sequence[str]) -> dict[str, Mark]:
    """How these runs stand; there is nothing for one that is unknown."""
    found: dict[str, Mark] = {}
    for start in range(0, len(ids), AT_ONCE):
        part = marks(tx, [(run_id, None) for run_id in ids[start : start + AT_ONCE]])
        found |= {run_id: mark for (run_id, _), mark in part.items()}
    return found


def stream_names(tx: Tx, run_id: str) -> list[str]:
    """The names of the streams of a run."""
    return [row[0] for row in tx.rows("stream_names", run_id=run_id)]


__all__ = ["AT_ONCE", "MEMBERS", "Group", "members", "standing", "stream_names"]
