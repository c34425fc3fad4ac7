"""A user's transaction that stays open for a minute delays nobody else's runs.

Each test opens a transaction, triggers in it with everything that a trigger can say, and leaves it open while others go
about their work: they trigger the same tasks into the same queues, claim, end, cancel, deploy, sweep and prune. What
waits for a lock waits for two seconds and fails, so nothing may take as long as one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from holdfast import AttemptLost, Debounce, Holdfast, IdempotencyBusy, Queue, RunNotFound
from holdfast.context import Attempt, running
from holdfast.engine import cancel, catalogue, due, reap, workers
from holdfast.records import Claimed, QueueEntry
from holdfast.storage import Store
from holdfast.upkeep import Upkeep
from tests.engine.making import Hand, override, promote, tell

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
Connection = psycopg.Connection[Any]

QUEUE = Queue("orders", concurrency_limit=10, concurrency_limit_per_key=1)
BIG = "x" * 20_000
SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)

    @app.task(queue=QUEUE)
    def ship(order: str) -> str:
        return order

    app.client.store.run_sync(catalogue.announce, [ship.entry()], [QUEUE.entry()])
    yield app
    app.close()


@pytest.fixture
def ship(app: Holdfast) -> Any:
    return app.tasks["ship"]


@pytest.fixture
def store(app: Holdfast) -> Store:
    return app.client.store


def in_sql(connection: Connection, **options: Any) -> Any:
    said = json.dumps(options)
    return connection.execute("SELECT holdfast.trigger('ship', '\"x\"', %s)", (said,)).fetchone()


# What a user's transaction may hold. Each is told the app's task and the connection.
HELD: dict[str, Callable[[Any, Connection], Any]] = {
    "a plain run": lambda ship, c: ship.trigger("x", connection=c),
    "runs of every kind": lambda ship, c: ship.trigger(
        BIG, connection=c, concurrency_key="ada", idempotency_key="mine", tags=["t"], metadata={"n": 1}, ttl="1h"
    ),
    "a batch": lambda ship, c: ship.batch_trigger(["x", ship.item("y", queue="fresh", delay="1s")], connection=c),
    "new names": lambda ship, c: ship.trigger("x", connection=c, queue="fresh"),
    "a key whose time was over": lambda ship, c: ship.trigger("x", connection=c, idempotency_key="old"),
    "a new burst": lambda ship, c: ship.trigger("x", connection=c, debounce=Debounce(key="mine", delay="1h")),
    "a burst after another": lambda ship, c: ship.trigger("x", connection=c, debounce=Debounce(key="over", delay="1h")),
    "a key that is known": lambda ship, c: ship.trigger("x", connection=c, idempotency_key="known"),
    "a burst that goes on": lambda ship, c: ship.trigger("x", connection=c, debounce=Debounce(key="old", delay="1h")),
    "a plain run, in SQL": lambda ship, c: in_sql(c),
    "new names, in SQL": lambda ship, c: in_sql(c, queue="fresh"),
    "runs of every kind, in SQL": lambda ship, c: in_sql(
        c, concurrency_key="ada", idempotency_key="mine", tags=["t"], scheduled_for=SOON.isoformat()
    ),
    "a key whose time was over, in SQL": lambda ship, c: in_sql(c, idempotency_key="old"),
    "a burst that goes on, in SQL": lambda ship, c: in_sql(c, debounce={"key": "old", "delay": "1h"}),
}


@pytest.fixture(params=HELD)
def held(request: pytest.FixtureRequest, database_url: str, ship: Any, store: Store) -> Iterator[Connection]:
    """A transaction that stays open. Before it there were keys, and bursts, that it may come upon."""
    hand = Hand(store, "ship")
    ship.trigger("x", idempotency_key="old", idempotency_ttl="1ms")
    promote(store)
    assert hand.end(hand.claim_one()) == []
    ship.trigger("x", idempotency_key="known", delay="1h")
    ship.trigger("x", debounce=Debounce(key="old", delay="1h"))
    ship.trigger("x", debounce=Debounce(key="over", delay="1h")).cancel()
    store.run_sync(workers.stop, hand.id)
    with closing(psycopg.connect(database_url)) as connection:
        HELD[request.param](ship, connection)
        yield connection
        connection.commit()


WAITING = """
SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
AND clock_timestamp() - query_start > interval '1 second'"""


@contextmanager
def at_once(store: Store) -> Iterator[None]:
    """Nobody waits for a lock meanwhile. Whoever did would for two seconds, so it is enough to look now and then."""
    over = threading.Event()
    waited: list[Any] = []

    def look() -> None:
        with closing(psycopg.connect(store.url, autocommit=True)) as connection:
            while not over.wait(0.2):
                waited.extend(connection.execute(WAITING).fetchall())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
    assert waited == []


def test_others_runs_go_on(held: Connection, ship: Any, store: Store) -> None:
    """From the trigger to the result, with the same names, keys of the same tenant, and in lanes with limits."""
    with at_once(store):
        runs = [
            ship.trigger("a"),
            ship.trigger("b", concurrency_key="ada"),
            ship.trigger("c", idempotency_key="other", tags=["t"]),
            ship.trigger("d", queue="fresh"),
            *ship.batch_trigger(["e", BIG]).runs,
        ]
        ship.trigger("f", debounce=Debounce(key="other", delay="1ms"))
    hand = Hand(store, "ship")
    with at_once(store):
        time.sleep(0.01)
        store.run_sync(due.go_on)
        promote(store)
        claimed = hand.claim()
        assert {run.id for run in runs} <= {run.id for run in claimed}
        assert len(claimed) == len(runs) + 1
    with at_once(store):
        for run in claimed:
            hand.say(run, "still here")
        tell(store, *claimed, n=1)
        hand.retry(claimed[0])
        hand.give_back(claimed[1])
        assert hand.end(*claimed[2:]) == []
    with at_once(store):
        assert set(store.run_sync(cancel.cancel, [claimed[0].id, claimed[1].id]).values()) == {"canceled"}


def test_upkeep_goes_on(held: Connection, ship: Any, store: Store) -> None:
    hand = Hand(store, "ship")
    ship.batch_trigger(["a", "b", "c"])
    promote(store)
    first, *others = hand.claim()
    hand.end(first)
    hand.gone()
    upkeep = Upkeep(store, retention_ms=-1000)
    with at_once(store):
        upkeep.sweep()
    with at_once(store):
        upkeep.lanes()
    with at_once(store):
        upkeep.prune()
    with at_once(store):
        store.run_sync(reap.tidy, 0)
    assert {run.id for run in Hand(store, "ship").claim_suspects()} == {run.id for run in others}


def test_a_deploy_goes_on(held: Connection, app: Holdfast, ship: Any, store: Store, request: Any) -> None:
    with at_once(store):
        store.run_sync(catalogue.announce, [ship.entry()], [QueueEntry(name="orders", concurrency_limit=3)])
        store.run_sync(catalogue.ensure_names, [QueueEntry(name="fresh")], [("fresh", "ship"), ("orders", "ship")])
        app.trigger("another", 1)
        assert store.run_sync(catalogue.pause, "orders")
        assert store.run_sync(catalogue.resume, "orders")
    if "goes on" not in request.node.name:  # the run that is pushed back is locked: its queue is relaned afterwards
        with at_once(store):
            override(store, "orders", 5)


def test_other_users_transactions_go_on(held: Connection, database_url: str, ship: Any, store: Store) -> None:
    with closing(psycopg.connect(database_url)) as connection, at_once(store):
        handle = ship.trigger("x", connection=connection, idempotency_key="another", queue="fresh", tags=["t"])
        ship.trigger("y", connection=connection, debounce=Debounce(key="another", delay="1h"))
        connection.execute("SELECT holdfast.trigger('ship', '1', '{\"queue\": \"fresh\"}')")
        connection.commit()
        handle.retrieve()


def test_slots_are_not_taken_by_what_is_not_committed(database_url: str, ship: Any, store: Store) -> None:
    with closing(psycopg.connect(database_url)) as connection:
        mine = ship.trigger("x", connection=connection, concurrency_key="ada")
        theirs = ship.trigger("y", concurrency_key="ada")
        assert promote(store) == 1
        hand = Hand(store, "ship")
        (claimed,) = hand.claim()
        assert claimed.id == theirs.id
        connection.commit()
        assert promote(store) == 0  # the one slot of this key is in use
        hand.end(claimed)
        assert promote(store) == 1
        assert hand.claim_one().id == mine.id


def test_who_wants_the_same_key_is_told_so(database_url: str, ship: Any) -> None:
    """This one may wait: nobody can say which run the key stands for. It waits for two seconds, and is told."""
    with closing(psycopg.connect(database_url)) as connection, closing(psycopg.connect(database_url)) as second:
        handle = ship.trigger("x", connection=connection, idempotency_key="k")
        with pytest.raises(IdempotencyBusy, match="held by another transaction"):
            ship.trigger("y", idempotency_key="k")
        with pytest.raises(IdempotencyBusy) as caught:
            ship.trigger("y", connection=second, idempotency_key="k")
        assert isinstance(caught.value.__cause__, psycopg.errors.LockNotAvailable)
        second.rollback()
        connection.commit()
        assert ship.trigger("y", connection=second, idempotency_key="k") == handle


def test_who_waits_for_a_key_has_it_when_the_other_rolls_back(database_url: str, ship: Any) -> None:
    with closing(psycopg.connect(database_url)) as connection:
        ship.trigger("x", connection=connection, idempotency_key="k")
        connection.rollback()
        assert ship.trigger("y", idempotency_key="k").created


# -- inside a task ----------------------------------------------------------------------------------------------------


def inside(app: Holdfast, claimed: Claimed, call: Callable[[], Any]) -> Any:
    context = copy_context()
    context.run(running.set, Attempt(claimed, home=app.client))
    return context.run(call)


@pytest.fixture
def parent(ship: Any, store: Store) -> tuple[Hand, Claimed]:
    """An attempt, and the worker that holds it."""
    ship.trigger("parent")
    promote(store)
    hand = Hand(store, "ship")
    return hand, hand.claim_one()


def test_a_child_knows_its_parent(database_url: str, app: Holdfast, ship: Any, parent: Any) -> None:
    _, claimed = parent
    with closing(psycopg.connect(database_url)) as connection:
        child = inside(app, claimed, lambda: ship.trigger("child", connection=connection))
        connection.commit()
    run = child.retrieve()
    assert (run.parent_id, run.root_id) == (claimed.id, claimed.id)


def test_its_parent_is_not_held_up(database_url: str, app: Holdfast, ship: Any, store: Store, parent: Any) -> None:
    """While the transaction is open, the worker writes about the parent as ever, in rounds that others share."""
    hand, claimed = parent
    with closing(psycopg.connect(database_url)) as connection:
        child = inside(app, claimed, lambda: ship.trigger("child", connection=connection, idempotency_key="k"))
        with at_once(store):
            hand.say(claimed, "a line")
            tell(store, claimed, n=1)
            assert store.run_sync(cancel.cancel, [claimed.id]) == {claimed.id: "requested"}
        connection.commit()
        child.retrieve()
        inside(app, claimed, lambda: ship.trigger("another", connection=connection))
        with at_once(store):
            assert hand.end(claimed) == []
        with pytest.raises(psycopg.DatabaseError, match="no longer holds its run"):
            connection.commit()


@pytest.mark.parametrize("how", ["ends", "is handed back", "is retried", "is recovered"])
def test_an_attempt_that_loses_its_run_cannot_commit(
    database_url: str, app: Holdfast, ship: Any, store: Store, parent: Any, how: str
) -> None:
    """The fence is looked at when the transaction commits: what a zombie has triggered never happened."""
    hand, claimed = parent
    with closing(psycopg.connect(database_url)) as connection:
        connection.execute("CREATE TABLE orders (id int)")
        child = inside(app, claimed, lambda: ship.trigger("child", connection=connection, idempotency_key="k"))
        if how == "ends":
            hand.end(claimed)
        elif how == "is handed back":
            hand.give_back(claimed)
        elif how == "is retried":
            hand.retry(claimed)
        else:
            hand.gone()
            store.run_sync(reap.sweep)
        with pytest.raises(psycopg.DatabaseError, match="this attempt no longer holds its run") as caught:
            connection.commit()
        assert caught.value.sqlstate == "HF001"
        with pytest.raises(RunNotFound):
            child.retrieve()
        assert connection.execute("SELECT to_regclass('orders')").fetchone() == (None,)
        with pytest.raises(AttemptLost):
            inside(app, claimed, lambda: ship.trigger("late", connection=connection))
    assert ship.trigger("x", idempotency_key="k").created
