"""What people are told: lists that miss nothing, counts, and why a run is not running, on both databases."""

from __future__ import annotations

import itertools
import json
import re
from importlib import resources
from typing import Any

import msgspec
import pytest

from holdfast import views
from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, reap, workers
from holdfast.ids import new_id
from holdfast.records import QueueEntry, RunRecord
from holdfast.storage import Store, Tx
from holdfast.views import Filter, Page, Reason, RunView, backlog, lists
from holdfast.views.diagnosis import Engine, Finding, Health, OpenTransaction, findings
from holdfast.views.why import Situation, reasons
from tests.engine.making import Hand, know, new, override, promote, queue, send, stop
from tests.storage.test_plans import memory, plan

__all__ = ["memory"]

TAGS = ('["red"]', '["blue"]', '["red","blue"]')
ERROR = json.dumps({"type": "ValueError", "message": "no\nsecond line", "traceback": "Traceback …"})


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, queue("slow", 1), queue("customers", per_key=1), queue("both", 2, 1), tasks=("greet", "wave"))


def page(store: Store, limit: int = 50, before: str | None = None, **wanted: Any) -> Page:
    statuses = wanted.pop("statuses", ())
    return store.read_sync(views.page, Filter(statuses=frozenset(statuses), **wanted), limit=limit, before=before)


def listed(store: Store, **wanted: Any) -> list[str]:
    return [run.id for run in page(store, **wanted).runs]


def show(store: Store, run_id: str) -> RunView:
    found = store.read_sync(views.run, run_id)
    assert found is not None
    return found


def why(store: Store, run_id: str) -> list[Reason]:
    return show(store, run_id).reasons


def codes(store: Store, run_id: str) -> list[str]:
    return [reason.code for reason in why(store, run_id)]


def a_bit_of_everything(store: Store) -> dict[str, list[str]]:
    """Runs in every status, by status."""
    hand = Hand(store, "greet")
    completed, failed, executing = send(store, new(), new(), new())
    first, second, _ = hand.claim(3)
    hand.end(first)
    hand.end(second, status="failed", error=ERROR)
    (queued,) = send(store, new())
    (pending,) = send(store, new("wave"))
    (delayed,) = send(store, new(delay_ms=60_000))
    (canceled,) = send(store, new(delay_ms=60_000))
    stop(store, canceled)
    return {
        "completed": [completed],
        "failed": [failed],
        "executing": [executing],
        "queued": [queued],
        "pending_version": [pending],
        "delayed": [delayed],
        "canceled": [canceled],
    }


# -- lists ------------------------------------------------------------------------------------------------------------


def test_a_list_has_every_run_once_the_newest_first(store: Store) -> None:
    made = a_bit_of_everything(store)
    everything = sorted((run for runs in made.values() for run in runs), reverse=True)
    assert listed(store) == everything
    assert {run.id: run.status for run in page(store).runs} == {
        run: word for word, runs in made.items() for run in runs
    }


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_follow_each_other_without_a_gap(store: Store, size: int) -> None:
    a_bit_of_everything(store)
    everything, found, cursor = listed(store), [], None
    while True:
        part = page(store, limit=size, before=cursor)
        found += [run.id for run in part.runs]
        cursor = part.next_cursor
        if cursor is None:
            break
        assert part.complete
        assert len(part.runs) == size
    assert found == everything


def test_a_filter_by_status_finds_just_these(store: Store) -> None:
    made = a_bit_of_everything(store)
    for word, runs in made.items():
        assert listed(store, statuses=[word]) == runs, word
    both = sorted(made["queued"] + made["failed"], reverse=True)
    assert listed(store, statuses=["queued", "failed"]) == both
    waiting = sorted(made["queued"] + made["pending_version"], reverse=True)
    assert listed(store, statuses=["queued", "pending_version"]) == waiting


