"""``SELECT holdfast.trigger(…)``: the same run, and the same refusals, as a trigger in Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from holdfast.clock import SystemClock
from holdfast.debounce import Debounce
from holdfast.duration import to_ms
from holdfast.engine import catalogue, read, trigger
from holdfast.errors import InvalidOption
from holdfast.ids import hash63, new_id
from holdfast.machine import Machine
from holdfast.options import Target, new_run, read_trigger_options
from holdfast.records import QueueEntry, RunRecord, TaskEntry
from holdfast.storage import Store
from holdfast.storage.postgres import PostgresStore
from holdfast.upkeep import Upkeep
from tests.engine.making import Hand, know, look, override, promote, queue, state, status

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
Connection = psycopg.Connection[Any]

MIXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def connect(store: Store, **more: str) -> Connection:
    return psycopg.connect(make_conninfo(cast("PostgresStore", store).conninfo, **more), autocommit=True)


@pytest.fixture
def sql(store: Store) -> Iterator[Connection]:
    with closing(connect(store)) as connection:
        yield connection


def value(sql: Connection, statement: str, *parameters: Any) -> Any:
    row = sql.execute(statement.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def ask(sql: Connection, task: str = "greet", payload: str = '"Ada"', **options: Any) -> str:
    """Trigger in SQL; answers the run's id."""
    return str(value(sql, "SELECT holdfast.trigger(%s, %s, %s)", task, payload, json.dumps(options)))


# -- the same as in Python --------------------------------------------------------------------------------------------

names = st.lists(st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40), max_size=5)


@MIXED
@given(names)
def test_a_name_has_the_same_number(sql: Connection, parts: list[str | None]) -> None:
    assert value(sql, "SELECT holdfast.hash63(VARIADIC %s::text[])", parts) == hash63(*parts)


def test_ids_are_like_ours(sql: Connection) -> None:
    before = new_id()
    made = [row[0] for row in sql.execute("SELECT holdfast.new_id() FROM generate_series(1, 5000)")]
    after = SystemClock().now()
    assert len(set(made)) == 5000
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{26}", each) for each in made)
    numbers = [number(each) for each in made]
    assert {each >> 76 & 15 for each in numbers} == {7}
    assert {each >> 62 & 3 for each in numbers} == {2}
    moments = [each >> 80 for each in numbers]
    assert moments == sorted(moments)
    assert number(before) >> 80 <= moments[0] <= moments[-1] <= after


def number(run_id: str) -> int:
    """What the 26 characters stand for."""
    return sum("0123456789abcdefghjkmnpqrstvwxyz".index(c) << 5 * i for i, c in enumerate(reversed(run_id)))


counts = st.integers(0, 99999).map(str) | st.decimals(0, 9999, places=2).map(str)
written = st.tuples(*[st.none() | counts for _ in range(6)]).map(
    lambda found: " ".join(
        f"{count}{unit}" for count, unit in zip(found, ("w", "d", "h", "m", "s", "ms"), strict=True) if count
    )
)
durations = (
    written
    | written.map(lambda text: text.replace(" ", ""))
    | st.integers(-5, 10**9)
    | st.floats(-5, 10**9).map(lambda number: round(number, 3))
    | st.sampled_from(["", "soon", "1h1h", "30m1h", "-5s", "5", "1.5.s", "5S", " 5s ", "1e3s", "٣s", "9999999w"])
    | st.text(st.sampled_from("0123456789.wdhms "), max_size=8)
)


@settings(MIXED, max_examples=300)
@given(durations)
def test_a_duration_is_read_the_same(sql: Connection, written: Any) -> None:
    assert read_in_sql(sql, written) == read_in_python(written)


def read_in_python(written: Any) -> int | str:
    try:
        return to_ms(written, name="delay")
    except InvalidOption as error:
        return error.what


