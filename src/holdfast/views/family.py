"""The family of a run: which run has triggered it, which one is at the top, and what it has triggered itself.

A tree is read from its top, a bounded number of runs: the way down to the run that is asked for, and then whatever is
nearest to the top.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator, Mapping
from typing import Final, NamedTuple

from holdfast.records import RunRecord
from holdfast.storage import Tx
from holdfast.views.detail import heads
from holdfast.views.lists import Listed, listed_runs

CHILDREN: Final = 100
BREADTH: Final = 20  # of the children of one run that a tree has
ASKED: Final = 40  # runs of a tree that are asked what they have triggered
DEPTH: Final = 20


class Family(NamedTuple):
    """The runs around one; of its children the first hundred, those that it made first."""

    parent: RunRecord | None
    root: RunRecord | None
    children: list[RunRecord]


class Twig(NamedTuple):
    """A run in a tree, ``depth`` below its top. ``more``: it has triggered more than the tree has."""

    run: Listed
    depth: int
    more: bool


def tree(tx: Tx, run_id: str) -> list[Twig]:
    """The whole family of a run, each run before what it has triggered; only itself, if it has none."""
    path = way(tx, run_id)
    made: dict[str, list[str]] = {}
    more: set[str] = set()
    waiting = deque(path)
    while waiting and len(made) < ASKED:
        each = waiting.popleft()
        if each in made:
            continue
        found = first_children(tx, each, BREADTH + 1)
        if len(found) > BREADTH:
            more.add(each)
        below = set(path[path.index(each) + 1 :][:1]) if each in path else set()
        made[each] = sorted({*found[:BREADTH], *below})
        waiting.extend(made[each])
    known = {each.id: each for each in listed_runs(tx, [*{*path, *(each for ids in made.values() for each in ids)}])}
    return list(twigs(path[0], 0, made, more, known))


def way(tx: Tx, run_id: str) -> list[str]:
    """The ids from the top down to this run, as far as the runs are still there."""
    found: list[str] = []
    wanted: str | None = run_id
    while wanted is not None and len(found) < DEPTH:
        here = heads(tx, [wanted])
        if not here:
            break
        found.insert(0, wanted)
        wanted = here[0].parent_id
    return found or [run_id]


def twigs(
    run_id: str, depth: int, made: Mapping[str, list[str]], more: Container[str], known: Mapping[str, Listed]
) -> Iterator[Twig]:
    if run_id in known:
        yield Twig(known[run_id], depth, run_id in more)
        for each in made.get(run_id, ()):
            yield from twigs(each, depth + 1, made, more, known)


def first_children(tx: Tx, run_id: str, n: int) -> list[str]:
    return sorted(row[0] for row in tx.rows("children_of", id=run_id, n=n))[:n]


def family(tx: Tx, run: RunRecord) -> Family:
    """The family of this run, as far as it is still there."""
    children = first_children(tx, run.id, CHILDREN)
    above = [each for each in (run.parent_id, run.root_id) if each is not None]
    known = {each.id: each for each in heads(tx, [*dict.fromkeys(above), *children])}
    return Family(
        known.get(run.parent_id or ""),
        known.get(run.root_id or ""),
        [known[each] for each in children if each in known],
    )
