"""`cancel_all` and `replay_all`: all that a filter finds, in steps that may be interrupted, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from holdfast import Bulk, Holdfast, InvalidOption, bulk
from holdfast.engine import bulk as engine
from holdfast.storage import Store
from tests.engine.making import Hand


@pytest.fixture
def app(database_url: str) -> Iterator[Holdfast]:
    app = Holdfast(database_url)

    @app.task
    def greet(name: str) -> str:
        return name

    @app.task
    def part(name: str) -> str:
        return name

    yield app
    app.close()


@pytest.fixture
def store(app: Holdfast) -> Store:
    return app.client.store


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "STEP", 3)


def triggered(app: Holdfast, count: int, task: str = "greet", **options: Any) -> list[str]:
    return [app.trigger(task, str(n), **options).id for n in range(count)]


def ended(app: Holdfast, count: int, status: str, **options: Any) -> list[str]:
    """Runs that have ended like this."""
    runs = triggered(app, count, **options)
    hand = Hand(app.client.store)
    hand.end(*hand.claim(), status=status)
    return runs


def statuses(app: Holdfast, ids: list[str]) -> set[str]:
    return {app.runs.retrieve(run).status for run in ids}


# cancel


def test_all_that_a_filter_finds_are_canceled(app: Holdfast) -> None:
    meant = triggered(app, 7, tags=["old"])
    others = triggered(app, 2) + triggered(app, 1, "part", tags=["old"])
    seen: list[Bulk] = []
    result = app.runs.cancel_all(task="greet", tag="old", progress=seen.append)
    assert (result.total, result.done, result.outcomes) == (7, 7, {"canceled": 7})
    assert [each.done for each in seen] == [3, 6, 7]
    assert {each.total for each in seen} == {7}
    assert statuses(app, meant) == {"canceled"}
    assert statuses(app, others) == {"pending_version"}


def test_what_executes_is_asked_and_what_has_ended_is_left(app: Holdfast, store: Store) -> None:
    done = ended(app, 2, "completed")
    triggered(app, 3)
    Hand(store).claim(1)
    assert app.runs.cancel_all(task="greet").outcomes == {"canceled": 2, "requested": 1}
    assert statuses(app, done) == {"completed"}


def test_a_dry_run_counts_and_changes_nothing(app: Holdfast) -> None:
    runs = triggered(app, 4)
    result = app.runs.cancel_all(since="1h", dry_run=True)
    assert (result.total, result.done) == (4, 0)
    assert statuses(app, runs) == {"pending_version"}


def test_only_the_newest_so_many(app: Holdfast) -> None:
    runs = triggered(app, 6)
    assert app.runs.cancel_all(task="greet", limit=4).total == 4
    assert [app.runs.retrieve(run).status for run in runs] == ["pending_version"] * 2 + ["canceled"] * 4


class Interrupted(Exception):
    pass


def interrupt(at: Bulk) -> None:
    raise Interrupted


def test_a_cancel_that_was_interrupted_goes_on_with_what_is_left(app: Holdfast) -> None:
    runs = triggered(app, 7)
    with pytest.raises(Interrupted):
        app.runs.cancel_all(task="greet", progress=interrupt)
    assert app.runs.cancel_all(task="greet").total == 4
    assert statuses(app, runs) == {"canceled"}


# replay


def test_all_that_ended_badly_are_replayed_in_one_batch_and_in_their_order(app: Holdfast) -> None:
    ended(app, 2, "completed")
    bad = ended(app, 5, "failed", priority=5)
    result = app.runs.replay_all(task="greet")
    assert (result.total, result.outcomes) == (5, {"replayed": 5})
    again = app.runs.list(batch=result.batch_id)
    assert [app.runs.retrieve(run.id).payload for run in reversed(again)] == [str(n) for n in range(5)]
    assert {run.status for run in again} == {"queued"}
    assert not {run.id for run in again} & set(bad)


def test_a_replay_that_was_interrupted_goes_on_with_what_is_left(app: Holdfast) -> None:
    ended(app, 7, "failed")
    with pytest.raises(Interrupted):
        app.runs.replay_all(task="greet", progress=interrupt)
    assert app.runs.replay_all(task="greet").outcomes == {"known": 3, "replayed": 4}
    assert app.runs.replay_all(task="greet").outcomes == {"known": 7}
    assert len(app.runs.list(task="greet")) == 14


def test_a_replay_that_has_failed_is_replayed_and_its_original_is_not(app: Holdfast, store: Store) -> None:
    ended(app, 1, "failed")
    app.runs.replay_all(task="greet")
    hand = Hand(store)
    hand.end(*hand.claim(), status="failed")
    assert app.runs.replay_all(task="greet").outcomes == {"known": 1, "replayed": 1}


def test_large_payloads_are_replayed_a_few_at_a_time(app: Holdfast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_BYTES", 30_000)
    text = "x" * 20_000
    runs = [app.trigger("greet", text).id for _ in range(3)]
    hand = Hand(app.client.store)
    hand.end(*hand.claim(), status="failed")
    seen: list[Bulk] = []
    result = app.runs.replay_all(task="greet", progress=seen.append)
    assert [each.done for each in seen] == [1, 2, 3]
    assert {app.runs.retrieve(run.id).payload for run in app.runs.list(batch=result.batch_id)} == {text}
    assert len(runs) == 3


# both


async def test_async_code_does_the_same(app: Holdfast) -> None:
    runs = triggered(app, 4)
    assert (await app.runs.acancel_all(task="greet", dry_run=True)).total == 4
    assert (await app.runs.acancel_all(task="greet")).outcomes == {"canceled": 4}
    assert (await app.runs.areplay_all(status="canceled")).outcomes == {"replayed": 4}
    assert statuses(app, runs) == {"canceled"}


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "which runs"),
        ({"limit": 5}, "which runs"),
        ({"stauts": "failed"}, "no such filter"),
        ({"status": "broken"}, "no such status"),
        ({"task": "greet", "limit": 0}, "limit"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(app: Holdfast, options: Any, what: str) -> None:
    runs = triggered(app, 1)
    for change in (app.runs.cancel_all, app.runs.replay_all):
        with pytest.raises(InvalidOption, match=what):
            change(**options)
    assert statuses(app, runs) == {"pending_version"}
