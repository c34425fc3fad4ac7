"""What readers ask of single runs, hot or final: each is in one place, and none is missed while it moves."""

from __future__ import annotations

import threading

from holdfast.engine import catalogue, read
from holdfast.records import QueueEntry, TaskEntry
from holdfast.storage import Store
from tests.engine.making import Hand, know, line, look, new, queue, send


def test_runs_come_in_the_order_asked_for_and_those_that_are_unknown_are_left_out(store: Store) -> None:
    know(store)
    hand = Hand(store)
    one, two, three = send(store, new(), new(), new())
    hand.end(hand.claim_one())
    assert [run.id for run in store.read_sync(read.runs, [three, "nobody", one, two])] == [three, one, two]
    assert store.read_sync(read.run, "nobody") is None
    assert store.read_sync(read.runs, []) == []


def test_a_final_run_tells_what_a_hot_one_told_and_how_it_ended(store: Store) -> None:
    know(store, queue("other"))
    hand = Hand(store)
    said = {
        "concurrency_key": "ada",
        "priority_ms": 5,
        "options": "{}",
        "tags": '["x"]',
        "batch_id": "b",
        "root_id": "r",
    }
    (run,) = send(store, new(queue="other", idempotency_key="k", metadata='{"n":0}', parent_id="p", **said))
    claimed = hand.claim_one()
    before = look(store, run)
    hand.end(claimed, output="[1]", metadata='{"n":1}')
    after = look(store, run)
    changed = {"status": "completed", "output": "[1]", "metadata": '{"n":1}', "finished_at": after.finished_at}
    assert after == before._replace(**changed)
    assert after.finished_at is not None
    assert after.finished_at >= (after.started_at or 0)


def test_only_the_final_ones(store: Store) -> None:
    know(store)
    hand = Hand(store)
    one, two, three = send(store, new(), new(), new())
    hand.end(*hand.claim(2))
    assert sorted(run.id for run in store.read_sync(read.finished, [three, two, one])) == [one, two]
    assert store.read_sync(read.finished, [three]) == []


def test_a_batch_is_found_whole_while_its_runs_end(store: Store) -> None:
    know(store)
    hand = Hand(store)
    made = send(store, *(new(batch_id="b") for _ in range(10)))
    hand.end(*hand.claim(4))
    assert store.read_sync(read.batch, "b") == made
    assert store.read_sync(read.batch, "another") == []


def test_log_lines_come_in_order_and_can_be_followed(store: Store) -> None:
    know(store)
    hand = Hand(store)
    (run,) = send(store, new())
    first = hand.claim_one()
    hand.say(first, "one", "two")
    hand.retry(first)
    second = hand.claim_one()
    hand.exchange(logs=[line(second, 2, "four"), line(second, 1, "three")])
    everything = store.read_sync(read.logs, run)
    assert [(entry.claim, entry.seq) for entry in everything] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    later = store.read_sync(read.logs, run, after=(1, 1), limit=2)
    assert [(entry.claim, entry.seq) for entry in later] == [(1, 2), (2, 1)]
    assert everything[0] == line(first, 1, "one")


def test_a_run_is_never_missed_while_it_moves_into_history(store: Store) -> None:
    know(store)
    hand = Hand(store)
    made = send(store, *(new() for _ in range(300)))
    claimed = hand.claim(300)
    moved = threading.Event()

    def move() -> None:
        for start in range(0, 300, 10):
            hand.end(*claimed[start : start + 10])
        moved.set()

    mover = threading.Thread(target=move)
    mover.start()
    while not moved.is_set():
        assert [run.id for run in store.read_sync(read.runs, made)] == made
    mover.join()


def test_the_catalogue_tells_what_was_announced_last(store: Store) -> None:
    entry = TaskEntry(id="greet", queue="q", options='{"a":1}', schema='{"type":"string"}', version="v1")
    store.run_sync(catalogue.announce, [entry], [])
    assert store.read_sync(catalogue.task, "greet") == entry
    changed = TaskEntry(id="greet", queue="q", options="{}", schema=None, version="v2")
    store.run_sync(catalogue.announce, [changed], [])
    assert store.read_sync(catalogue.task, "greet") == changed
    assert store.read_sync(catalogue.task, "nobody") is None
    assert store.read_sync(catalogue.queue, "q") == QueueEntry(name="q")
    assert store.read_sync(catalogue.queue, "nobody") is None