def read_in_sql(sql: Connection, written: Any) -> int | str:
    try:
        return int(value(sql, "SELECT holdfast.read_duration('delay', %s)", json.dumps(written)))
    except psycopg.errors.InvalidParameterValue as error:
        return str(error.diag.message_primary).partition(" (")[0]


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"delay": "1h30m"}, {"delay": "1h30m"}),
    ({"delay": 0}, {"delay": 0}),
    ({"delay": 1.5}, {"delay": timedelta(milliseconds=1500)}),
    ({"scheduled_for": "2099-01-01T00:00:00Z"}, {"scheduled_for": datetime(2099, 1, 1, tzinfo=UTC)}),
    (
        {"scheduled_for": "2099-01-01 00:00:00.0019+02:00"},
        {"scheduled_for": datetime(2099, 1, 1, 0, 0, 0, 1900, tzinfo=timezone(timedelta(hours=2)))},
    ),
    ({"scheduled_for": "2001-01-01T00:00:00Z"}, {"scheduled_for": datetime(2001, 1, 1, tzinfo=UTC)}),
    ({"ttl": "1h"}, {"ttl": "1h"}),
    ({"ttl": 60, "delay": 60}, {"ttl": 60, "delay": 60}),
    ({"queue": "slow"}, {"queue": "slow"}),
    ({"concurrency_key": "user 1"}, {"concurrency_key": "user 1"}),
    ({"queue": "limited", "concurrency_key": "größe"}, {"queue": "limited", "concurrency_key": "größe"}),
    ({"priority": 2.5}, {"priority": 2.5}),
    ({"priority": -5}, {"priority": -5}),
    ({"idempotency_key": "k"}, {"idempotency_key": "k"}),
    ({"idempotency_key": "k", "idempotency_ttl": "1h"}, {"idempotency_key": "k", "idempotency_ttl": "1h"}),
    ({"idempotency_key": "k", "idempotency_scope": "global"}, {"idempotency_key": "k"}),
    ({"tags": ["b", "a", "b", "ü"]}, {"tags": ["b", "a", "b", "ü"]}),
    ({"metadata": {"x": [1, "é"]}}, {"metadata": {"x": [1, "é"]}}),
    ({"max_attempts": 5}, {"max_attempts": 5}),
    ({"max_attempts": 1, "max_duration": "1m"}, {"max_attempts": 1, "max_duration": "1m"}),
    ({"machine": "small-2x"}, {"machine": "small-2x"}),
    ({"machine": "1.5cpu-250mb", "max_attempts": 1}, {"machine": Machine(cpu=1.5, memory="250MB"), "max_attempts": 1}),
    ({"debounce": {"key": "d", "delay": "10s"}}, {"debounce": Debounce(key="d", delay="10s")}),
    (
        {"debounce": {"key": "d", "delay": "10s", "max_delay": "1m", "leading": True}},
        {"debounce": Debounce(key="d", delay="10s", max_delay="1m", leading=True)},
    ),
    (
        {"debounce": {"key": "d", "delay": "10s"}, "scheduled_for": "2099-01-01T00:00:00Z"},
        {"debounce": Debounce(key="d", delay="10s"), "scheduled_for": datetime(2099, 1, 1, tzinfo=UTC)},
    ),
    ({"delay": None, "tags": None, "debounce": None}, {}),
]


@pytest.mark.parametrize(("said", "meant"), SAME, ids=[json.dumps(said) for said, _ in SAME])
def test_an_option_means_what_it_means_in_python(store: Store, sql: Connection, said: Any, meant: Any) -> None:
    know(store, queue("limited", 5, per_key=1), queue("slow"))
    asked = ask(sql, "greet", '{"name":"Ada"}', **said)
    run = new_run(Target("greet", "task/greet"), '{"name":"Ada"}', read_trigger_options(meant))
    sql.execute("DELETE FROM holdfast.idempotency")
    sql.execute("DELETE FROM holdfast.debounce")
    store.run_sync(trigger.trigger, [run])
    assert kept(sql, store, asked) == kept(sql, store, run.id)
    assert value(sql, "SELECT count(*) FROM holdfast.joined") == 0


def kept(sql: Connection, store: Store, run_id: str) -> dict[str, Any]:
    """All that the database keeps about a run, with its times as spans, but for a little time between two triggers."""
    cursor = sql.execute("SELECT * FROM holdfast.run WHERE id = %s", (run_id,))
    row = dict(zip([column.name for column in cursor.description or ()], cursor.fetchone() or (), strict=True))
    for name in ("sort_at", "due_at", "expire_at"):
        if row[name] is not None and row[name] < 4_000_000_000_000:  # what lies so far ahead was said, and not counted
            row[name] = round((row[name] - row["created_at"]) / 2000)
    for name in ("id", "created_at"):
        del row[name]
    if row["metadata"]:
        row["metadata"] = json.loads(row["metadata"])
    row["indexed"] = sorted(
        each[0] for each in sql.execute("SELECT tag FROM holdfast.tag WHERE run_id = %s", (run_id,))
    )
    return row


