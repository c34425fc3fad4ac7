"""The family of a run, as a tree."""

from __future__ import annotations

from holdfast.engine import trigger
from holdfast.ids import new_id
from holdfast.records import NewRun
from holdfast.storage import Store
from holdfast.views.family import BREADTH, tree


async def made(store: Store, parent: str | None, root: str | None, n: int = 1) -> list[str]:
    runs = [
        NewRun(id=new_id(), task="t", queue="task/t", payload="1", parent_id=parent, root_id=root) for _ in range(n)
    ]
    await store.run(trigger.trigger, runs)
    return [run.id for run in runs]


async def test_a_tree_is_read_from_its_top_whoever_asks(store: Store) -> None:
    (root,) = await made(store, None, None)
    left, right = await made(store, root, root, 2)
    (below,) = await made(store, left, root)
    wanted = [(root, 0), (left, 1), (below, 2), (right, 1)]
    for each in (root, left, right, below):
        assert [(twig.run.id, twig.depth) for twig in await store.read(tree, each)] == wanted
    (alone,) = await made(store, None, None)
    assert [twig.run.id for twig in await store.read(tree, alone)] == [alone]
    assert await store.read(tree, "unknown") == []


async def test_a_large_tree_has_the_way_to_who_asks_and_says_that_there_is_more(store: Store) -> None:
    (root,) = await made(store, None, None)
    children = await made(store, root, root, BREADTH * 3)
    (last,) = await made(store, max(children), root)
    seen = await store.read(tree, last)
    assert len(seen) == 1 + BREADTH + 1 + 1
    assert [(twig.run.id, twig.depth) for twig in seen[-2:]] == [(max(children), 1), (last, 2)]
    assert [twig.run.id for twig in seen if twig.more] == [root]