def test_filters_by_task_queue_batch_and_tags(store: Store) -> None:
    Hand(store, "greet")
    plain, other, slow, batched = send(store, new(), new("wave"), new(queue="slow"), new(batch_id="b1"))
    red, both = send(store, new(tags='["red"]'), new(tags='["red","blue"]', batch_id="b1"))
    assert listed(store, tasks=frozenset({"wave"})) == [other]
    assert listed(store, queues=frozenset({"slow"})) == [slow]
    assert listed(store, batch="b1") == [both, batched]
    assert listed(store, tags=("red",)) == [both, red]
    assert listed(store, tags=("red", "blue")) == [both]
    assert listed(store, tags=("red",), batch="b1") == [both]
    assert listed(store, tags=("red",), queues=frozenset({"slow"})) == []
    assert plain in listed(store, tasks=frozenset({"greet"}))


def test_a_filter_finds_runs_on_both_sides_of_their_end(store: Store) -> None:
    hand = Hand(store, "greet")
    made = send(store, *[new(tags='["red"]', batch_id="b1") for _ in range(4)])
    hand.end(*hand.claim(2))
    some: list[dict[str, Any]] = [{"tasks": frozenset({"greet"})}, {"queues": frozenset({"task/greet"})}]
    for wanted in (*some, {"tags": ("red",)}, {"any_tags": frozenset({"red", "blue"})}, {"batch": "b1"}):
        assert listed(store, **wanted) == made[::-1], wanted


def test_filters_by_several_of_a_kind(store: Store) -> None:
    Hand(store, "greet")
    plain, other, slow = send(store, new(), new("wave"), new(queue="slow"))
    red, blue, both = send(
        store, *[new(tags=tags, batch_id="b1") for tags in ('["red"]', '["blue"]', '["red","blue"]')]
    )
    assert listed(store, tasks=frozenset({"wave", "greet"})) == [both, blue, red, slow, other, plain]
    assert listed(store, queues=frozenset({"slow", "task/wave"})) == [slow, other]
    assert listed(store, any_tags=frozenset({"red", "blue"})) == [both, blue, red]
    assert listed(store, any_tags=frozenset({"red"}), batch="b1") == [both, red]
    assert listed(store, any_tags=frozenset({"red"}), tags=("blue",)) == [both]


def test_filters_by_what_was_said_at_the_trigger(store: Store) -> None:
    plain, tried, one = send(store, new(), new(options='{"max_attempts":9}'), new(version="v1"))
    assert listed(store, told=lambda options: options.get("max_attempts") == 9) == [tried]
    assert listed(store, versions=frozenset({"v1"})) == [one]
    (keyed,) = send(store, new(concurrency_key="ada"))
    assert listed(store, concurrency_key="ada") == [keyed]
    assert plain in listed(store, told=lambda options: not options)


def test_until_is_when_a_run_was_made_at_the_latest(store: Store, clock: FrozenClock) -> None:
    (early,) = send(store, new())
    clock.advance("1h")
    (late,) = send(store, new())
    assert listed(store, until=clock.now() - 60_000) == [early]
    assert listed(store, until=clock.now()) == [late, early]


@pytest.mark.parametrize("wanted", [{}, {"tasks": frozenset({"wave"})}, {"any_tags": frozenset({"red", "blue"})}])
@pytest.mark.parametrize("far", [1, 3, 100])
def test_pages_go_back_as_they_came(
    store: Store, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any], far: int
) -> None:
    monkeypatch.setattr(lists, "FAR", far)
    monkeypatch.setattr(lists, "CHUNK", 1)
    hand = Hand(store, "wave")
    kinds = [new("wave", tags='["red"]'), new(), new("wave", tags='["blue"]'), new("wave", tags='["red","blue"]')]
    for each in kinds * 2:
        send(store, msgspec.structs.replace(each, id=new_id()))
        if each.task == "wave" and each.tags != '["blue"]':
            hand.end(hand.claim_one())
    there, cursor = [], None
    while True:
        part = page(store, limit=2, before=cursor, **wanted)
        there += [run.id for run in part.runs]
        if part.next_cursor is None:
            break
        cursor = part.next_cursor
    assert part.previous_cursor is not None
    back, cursor = [run.id for run in part.runs][::-1], part.previous_cursor
    while cursor is not None:
        part = store.read_sync(views.page, Filter(**wanted), limit=2, after=cursor)
        back += [run.id for run in part.runs][::-1]
        cursor = part.previous_cursor
    assert back == there[::-1]
    assert len(there) == (8 if not wanted else 6)


