"""Rounds that the database refuses, loses or delays: nothing is forgotten, nothing is done twice, and only what is bad
is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from holdfast import AsyncContext
from holdfast.engine import claim, telling, workers
from holdfast.errors import (
    DatabaseError,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnavailable,
    IdempotencyBusy,
)
from tests.support.inside import Inside
from tests.support.ledger import until

Fault = Callable[[Any, tuple[Any, ...]], Exception | None]


class Faults:
    """Stands before a store's door for writing: ``before`` is asked before each transaction, ``after`` once it has been
    committed, and what they answer is raised in the place of its answer."""

    def __init__(self, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Fault = lambda f, args: None
        self.after: Fault = lambda f, args: None
        self.raised: list[Exception] = []
        door = inside.store.run

        async def run(f: Any, *args: Any, **kwargs: Any) -> Any:
            self.fail(self.before(f, args))
            answer = await door(f, *args, **kwargs)
            self.fail(self.after(f, args), answer)
            return answer

        monkeypatch.setattr(inside.store, "run", run)

    def fail(self, error: Exception | None, answer: Any = None) -> None:
        if error is not None:
            self.raised.append(error)
            raise error


@pytest.fixture
def faults(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Faults:
    monkeypatch.setattr("holdfast.worker.worker.BACKOFF_SECONDS", 0.3)
    return Faults(inside, monkeypatch)


def outcomes(f: Any, args: tuple[Any, ...]) -> list[Any]:
    """The outcomes that a transaction writes."""
    return [*args[1], *args[2]] if f is claim.exchange else []


@pytest.fixture
def counted(inside: Inside) -> tuple[Any, Counter[int]]:
    """A task, and how often it was carried out for each payload."""
    times: Counter[int] = Counter()

    @inside.app.task
    async def count(n: int) -> int:
        times[n] += 1
        return n

    return count, times


@pytest.mark.parametrize("kind", [DatabaseFull, DatabaseReadOnly, DatabaseUnavailable])
async def test_outcomes_wait_for_better_times(
    inside: Inside, faults: Faults, counted: Any, kind: type[DatabaseError]
) -> None:
    """The disk is full, or the server only reads, when runs end. Broken by taking a full disk for a bad outcome: what
    had been done was forgotten, and done again."""
    count, times = counted
    refusals = iter([kind("not now", do="wait")] * 3)
    faults.before = lambda f, args: next(refusals, None) if outcomes(f, args) else None
    inside.start()
    batch = await count.abatch_trigger(range(20))
    assert (await batch.aresults(timeout=30)).outputs() == list(range(20))
    assert len(faults.raised) == 3
    assert set(times.values()) == {1}


async def test_an_outage_while_outcomes_are_written_one_by_one_forgets_none(
    inside: Inside, faults: Faults, counted: Any
) -> None:
    """Broken by keeping only the outcome at which the outage was noticed."""
    count, times = counted
    trouble: list[Exception | None] = [RuntimeError("the round is refused"), None, None, DatabaseFull("now this")]
    faults.before = lambda f, args: trouble.pop(0) if outcomes(f, args) and trouble else None
    batch = await count.abatch_trigger(range(20))
    inside.start()
    assert (await batch.aresults(timeout=30)).outputs() == list(range(20))
    assert len(faults.raised) == 2
    assert set(times.values()) == {1}


async def test_only_an_outcome_that_is_itself_refused_is_told(inside: Inside, faults: Faults, counted: Any) -> None:
    count, times = counted
    batch = await count.abatch_trigger(range(20))
    bad = batch.runs[7].id

    def refuse(f: Any, args: tuple[Any, ...]) -> Exception | None:
        hit = any(run.id == bad and getattr(run, "output", None) for run in outcomes(f, args))
        return DatabaseError("it does not like this one") if hit else None

    faults.before = refuse
    inside.start()
    results = await batch.aresults(timeout=30)
    assert [run.status for run in results] == ["completed"] * 7 + ["system_failure"] + ["completed"] * 12
    assert "it does not like this one" in results[7].error.message
    assert set(times.values()) == {1}


async def test_no_run_fails_for_its_log(inside: Inside, faults: Faults) -> None:
    """Broken by writing a run's lines and its outcome in one piece."""

    @inside.app.task
    async def says(n: int) -> int:
        print("bad" if n == 1 else "good")
        return n

    def refuse(f: Any, args: tuple[Any, ...]) -> Exception | None:
        lines = args[3] if f is claim.exchange else args[0] if f is claim.write_logs else []
        return UnicodeEncodeError("utf-8", "x", 0, 1, "bad") if any("bad" in line.message for line in lines) else None

    faults.before = refuse
    inside.start()
    batch = await says.abatch_trigger(range(3))
    results = await batch.aresults(timeout=30)
    assert results.outputs() == [0, 1, 2]
    assert [[line.message for line in (await run.aretrieve()).logs] for run in batch.runs] == [["good"], [], ["good"]]


