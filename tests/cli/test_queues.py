"""``holdfast queues``: what an operator says is stronger than the code, and is obeyed at once."""

from __future__ import annotations

import pytest

from holdfast import views
from holdfast.engine import catalogue
from holdfast.records import QueueEntry
from holdfast.storage import Store
from tests.cli.conftest import Cli
from tests.engine.making import Hand, know, new, promote, queue, send, state


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store, queue("slow", 1), queue("customers", per_key=1), queue("free"))


def test_list_what_stands_in_them(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    send(store, *[new(queue="slow") for _ in range(3)], new("unknown"))
    promote(store)
    hand.claim(1)
    found = {each["name"]: each for each in cli("queues", "list", "--json").json["queues"]}
    assert (found["slow"]["executing"], found["slow"]["queued"], found["slow"]["concurrency_limit"]) == (1, 2, 1)
    assert "slow" in cli("queues", "list").out


def test_a_paused_queue_starts_nothing_until_it_is_resumed(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    send(store, new())
    assert cli("queues", "pause", "task/greet", "--json").json["paused_at"] is not None
    assert hand.claim() == []
    assert cli("queues", "resume", "task/greet", "--json").json["paused_at"] is None
    assert len(hand.claim()) == 1


def test_a_first_limit_holds_the_runs_that_stand_in_line(cli: Cli, store: Store) -> None:
    hand = Hand(store)
    runs = send(store, *[new(queue="free") for _ in range(5)])
    answer = cli("queues", "limit", "free", "2", "--json")
    assert (answer.json["concurrency_limit"], answer.json["overriding_limit"], answer.json["declared_limit"]) == (
        2,
        2,
        None,
    )
    assert [state(store, run) for run in runs] == ["held"] * 5
    promote(store)
    assert len(hand.claim()) == 2


def test_none_gives_the_code_its_say_back(cli: Cli, store: Store) -> None:
    runs = send(store, *[new(queue="free") for _ in range(3)])
    cli("queues", "limit", "free", "2")
    answer = cli("queues", "limit", "free", "none", "--json")
    assert (answer.json["concurrency_limit"], answer.json["overriding_limit"]) == (None, None)
    assert [state(store, run) for run in runs] == ["ready"] * 3
    cli("queues", "limit", "slow", "5")
    assert cli("queues", "limit", "slow", "none", "--json").json["concurrency_limit"] == 1


def test_a_limit_per_key_and_one_of_the_queue_are_set_apart(cli: Cli, store: Store) -> None:
    runs = send(store, *[new(queue="free", concurrency_key=key) for key in ("a", "a", "b")])
    cli("queues", "limit", "free", "--per-key", "1")
    answer = cli("queues", "limit", "free", "9", "--json").json
    assert (answer["concurrency_limit"], answer["concurrency_limit_per_key"]) == (9, 1)
    promote(store)
    assert [state(store, run) for run in runs].count("ready") == 2
    answer = cli("queues", "limit", "free", "--per-key", "none", "--json").json
    assert (answer["concurrency_limit"], answer["concurrency_limit_per_key"]) == (9, None)


def test_what_workers_announce_does_not_undo_it(cli: Cli, store: Store) -> None:
    cli("queues", "limit", "slow", "7")
    store.run_sync(catalogue.announce, [], [QueueEntry(name="slow", concurrency_limit=3)])
    found = store.read_sync(views.queue, "slow")
    assert found is not None
    assert (found.concurrency_limit, found.declared_limit) == (7, 3)


def test_without_a_number_it_shows_the_limits(cli: Cli) -> None:
    answer = cli("queues", "limit", "slow")
    assert answer.code == 0
    assert "1" in answer.out


def test_many_runs_move_in_several_steps(cli: Cli, store: Store) -> None:
    runs = send(store, *[new(queue="free") for _ in range(2_100)])
    cli("queues", "limit", "free", "1")
    assert {state(store, run) for run in runs} == {"held"}


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5", "999999999"])
def test_a_limit_that_is_none(cli: Cli, limit: str) -> None:
    answer = (
        cli("queues", "limit", "slow", "--", limit) if limit.startswith("-") else cli("queues", "limit", "slow", limit)
    )
    assert answer.code == 2


@pytest.mark.parametrize("command", [["pause"], ["resume"], ["limit"]])
def test_a_queue_that_is_not_there(cli: Cli, command: list[str]) -> None:
    answer = cli("queues", *command, "slwo")
    assert (answer.code, "slow" in answer.err) == (2, True)
    answer = cli("queues", *command, "greet")
    assert "task/greet" in answer.err