def test_defaults_are_those_that_workers_announced(store: Store, sql: Connection) -> None:
    entry = TaskEntry(id="train", queue="gpu", options='{"max_attempts":3,"ttl_ms":3600000,"priority_ms":5000}')
    store.run_sync(catalogue.announce, [entry], [])
    run = look(store, ask(sql, "train", "1"))
    assert (run.queue, run.priority_ms, run.options, run.status) == ("gpu", 5000, None, "queued")
    assert run.expire_at == run.created_at + 3_600_000
    said = look(store, ask(sql, "train", "1", ttl="1s", priority=0, queue="gpu"))
    assert (said.priority_ms, said.expire_at) == (0, said.created_at + 1000)


def test_payload_and_options_may_be_left_out(store: Store, sql: Connection) -> None:
    know(store)
    ids = [
        value(sql, "SELECT holdfast.trigger('greet')"),
        value(sql, "SELECT holdfast.trigger('greet', NULL, NULL)"),
        value(sql, "SELECT holdfast.trigger('greet', options => '{\"delay\": \"5m\"}')"),
    ]
    assert [look(store, each).payload for each in ids] == ["null", "null", "null"]
    assert [status(store, each) for each in ids] == ["queued", "queued", "delayed"]


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":  1,"a":2 }',
        "1" + "0" * 120,
        '"\\u0000"',
        '"\\ud800 and \\udc00\\ud800"',
        '"größe 🐙"',
        '"' + "x" * 9000 + '"',
        '"' + "é" * 8190 + '"',
    ],
)
def test_a_payload_arrives_as_it_was_written(store: Store, sql: Connection, payload: str) -> None:
    know(store)
    assert look(store, ask(sql, payload=payload)).payload == payload