async def test_a_round_that_fails_for_no_known_reason_is_tried_again(
    inside: Inside, faults: Faults, counted: Any
) -> None:
    """Broken by letting it pass: the process ended, and what it held was taken to have crashed."""
    count, times = counted
    trouble: Iterator[Exception] = iter([RuntimeError("nobody expected this")] * 3)
    faults.before = lambda f, args: next(trouble, None) if f is claim.exchange else None
    worker = inside.start()
    assert (await inside.run(count, 1)).output == 1
    assert times[1] == 1
    assert not inside.workers[worker].done()


async def test_the_outcome_whose_answer_was_lost_is_not_told_twice(
    inside: Inside, faults: Faults, counted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It was committed. Sending it again finds that the run has moved on, which is no news to anybody."""
    count, times = counted
    losses = iter([DatabaseUnavailable("the answer is lost")])
    faults.after = lambda f, args: next(losses, None) if outcomes(f, args) else None
    inside.start()
    assert (await inside.run(count, 1)).output == 1
    assert (await inside.run(count, 2)).output == 2
    assert len(faults.raised) == 1
    assert times == {1: 1, 2: 1}
    assert "has moved on" not in caplog.text


async def test_a_claim_whose_answer_is_lost_is_handed_back_at_once(
    inside: Inside, faults: Faults, counted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The transaction was committed, nobody heard of it, and the worker is alive and beats: no lease ends. Broken by
    comparing never: the runs were executing for as long as the worker lived."""
    count, times = counted
    lost: list[str] = []

    def lose(f: Any, args: tuple[Any, ...]) -> Exception | None:
        held = inside.store.read_sync(claim.held, args[0].me) if f is claim.exchange else []
        if held and not lost:
            lost.extend(run_id for run_id, _ in held)
            return DatabaseUnavailable("the answer is lost")
        return None

    faults.after = lose
    worker = inside.start()
    batch = await count.abatch_trigger(range(5))
    results = await batch.aresults(timeout=4.5)
    assert lost
    assert results.outputs() == [0, 1, 2, 3, 4]
    assert set(times.values()) == {1}
    assert [run.attempts for run in results] == [1] * 5
    assert "claimed by an answer that never arrived" in caplog.text
    assert worker.me


async def test_strays_of_a_claim_that_came_through_late_are_found(inside: Inside, counted: Any) -> None:
    """A statement may reach the server after the worker has compared, through a network that held it up: what the
    database says it holds is read again and again. Broken by not reading it with the orders."""
    count, times = counted
    worker = inside.start()
    await inside.run(count, 0)
    ready = worker.hold.settings
    worker.hold.settings = ready._replace(concurrency=-1000)  # it asks for nothing
    handle = await count.atrigger(1)
    ask = claim.Ask(worker.me, worker.routes, 1)
    assert [run.id for run in (await inside.store.run(claim.exchange, ask, [], [], [])).claimed] == [handle.id]
    worker.hold.settings = ready
    run = await inside.ended(handle)
    assert (run.output, run.attempts, times[1]) == (1, 1, 1)


@contextmanager
def locked(url: str, run_id: str) -> Iterator[None]:
    """Somebody's transaction that has a run locked and stays open, as a trigger inside a user's transaction does."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1 FROM holdfast.run WHERE id = %s FOR SHARE", (run_id,))
        yield


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite has no row locks
async def test_a_lock_in_the_way_holds_up_nobody_else(
    inside: Inside, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by not knowing what a lock timeout is, and the worker ended; and by taking it for an outage, and no other
    outcome was written, nor anything claimed, for as long as the lock was held."""
    monkeypatch.setattr("holdfast.worker.outbox.ASIDE_SECONDS", 0.5)
    count, times = counted
    go = asyncio.Event()

    @inside.app.task
    async def waits(n: int, ctx: AsyncContext) -> int:
        ctx.metadata["n"] = n
        await go.wait()
        ctx.metadata["n"] = n + 1
        return n

    worker = inside.start()
    held, other = await waits.atrigger(1), await waits.atrigger(2)
    await until(lambda: len(worker.hold.held) == 2)
    with locked(inside.database, held.id):
        go.set()
        assert (await inside.ended(other)).output == 2
        assert (await inside.run(count, 3)).output == 3
        assert (await held.aretrieve()).status == "executing"
    run = await inside.ended(held)
    assert (run.output, run.metadata["n"], times) == (1, 2, {3: 1})


async def test_metadata_that_was_on_its_way_in_an_outage_is_written_later(inside: Inside, faults: Faults) -> None:
    """Broken by forgetting what had been taken from the context: neither the running nor the finished run showed it."""
    go = asyncio.Event()

    @inside.app.task
    async def shows(n: int, ctx: AsyncContext) -> int:
        ctx.metadata["row"] = n
        await go.wait()
        return n

    refused = asyncio.Event()

    def refuse(f: Any, args: tuple[Any, ...]) -> Exception | None:
        if f is telling.write:
            refused.set()
            return DatabaseUnavailable("away")
        return None

    faults.before = refuse
    inside.start()
    handle = await shows.atrigger(7)
    await asyncio.wait_for(refused.wait(), 30)
    go.set()
    run = await inside.ended(handle)
    assert dict(run.metadata) == {"row": 7}


async def test_a_worker_that_cannot_register_tries_until_it_can(inside: Inside, faults: Faults, counted: Any) -> None:
    """At its start, and when it comes back under a new name. Broken by trying again only when the database was away:
    a full disk ended the process."""
    count, _ = counted
    refusals = iter([DatabaseFull("full"), IdempotencyBusy("locked"), DatabaseReadOnly("reads")])
    faults.before = lambda f, args: next(refusals, None) if f is workers.register else None
    worker = inside.start()
    assert (await inside.run(count, 1)).output == 1
    assert len(faults.raised) == 3

    first = worker.me
    refusals = iter([DatabaseFull("full"), DatabaseUnavailable("away"), DatabaseError("odd"), RuntimeError("odder")])
    await inside.store.run(workers.declare_gone, first)
    assert (await inside.run(count, 2)).output == 2
    assert worker.me != first
    assert len(faults.raised) == 7


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_full_disk_is_waited_for_on_sqlite(inside: Inside, counted: Any) -> None:
    """The real thing: the file may not grow any more, and then it may."""
    _, times = counted

    @inside.app.task
    async def big(n: int) -> str:
        times[n] += 1
        return "x" * 1_000_000

    worker = inside.start(concurrency=2)
    handle = await big.atrigger(1)
    await inside.store.run(lambda tx: tx.script("PRAGMA max_page_count = 1"))  # as many as there are: no more
    await until(lambda: times[1] and worker.doubtful)
    await inside.store.run(lambda tx: tx.script("PRAGMA max_page_count = 1000000"))
    run = await inside.ended(handle)
    assert (len(run.output), times[1]) == (1_000_000, 1)
