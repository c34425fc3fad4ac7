"""A trigger makes a run in the state its time and its queue ask for; sent twice, it makes one."""

from __future__ import annotations

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, read, trigger
from holdfast.records import Triggered
from holdfast.storage import Store
from tests.engine.making import Hand, ids, know, look, new, outcome, queue, send, state, status

NOW = 1_767_225_600_000


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, queue("slow", 1), queue("customers", per_key=1))


def test_a_run_is_ready_at_once(store: Store) -> None:
    (run,) = send(store, new())
    assert state(store, run) == "ready"
    assert status(store, run) == "queued"


def test_a_run_of_a_queue_with_a_limit_is_held_until_it_has_a_slot(store: Store) -> None:
    (run,) = send(store, new(queue="slow"))
    assert state(store, run) == "held"
    assert status(store, run) == "queued"


def test_a_run_with_a_key_is_held_where_keys_are_limited_and_one_without_is_not(store: Store) -> None:
    keyed, plain = send(store, new(queue="customers", concurrency_key="ada"), new(queue="customers"))
    assert (state(store, keyed), state(store, plain)) == ("held", "ready")


@pytest.mark.parametrize("when", [{"delay_ms": 5_000}, {"due_at": NOW + 5_000}])
@pytest.mark.parametrize("name", ["task/greet", "slow"])
def test_a_run_with_a_delay_is_delayed_until_it_is_due(store: Store, when: dict[str, int], name: str) -> None:
    (run,) = send(store, new(queue=name, **when))
    assert status(store, run) == "delayed"
    assert look(store, run).due_at == NOW + 5_000


@pytest.mark.parametrize("when", [{"delay_ms": 0}, {"due_at": NOW}, {"due_at": NOW - 5_000}])
def test_a_time_that_has_come_is_no_delay(store: Store, when: dict[str, int]) -> None:
    (run,) = send(store, new(**when))
    assert state(store, run) == "ready"
    assert look(store, run).due_at is None


@pytest.mark.parametrize(("when", "until"), [({}, 60_000), ({"delay_ms": 5_000}, 65_000)])
def test_the_time_to_live_counts_from_when_the_run_is_due(store: Store, when: dict[str, int], until: int) -> None:
    (run,) = send(store, new(ttl_ms=60_000, **when))
    assert look(store, run).expire_at == NOW + until


def test_everything_that_was_said_is_kept(store: Store) -> None:
    said = {
        "payload": '{"name":"Ada"}',
        "concurrency_key": "ada",
        "priority_ms": 2_000,
        "options": '{"max_attempts":5}',
        "metadata": '{"seen":1}',
        "tags": '["vip","new"]',
        "version": "v1",
        "batch_id": "b",
        "root_id": "r",
        "parent_id": "p",
    }
    (run,) = send(store, new(idempotency_key="k", **said))
    record = look(store, run)
    assert {name: getattr(record, name) for name in said} == said
    assert (record.id, record.task, record.queue) == (run, "greet", "task/greet")
    assert (record.created_at, record.attempts, record.claim, record.idempotency_key) == (NOW, 1, 0, "k")
    assert (record.started_at, record.finished_at, record.output, record.error) == (None, None, None, None)


def test_runs_of_a_batch_are_found_in_the_order_of_its_items(store: Store) -> None:
    made = send(store, *(new(batch_id="b") for _ in range(20)))
    assert store.read_sync(read.batch, "b") == made


def test_tasks_and_queues_may_be_mixed_in_one_call(store: Store) -> None:
    know(store, tasks=("greet", "part"))
    made = send(store, new("greet"), new("part"), new("greet", queue="slow"), new("part", delay_ms=1))
    assert [state(store, run) for run in made] == ["ready", "ready", "held", "delayed"]


def test_a_run_that_is_sent_twice_is_made_once(store: Store) -> None:
    run = new(tags='["x"]', payload='"first"')
    assert send(store, run) == send(store, run) == [run.id]
    assert len(Hand(store).claim()) == 1


def test_a_run_that_is_sent_again_after_it_has_ended_is_not_made_again(store: Store) -> None:
    run, hand = new(), Hand(store)
    send(store, run)
    hand.end(hand.claim_one())
    send(store, run)
    assert hand.claim() == []
    assert status(store, run.id) == "completed"


def test_a_run_that_is_sent_again_while_it_executes_is_not_disturbed(store: Store) -> None:
    run, hand = new(), Hand(store)
    send(store, run)
    (claimed,) = hand.claim()
    send(store, run)
    assert hand.claim() == []
    assert hand.end(claimed) == []


def test_thousands_are_made_in_one_call(store: Store) -> None:
    runs = [new(batch_id="b") for _ in range(3_000)]
    assert all(one == Triggered(run.id, created=True) for one, run in zip(trigger_all(store, runs), runs, strict=True))
    assert store.read_sync(read.batch, "b") == [run.id for run in runs]


def trigger_all(store: Store, runs: list[trigger.NewRun]) -> list[Triggered]:
    return [outcome(one) for one in store.run_sync(trigger.trigger, runs)]


def test_no_runs_are_made_of_nothing(store: Store) -> None:
    assert store.run_sync(trigger.trigger, []) == []


def test_a_queue_nobody_has_declared_is_made_once_by_name(store: Store) -> None:
    for _ in range(2):
        store.run_sync(catalogue.ensure_names, [queue("fresh", 2)], [("fresh", "greet")])
    (run,) = send(store, new(queue="fresh"))
    assert look(store, run).queue == "fresh"
    assert state(store, run) == "held"


def test_ensuring_a_name_leaves_what_was_declared_of_it(store: Store) -> None:
    store.run_sync(catalogue.ensure_names, [queue("slow", None)], [("slow", "greet")])
    found = store.read_sync(catalogue.queue, "slow")
    assert found is not None
    assert found.concurrency_limit == 1


def test_runs_triggered_one_by_one_are_claimed_in_that_order(store: Store) -> None:
    made = [store.gather(trigger.trigger, new()).result(30).id for _ in range(10)]
    assert sorted(ids(Hand(store).claim())) == made