def test_since_is_when_a_run_was_made(store: Store, clock: FrozenClock) -> None:
    send(store, new())
    clock.advance("1h")
    (late,) = send(store, new())
    assert listed(store, since=clock.now() - 60_000) == [late]
    assert listed(store, since=clock.now() + 1) == []


def test_a_search_that_has_gone_far_says_where_to_go_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "FAR", 3)
    monkeypatch.setattr(lists, "CHUNK", 1)
    (rare,) = send(store, new("wave"))
    send(store, *[new() for _ in range(30)])
    found, cursor, pages = [], None, 0
    while True:
        part = page(store, limit=1, before=cursor, tasks=frozenset({"wave"}))
        found += [run.id for run in part.runs]
        pages += 1
        cursor = part.next_cursor
        if cursor is None:
            break
    assert found == [rare]
    assert pages > 2


def test_a_side_that_is_searched_further_does_not_overtake_the_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "FAR", 3)
    monkeypatch.setattr(lists, "CHUNK", 1)
    hand = Hand(store, "wave")
    (done,) = send(store, new("wave"))
    hand.end(hand.claim_one())
    (hot,) = send(store, new("wave"))
    send(store, *[new() for _ in range(30)])
    found, cursor = [], None
    while True:
        part = page(store, limit=3, before=cursor, tasks=frozenset({"wave"}))
        found += [run.id for run in part.runs]
        cursor = part.next_cursor
        if cursor is None:
            break
    assert found == [hot, done]


