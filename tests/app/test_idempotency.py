"""Idempotency keys as an app uses them: callers at once, scopes inside tasks, reset, and the key as people see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from holdfast import Context, Holdfast, InvalidOption, views
from holdfast.context import Attempt, running
from holdfast.engine import catalogue, reap
from holdfast.idempotency import shown_key, stored_key
from holdfast.records import Claimed
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
def greet(app: Holdfast) -> Any:
    return app.tasks["greet"]


@pytest.fixture
def part(app: Holdfast) -> Any:
    return app.tasks["part"]


@pytest.fixture
def hand(app: Holdfast) -> Hand:
    app.client.store.run_sync(catalogue.announce, [task.entry() for task in app.tasks.values()], [])
    return Hand(app.client.store, "greet")


# -- many at once -----------------------------------------------------------------------------------------------------

CALLERS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from holdfast import Holdfast

app = Holdfast(sys.argv[1])

@app.task
def greet(name: str) -> str:
    return name

greet.trigger("warm-up")
print("ready", flush=True)
sys.stdin.readline()
barrier = Barrier(16)

def call(n):
    barrier.wait()
    handle = greet.trigger(f"caller {n}", idempotency_key="same")
    return handle.id, handle.created

with ThreadPoolExecutor(16) as threads:
    print(json.dumps(list(threads.map(call, range(16)))), flush=True)
app.close()
"""


