"""Children that are carried out where their parent is: claimed when they are made, where that passes nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest

from holdfast import AsyncContext
from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, journal, reap, workers
from holdfast.errors import DatabaseUnavailable
from holdfast.records import Claimed, Ended, Here, NewRun
from holdfast.storage import Store
from holdfast.storage.runs import BLOB_BYTES
from holdfast.worker.coming import Coming
from tests.durable.telling import child, waits_for, write
from tests.engine.making import Hand, know, look, new, queue, send, state
from tests.support.inside import Inside

Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture
def hand(store: Store) -> Hand:
    know(store, queue("narrow", 5))
    return Hand(store, version="v1")


@pytest.fixture
def parent(store: Store, hand: Hand) -> Claimed:
    send(store, new())
    return hand.claim_one()


def make(store: Store, hand: Hand, parent: Claimed, *children: NewRun) -> list[Claimed]:
    """Make these children and claim those of them that may start."""
    here = Here(hand.id, frozenset(run.id for run in children))
    entry = waits_for(parent, *children)
    entry.here = here
    (made,) = write(store, entry)
    return made.claimed


# -- making


@pytest.mark.parametrize("payload", ['"Ada"', '"' + BLOB_BYTES * "a" + '"'], ids=["small", "big"])
def test_it_is_claimed_as_if_it_had_stood_in_line(
    store: Store, hand: Hand, parent: Claimed, clock: FrozenClock, payload: str
) -> None:
    said = {"payload": payload, "ttl_ms": 60_000, "priority_ms": 5_000, "concurrency_key": "ada", "tags": '["x"]'}
    said |= {"metadata": '{"a": 1}', "options": '{"max_attempts": 2}', "idempotency_key": "k1", "batch_id": "b1"}
    first, second = child(parent, "child#1", **said), child(parent, "child#2", **said | {"idempotency_key": "k2"})
    (at_once,) = make(store, hand, parent, first)
    write(store, waits_for(parent, second, key="child#2"))
    (in_line,) = hand.claim()
    assert at_once.id == first.id
    assert at_once == in_line._replace(id=first.id, idempotency_key="k1")


@pytest.mark.parametrize(
    ("what", "stands"),
    [("delayed", "delayed"), ("limited", "held"), ("paused", "ready"), ("draining", "ready"), ("lost", "ready")],
)
def test_what_may_not_start_stands_in_line(
    store: Store, hand: Hand, parent: Claimed, clock: FrozenClock, what: str, stands: str
) -> None:
    said: dict[str, Any] = {"delayed": {"delay_ms": 1000}, "limited": {"queue": "narrow"}}.get(what, {})
    run = child(parent, "child#1", **said)
    if what == "paused":
        store.run_sync(catalogue.pause, run.queue)
    elif what == "draining":
        store.run_sync(workers.drain, hand.id)
    elif what == "lost":
        hand.gone()
    assert make(store, hand, parent, run) == []
    assert state(store, run.id) == stands


def test_one_that_was_made_before_is_not_claimed(store: Store, hand: Hand, parent: Claimed) -> None:
    (earlier,) = send(store, new(idempotency_key="k"))
    run = child(parent, "child#1", idempotency_key="k")
    assert make(store, hand, parent, run) == []
    assert (state(store, run.id), state(store, earlier)) == (None, "ready")


def test_it_ends_and_its_parent_hears_of_it(store: Store, hand: Hand, parent: Claimed) -> None:
    (run,) = make(store, hand, parent, child(parent, "child#1"))
    assert run.awaited
    assert hand.exchange(ended=[Ended(run.id, run.claim, "completed", "1", awaited=True)]).told
    assert look(store, run.id).output == "1"


def test_one_whose_worker_dies_is_carried_out_by_another(store: Store, hand: Hand, parent: Claimed) -> None:
    (run,) = make(store, hand, parent, child(parent, "child#1"))
    hand.gone()
    store.run_sync(reap.sweep)
    assert run.id in {again.id for again in Hand(store).claim_suspects()}


# -- in a worker


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many children were taken at once, each time some were made."""
    numbers: list[int] = []
    choose = Coming.choose

    def noted(coming: Coming, runs: list[NewRun]) -> Here:
        here = choose(coming, runs)
        numbers.append(len(here.ids))
        return here

    monkeypatch.setattr(Coming, "choose", noted)
    return numbers


