"""PostgreSQL: sessions end, wires are cut, and servers restart. The next call works; what is in doubt is said to be."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import psycopg
import pytest

from holdfast import storage
from holdfast.engine import claim, trigger
from holdfast.engine.claim import Ask
from holdfast.errors import DatabaseUnavailable
from holdfast.records import NewRun
from holdfast.storage import Deferred, Store, Tx, repeatable
from tests.engine.making import Hand, know, look, new, send, status
from tests.storage.notes import get, put, there
from tests.storage.proxy import Proxy

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as wire:
        yield wire


@pytest.fixture
def far(proxy: Proxy) -> Iterator[Store]:
    """A store behind a wire that can be cut."""
    opened = storage.open(proxy.url)
    yield opened
    opened.close()


def end_sessions(url: str) -> int:
    """Terminate every session of ours, as an administrator or a restart does."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'holdfast'"
        ).fetchall()
    return len(rows)


def warm(store: Store, threads: int = 4) -> None:
    """Have every thread open its connection."""
    barrier = threading.Barrier(threads)

    def together(tx: Tx) -> None:
        tx.now()
        barrier.wait(30)

    for future in [store.submit(together) for _ in range(threads)]:
        future.result(30)


def test_the_next_calls_work_after_the_sessions_were_terminated(store: Store, database_url: str) -> None:
    warm(store)
    assert end_sessions(database_url) == 4
    barrier = threading.Barrier(4)

    def write(tx: Tx, key: str) -> str:
        put(tx, key)
        barrier.wait(30)  # all four threads at once: each has a dead connection to find out about
        return key

    futures = [store.submit(lambda tx, n=n: write(tx, f"note {n}")) for n in range(4)]  # type: ignore[misc]
    assert [future.result(30) for future in futures] == [f"note {n}" for n in range(4)]


def test_a_workers_round_works_after_its_session_was_terminated(store: Store, database_url: str) -> None:
    # A round sends its commit with its first statement: it must not begin on a session that has ended.
    know(store)
    hand = Hand(store)
    send(store, new())
    routes = hand.routes
    warm(store)
    assert end_sessions(database_url) == 4
    for _ in range(4):
        store.run_sync(claim.exchange, Ask(hand.id, routes, 1, 1), [], [], [])


def test_a_transaction_that_is_cut_before_its_commit_is_run_again(far: Store, proxy: Proxy) -> None:
    ran: list[int] = []

    def write(tx: Tx) -> str:
        ran.append(1)
        put(tx, "a")
        if len(ran) == 1:
            proxy.cut()
            tx.now()
        return "done"

    assert far.run_sync(write) == "done"
    assert len(ran) == 2
    assert there(far, "a") == [True]


def test_a_pipeline_that_is_cut_off_is_no_news(far: Store, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """psycopg warns of each, on stderr where nobody has set up logging; the caller is told by us, if it matters."""
    ran: list[int] = []

    def write(tx: Tx) -> Deferred[str]:
        ran.append(1)
        put(tx, "a")
        if len(ran) == 1:
            proxy.cut()
            tx.now()
        return Deferred(lambda: "done")

    assert far.run_sync(write) == "done"
    assert [record for record in caplog.records if record.name == "psycopg"] == []
    logging.getLogger("psycopg").warning("error ignored terminating %r: %s", "a pipeline of somebody else", "lost")
    assert "somebody else" in caplog.text


def test_a_commit_whose_answer_was_lost_is_run_again_if_it_may_be(far: Store, proxy: Proxy) -> None:
    ran: list[int] = []

    @repeatable
    def write(tx: Tx) -> Deferred[str]:
        ran.append(1)
        answer = tx.send("now")
        proxy.losing = len(ran) == 1
        return Deferred(lambda: "done" if answer.rows() else "")

    assert far.run_sync(write) == "done"
    assert len(ran) == 2


def test_a_commit_whose_answer_was_lost_is_in_doubt_if_it_may_not_be_run_again(far: Store, proxy: Proxy) -> None:
    ran: list[int] = []

    def write(tx: Tx) -> str:
        ran.append(1)
        put(tx, "a", "kept")
        proxy.lose_answer()
        return "done"

    with pytest.raises(DatabaseUnavailable):
        far.run_sync(write)
    assert len(ran) == 1
    assert far.read_sync(get, "a") == "kept"  # it was committed, and the caller could not know


def test_a_read_whose_answer_was_lost_is_asked_again(far: Store, proxy: Proxy) -> None:
    far.run_sync(put, "a", "text")
    proxy.lose_answer()
    assert far.read_sync(get, "a") == "text"


def test_a_trigger_whose_answer_was_lost_makes_one_run(far: Store, proxy: Proxy) -> None:
    know(far)
    run, hand = new(), Hand(far)
    proxy.lose_answer()  # the statement is all of its transaction: what is lost is the word that it was committed
    assert trigger_one(far, run) == (run.id, True)
    assert [one.id for one in hand.claim()] == [run.id]


def test_a_trigger_whose_answer_was_lost_makes_no_second_run_when_the_first_has_ended(far: Store, proxy: Proxy) -> None:
    know(far)
    hand = Hand(far)
    run = new()
    send(far, run)
    hand.end(hand.claim_one())
    assert trigger_one(far, run) == (run.id, True)  # what the door does when it runs it again, after the run has ended
    assert hand.claim() == []
    assert status(far, run.id) == "completed"


def trigger_one(store: Store, run: NewRun) -> tuple[str, bool]:
    made = store.gather(trigger.trigger, run).result(30)
    return made.id, made.created


def test_a_claim_whose_answer_was_lost_is_found_among_the_strays(far: Store, proxy: Proxy) -> None:
    know(far)
    hand = Hand(far)
    (run,) = send(far, new())
    routes = hand.routes
    proxy.lose_answer()
    with pytest.raises(DatabaseUnavailable):
        far.run_sync(claim.exchange, Ask(hand.id, routes, 1, 1), [], [], [])
    assert status(far, run) == "executing"
    assert far.read_sync(claim.held, hand.id) == [(run, 1)]


def test_while_the_server_is_away_callers_are_told_and_afterwards_served(far: Store, proxy: Proxy) -> None:
    warm(far)
    proxy.down()
    for _ in range(5):
        with pytest.raises(DatabaseUnavailable):
            far.run_sync(put, "a")
    proxy.up()
    assert [far.run_sync(put, f"note {n}") for n in range(5)] == [f"note {n}" for n in range(5)]


def test_members_of_a_group_are_told_that_the_server_is_away(far: Store, proxy: Proxy) -> None:
    know(far)
    warm(far)
    proxy.down()
    futures = [far.gather(trigger.trigger, new()) for _ in range(20)]
    assert all(isinstance(future.exception(30), DatabaseUnavailable) for future in futures)
    proxy.up()
    run = new()
    assert far.gather(trigger.trigger, run).result(30).id == run.id
    assert look(far, run.id).status == "queued"
