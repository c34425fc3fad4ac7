"""What a task's code sees of its run, and the metadata it writes."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import codec
from holdfast.context import AsyncContext, Attempt, Context, running
from holdfast.errors import InvalidOption, NotBound, NotSerializable, TooLarge
from holdfast.metadata import Metadata
from tests.unit.fakes import CLAIMED


@pytest.mark.parametrize("kind", [Context, AsyncContext])
def test_the_facts(kind: type[Context | AsyncContext]) -> None:
    claimed = CLAIMED._replace(
        attempt=3,
        tags='["a"]',
        priority_ms=1500,
        idempotency_key="k",
        concurrency_key="c",
        parent_id="p",
        root_id="r0",
        batch_id="b",
    )
    ctx = kind(Attempt(claimed))
    assert (ctx.run.id, ctx.run.tags, ctx.run.priority, ctx.run.idempotency_key) == ("r1", ["a"], 1.5, "k")
    assert (ctx.run.parent_id, ctx.run.root_id, ctx.run.batch_id) == ("p", "r0", "b")
    assert (ctx.run.queue, ctx.queue, ctx.run.concurrency_key) == ("task/greet", "task/greet", "c")
    assert ctx.run.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (ctx.attempt.number, ctx.attempt.started_at) == (3, datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert ctx.task.id == "greet"
    assert repr(ctx) == f"<{kind.__name__} of run r1>"


def test_a_context_without_a_run_says_so() -> None:
    assert repr(Context()) == "<Context of no run>"
    for fact in ("run", "attempt", "task", "queue", "metadata"):
        with pytest.raises(NotBound, match="belongs to no run"):
            getattr(Context(), fact)


def test_current_is_the_attempt_that_runs_here() -> None:
    with pytest.raises(NotBound, match=r"no Context.current\(\)"):
        Context.current()
    token = running.set(Attempt(CLAIMED))
    try:
        assert Context.current().run.id == "r1"
        assert asyncio.run(in_a_task()) == "r1"
        with pytest.raises(NotBound):
            in_a_thread(AsyncContext.current)
    finally:
        running.reset(token)


async def in_a_task() -> str:
    return await asyncio.create_task(deep_in_the_stack())


async def deep_in_the_stack() -> str:
    return AsyncContext.current().run.id


def in_a_thread(call: Any) -> None:
    errors: list[Exception] = []

    def work() -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise errors[0]


# -- metadata ---------------------------------------------------------------------------------------------------------


def test_an_attempt_that_leaves_its_metadata_alone_writes_none() -> None:
    attempt = Attempt(CLAIMED._replace(metadata='{"n":1}'))
    assert attempt.changed_metadata() is None
    assert attempt.metadata["n"] == 1
    assert attempt.changed_metadata() is None


def test_what_changed_is_taken_once() -> None:
    attempt = Attempt(CLAIMED)
    ctx = Context(attempt)
    ctx.metadata["row"] = 3
    assert attempt.changed_metadata() == '{"row":3}'
    assert attempt.changed_metadata() is None
    ctx.metadata["row"] = 3
    assert attempt.changed_metadata() is None
    del ctx.metadata["row"]
    assert attempt.changed_metadata() == "{}"


def test_increment_and_append() -> None:
    metadata = Metadata('{"n":1,"name":"x"}')
    metadata.increment("n")
    metadata.increment("new", 0.5)
    metadata.append("list", "a")
    metadata.append("list", ["b"])
    assert dict(metadata) == {"n": 2, "new": 0.5, "list": ["a", ["b"]], "name": "x"}
    with pytest.raises(InvalidOption, match="metadata\\['name'\\] is not a number"):
        metadata.increment("name")
    with pytest.raises(InvalidOption, match="metadata\\['n'\\] is not a list"):
        metadata.append("n", 1)


def test_a_list_that_was_read_may_be_changed_in_place() -> None:
    metadata = Metadata('{"rows":[]}')
    rows = metadata["rows"]
    assert metadata.snapshot() is None
    rows.append(1)
    assert metadata.snapshot() == '{"rows":[1]}'
    rows.append(2)
    assert metadata.snapshot() == '{"rows":[1,2]}'
    assert metadata.snapshot() is None


def test_what_is_written_is_a_copy() -> None:
    rows = [1]
    metadata = Metadata()
    metadata["rows"] = rows
    rows.append(2)
    metadata["at"] = datetime(2027, 1, 1, tzinfo=UTC)
    assert dict(metadata) == {"rows": [1], "at": "2027-01-01T00:00:00Z"}


def test_what_cannot_be_kept_is_refused_where_it_is_written() -> None:
    metadata = Metadata()
    with pytest.raises(NotSerializable):
        metadata["x"] = object()
    with pytest.raises(NotSerializable):
        metadata["x"] = float("nan")
    with pytest.raises(InvalidOption, match="key of metadata is not a string"):
        metadata[1] = 1  # type: ignore[index]
    metadata["half"] = "x" * 200_000
    with pytest.raises(TooLarge, match="the limit for metadata is 262144"):
        metadata["more"] = "x" * 200_000
    metadata["half"] = "x" * 200_000
    assert list(metadata) == ["half"]


def test_threads_may_share_it() -> None:
    metadata = Metadata()

    def work() -> None:
        for _ in range(500):
            metadata.increment("n")
            metadata.snapshot()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metadata["n"] == 2000


@given(st.dictionaries(st.text(), st.recursive(st.integers() | st.text() | st.none(), st.lists, max_leaves=5)))
def test_the_snapshot_is_what_was_written(values: dict[str, Any]) -> None:
    metadata = Metadata()
    try:
        metadata.update(values)
    except NotSerializable:  # two surrogates in a row
        return
    text = metadata.snapshot()
    assert values == ({} if text is None else codec.decode(text))
    assert Metadata(text) == values
