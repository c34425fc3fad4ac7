"""``holdfast trigger``: a run is on disk when it returns, and nothing that was misspelt is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import views
from holdfast.records import Claimed
from holdfast.storage import Store
from tests.cli.conftest import Answer, Cli
from tests.conftest import eventually_holds
from tests.engine.making import Hand, know

TASKS = """
from dataclasses import dataclass
from holdfast import Holdfast

app = Holdfast()

@dataclass
class User:
    name: str
    age: int

@app.task
def greet(user: User) -> str:
    return user.name

@app.task
def nightly() -> None: ...
"""


@pytest.fixture
def project(app_of: Callable[[str], str]) -> str:
    return app_of(TASKS)


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    know(store, tasks=("wave",))


def show(cli: Cli, answer: Answer) -> Any:
    assert answer.code == 0, answer.err
    return cli("runs", "show", answer.json["id"], "--json").json


def test_a_task_of_the_catalogue(cli: Cli) -> None:
    answer = cli("trigger", "wave", '{"n": 1}', "--json")
    run = show(cli, answer)
    assert (run["task"], run["payload"], run["queue"], answer.json["created"]) == ("wave", {"n": 1}, "task/wave", True)
    plain = cli("trigger", "wave")
    assert cli("runs", "show", plain.out.strip(), "--json").json["payload"] is None


def test_every_option_arrives(cli: Cli) -> None:
    options = "--ttl 1h --queue other --concurrency-key ada --priority 10 --idempotency-key k --idempotency-ttl 1d"
    more = [
        "--tag",
        "a",
        "--tag",
        "b",
        "--metadata",
        '{"step": 1}',
        "--max-attempts",
        "7",
        "--max-duration",
        "5m",
        "--delay",
        "1h",
    ]
    run = show(cli, cli("trigger", "wave", "1", *options.split(), *more, "--json"))
    told = {
        name: run[name] for name in ("queue", "concurrency_key", "priority_ms", "idempotency_key", "tags", "metadata")
    }
    assert told == {
        "queue": "other",
        "concurrency_key": "ada",
        "priority_ms": 10_000,
        "idempotency_key": "k",
        "tags": ["a", "b"],
        "metadata": {"step": 1},
    }
    assert (run["status"], run["max_attempts"], run["expires_at"] is not None) == ("delayed", 7, True)
    later = show(cli, cli("trigger", "wave", "1", "--scheduled-for", "2999-01-01T00:00:00+00:00", "--json"))
    assert later["due_at"] == "2999-01-01T00:00:00.000Z"


def test_a_known_idempotency_key_gives_the_earlier_run(cli: Cli) -> None:
    first = cli("trigger", "wave", "--idempotency-key", "k", "--json").json
    second = cli("trigger", "wave", "--idempotency-key", "k", "--json").json
    assert (second["id"], first["created"], second["created"]) == (first["id"], True, False)


@pytest.mark.parametrize("how", ["-", "@payload.json"])
def test_a_payload_from_elsewhere(cli: Cli, nowhere: Path, how: str) -> None:
    (nowhere / "payload.json").write_text('["from elsewhere"]')
    answer = cli("trigger", "wave", how, "--json", text='["from elsewhere"]')
    assert show(cli, answer)["payload"] == ["from elsewhere"]


def test_a_task_of_the_app_has_its_payload_checked(cli: Cli, project: str) -> None:
    run = show(cli, cli("trigger", "greet", '{"name": "Ada", "age": 36}', "--app", project, "--json"))
    assert run["payload"] == {"name": "Ada", "age": 36}
    answer = cli("trigger", "greet", '{"name": "Ada"}', "--app", project)
    assert (answer.code, "age" in answer.err) == (2, True)
    assert show(cli, cli("trigger", "nightly", "--app", project, "--json"))["payload"] is None
    assert cli("trigger", "nightly", "1", "--app", project).code == 2
    assert len(cli("runs", "list", "--json").json["runs"]) == 2


def test_a_task_that_nobody_knows_yet_has_its_run_wait_and_says_so(cli: Cli) -> None:
    answer = cli("trigger", "something-else", "--json")
    assert "pending_version" in answer.err
    assert show(cli, answer)["status"] == "pending_version"


def test_an_id_that_looks_misspelt_is_refused_unless_it_is_meant(cli: Cli) -> None:
    answer = cli("trigger", "wvae")
    assert (answer.code, "wave" in answer.err) == (2, True)
    assert cli("runs", "list", "--json").json["runs"] == []
    assert show(cli, cli("trigger", "wvae", "--anyway", "--json"))["status"] == "pending_version"


def test_a_run_that_is_due_after_the_last_day_of_all_calendars_can_be_shown(cli: Cli) -> None:
    made = cli("trigger", "wave", "1", "--scheduled-for", "9999-12-31T23:59:59-12:00", "--json").json
    assert cli("runs", "list", "--json").json["runs"][0]["due_at"] == "9999-12-30T00:00:00.000Z"
    assert "9999-12-30" in cli("runs", "show", made["id"]).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Ada"], "'\"Ada\"'"),
        (["{bad: json}"], "JSON"),
        (["@nothing.json"], "nothing.json"),
        (["NaN"], "JSON"),
        (["1", "--delay", "soon"], "delay"),
        (["1", "--delay", "1h", "--scheduled-for", "2999-01-01"], "scheduled_for"),
        (["1", "--scheduled-for", "tomorrow"], "2027"),
        (["1", "--scheduled-for", "0001-01-01T00:00:00"], "2027"),
        (["1", "--metadata", "[1]"], "metadata"),
        (["1", "--metadata", "{"], "--metadata"),
        (["1", "--max-attempts", "0"], "max_attempts"),
        (["1", "--timeout", "1x", "--wait"], "timeout"),
    ],
)
def test_what_cannot_be_meant_is_refused(cli: Cli, arguments: list[str], told: str) -> None:
    answer = cli("trigger", "wave", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


def finish(hand: Hand, **how: Any) -> threading.Thread:
    """Carry out the next run as soon as it is there."""

    def claimed() -> list[Claimed]:
        runs = hand.claim(1)
        assert runs
        return runs

    thread = threading.Thread(target=lambda: hand.end(*eventually_holds(claimed), **how))
    thread.start()
    return thread


def test_wait_prints_the_output(cli: Cli, store: Store) -> None:
    hand = Hand(store, "wave")
    working = finish(hand, output='{"n":1}')
    answer = cli("trigger", "wave", "--wait", "--timeout", "30s")
    working.join()
    assert (answer.code, json.loads(answer.out)) == (0, {"n": 1})
    working = finish(hand, output='"x"')
    document = cli("trigger", "wave", "--wait", "--json").json
    working.join()
    assert (document["status"], document["output"], document["error"]) == ("completed", "x", None)


def test_wait_for_a_run_that_fails_exits_with_1(cli: Cli, store: Store) -> None:
    error = json.dumps({"type": "ValueError", "message": "no", "traceback": ""})
    working = finish(Hand(store, "wave"), status="failed", error=error)
    answer = cli("trigger", "wave", "--wait", "--timeout", "30s")
    working.join()
    assert (answer.code, answer.out, "ValueError: no" in answer.err) == (1, "", True)


def test_waiting_in_vain_tells_why(cli: Cli, store: Store) -> None:
    answer = cli("trigger", "wave", "--wait", "--timeout", "50ms")
    assert (answer.code, answer.out) == (2, "")
    assert "No worker is alive" in answer.err
    assert len(store.read_sync(views.page, views.Filter()).runs) == 1