def test_a_big_payload_does_not_ride_along_in_the_hot_row(store: Store, sql: Connection) -> None:
    know(store)
    ids = [ask(sql, payload=f'"{"x" * length}"') for length in (8190, 8191)]
    assert [value(sql, "SELECT payload IS NULL FROM holdfast.run WHERE id = %s", each) for each in ids] == [False, True]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message", "todo"),
    [
        ({"dealy": "5m"}, "dealy is not an option of a trigger", "There are concurrency_key, debounce, delay, idempo"),
        ({"connection": 1}, "connection is not an option of a trigger", "There are"),
        ({"delay": "soon"}, 'delay is not a duration ("soon")', 'Write it like "1h30m"'),
        ({"delay": True}, "delay is not a duration (true)", 'Write it like "1h30m"'),
        ({"delay": [1]}, "delay is not a duration ([1])", 'Write it like "1h30m"'),
        ({"delay": -1}, "delay cannot be negative (-1)", "Write it"),
        ({"delay": 1e12}, "delay is longer than a thousand years (1000000000000.0)", "Write it"),
        ({"scheduled_for": "2027-01-01T00:00:00"}, "scheduled_for is not a time with its zone", "Write it like"),
        ({"scheduled_for": "2027-13-01T00:00:00Z"}, "scheduled_for is not a time with its zone", "Write it like"),
        ({"scheduled_for": "infinity"}, "scheduled_for is not a time with its zone", "Write it like"),
        ({"scheduled_for": 60}, "scheduled_for is not a time with its zone (60)", "Write it like"),
        ({"delay": 1, "scheduled_for": "2027-01-01T00:00:00Z"}, "delay and scheduled_for are both given", "Keep one"),
        ({"ttl": 0}, "ttl is no time at all (0)", "Leave it out"),
        ({"queue": ""}, 'queue cannot be used ("")', "Write 1 to 200 printable characters."),
        ({"queue": " a"}, 'queue cannot be used (" a")', "Write 1 to 200 printable characters."),
        ({"queue": "a\nb"}, 'queue cannot be used ("a\\nb")', "Write 1 to 200 printable characters."),
        ({"queue": 5}, "queue is not a string (5)", "Write it as text."),
        ({"concurrency_key": "x" * 513}, 'concurrency_key cannot be used ("xxx', "Write 1 to 512 characters."),
        ({"priority": "high"}, 'priority is not a number of seconds ("high")', "Write the head start"),
        ({"priority": 1e12}, "priority is not a number of seconds", "Write the head start"),
        ({"idempotency_key": 5}, "idempotency_key is not a string (5)", "Write it as text."),
        ({"idempotency_key": "\x1ek"}, "idempotency_key begins with U+001E", "Begin it otherwise."),
        ({"idempotency_ttl": "1d"}, "idempotency_ttl is given without idempotency_key", "Add the key"),
        ({"idempotency_key": "k", "idempotency_scope": "run"}, "idempotency_scope can only be global", "Leave it out."),
        ({"tags": "signup"}, 'tags is not a list of strings ("signup")', 'Write {"tags": ["signup"]}.'),
        ({"tags": [1]}, "A tag is not a string (1)", "Write it as text."),
        ({"tags": [str(n) for n in range(21)]}, "tags has more than 20 entries (21)", "Put what is data"),
        ({"metadata": [1]}, "metadata is not a JSON object ([1])", "Write"),
        ({"metadata": {"x": "é" * 150_000}}, "The metadata of the run is too large", "Keep what is large elsewhere"),
        ({"max_attempts": 0}, "max_attempts is not a whole number of at least 1 (0)", "Write 1 or more."),
        ({"max_attempts": 1.0}, "max_attempts is not a whole number of at least 1 (1.0)", "Write 1 or more."),
        ({"max_attempts": 1_000_001}, "max_attempts is not a whole number", "Write 1 or more."),
        ({"max_attempts": 10**30}, "max_attempts is not a whole number", "Write 1 or more."),
        ({"max_duration": 0}, "max_duration is no time at all (0)", "Leave it out"),
        ({"machine": "huge"}, 'machine is not a machine ("huge")', "Write one of its names"),
        ({"debounce": "k"}, 'debounce is not an object ("k")', "Write"),
        ({"debounce": {"key": "k"}}, "debounce has no key, or no delay", "Write"),
        ({"debounce": {"delay": "5s"}}, "debounce has no key, or no delay", "Write"),
        ({"debounce": {"key": "k", "delay": 0}}, "The delay of debounce is no time at all", "Leave it out"),
        (
            {"debounce": {"key": "k", "delay": 5, "wait": 1}},
            "wait is not an option of debounce",
            "There are delay, key",
        ),
        ({"debounce": {"key": "k", "delay": 5, "leading": 1}}, "leading of debounce is not true or false (1)", "Write"),
        (
            {"debounce": {"key": "k", "delay": 5, "max_delay": 1}},
            "The max_delay of debounce is shorter",
            "Give it more",
        ),
        ({"debounce": {"key": "k", "delay": 5}, "delay": 1}, "debounce is given together with", "Keep one"),
        ({"debounce": {"key": "k", "delay": 5}, "idempotency_key": "k"}, "debounce is given together with", "Keep one"),
    ],
)
def test_what_cannot_be_used_is_refused_in_three_parts(sql: Connection, options: Any, message: str, todo: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        ask(sql, **options)
    said = caught.value.diag
    assert str(said.message_primary).startswith(message)
    assert str(said.message_hint).startswith(todo)
    assert value(sql, "SELECT count(*) FROM holdfast.run") == 0


def test_what_is_no_task_no_object_or_too_large_is_refused(sql: Connection) -> None:
    for statement, message in {
        "SELECT holdfast.trigger('')": "The id of a task cannot be used",
        "SELECT holdfast.trigger(NULL)": "The id of a task is not a string",
        "SELECT holdfast.trigger(repeat('x', 129))": "The id of a task cannot be used",
        "SELECT holdfast.trigger('greet', '1', '[1]')": "The options are not a JSON object",
        "SELECT holdfast.trigger('greet', to_json(repeat('x', 10485760)))": "The payload is too large",
    }.items():
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
            sql.execute(statement.encode())


# -- keys -------------------------------------------------------------------------------------------------------------


def test_the_same_key_gives_the_earlier_run(store: Store, sql: Connection) -> None:
    know(store)
    first = ask(sql, idempotency_key="k")
    assert ask(sql, payload="2", idempotency_key="k") == first
    assert ask(sql, "other", idempotency_key="k") != first
    [outcome] = store.run_sync(trigger.trigger, [new_run(Target("greet", "task/greet"), "3", {"idempotency_key": "k"})])
    assert outcome == (first, False)


def test_a_key_whose_time_is_over_is_free_again(store: Store, sql: Connection) -> None:
    know(store)
    first = ask(sql, idempotency_key="k", idempotency_ttl="1ms")
    sql.execute("SELECT pg_sleep(0.005)")
    second = ask(sql, idempotency_key="k")
    assert second != first
    assert ask(sql, idempotency_key="k") == second


def test_a_burst_makes_one_run(store: Store, sql: Connection) -> None:
    know(store)
    first = ask(sql, payload="1", debounce={"key": "d", "delay": "1h"}, ttl="1h")
    before = look(store, first)
    sql.execute("SELECT pg_sleep(0.02)")
    assert ask(sql, payload='"' + "x" * 9000 + '"', metadata={"n": 2}, debounce={"key": "d", "delay": "2h"}) == first
    after = look(store, first)
    assert (len(after.payload), after.metadata) == (9002, '{"n": 2}')
    assert before.due_at is not None
    assert after.due_at is not None
    assert 3_600_000 < after.due_at - before.due_at < 3_605_000
    assert after.expire_at == after.due_at + 3_600_000
    assert ask(sql, payload="3", debounce={"key": "d", "delay": "2h", "leading": True}) == first
    assert len(look(store, first).payload) == 9002


# -- names, limits, wake-ups ------------------------------------------------------------------------------------------


def test_new_names_wait_for_nobody_and_nobody_waits_for_them(store: Store, sql: Connection) -> None:
    know(store)
    with sql.transaction():
        new = ask(sql, "brand-new", "1", queue="new")
        store.run_sync(catalogue.ensure_names, [QueueEntry(name="new")], [("new", "greet")])  # waits for nothing
    hand = Hand(store, "brand-new")
    assert hand.claim() == []
    Upkeep(store).sweep()
    assert [run.id for run in hand.claim()] == [new]
    assert look(store, new).queue == "new"
    assert value(sql, "SELECT count(*) FROM holdfast.name_due") == 0


def test_names_of_a_trigger_that_was_rolled_back_are_not_made(store: Store, sql: Connection) -> None:
    with sql.transaction(force_rollback=True):
        run = ask(sql, "never", idempotency_key="k", tags=["t"], debounce=None, queue="never")
    Upkeep(store).sweep()
    assert store.read_sync(read.run, run) is None
    for table in ("run", "idempotency", "tag", "queue", "route", "name_due", "joined"):
        assert value(sql, f"SELECT count(*) FROM holdfast.{table}") == 0


def test_a_limit_is_kept(store: Store, sql: Connection) -> None:
    know(store, queue("one", 1))
    hand = Hand(store)
    runs = [ask(sql, queue="one") for _ in range(3)]
    assert {state(store, each) for each in runs} == {"held"}
    assert promote(store) == 1
    assert len(hand.claim()) == 1


@pytest.mark.parametrize("per_key", [False, True])
def test_a_limit_that_came_while_the_transaction_was_open_is_kept(store: Store, sql: Connection, per_key: bool) -> None:
    know(store, queue("late"))
    options = {"queue": "late", "concurrency_key": "ada"}
    with sql.transaction():
        runs = [ask(sql, **options), ask(sql, **options, delay="1h")]
        override(store, "late", None if per_key else 1, 1 if per_key else None)
    plain = ask(sql, **options)
    lanes = sql.execute("SELECT DISTINCT lane_id FROM holdfast.run WHERE id = ANY(%s)", ([*runs, plain],)).fetchall()
    assert len(lanes) == 1
    assert [state(store, each) for each in [*runs, plain]] == ["held", "delayed", "held"]
    assert promote(store) == 1


def test_a_limit_that_went_while_the_transaction_was_open_is_gone(store: Store, sql: Connection) -> None:
    know(store, queue("late", 1))
    with sql.transaction():
        run = ask(sql, queue="late")
        know(store, queue("late"))
    assert state(store, run) == "ready"


def test_who_sleeps_is_woken_at_the_commit(store: Store, sql: Connection) -> None:
    know(store)
    Hand(store).exchange(idle=True)
    with closing(connect(store)) as listener:
        listener.execute("LISTEN holdfast")
        with sql.transaction():
            ask(sql)
            assert list(listener.notifies(timeout=0.05)) == []
        assert len(list(listener.notifies(timeout=30, stop_after=1))) == 1
        sql.execute("UPDATE holdfast.worker SET idle = 0")
        ask(sql)
        assert list(listener.notifies(timeout=0.05)) == []


def test_it_works_inside_a_trigger_of_the_database(store: Store, sql: Connection) -> None:
    know(store)
    sql.execute("CREATE TABLE orders (id int PRIMARY KEY, customer text)")
    sql.execute(
        "CREATE FUNCTION ordered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM holdfast.trigger('greet', row_to_json(NEW)); RETURN NEW; END $$"
    )
    sql.execute("CREATE TRIGGER ordered AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION ordered()")
    sql.execute("INSERT INTO orders VALUES (1, 'Ada'), (2, 'Grace')")
    assert sorted(json.loads(run.payload)["customer"] for run in Hand(store).claim() if run.payload) == ["Ada", "Grace"]


# -- rights and settings ----------------------------------------------------------------------------------------------


def test_who_may_trigger_is_said_and_not_assumed(store: Store, sql: Connection) -> None:
    know(store)
    role = f"guest_{new_id()}"
    sql.execute(f'CREATE ROLE "{role}"'.encode())
    try:
        sql.execute(f'SET ROLE "{role}"'.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(sql)
        sql.execute("RESET ROLE")
        sql.execute(f'GRANT USAGE ON SCHEMA holdfast TO "{role}"'.encode())
        sql.execute(f'SET ROLE "{role}"'.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(sql)
        sql.execute("RESET ROLE")
        sql.execute(f'GRANT EXECUTE ON FUNCTION holdfast.trigger(text, json, json) TO "{role}"'.encode())
        sql.execute(f'SET ROLE "{role}"'.encode())
        run = ask(sql, tags=["t"], idempotency_key="k", queue="new")  # and needs no right to any table
        sql.execute("RESET ROLE")
        assert look(store, run).tags == '["t"]'
    finally:
        sql.execute("RESET ROLE")
        sql.execute(f'DROP OWNED BY "{role}"'.encode())
        sql.execute(f'DROP ROLE "{role}"'.encode())


@pytest.mark.parametrize(
    "setting",
    ["search_path = ''", "standard_conforming_strings = off", "bytea_output = 'escape'", "DateStyle = 'German, DMY'",
     "TimeZone = 'Asia/Kathmandu'", "IntervalStyle = 'sql_standard'", "extra_float_digits = 0", "lc_numeric = 'C'"],
)  # fmt: skip
def test_it_does_not_care_for_the_session_s_settings(store: Store, sql: Connection, setting: str) -> None:
    know(store, queue("late", 1, 1))
    sql.execute(f"SET {setting}".encode())
    run = look(store, ask(sql, queue="late", concurrency_key="k", delay="1.5s", priority=0.5, tags=["a b"]))
    assert (run.queue, run.priority_ms, run.tags) == ("late", 500, '["a b"]')
    assert run.due_at == run.created_at + 1500
    moment = look(store, ask(sql, scheduled_for="2099-02-01T00:00:00Z")).due_at
    assert moment == datetime(2099, 2, 1, tzinfo=UTC).timestamp() * 1000
    said = sql.execute(f"SHOW {setting.split(' =')[0]}".encode()).fetchone()
    ask(sql)
    assert sql.execute(f"SHOW {setting.split(' =')[0]}".encode()).fetchone() == said
    assert value(sql, "SHOW lock_timeout") == "0"


def test_runs_are_as_others_are(store: Store, sql: Connection) -> None:
    """Claimed, ended and read like any other."""
    know(store)
    run = ask(sql, payload='{"name": "Ada"}')
    hand = Hand(store)
    claimed = hand.claim_one()
    assert (claimed.id, claimed.payload, claimed.attempt) == (run, '{"name": "Ada"}', 1)
    assert hand.end(claimed) == []
    record: RunRecord = look(store, run)
    assert (record.status, record.queue) == ("completed", "task/greet")