def test_a_list_is_read_along_the_rarest_of_what_it_is_filtered_by(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rare key among many failures, a rare failure among many of a key: found, though few runs may be looked at."""
    monkeypatch.setattr(lists, "FAR", 5)
    monkeypatch.setattr(lists, "CHUNK", 2)
    hand = Hand(store, "greet")
    ada, crashed, *_ = send(store, new(concurrency_key="ada"), *[new(concurrency_key="bob") for _ in range(40)])
    for run in hand.claim(41):
        hand.end(run, status="crashed" if run.id == crashed else "failed", error=ERROR)
    assert listed(store, statuses=["failed"], concurrency_key="ada") == [ada]
    assert listed(store, statuses=["crashed"], concurrency_key="bob") == [crashed]
    before = send(store, new())[0]
    back = store.read_sync(
        views.page, Filter(statuses=frozenset({"failed"}), concurrency_key="ada"), limit=1, after=ada[:10]
    )
    assert [run.id for run in back.runs] == [ada]
    assert before > ada


@pytest.mark.parametrize("chunk", [1, 200])
def test_whichever_way_a_list_is_read_it_has_the_same_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(lists, "CHUNK", chunk)
    hand = Hand(store, "greet", "wave")
    everything = {
        run: (task, queue, key, tag, batch)
        for task, queue, key, tag, batch in itertools.product(
            ("greet", "wave"), ("task/greet", "slow"), ("ada", None), ("red", "blue"), ("b1", None)
        )
        for run in send(
            store, new(task, queue=queue, concurrency_key=key, tags=json.dumps([tag]), batch_id=batch, delay_ms=None)
        )
    }
    ended = {}
    for place, run in enumerate(hand.claim(20)):
        ended[run.id] = ("completed", "failed")[place % 2]
        hand.end(run, status=ended[run.id], error=ERROR if place % 2 else None)
    parts: list[list[dict[str, Any]]] = [
        [{}, {"tasks": frozenset({"greet"})}],
        [{}, {"queues": frozenset({"slow"})}],
        [{}, {"concurrency_key": "ada"}],
        [{}, {"tags": ("red",)}, {"any_tags": frozenset({"red", "blue"})}],
        [{}, {"batch": "b1"}],
        [{}, {"statuses": ["failed"]}, {"statuses": ["completed", "queued"]}],
    ]
    for chosen in itertools.product(*parts):
        wanted = {name: value for part in chosen for name, value in part.items()}
        expected = [
            run
            for run, (task, queue, key, tag, batch) in sorted(everything.items(), reverse=True)
            if task in wanted.get("tasks", [task])
            and queue in wanted.get("queues", [queue])
            and wanted.get("concurrency_key") in (None, key)
            and (tag == "red" or "tags" not in wanted)
            and wanted.get("batch") in (None, batch)
            and ("statuses" not in wanted or ended.get(run, "queued") in wanted["statuses"])
        ]
        assert listed(store, **wanted) == expected, wanted


def test_a_listed_run_tells_how_it_ended(store: Store) -> None:
    made = a_bit_of_everything(store)
    (failed,) = page(store, statuses=["failed"]).runs
    assert failed.id == made["failed"][0]
    assert failed.error is not None
    assert (failed.error.type, failed.attempts, failed.worker_id is None) == ("ValueError", 1, False)


# -- pending_version --------------------------------------------------------------------------------------------------


def status(store: Store, run_id: str) -> str:
    """As every door tells it."""
    (record,) = store.read_sync(views.records, [run_id])
    (row,) = store.read_sync(views.listed_runs, [run_id])
    assert record.status == row.status == show(store, run_id).status
    return record.status


def test_a_run_that_no_live_worker_takes_is_pending_version(store: Store, clock: FrozenClock) -> None:
    ready, held = send(store, new(), new(queue="slow"))
    assert status(store, ready) == status(store, held) == "pending_version"
    hand = Hand(store, "wave")
    assert status(store, ready) == "pending_version"
    knowing = Hand(store, "greet")
    assert status(store, ready) == status(store, held) == "queued"
    store.run_sync(workers.drain, knowing.id)
    assert status(store, ready) == "pending_version"
    assert hand.tasks == ["wave"]


def test_workers_that_take_from_other_queues_leave_a_run_pending(store: Store) -> None:
    ready, held = send(store, new(), new(queue="slow"))
    Hand(store, "greet", queues=["slow"])
    assert (status(store, ready), status(store, held)) == ("pending_version", "queued")


def test_a_worker_that_is_silent_for_longer_than_its_lease_takes_nothing(store: Store, clock: FrozenClock) -> None:
    (ready,) = send(store, new())
    hand = Hand(store, "greet", lease_ms=10_000)
    clock.advance("10s")
    assert status(store, ready) == "queued"
    clock.advance("1ms")
    assert status(store, ready) == "pending_version"
    store.run_sync(workers.beat, [hand.id])
    assert status(store, ready) == "queued"


# -- why --------------------------------------------------------------------------------------------------------------


def test_no_worker_at_all(store: Store, clock: FrozenClock) -> None:
    (run,) = send(store, new())
    assert codes(store, run) == ["no_worker"]
    Hand(store, "greet")
    clock.advance("2m")
    (reason,) = why(store, run)
    assert reason.code == "no_worker"
    assert "2m ago" in reason.text


def test_no_worker_that_knows_the_task(store: Store) -> None:
    Hand(store, "wave")
    (run,) = send(store, new())
    (reason,) = why(store, run)
    assert (reason.code, "greet" in reason.text) == ("task_unknown", True)


def test_workers_that_take_from_other_queues(store: Store) -> None:
    Hand(store, "greet", queues=["slow"])
    (run,) = send(store, new())
    (reason,) = why(store, run)
    assert (reason.code, "slow" in reason.text) == ("queue_not_served", True)
    assert "task/greet" in (reason.do or "")


def test_workers_that_drain(store: Store) -> None:
    Hand(store, "wave")
    store.run_sync(workers.drain, Hand(store, "greet").id)
    (run,) = send(store, new())
    assert codes(store, run) == ["workers_drain"]


def test_a_paused_queue(store: Store, clock: FrozenClock) -> None:
    Hand(store)
    (run,) = send(store, new())
    store.run_sync(catalogue.pause, "task/greet")
    clock.advance("5m")
    reason = why(store, run)[0]
    assert (reason.code, "5m" in reason.text, reason.do) == ("queue_paused", True, "holdfast queues resume task/greet")


def test_a_queue_whose_slots_are_taken_names_who_has_them(store: Store) -> None:
    hand = Hand(store)
    first, second, third = send(store, *[new(queue="slow") for _ in range(3)])
    promote(store)
    hand.claim(1)
    (limit,) = why(store, second)
    assert (limit.code, limit.runs, first in limit.text) == ("queue_limit", [first], True)
    limit, ahead = why(store, third)
    assert (limit.code, ahead.code, "1 run " in ahead.text) == ("queue_limit", "line", True)


def test_a_key_whose_slots_are_taken(store: Store) -> None:
    Hand(store)
    first, second, other = send(
        store, *[new(queue="customers", concurrency_key=key) for key in ("ada", "ada", "grace")]
    )
    promote(store)
    (limit,) = why(store, second)
    assert (limit.code, limit.runs, "ada" in limit.text) == ("key_limit", [first], True)
    assert codes(store, other) == ["line"]  # it has its slot, and stands behind the first


def test_a_queue_that_limits_itself_and_its_keys(store: Store) -> None:
    Hand(store)
    runs = send(store, *[new(queue="both", concurrency_key=key) for key in ("a", "b", "c")])
    promote(store)
    (limit,) = [reason for run in runs for reason in why(store, run) if reason.code == "queue_limit"]
    assert len(limit.runs) == 2


def test_a_rate_that_is_used_up(store: Store) -> None:
    entry = QueueEntry(name="rated", rate=1, rate_ms=60_000)
    store.run_sync(catalogue.announce, [], [entry])
    store.run_sync(catalogue.ensure_names, [], [("rated", "greet")])
    hand = Hand(store)
    first, second = send(store, new(queue="rated"), new(queue="rated"))
    promote(store)
    hand.end(*hand.claim(1))
    assert store.read_sync(views.records, [first])[0].status == "completed"
    (reason,) = why(store, second)
    assert (reason.code, "1 in 1m" in reason.text) == ("queue_rate", True)


def test_a_free_slot_that_was_not_given_yet(store: Store) -> None:
    Hand(store)
    (run,) = send(store, new(queue="slow"))
    assert codes(store, run) == ["slot_free"]


def test_runs_that_stand_before_it(store: Store) -> None:
    hand = Hand(store)
    runs = send(store, *[new() for _ in range(12)])
    assert codes(store, runs[0]) == ["ready"]
    assert "2 runs are ahead" in why(store, runs[2])[0].text
    hand.claim(10)
    assert codes(store, runs[10]) == ["workers_busy"]
    assert codes(store, runs[11]) == ["line", "workers_busy"]


def test_a_run_that_is_not_due(store: Store, clock: FrozenClock) -> None:
    Hand(store, lease_ms=600_000)
    (run,) = send(store, new(delay_ms=90_000))
    (reason,) = why(store, run)
    assert (reason.code, reason.until_at, "1m 30s" in reason.text) == ("not_due", clock.now() + 90_000, True)
    clock.advance("2m")
    assert codes(store, run) == ["due"]


def test_a_retry_tells_what_its_last_attempt_ended_with(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.retry(hand.claim_one(), 60_000, error=ERROR)
    (reason,) = why(store, run)
    assert reason.code == "retry"
    assert "Attempt 1 ended with ValueError: no." in reason.text


def test_a_run_that_executes(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim()
    clock.advance("12s")
    (reason,) = why(store, run)
    assert (reason.code, hand.id in reason.text, "12s" in reason.text) == ("executing", True, True)
    assert stop(store, run) == "requested"
    clock.advance("3s")
    assert codes(store, run) == ["executing", "cancel_requested"]


def test_a_run_that_was_claimed_ahead_of_its_slot(store: Store) -> None:
    hand = Hand(store)  # it carries out ten at a time
    runs = send(store, *[new() for _ in range(11)])
    hand.claim(11)
    assert [codes(store, run)[0] for run in runs] == ["executing"] * 10 + ["claimed"]


def test_a_worker_that_is_silent_and_one_that_is_gone(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim()
    clock.advance("1m")
    (reason,) = why(store, run)
    assert (reason.code, "No other worker" in (reason.do or "")) == ("worker_silent", True)
    hand.gone()
    assert codes(store, run) == ["worker_lost"]
    Hand(store)
    assert why(store, run)[0].do is None


def test_a_suspect_goes_first_and_alone(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim()
    hand.gone()
    store.run_sync(reap.sweep)
    again = Hand(store)
    assert codes(store, run) == ["suspect"]
    again.claim_suspects()
    (reason,) = why(store, run)
    assert (reason.code, "suspicion" in reason.text) == ("executing", True)


def test_a_run_that_is_about_to_end_without_having_run(store: Store, clock: FrozenClock) -> None:
    Hand(store)
    (run,) = send(store, new(ttl_ms=1_000))
    clock.advance("2s")
    assert codes(store, run)[0] == "expired"


def test_a_final_run_needs_no_reason(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.end(hand.claim_one())
    assert why(store, run) == []
    assert store.read_sync(views.run, "nothing") is None


@pytest.mark.parametrize("state", ["ready", "held", "delayed", "executing", "waiting"])
def test_there_is_always_a_reason(state: str) -> None:
    record = RunRecord("r", "queued", "greet", "q", "null", *[None] * 2, 1, 0, 0, *[None] * 5, 0, *[None] * 10, 0)  # type: ignore[arg-type]
    seen = Situation(record, 0, state, False, None, None, [], 0, 0, None, None, None, 0, None)
    assert reasons(seen)


# -- one run ----------------------------------------------------------------------------------------------------------


def test_the_attempts_of_a_run(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new(options='{"max_attempts":5}'))
    clock.advance("1s")
    hand.retry(hand.claim_one(), error=ERROR)
    hand.give_back(hand.claim_one())
    clock.advance("1s")
    claimed = hand.claim_one()
    began_at = clock.now()
    clock.advance("1s")
    seen = show(store, run)
    assert [(each.number, each.outcome) for each in seen.attempts] == [(1, "failed"), (2, "returned"), (2, "executing")]
    assert (seen.max_attempts, seen.worker is not None and seen.worker.id) == (5, hand.id)
    hand.end(claimed, output='{"n":1}')
    seen = show(store, run)
    assert [each.outcome for each in seen.attempts] == ["failed", "returned", "completed"]
    assert (seen.attempts[-1].started_at, seen.attempts[-1].finished_at) == (began_at, began_at + 1_000)
    assert (seen.output, seen.payload, seen.finished, seen.attempts[0].error is not None) == (
        {"n": 1},
        "Ada",
        True,
        True,
    )


def test_a_request_with_a_retry_of_its_own_is_tried_so_often(store: Store) -> None:
    own, said = send(
        store,
        new(options='{"http":{"retry":{"max_attempts":51}}}'),
        new(options='{"http":{"retry":{"max_attempts":51}},"max_attempts":2}'),
    )
    assert [show(store, run).max_attempts for run in (own, said)] == [51, 2]


def test_a_run_that_never_started_has_no_attempt(store: Store) -> None:
    (run,) = send(store, new(delay_ms=1_000))
    assert show(store, run).attempts == []
    stop(store, run)
    assert show(store, run).attempts == []


def test_lines_are_the_text_that_was_written(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    claimed = hand.claim_one()
    hand.say(claimed, "plain", "with \x00", "\ud800", "three\nlines\n")
    assert [each.message for each in store.read_sync(views.log_end, run, 10)] == [
        "plain",
        "with \x00",
        "\ud800",
        "three\nlines\n",
    ]
    assert [each.message for each in store.read_sync(views.log_end, run, 2)] == ["\ud800", "three\nlines\n"]


def test_lines_of_several_runs_each_from_its_place(store: Store) -> None:
    hand = Hand(store)
    first, second = send(store, new(), new())
    for claimed in hand.claim(2):
        hand.say(claimed, "one", "two", "three")
    found = store.read_sync(views.lines, {first: (1, 2), second: (0, 0)})
    assert [(each.run_id, each.message) for each in found] == [
        (first, "three"),
        *[(second, word) for word in ("one", "two", "three")],
    ]
    assert store.read_sync(views.lines, {}) == []


def test_lines_of_a_second_claim_follow_those_of_the_first(store: Store) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    first = hand.claim_one()
    hand.say(first, "before")
    hand.retry(first)
    hand.say(hand.claim_one(), "after")
    assert [each.message for each in store.read_sync(views.lines, {run: (1, 1)})] == ["after"]


def test_new_runs_are_those_after_an_id_hot_or_final(store: Store) -> None:
    hand = Hand(store)
    made = send(store, *[new() for _ in range(5)])
    hand.end(*hand.claim(2))
    assert store.read_sync(views.new_runs, made[0]) == made[1:]
    assert store.read_sync(views.new_runs, made[0], limit=2) == made[1:3]


# -- queues, tasks, workers -------------------------------------------------------------------------------------------


def test_a_queue_tells_its_limits_and_what_stands_in_it(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store, "greet")
    send(store, *[new(queue="slow") for _ in range(4)], new(queue="slow", delay_ms=1_000), new("wave", queue="slow"))
    promote(store)
    hand.claim(1)
    clock.advance("20s")
    (slow,) = [each for each in store.read_sync(views.queues) if each.name == "slow"]
    assert (slow.executing, slow.queued, slow.pending_version, slow.delayed) == (1, 3, 1, 1)
    assert slow.oldest_queued_at == clock.now() - 20_000
    assert (slow.concurrency_limit, slow.declared_limit, slow.overriding_limit) == (1, 1, None)
    override(store, "slow", 3)
    after = store.read_sync(views.queue, "slow")
    assert after is not None
    assert (after.concurrency_limit, after.declared_limit, after.overriding_limit) == (3, 1, 3)
    assert store.read_sync(views.queue, "nothing") is None


def test_counts_have_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "COUNTED", 3)
    Hand(store)
    send(store, *[new() for _ in range(5)], *[new(delay_ms=1_000) for _ in range(5)])
    (greet,) = [each for each in store.read_sync(views.queues) if each.name == "task/greet"]
    assert (greet.queued, greet.delayed) == (3, 3)


def test_a_task_tells_who_knows_it(store: Store) -> None:
    Hand(store, "greet")
    Hand(store, "greet", "wave")
    store.run_sync(workers.drain, Hand(store, "wave").id)
    assert {each.id: each.workers for each in store.read_sync(views.tasks)} == {"greet": 2, "wave": 1}


def test_workers_live_first_and_those_that_ended_if_asked(store: Store, clock: FrozenClock) -> None:
    live, gone, stopped = Hand(store), Hand(store), Hand(store)
    gone.gone()
    store.run_sync(workers.stop, stopped.id)
    send(store, new())
    live.claim()
    assert [each.id for each in store.read_sync(views.workers)] == [live.id]
    found = {each.id: each for each in store.read_sync(views.workers, ended=10)}
    assert {each.id: each.state for each in found.values()} == {live.id: "live", gone.id: "lost", stopped.id: "stopped"}
    assert (found[live.id].held, found[live.id].tasks, found[live.id].silent) == (1, 1, False)
    clock.advance("31s")
    (silent,) = store.read_sync(views.workers)
    assert (silent.silent, silent.alive, silent.silent_ms) == (True, False, 31_000)


# -- health -----------------------------------------------------------------------------------------------------------


def wrong(store: Store) -> list[Finding]:
    return [
        each for each in findings(store.read_sync(views.health)) if each.level == "wrong" and each.about != "settings"
    ]


def test_a_healthy_database(store: Store) -> None:
    Hand(store)
    send(store, new())
    assert wrong(store) == []


def test_runs_wait_and_no_worker_is_alive(store: Store, clock: FrozenClock) -> None:
    assert wrong(store) == []
    send(store, new())
    assert [each.about for each in wrong(store)] == ["workers"]


def test_a_pusher_is_no_worker(store: Store) -> None:
    """`holdfast server` has one, and carries out no code. Fails with pushers counted as workers."""
    pusher = workers.WorkerEntry(id=new_id(), lease_ms=30_000, host="reef", pid=2, concurrency=10_000)
    store.run_sync(workers.register, pusher, ["http"])
    send(store, new())
    assert [each.about for each in wrong(store)] == ["workers"]
    Hand(store)
    text = next(each.text for each in views.findings(store.read_sync(views.health)) if each.about == "workers")
    assert text == "1 worker is alive, 0 of 10 slots are taken."


def test_runs_that_no_worker_takes(store: Store) -> None:
    Hand(store, "wave")
    send(store, new(), new())
    (finding,) = wrong(store)
    assert (finding.about, "2 runs of greet" in finding.text) == ("tasks", True)


def test_a_paused_queue_with_a_backlog(store: Store) -> None:
    Hand(store)
    store.run_sync(catalogue.pause, "task/greet")
    assert wrong(store) == []
    send(store, new())
    (finding,) = wrong(store)
    assert (finding.about, finding.do) == ("queues", "holdfast queues resume task/greet")


def test_a_silent_worker_and_its_runs(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    send(store, new())
    hand.claim()
    clock.advance("1m")
    assert [each.about for each in wrong(store)] == ["workers"]
    Hand(store)
    hand.gone()
    assert wrong(store) == []
    told = [each.text for each in findings(store.read_sync(views.health)) if each.level == "note"]
    assert any("lost within the last hour" in text for text in told)
    assert any("1 run is held by workers that are gone" in text for text in told)


def test_what_could_run_and_does_not(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    send(store, new())
    send(store, new("wave", delay_ms=1))
    clock.advance("2m")
    store.run_sync(workers.beat, [hand.id])
    texts = " ".join(each.text for each in wrong(store))
    assert "There are free slots" in texts
    assert "not made ready" in texts


def test_suspects_that_nobody_tries(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim()
    hand.gone()
    store.run_sync(reap.sweep)
    again = Hand(store)
    clock.advance("2m")
    store.run_sync(workers.beat, [again.id])
    assert any(run in each.text for each in wrong(store))


def healthy(engine: Engine, kind: str = "postgres") -> Health:
    return Health(kind, 0, engine, [], [], [], 0, None, [], 0)


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit", "autovacuum"])
def test_settings_that_break_promises(name: str) -> None:
    off = healthy(Engine(version=180_000, size=0, settings={name: "off"}))
    on = healthy(Engine(version=180_000, size=0, settings={name: "on"}))
    assert [each.do for each in findings(off) if each.level == "wrong"] == [
        f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();"
    ]
    assert [each for each in findings(on) if each.level == "wrong"] == []


@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        (Engine(version="3.51.2", size=0), "sqlite"),
        (Engine(version=120_000, size=0), "postgres"),
        (Engine(version=180_000, size=0, only_reads=True), "postgres"),
        (Engine(version=180_000, size=0, connections=(99, 100)), "postgres"),
        (
            Engine(version=180_000, size=0, transactions=(OpenTransaction("process 7", "psql", 600_000),)),
            "postgres",
        ),
    ],
)
def test_what_is_wrong_with_a_database_itself(engine: Engine, kind: str) -> None:
    assert [each for each in findings(healthy(engine, kind)) if each.level == "wrong" and each.do]


# -- cost -------------------------------------------------------------------------------------------------------------

STATEMENTS = re.findall(
    r"^-- name: (\w+)$", (resources.files("holdfast.storage") / "sql" / "views.sql").read_text("utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_view_reads_the_whole_of_run_or_done(memory: Any, name: str) -> None:
    scans = [
        step for step in plan(memory, name) if re.match(r"SCAN (holdfast_(run|done|tag|log)|r|d|l|t)\b(?! *$)", step)
    ]
    assert scans == []


def test_what_live_workers_serve_is_read_once_in_a_transaction(store: Store) -> None:
    send(store, new(), new("wave"))

    def seen(tx: Tx) -> tuple[int, int, bool]:
        asked: list[str] = []
        rows = tx.rows

        def noted(name: str, /, **parameters: Any) -> list[Any]:
            asked.append(name)
            return rows(name, **parameters)

        tx.rows = noted  # type: ignore[method-assign]
        views.queues(tx)
        found = [views.page(tx, Filter(tasks=frozenset({task})), limit=5) for task in ("greet", "wave")]
        return asked.count("serving"), len(found), all(each.runs for each in found)

    assert store.read_sync(seen) == (1, 2, True)
    assert store.read_sync(seen) == (1, 2, True), "the next transaction reads anew"
