"""``holdfast tasks`` and ``holdfast workers``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.engine import workers
from holdfast.storage import Store
from tests.cli.conftest import Cli
from tests.engine.making import Hand, know, new, send

TASKS = """
from holdfast import Holdfast, Queue

app = Holdfast()

@app.task(queue=Queue("mail", concurrency_limit=5))
def only_in_code(names: list[str]) -> None: ...

@app.task
def greet(name: str) -> None: ...
"""


def test_tasks_are_those_that_workers_announced(cli: Cli, store: Store) -> None:
    assert cli("tasks", "--json").json == {"tasks": []}
    know(store, tasks=("greet", "wave"), options='{"max_attempts":5}')
    Hand(store, "greet")
    found = {each["id"]: each for each in cli("tasks", "--json").json["tasks"]}
    assert {name: each["workers"] for name, each in found.items()} == {"greet": 1, "wave": 0}
    assert (found["greet"]["options"]["max_attempts"], found["greet"]["in_code"]) == (5, False)
    assert "greet" in cli("tasks").out


def test_tasks_of_the_code_that_nobody_has_announced(cli: Cli, store: Store, app_of: Callable[[str], str]) -> None:
    know(store, tasks=("greet", "wave"))
    app = app_of(TASKS)
    found = {each["id"]: each for each in cli("tasks", "--app", app, "--json").json["tasks"]}
    assert {name: (each["in_code"], each["announced_at"] is None) for name, each in found.items()} == {
        "greet": (True, False),
        "only_in_code": (True, True),
        "wave": (False, False),
    }
    assert found["only_in_code"]["queue"] == "mail"
    text = cli("tasks", "--app", app).out
    assert "never" in text


def test_a_health_check_of_the_workers_of_this_host(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails with looking at all hosts: a container whose workers had died was taken to be well."""
    know(store)
    hand = Hand(store)  # its host is the reef
    assert cli("workers", "--here", "--json").code == 1
    monkeypatch.setattr("platform.node", lambda: "reef")
    healthy = cli("workers", "--here", "--json")
    assert (healthy.code, [each["id"] for each in healthy.json["workers"]]) == (0, [hand.id])
    store.run_sync(workers.drain, hand.id)
    assert cli("workers", "--here").code == 1


def test_workers_that_are_alive_and_those_that_ended(cli: Cli, store: Store) -> None:
    know(store)
    assert cli("workers", "--json").json == {"workers": []}
    hand, stopped, lost = Hand(store, queues=["a", "b"]), Hand(store), Hand(store)
    send(store, new())
    store.run_sync(workers.stop, stopped.id)
    lost.gone()
    found = {each["id"]: each for each in cli("workers", "--json").json["workers"]}
    assert set(found) == {hand.id, lost.id}
    assert (found[hand.id]["state"], found[hand.id]["queues"], found[hand.id]["held"]) == ("live", ["a", "b"], 0)
    everything = cli("workers", "--all", "--json").json["workers"]
    assert {each["state"] for each in everything} == {"live", "stopped", "lost"}
    text = cli("workers").out
    assert hand.id in text
    assert "reef" in text


def test_workers_are_drained_by_name_or_all_of_a_host(cli: Cli, store: Store) -> None:
    """And what cannot be meant changes nothing: fails with asking those that were named before it."""
    know(store)
    here, there, other = Hand(store), Hand(store), Hand(store, host="lagoon")
    unknown = cli("workers", "drain", here.id, "nobody")
    assert (unknown.code, unknown.out) == (2, "")
    assert "There is no such worker" in unknown.err
    assert "nobody" in unknown.err
    assert cli("workers", "drain", "--host", "nowhere").code == cli("workers", "drain").code == 2
    assert {each["state"] for each in cli("workers", "--json").json["workers"]} == {"live"}

    assert f"{other.id} drains, and ends: it holds 0 runs" in cli("workers", "drain", other.id).out
    found = cli("workers", "drain", "--host", "reef", "--json").json["workers"]
    assert {each["id"] for each in found} == {here.id, there.id}
    assert {each["state"] for each in cli("workers", "--json").json["workers"]} == {"draining"}
    assert store.run_sync(workers.beat, [here.id]) == {here.id: True}
    assert [each["verb"] for each in cli("audit", "--json").json["changes"]] == ["workers drain"] * 3
    store.run_sync(workers.stop, other.id)
    assert cli("workers", "drain", other.id).code == 2
