"""``debounce=Debounce(key=…, delay=…)``: a burst makes one run, with the right payload, at the right time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Debounce, Holdfast, InvalidOption
from holdfast.clock import FrozenClock
from holdfast.engine import trigger
from holdfast.engine.due import go_on
from holdfast.options import Target, new_run, read_trigger_options
from holdfast.records import Triggered
from holdfast.storage import Store
from tests.engine.making import Hand, know, look, status

GREET = Target("greet", "task/greet")


# -- as it is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"delay": "10s"}, (10_000, None, False)),
        ({"delay": 2.5, "leading": True}, (2_500, None, True)),
        ({"delay": timedelta(seconds=1), "max_delay": "1m"}, (1_000, 60_000, False)),
        ({"delay": "1m", "max_delay": "1m"}, (60_000, 60_000, False)),
    ],
)
def test_a_debounce_is_a_value(given: Any, fields: tuple[Any, ...]) -> None:
    assert Debounce(key="k", **given) == Debounce(key="k", **given)
    found = read_trigger_options({"debounce": Debounce(key="k", **given)})
    assert (found["debounce_ms"], found["debounce_max_ms"], found["debounce_leading"]) == fields
    assert found["debounce_key"] == "k"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"key": ""}, "The key of a Debounce is empty"),
        ({"key": 5}, r"The key of a Debounce is not a string \(5\)"),
        ({"key": "a\0"}, "The key of a Debounce has a character"),
        ({"delay": "soon"}, "delay of a Debounce is not a duration"),
        ({"delay": -1}, "delay of a Debounce cannot be negative"),
        ({"delay": 0}, "delay of a Debounce is no time at all"),
        ({"max_delay": 0}, "max_delay of a Debounce is no time at all"),
        ({"max_delay": "1s"}, r"The max_delay of a Debounce is shorter than its delay \(delay='5s', max_delay='1s'\)"),
        ({"leading": "yes"}, "leading of a Debounce is neither True nor False"),
        ({"leading": 1}, "leading of a Debounce is neither True nor False"),
    ],
)
def test_what_cannot_be_used_is_refused_where_it_is_written(given: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Debounce(**({"key": "k", "delay": "5s"} | given))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"debounce": "k"}, r"debounce is not a Debounce \('k'\). Write Debounce\(key="),
        ({"debounce": {"key": "k", "delay": "5s"}}, "debounce is not a Debounce"),
        ({"debounce": Debounce(key="k", delay=1), "delay": "5s"}, r"debounce and delay are both given \(delay='5s'"),
        (
            {"debounce": Debounce(key="k", delay=1), "idempotency_key": "i"},
            "debounce and idempotency_key are both given",
        ),
    ],
)
def test_what_contradicts_it_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        read_trigger_options(options)


def test_all_of_it_is_said_by_keyword() -> None:
    with pytest.raises(TypeError):
        Debounce("k", "5s")  # type: ignore[misc]


# -- on the frozen clock ----------------------------------------------------------------------------------------------


def burst(store: Store, payload: str = "1", **options: Any) -> Triggered:
    run = new_run(GREET, payload, read_trigger_options(options))
    made: Any = store.gather(trigger.trigger, run).result()
    assert isinstance(made, Triggered)
    return made


def due(store: Store, run_id: str) -> int:
    at = look(store, run_id).due_at
    assert at is not None
    return at


def test_the_time_it_is_scheduled_for_is_waited_for_as_well(store: Store, clock: FrozenClock) -> None:
    know(store)
    moment = datetime.fromtimestamp(clock.now() / 1000 + 60, tz=UTC)
    options = {"debounce": Debounce(key="k", delay="10s"), "scheduled_for": moment}
    run = burst(store, **options).id
    assert due(store, run) == clock.now() + 60_000
    clock.advance("30s")
    assert burst(store, **options) == (run, False)
    assert due(store, run) == clock.now() + 30_000  # not before the time, although the burst ends sooner
    clock.advance("25s")
    assert burst(store, **options) == (run, False)
    assert due(store, run) == clock.now() + 10_000  # and not before the burst has ended
    assert not burst(store, debounce=Debounce(key="k", delay="1s")).created
    assert due(store, run) == clock.now() + 1_000


def test_the_ttl_counts_from_when_it_could_start(store: Store, clock: FrozenClock) -> None:
    know(store)
    run = burst(store, debounce=Debounce(key="k", delay="10s"), ttl="5s").id
    for _ in range(5):
        clock.advance("9s")
        assert not burst(store, debounce=Debounce(key="k", delay="10s"), ttl="5s").created
    record = look(store, run)
    assert (record.due_at, record.expire_at) == (clock.now() + 10_000, clock.now() + 15_000)
    clock.advance("10s")
    store.run_sync(go_on)
    assert status(store, run) == "pending_version" or status(store, run) == "queued"
    assert [each.id for each in Hand(store).claim()] == [run]


def test_in_one_batch_it_is_one_run_with_the_last_payload(database_url: str) -> None:
    app = Holdfast(database_url)

    @app.task
    def greet(name: str) -> str:
        return name

    debounce = Debounce(key="k", delay="1h")
    batch = greet.batch_trigger([greet.item(name, debounce=debounce) for name in ("Ada", "Grace", "Edsger")])
    assert len({run.id for run in batch.runs}) == 1
    assert [run.created for run in batch.runs] == [True, False, False]
    assert batch.runs[0].retrieve().payload == "Edsger"
    app.close()


def test_another_task_has_keys_of_its_own(store: Store, clock: FrozenClock) -> None:
    one = burst(store, debounce=Debounce(key="k", delay="1h"))
    other = new_run(
        Target("other", "task/other"), "1", read_trigger_options({"debounce": Debounce(key="k", delay="1h")})
    )
    assert store.run_sync(trigger.trigger, [other]) == [(other.id, True)]
    assert one.created


# -- a burst of many ---------------------------------------------------------------------------------------------------

DELAY = 5.0
BURST = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from holdfast import Debounce, Holdfast

url, name = sys.argv[1:]
app = Holdfast(url)

@app.task
def greet(payload: str) -> str:
    return payload

debounce = Debounce(key="burst", delay=5.0)
greet.trigger("first", debounce=Debounce(key="warm-up", delay="1d"))  # the store is open: now the burst
print("ready", flush=True)
sys.stdin.readline()

def fire(n):
    payload = f"{name} {n}"
    began = time.monotonic()
    handle = greet.trigger(payload, debounce=debounce)
    return payload, began, time.monotonic(), handle.id, handle.created

with ThreadPoolExecutor(16) as threads:
    print(json.dumps(list(threads.map(fire, range(64)))), flush=True)
app.close()
"""