def test_32_callers_at_once_make_one_run(database_url: str, app: Holdfast, hand: Hand) -> None:
    """Sixteen threads in each of two processes."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CALLERS, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n", "ready\n"]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [each for process in processes for each in json.loads(process.communicate(timeout=60)[0])]
    assert len(told) == 32
    (run,) = {run_id for run_id, _ in told}
    assert sum(created for _, created in told) == 1
    claimed = [each.id for each in hand.claim()]
    assert claimed.count(run) == 1
    assert len(claimed) == 3  # and the two of the warm-up


def test_32_threads_of_one_app_make_one_run(greet: Any) -> None:
    with ThreadPoolExecutor(32) as threads:
        handles = list(threads.map(lambda n: greet.trigger(str(n), idempotency_key="same"), range(32)))
    assert len({handle.id for handle in handles}) == 1
    assert sum(handle.created for handle in handles) == 1


def test_a_key_whose_run_was_pruned_is_free_again(app: Holdfast, greet: Any, hand: Hand) -> None:
    first = greet.trigger("Ada", idempotency_key="k", idempotency_ttl="1000d")
    assert hand.end(hand.claim_one(), output='"Ada"') == []
    assert greet.trigger("Ada", idempotency_key="k").id == first.id
    app.client.store.run_sync(reap.prune, -1000)
    second = greet.trigger("Ada", idempotency_key="k")
    assert second.created
    assert second.id != first.id


# -- scopes -----------------------------------------------------------------------------------------------------------


def inside(app: Holdfast, claimed: Claimed, call: Callable[[], Any]) -> Any:
    context = copy_context()
    context.run(running.set, Attempt(claimed, home=app.client))
    return context.run(call)


@pytest.fixture
def child(app: Holdfast, part: Any) -> Callable[..., Any]:
    """Trigger a child inside an attempt; answers its handle."""

    def make(claimed: Claimed, scope: str | None = None, key: str = "k") -> Any:
        options = {} if scope is None else {"idempotency_scope": scope}
        return inside(app, claimed, lambda: part.trigger("x", idempotency_key=key, **options))

    return make


def test_a_key_is_global_unless_it_says_otherwise(greet: Any, hand: Hand, part: Any, child: Any) -> None:
    greet.batch_trigger(["Ada", "Grace"])
    ada, grace = hand.claim()
    assert child(ada) == child(grace) == child(ada, "global") == part.trigger("x", idempotency_key="k")


def test_a_key_of_a_run_is_the_same_in_all_its_attempts(greet: Any, hand: Hand, part: Any, child: Any) -> None:
    greet.batch_trigger(["Ada", "Grace"])
    ada, grace = hand.claim()
    of_ada = child(ada, "run")
    assert of_ada.created
    assert child(grace, "run") != of_ada
    assert part.trigger("x", idempotency_key="k") not in (of_ada, child(grace, "run"))
    hand.retry(ada)
    again = next(run for run in hand.claim() if run.id == ada.id)
    assert again.attempt == 2
    assert child(again, "run") == of_ada
    assert not child(again, "run").created


def test_a_key_of_an_attempt_is_new_in_the_next(greet: Any, hand: Hand, child: Any) -> None:
    greet.trigger("Ada")
    first = hand.claim_one()
    of_first = child(first, "attempt")
    assert child(first, "attempt") == of_first
    assert child(first, "run") != of_first
    hand.give_back(first)  # a deploy: the attempt goes on, and so does its key
    returned = hand.claim_one()
    assert child(returned, "attempt") == of_first
    hand.retry(returned)
    assert child(hand.claim_one(), "attempt") != of_first


@pytest.mark.parametrize("scope", ["global", "run", "attempt"])
def test_people_see_the_key_that_was_written(app: Holdfast, greet: Any, hand: Hand, child: Any, scope: str) -> None:
    greet.trigger("Ada")
    handle = child(hand.claim_one(), scope, "user 1")
    assert handle.retrieve().idempotency_key == "user 1"
    detail: Any = app.client.read(views.run, handle.id)
    assert detail.idempotency_key == "user 1"
    worker = Hand(app.client.store, "part")
    assert Context(Attempt(worker.claim_one())).run.idempotency_key == "user 1"


def test_no_key_can_be_written_as_another_s() -> None:
    stored = stored_key("k", "run", "r1", 1)
    with pytest.raises(InvalidOption, match="begins with U"):
        stored_key(stored, "global", None, None)
    seen = {
        stored,
        stored_key("k", "attempt", "r1", 1),
        stored_key("k", "attempt", "r1", 2),
        stored_key("k", "run", "r2", 1),
        "k",
    }
    assert len(seen) == 5
    assert {shown_key(each) for each in seen} == {"k"}
    assert shown_key(stored_key("a\x1eb", "attempt", "r1", 7)) == "a\x1eb"
    assert shown_key(None) is None


def test_the_longest_key_fits_with_its_scope(greet: Any, hand: Hand, child: Any) -> None:
    greet.trigger("Ada")
    claimed = hand.claim_one()
    handle = child(claimed, "attempt", "🐙" * 512)
    assert child(claimed, "attempt", "🐙" * 512) == handle
    assert handle.retrieve().idempotency_key == "🐙" * 512


@pytest.mark.parametrize("scope", ["run", "attempt"])
def test_a_scope_needs_a_run(app: Holdfast, greet: Any, hand: Hand, part: Any, scope: Any) -> None:
    call = lambda: part.trigger("x", idempotency_key="k", idempotency_scope=scope)  # noqa: E731
    with pytest.raises(InvalidOption, match=rf'idempotency_scope="{scope}" needs a run.*Trigger inside a task'):
        call()
    greet.trigger("Ada")
    context = copy_context()
    context.run(running.set, Attempt(hand.claim_one(), home=object()))  # a task of another app
    with pytest.raises(InvalidOption, match="needs a run"):
        context.run(call)
    with pytest.raises(InvalidOption, match="needs a run"):
        part.reset_idempotency_key("k", scope=scope)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"idempotency_scope": "task", "idempotency_key": "k"},
            r"idempotency_scope is not a scope \('task'\). Write one of",
        ),
        ({"idempotency_scope": 1, "idempotency_key": "k"}, "idempotency_scope is not a scope"),
        ({"idempotency_scope": "run"}, "idempotency_scope is given without idempotency_key"),
        ({"idempotency_scope": "global"}, "idempotency_scope is given without idempotency_key"),
        ({"idempotency_key": "\x1ex"}, "idempotency_key begins with U"),
    ],
)
def test_what_cannot_be_used_is_refused(greet: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        greet.trigger("Ada", **options)
    with pytest.raises(InvalidOption, match=message):
        greet.item("Ada", **options)


def test_items_take_the_run_they_are_triggered_in(app: Holdfast, greet: Any, hand: Hand, part: Any) -> None:
    item = part.item("x", idempotency_key="k", idempotency_scope="run")
    greet.batch_trigger(["Ada", "Grace"])
    ada, grace = hand.claim()
    made = [inside(app, each, lambda: part.batch_trigger([item, item]).runs) for each in (ada, grace, ada)]
    assert made[0] == made[2] != made[1]
    assert all(first == second for first, second in made)


def test_a_child_that_failed_frees_its_scoped_key(app: Holdfast, greet: Any, hand: Hand, child: Any) -> None:
    greet.trigger("Ada")
    claimed = hand.claim_one()
    first = child(claimed, "run")
    worker = Hand(app.client.store, "part")
    worker.end(worker.claim_one(), status="failed")
    assert child(claimed, "run").id != first.id


# -- reset ------------------------------------------------------------------------------------------------------------


async def test_a_key_that_was_reset_makes_a_new_run(greet: Any) -> None:
    first = greet.trigger("Ada", idempotency_key="k")
    assert greet.reset_idempotency_key("k") is True
    assert greet.reset_idempotency_key("k") is False
    second = greet.trigger("Ada", idempotency_key="k")
    assert second.id != first.id
    assert first.retrieve().status == "pending_version"  # it goes on
    assert await greet.areset_idempotency_key("k") is True
    assert (await greet.atrigger("Ada", idempotency_key="k")).created


async def test_a_key_of_a_task_by_its_name(app: Holdfast) -> None:
    app.trigger("elsewhere", 1, idempotency_key="k")
    assert app.reset_idempotency_key("other", "k") is False
    assert app.reset_idempotency_key("elsewhere", "k") is True
    assert app.trigger("elsewhere", 1, idempotency_key="k").created
    assert await app.areset_idempotency_key("elsewhere", "k") is True
    with pytest.raises(InvalidOption, match="The id of a task"):
        app.reset_idempotency_key("", "k")


def test_the_end_of_the_earlier_run_frees_nothing_of_the_later(greet: Any, hand: Hand) -> None:
    greet.trigger("Ada", idempotency_key="k")
    claimed = hand.claim_one()
    greet.reset_idempotency_key("k")
    second = greet.trigger("Ada", idempotency_key="k")
    hand.end(claimed, status="failed")
    assert greet.trigger("Ada", idempotency_key="k").id == second.id


def test_scoped_keys_are_reset_inside_their_run(app: Holdfast, greet: Any, hand: Hand, part: Any, child: Any) -> None:
    greet.trigger("Ada")
    claimed = hand.claim_one()
    for scope in ("run", "attempt"):
        first = child(claimed, scope)
        assert part.reset_idempotency_key("k") is False  # that is the global one
        assert inside(app, claimed, lambda scope=scope: part.reset_idempotency_key("k", scope=scope)) is True
        assert child(claimed, scope) != first


@pytest.mark.parametrize("key", ["", 5, None, "a\0", "x" * 513])
async def test_what_can_be_no_key_is_refused(app: Holdfast, greet: Any, key: Any) -> None:
    for reset in (greet.reset_idempotency_key, lambda key: app.reset_idempotency_key("greet", key)):
        with pytest.raises(InvalidOption, match="idempotency_key"):
            reset(key)
    with pytest.raises(InvalidOption, match="scope is not a scope"):
        greet.reset_idempotency_key("k", scope="task")
