"""A claim takes what may start: the oldest first, by priority, a share of each queue, and never what must not start."""

from __future__ import annotations

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, workers
from holdfast.records import Claimed, Ended
from holdfast.storage import Store
from tests.engine.making import Hand, ids, know, look, new, queue, send, status, stop


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, queue("other"), tasks=("greet", "part"))


def by_line(runs: list[Claimed]) -> list[str]:
    """In the order in which a worker starts them."""
    return [run.id for run in sorted(runs, key=lambda run: (run.sort_at, run.id))]


def test_a_claimed_run_is_executing_and_held_by_its_worker(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new(payload="[1]", tags='["x"]', options="{}", metadata="{}", concurrency_key="ada"))
    clock.advance("2s")
    claimed = hand.claim_one()
    assert (claimed.id, claimed.claim, claimed.task, claimed.attempt) == (run, 1, "greet", 1)
    assert (claimed.payload, claimed.tags, claimed.options, claimed.metadata) == ("[1]", '["x"]', "{}", "{}")
    assert (claimed.concurrency_key, claimed.started_at - claimed.created_at) == ("ada", 2_000)
    record = look(store, run)
    assert (record.status, record.worker_id, record.claim) == ("executing", hand.id, 1)
    assert record.started_at == clock.now()


def test_no_more_than_asked_for(store: Store) -> None:
    send(store, *(new() for _ in range(10)))
    hand = Hand(store)
    assert [len(hand.claim(n)) for n in (0, 3, 100, 100)] == [0, 3, 7, 0]


def test_the_oldest_comes_first(store: Store, clock: FrozenClock) -> None:
    made = []
    for _ in range(6):
        made += send(store, new())
        clock.advance("1s")
    hand = Hand(store)
    assert [by_line(hand.claim(2)) for _ in range(3)] == [made[0:2], made[2:4], made[4:6]]


def test_priority_is_a_head_start(store: Store, clock: FrozenClock) -> None:
    (old,) = send(store, new())
    clock.advance("5s")
    little, much = send(store, new(priority_ms=4_000), new(priority_ms=6_000))
    hand = Hand(store)
    assert [hand.claim_one().id for _ in range(3)] == [much, old, little]


def test_within_a_queue_the_oldest_comes_first_over_all_its_tasks(store: Store, clock: FrozenClock) -> None:
    made = []
    for task in ("greet", "part", "part", "greet"):
        made += send(store, new(task, queue="other"))
        clock.advance("1s")
    hand = Hand(store, "greet", "part")
    assert by_line(hand.claim(3)) == made[:3]


def test_a_backlog_on_one_queue_starves_no_other(store: Store, clock: FrozenClock) -> None:
    send(store, *(new("greet") for _ in range(200)))
    clock.advance("1h")
    late = send(store, *(new("part") for _ in range(5)))
    hand = Hand(store, "greet", "part")
    first = ids(hand.claim(10))
    assert sorted(set(first) & set(late)) == late  # five of each


def test_no_route_gives_more_than_its_share(store: Store) -> None:
    send(store, *(new("greet") for _ in range(20)), *(new("part") for _ in range(3)))
    tasks = [run.task for run in Hand(store, "greet", "part").claim(10, each=4)]
    assert (tasks.count("greet"), tasks.count("part")) == (4, 3)


def test_a_worker_takes_only_what_its_tasks_can_do(store: Store) -> None:
    send(store, new("greet"))
    (part,) = send(store, new("part"))
    assert ids(Hand(store, "part").claim()) == [part]


def test_a_worker_that_is_bound_to_queues_takes_from_them_alone(store: Store) -> None:
    send(store, new())
    (other,) = send(store, new(queue="other"))
    assert ids(Hand(store, queues=["other"]).claim()) == [other]


def test_a_paused_queue_gives_nothing_until_it_is_resumed(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    (other,) = send(store, new(queue="other"))
    assert store.run_sync(catalogue.pause, "task/greet")
    assert ids(hand.claim()) == [other]
    assert store.run_sync(catalogue.resume, "task/greet")
    assert ids(hand.claim()) == [run]


def test_pausing_what_does_not_exist_is_told(store: Store) -> None:
    assert not store.run_sync(catalogue.pause, "nowhere")
    assert not store.run_sync(catalogue.resume, "nowhere")
    assert not store.run_sync(catalogue.override, "nowhere", 1, None)


def test_what_has_expired_does_not_start(store: Store, clock: FrozenClock) -> None:
    (late,) = send(store, new(ttl_ms=1_000))
    clock.advance("1s")
    assert Hand(store).claim() == []
    assert status(store, late) == "queued"  # until the sweep says so


def test_the_time_to_live_is_over_when_the_run_has_started_once(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new(ttl_ms=1_000))
    hand.retry(hand.claim_one())
    clock.advance("1h")
    assert ids(hand.claim()) == [run]


def test_what_was_canceled_does_not_start(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    claimed = hand.claim_one()
    assert stop(store, run) == "requested"
    hand.give_back(claimed)
    assert hand.claim() == []


def test_a_worker_that_drains_is_given_nothing(store: Store) -> None:
    hand = Hand(store)
    send(store, new())
    assert store.run_sync(workers.drain, hand.id)
    answer = hand.exchange(10)
    assert (answer.claimed, answer.me) == ([], "draining")


@pytest.mark.parametrize("end", [workers.declare_gone, workers.stop])
def test_a_worker_that_is_lost_or_stopped_is_given_nothing_and_told(store: Store, end: object) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    assert store.run_sync(end, hand.id)  # type: ignore[call-overload]
    answer = hand.exchange(10)
    assert answer.claimed == []
    assert answer.me in ("lost", "stopped")
    assert status(store, run) == "queued"


def test_a_worker_nobody_knows_is_given_nothing_and_told(store: Store) -> None:
    hand = Hand(store)
    send(store, new())
    hand.id = "somebody"
    answer = hand.exchange(10)
    assert (answer.claimed, answer.me) == ([], None)


def test_a_round_reports_and_claims_in_one(store: Store) -> None:
    hand = Hand(store)
    first, second = send(store, new(), new())
    (claimed,) = hand.claim(1)
    answer = hand.exchange(1, ended=[Ended(claimed.id, claimed.claim, "completed")])
    assert ids(answer.claimed) == [second]
    assert status(store, first) == "completed"


def test_a_round_tells_what_a_worker_should_know_before_it_sleeps(store: Store, clock: FrozenClock) -> None:
    know(store, queue("slow", 1))
    hand = Hand(store)
    quiet = hand.exchange()
    assert (quiet.notes, quiet.suspects, quiet.due_in_ms, quiet.me) == (False, False, None, "live")
    send(store, new(delay_ms=7_000), new(delay_ms=3_000), new(queue="slow"))
    clock.advance("1s")
    busy = hand.exchange()
    assert (busy.notes, busy.due_in_ms) == (True, 2_000)


def test_every_claim_of_a_run_has_a_higher_number(store: Store) -> None:
    hand = Hand(store)
    send(store, new())
    numbers = []
    for _ in range(3):
        claimed = hand.claim_one()
        numbers.append(claimed.claim)
        hand.give_back(claimed)
    assert numbers == [1, 2, 3]
