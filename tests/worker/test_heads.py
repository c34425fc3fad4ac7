"""Where a worker looks for runs: from where the lines began a moment ago, and now and then from their beginning."""

from __future__ import annotations

import time

import pytest

from holdfast.engine.trigger import route_id
from holdfast.storage import Store
from holdfast.worker.pace import LOOK_SECONDS, NEVER, Heads
from tests.engine.making import Hand, know, new, send
from tests.support.inside import Inside


def test_a_line_that_gave_nothing_begins_where_it_did(store: Store) -> None:
    know(store)
    send(store, new())
    run = Hand(store).claim_one()
    heads, names = Heads(), {int(run.queue): "task/greet"}
    route = route_id("task/greet", "greet", None)
    assert heads.known() == {}
    assert heads.learn([run], names) == 1
    assert heads.learn([], names) == 0
    assert heads.known() == {route: run.sort_at}


def test_after_a_look_from_there_comes_one_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    heads = Heads()
    heads.since = {1: 5}
    assert (heads.known(), heads.patience()) == ({}, NEVER)
    now += LOOK_SECONDS / 5
    assert heads.known() == {1: 5}
    assert heads.patience() == pytest.approx(4 * LOOK_SECONDS / 5)
    now += LOOK_SECONDS
    assert (heads.patience(), heads.known(), heads.patience()) == (0, {}, NEVER)


async def test_what_came_in_before_the_head_is_found_soon(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody calls it a second time, and the worker would sleep for a minute."""
    monkeypatch.setattr("holdfast.worker.worker.POLL_SECONDS", 60.0)
    monkeypatch.setattr("holdfast.worker.worker.BLIND_POLL_SECONDS", 60.0)

    @inside.app.task
    async def greet(n: int) -> int:
        return n

    worker = inside.start()
    assert (await inside.run(greet, 1)).output == 1
    known = worker.heads.known
    looks = 0

    def known_late() -> object:
        nonlocal looks
        looks += 1
        if looks < 3:  # as if the line had begun much later a moment ago
            worker.heads.since = dict.fromkeys(worker.routes, 2**62)
            worker.heads.looked_at = time.monotonic()
        return known()

    monkeypatch.setattr(worker.heads, "known", known_late)
    assert (await inside.run(greet, 2, timeout=20)).output == 2
    assert looks >= 3 or inside.store.kind == "sqlite"