def family(inside: Inside) -> Any:
    @inside.app.task
    async def double(n: int) -> int:
        return 2 * n

    @inside.app.task
    async def parent(n: int, ctx: AsyncContext) -> list[int]:
        runs = await ctx.batch_trigger_and_wait(double, range(n))
        return [run.output for run in runs]

    return parent


async def test_a_worker_takes_what_it_will_start_at_once(
    inside: Inside, chosen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = family(inside)
    worker = inside.start(concurrency=3)
    assert (await inside.run(parent, 4)).output == [0, 2, 4, 6]
    monkeypatch.setattr(worker.hold.pace, "ahead", lambda: 10)
    assert (await inside.run(parent, 9)).output == list(range(0, 18, 2))
    monkeypatch.setattr(worker.hold.pace, "ahead", lambda: 6)
    assert (await inside.run(parent, 9)).output == list(range(0, 18, 2))
    assert chosen == [1, 9, 6]  # one, however long they may take; else as many as its pace says
    assert worker.hold.coming.ids == set()


@pytest.mark.parametrize("why", ["line", "pins", "full", "elsewhere"])
async def test_whoever_stands_in_line_goes_first(
    inside: Inside, chosen: list[int], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = family(inside)
    queues = ("task/parent",) if why == "elsewhere" else None
    worker = inside.worker(pins=why == "pins", version="v1", concurrency=1 if why == "full" else 3, queues=queues)
    if why == "line":
        monkeypatch.setattr(worker, "takes_over", lambda: False)
    if why == "elsewhere":
        inside.start(version="v1", queues=("task/double",))
    inside.start(worker)
    assert (await inside.run(parent, 2)).output == [0, 2]
    assert chosen == [0]


async def test_an_answer_that_never_comes(inside: Inside, eventually_async: Eventually) -> None:
    """They are made and claimed, and their worker does not hear of it: it finds them among what it holds."""
    parent = family(inside)
    worker = inside.start(concurrency=3)
    gather, failures = worker.store.gather, 1

    def lose(f: Any, item: Any) -> Future[Any]:
        nonlocal failures
        answer = gather(f, item)
        if f is not journal.write or not item.here.ids or not failures:
            return answer
        failures -= 1
        lost: Future[Any] = Future()
        answer.add_done_callback(lambda _: lost.set_exception(DatabaseUnavailable("gone", do="wait")))
        return lost

    worker.store.gather = lose  # type: ignore[method-assign,assignment]
    assert (await inside.run(parent, 3)).output == [0, 2, 4]
    assert (failures, worker.hold.coming.ids) == (0, set())


async def test_what_is_on_its_way_is_not_handed_back(inside: Inside) -> None:
    """The database says that this worker holds it before the worker has heard so."""
    parent = family(inside)
    worker = inside.start(concurrency=3)
    gather, seen = worker.store.gather, asyncio.Event()

    def hold_back(f: Any, item: Any) -> Future[Any]:
        answer = gather(f, item)
        if f is not journal.write or not item.here.ids:
            return answer
        late: Future[Any] = Future()

        async def later() -> None:
            made = await asyncio.wrap_future(answer)
            await worker.obey()
            assert not worker.outbox.again
            held, worker.hold.held = worker.hold.held, {}  # nor does the worker end meanwhile, if its parent has
            assert worker.hold.busy
            worker.hold.held = held
            seen.set()
            late.set_result(made)

        worker.later = worker.loop.create_task(later())  # type: ignore[attr-defined]
        return late

    worker.store.gather = hold_back  # type: ignore[method-assign,assignment]
    assert (await inside.run(parent, 1)).output == [0]
    assert seen.is_set()