def test_sixteen_threads_and_two_processes_make_one_run(store: Store, database_url: str) -> None:
    know(store)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BURST, database_url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for name in ("one", "other")
    ]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n", "ready\n"]
    before = store.run_sync(lambda tx: tx.now())
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    fired = [each for process in processes for each in json.loads(process.communicate(timeout=60)[0])]
    after = store.run_sync(lambda tx: tx.now())
    looked_at = time.monotonic()

    assert len(fired) == 128
    (run,) = {run_id for _, _, _, run_id, _ in fired}
    assert sum(created for _, _, _, _, created in fired) == 1

    # The right payload: of a trigger that may have been the last, for none began after it had ended.
    last_began = max(began for _, began, _, _, _ in fired)
    record = look(store, run)
    assert record.payload in {json.dumps(payload) for payload, _, ended, _, _ in fired if ended >= last_began}

    # The right time: the delay after the last of them, and nobody starts it before.
    assert record.due_at is not None
    assert before + DELAY * 1000 <= record.due_at <= after + DELAY * 1000
    since = 1000 * (looked_at - last_began)
    assert record.due_at >= after + DELAY * 1000 - since - 10
    hand = Hand(store)
    while store.run_sync(lambda tx: tx.now()) < record.due_at:
        store.run_sync(go_on)
        assert hand.claim() == [] or store.run_sync(lambda tx: tx.now()) >= record.due_at
        time.sleep(0.02)
    store.run_sync(go_on)
    assert [each.id for each in hand.claim()] in ([run], [])
    assert status(store, run) == "executing"


def test_the_handle_of_a_burst(database_url: str, eventually: Callable[..., None]) -> None:
    app = Holdfast(database_url)

    @app.task
    def greet(name: str) -> str:
        return f"Hello, {name}!"

    with app.running():
        handles = [greet.trigger(name, debounce=Debounce(key="k", delay="200ms")) for name in ("Ada", "Grace")]
        assert handles[0] == handles[1]
        assert handles[0].result(timeout="30s") == "Hello, Grace!"
        first = greet.trigger("Ada", debounce=Debounce(key="k", delay="200ms", leading=True))
        assert first != handles[0]
        greet.trigger("Grace", debounce=Debounce(key="k", delay="200ms", leading=True))
        assert first.result(timeout="30s") == "Hello, Ada!"
    app.close()
