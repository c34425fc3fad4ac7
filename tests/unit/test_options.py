"""Options: read where they are written, and the run that follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints

import pytest

from holdfast import codec
from holdfast.debounce import Debounce
from holdfast.errors import InvalidOption, NotSerializable, TooLarge
from holdfast.machine import Machine
from holdfast.options import (
    Parent,
    Rules,
    Target,
    TaskOptions,
    TriggerOptions,
    encode_rules,
    new_run,
    read_rules,
    read_trigger_options,
)
from holdfast.queue import Queue
from holdfast.retry import Retry

GREET = Target("greet", "task/greet")
DAY_MS = 86_400_000


# -- at a trigger -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {}),
        ({"delay": "5m"}, {"delay_ms": 300_000}),
        ({"delay": 0}, {"delay_ms": 0}),
        ({"scheduled_for": datetime(2027, 1, 1, tzinfo=UTC)}, {"due_at": 1_798_761_600_000}),
        (
            {"scheduled_for": datetime(2027, 1, 1, 2, 0, 0, 1999, tzinfo=timezone(timedelta(hours=2)))},
            {"due_at": 1_798_761_600_001},
        ),
        ({"scheduled_for": datetime.max.replace(tzinfo=UTC)}, {"due_at": 253_402_300_799_999}),
        ({"ttl": timedelta(hours=1)}, {"ttl_ms": 3_600_000}),
        ({"queue": "slow"}, {"queue": "slow"}),
        ({"queue": Queue("slow", concurrency_limit=1)}, {"queue": "slow"}),
        ({"concurrency_key": "user 1"}, {"concurrency_key": "user 1"}),
        ({"priority": 10}, {"priority_ms": 10_000}),
        ({"priority": 0.0015}, {"priority_ms": 2}),
        ({"priority": -5}, {"priority_ms": -5_000}),
        ({"idempotency_key": "k"}, {"idempotency_key": "k", "idempotency_ttl_ms": 30 * DAY_MS}),
        ({"idempotency_key": "k", "idempotency_ttl": "1h"}, {"idempotency_key": "k", "idempotency_ttl_ms": 3_600_000}),
        ({"tags": ["b", "a", "b"]}, {"tags": '["b","a"]'}),
        ({"tags": ("a",)}, {"tags": '["a"]'}),
        ({"metadata": {"step": 1}}, {"metadata": '{"step":1}'}),
        ({"max_attempts": 5}, {"options": '{"max_attempts":5}'}),
        ({"max_attempts": 1, "max_duration": "1m"}, {"options": '{"max_attempts":1,"max_duration_ms":60000}'}),
        ({"delay": None, "tags": None, "idempotency_key": None, "max_attempts": None}, {}),
    ],
)
def test_options_are_read(options: TriggerOptions, fields: dict[str, Any]) -> None:
    assert read_trigger_options(options) == fields


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dealy": "5m"}, r"dealy is not an option of a trigger. Did you mean delay\?"),
        ({"isolation": 1}, r"isolation is not an option of a trigger. There are concurrency_key, connection, debounce"),
        ({"machine": "huge"}, r"machine is not a machine \('huge'\). Write one of its names, such as \"small-2x\""),
        ({"delay": "soon"}, "delay is not a duration"),
        ({"delay": -1}, "delay cannot be negative"),
        ({"scheduled_for": datetime(2027, 1, 1)}, "scheduled_for has no time zone"),
        ({"scheduled_for": "2027-01-01"}, "scheduled_for is not a datetime"),
        ({"scheduled_for": 60}, "for a duration there is delay"),
        ({"delay": "5m", "scheduled_for": datetime(2027, 1, 1, tzinfo=UTC)}, "delay and scheduled_for are both given"),
        ({"ttl": 0}, "ttl is no time at all"),
        ({"queue": ""}, "queue cannot be used as a name"),
        ({"queue": 5}, "queue is not a string"),
        ({"concurrency_key": 5}, "concurrency_key is not a string"),
        ({"concurrency_key": ""}, "concurrency_key is empty"),
        ({"priority": "high"}, "priority is not a number of seconds"),
        ({"priority": True}, "priority is not a number of seconds"),
        ({"priority": float("nan")}, "priority is not a number of seconds"),
        ({"priority": 1e12}, "priority is not a number of seconds"),
        ({"idempotency_key": "x" * 513}, "idempotency_key is longer than 512"),
        ({"idempotency_key": "a\0"}, "idempotency_key has a character"),
        ({"idempotency_ttl": "1d"}, "idempotency_ttl is given without idempotency_key"),
        ({"tags": "signup"}, r'tags is not a list of strings.*Write tags=\["signup"\]'),
        ({"tags": [1]}, "A tag is not a string"),
        ({"tags": [""]}, "A tag cannot be used as a name"),
        ({"tags": [str(i) for i in range(21)]}, "tags has more than 20 entries"),
        ({"metadata": [1]}, "metadata is not a JSON object"),
        ({"metadata": {1: 2}}, "metadata is not a JSON object"),
        ({"max_attempts": 0}, "max_attempts is not a whole number of at least 1"),
        ({"max_attempts": True}, "max_attempts is not a whole number of at least 1"),
        ({"max_attempts": 1.0}, "max_attempts is not a whole number of at least 1"),
        ({"max_duration": 0}, "max_duration is no time at all"),
    ],
)
def test_what_cannot_be_used_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        read_trigger_options(options)


def test_metadata_is_json_of_limited_size() -> None:
    with pytest.raises(NotSerializable):
        read_trigger_options({"metadata": {"x": object()}})
    with pytest.raises(TooLarge, match="the limit for metadata is 262144"):
        read_trigger_options({"metadata": {"x": "é" * 150_000}})


def test_every_option_of_the_type_is_read_and_no_other() -> None:
    values: dict[str, Any] = {
        "delay": 1,
        "scheduled_for": datetime(2027, 1, 1, tzinfo=UTC),
        "queue": "q",
        "tags": [],
        "metadata": {},
        "concurrency_key": "k",
        "idempotency_key": "k",
        "debounce": Debounce(key="k", delay=1),
        "machine": "small-2x",
    }
    with_the_key = {"idempotency_ttl": 1, "idempotency_scope": "run"}
    for option in get_type_hints(TriggerOptions).keys() - with_the_key.keys() - {"connection"}:
        assert read_trigger_options({option: values.get(option, 1)})
    assert read_trigger_options({"idempotency_key": "k", **with_the_key})
    assert read_trigger_options({"connection": object()}) == {}  # it says nothing of the run
    for option in set(get_type_hints(TaskOptions)) - {"id", "queue", "schedule"}:
        assert (
            read_rules({option: {"retry": Retry(), "machine": "micro", "isolation": "process"}.get(option, 1)})
            != Rules()
        )


# -- the run ----------------------------------------------------------------------------------------------------------


def test_a_run_without_options() -> None:
    run = new_run(GREET, '"Ada"')
    assert (run.task, run.queue, run.payload, run.priority_ms) == ("greet", "task/greet", '"Ada"', 0)
    assert {run.ttl_ms, run.parent_id, run.parent_claim, run.root_id, run.options, run.batch_id} == {None}
    assert len(run.id) == 26
    assert run.id != new_run(GREET, '"Ada"').id


def test_the_call_beats_the_task() -> None:
    target = Target("greet", "task/greet", ttl_ms=1000, priority_ms=2000)
    said = read_trigger_options({"queue": "slow", "ttl": "5s", "priority": 1})
    run = new_run(target, "null", said)
    assert (run.queue, run.ttl_ms, run.priority_ms) == ("slow", 5000, 1000)
    run = new_run(target, "null")
    assert (run.queue, run.ttl_ms, run.priority_ms) == ("task/greet", 1000, 2000)


def test_a_run_remembers_its_machine() -> None:
    target = Target("greet", "task/greet", machine="micro")
    assert codec.decode(new_run(target, "null").options or "") == {"machine": "micro"}
    said = read_trigger_options({"machine": Machine(cpu=1.5, memory="250MB"), "max_attempts": 2})
    assert codec.decode(new_run(target, "null", said).options or "") == {"machine": "1.5cpu-250mb", "max_attempts": 2}
    assert new_run(GREET, "null").options is None


def test_a_run_knows_its_parent() -> None:
    run = new_run(GREET, "null", parent=Parent("p", 3, "r"), batch_id="b")
    assert (run.parent_id, run.parent_claim, run.root_id, run.batch_id) == ("p", 3, "r", "b")


# -- at a task --------------------------------------------------------------------------------------------------------


def test_the_task_beats_the_app() -> None:
    app = read_rules({"retry": Retry(max_attempts=7), "ttl": "1h", "max_duration": "10m"})
    task = read_rules({"ttl": "1m", "max_crashes": 1})
    assert task.over(app) == Rules(retry=Retry(max_attempts=7), ttl_ms=60_000, max_duration_ms=600_000, max_crashes=1)


def test_priority_zero_is_said() -> None:
    assert read_rules({"priority": 0}).over(Rules(priority_ms=5)).priority_ms == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": 5}, r"retries is not an option of a task. Did you mean retry\?"),
        ({"retry": 5}, r"retry is not a Retry \(5\). Write Retry\(max_attempts=5\)"),
        ({"machine": 5}, "machine is not a machine"),
        ({"isolation": "thread"}, 'isolation is neither "worker" nor "process"'),
        ({"max_crashes": 0}, "max_crashes is not a whole number of at least 1"),
        ({"max_duration": "x"}, "max_duration is not a duration"),
        ({"delay": 5}, "delay is not an option of a task"),
    ],
)
def test_task_options_are_checked(options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        read_rules(options)


def test_what_workers_announce_is_settled() -> None:
    assert codec.decode(encode_rules(Rules())) == {"max_attempts": 3}
    rules = read_rules(
        {
            "retry": Retry(max_attempts=5),
            "ttl": "1s",
            "priority": 2,
            "max_duration": 1,
            "max_crashes": 2,
            "machine": Machine(cpu=1, memory="2GB"),
            "isolation": "process",
        }
    )
    assert codec.decode(encode_rules(rules)) == {
        "max_attempts": 5,
        "ttl_ms": 1000,
        "priority_ms": 2000,
        "max_duration_ms": 1000,
        "max_crashes": 2,
        "machine": "medium-1x",
        "isolation": "process",
    }
