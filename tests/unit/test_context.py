"""What a task's code sees of its run, and the metadata it writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import codec
from holdfast.context import AsyncContext, Attempt, Context, running
from holdfast.errors import InvalidOption, NotBound, NotSerializable, TooLarge
from holdfast.metadata import Change, Metadata
from holdfast.model import Progress
from holdfast.records import Note, Tidings
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


def test_an_attempt_that_leaves_its_metadata_alone_tells_nothing() -> None:
    attempt = Attempt(CLAIMED._replace(metadata='{"n":1,"rows":[1]}'))
    assert attempt.told_by is None
    assert (attempt.teller.metadata["n"], attempt.teller.metadata["rows"]) == (1, [1])
    assert attempt.teller.notes() == []


def test_what_changed_is_told_once_it_is_known_to_be_written() -> None:
    teller = Attempt(CLAIMED).teller
    teller.metadata["row"] = 3
    notes = teller.notes()
    assert notes == [Note(1, "r1", "set", "row", "3")]
    teller.metadata["row"] = 4
    assert teller.notes() == notes  # what came later waits for its turn …
    assert [note.number for note in teller.notes(all=True)] == [1, 2]  # … or for the end
    teller.written(Tidings(notes, []))
    del teller.metadata["row"]
    assert [(note.number, note.kind) for note in teller.notes(all=True)] == [(2, "set"), (3, "delete")]


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


def test_changes_of_a_key_are_one_operation() -> None:
    metadata = Metadata('{"n":1,"list":["a"],"x":[1]}')
    metadata.increment("n")
    metadata.increment("n", 2)
    metadata.append("list", "b")
    metadata.append("list", "c")
    metadata["set"] = 1
    metadata.increment("set")
    del metadata["x"]
    metadata.append("x", 2)
    assert metadata.take() == {
        "n": Change("increment", 3),
        "list": Change("append", ["b", "c"]),
        "set": Change("set", 2),
        "x": Change("set", [2]),
    }
    assert metadata.take() == {}


def test_a_list_that_was_read_may_be_changed_in_place() -> None:
    metadata = Metadata('{"rows":[]}')
    rows = metadata["rows"]
    assert metadata.take() == {}
    rows.append(1)
    assert metadata.take() == {"rows": Change("set", [1])}
    rows.append(2)
    assert metadata.take() == {"rows": Change("set", [1, 2])}
    assert metadata.take() == {}


def test_appending_to_what_was_read_is_still_an_append() -> None:
    metadata = Metadata('{"rows":[1]}')
    rows = metadata["rows"]
    metadata.append("rows", 2)
    assert (rows, metadata.take()) == ([1, 2], {"rows": Change("append", [2])})
    rows.append(3)
    metadata.append("rows", 4)
    assert metadata.take() == {"rows": Change("set", [1, 2, 3, 4])}


def test_the_metadata_of_the_family_can_only_be_written() -> None:
    child = Context(Attempt(CLAIMED._replace(parent_id="p", root_id="r0")))
    assert child.parent is not None
    child.parent.metadata.increment("done")
    child.parent.metadata.increment("done")
    child.root.metadata.append("seen", "a")
    child.root.metadata["last"] = "a"
    assert [(note.run_id, note.kind, note.key, note.value) for note in child._teller.notes()] == [
        ("p", "increment", "done", "2"),
        ("r0", "append", "seen", '["a"]'),
        ("r0", "set", "last", '"a"'),
    ]
    with pytest.raises(InvalidOption, match="by is not a number"):
        child.root.metadata.increment("n", "1")  # type: ignore[arg-type]
    with pytest.raises(NotSerializable):
        child.root.metadata["x"] = object()


def test_a_run_at_the_top_is_its_own_root_and_has_no_parent() -> None:
    ctx = Context(Attempt(CLAIMED))
    assert (ctx.parent, ctx.root.id) == (None, "r1")
    ctx.root.metadata.increment("n")
    assert ctx.metadata["n"] == 1


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
            metadata.take()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metadata["n"] == 2000


@given(st.dictionaries(st.text(), st.recursive(st.integers() | st.text() | st.none(), st.lists, max_leaves=5)))
def test_what_is_taken_is_what_was_written(values: dict[str, Any]) -> None:
    metadata = Metadata()
    try:
        metadata.update(values)
    except NotSerializable:  # two surrogates in a row
        return
    assert {key: change.value for key, change in metadata.take().items()} == values
    assert Metadata(codec.encode(values)) == values


# -- progress ---------------------------------------------------------------------------------------------------------


def told_progress(ctx: Context | AsyncContext) -> tuple[float, float | None, str] | None:
    return Progress.read(ctx.metadata)


def test_progress_is_an_entry_of_the_metadata() -> None:
    ctx = Context(Attempt(CLAIMED))
    ctx.progress(3, 10, "pages")
    assert ctx.metadata["progress"] == {"done": 3, "total": 10, "note": "pages"}
    ctx.progress(0.5)
    assert told_progress(ctx) == (0.5, None, "")
    for wrong in (-1, float("nan"), True, "3"):
        with pytest.raises(InvalidOption, match="done of a progress is not a number"):
            ctx.progress(wrong)  # type: ignore[arg-type]
    ctx.metadata["progress"] = 50  # the task's own entry, and no progress of ours
    assert told_progress(ctx) is None


def test_a_tracked_loop_tells_what_it_is_done_with() -> None:
    ctx = Context(Attempt(CLAIMED))
    seen = [told_progress(ctx) for _ in ctx.track(["a", "b"], "rows")]
    assert [*seen, told_progress(ctx)] == [(0, 2, "rows"), (1, 2, "rows"), (2, 2, "rows")]
    assert list(ctx.track(iter("ab"))) == ["a", "b"]
    assert told_progress(ctx) == (2, 2, "")  # an iterator of a list knows what is left
    list(ctx.track(letter for letter in "abc"))
    assert told_progress(ctx) == (3, None, "")
    list(ctx.track((letter for letter in "abc"), total=7))
    assert told_progress(ctx) == (3, 7, "")


async def test_async_code_tracks_both_kinds_of_iterables() -> None:
    ctx = AsyncContext(Attempt(CLAIMED))

    async def letters() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert [letter async for letter in ctx.track(letters(), "letters")] == ["a", "b"]
    assert told_progress(ctx) == (2, None, "letters")
    assert list(ctx.track([1, 2, 3])) == [1, 2, 3]
    assert told_progress(ctx) == (3, 3, "")


def test_progress_without_room_for_it_is_no_error() -> None:
    ctx = Context(Attempt(CLAIMED))
    ctx.metadata["all"] = "x" * (256 * 1024 - 5)
    ctx.progress(1)
    assert list(ctx.metadata) == ["all"]


def test_what_others_have_written_is_taken_in_when_the_run_goes_on() -> None:
    metadata = Metadata('{"done":0,"own":1,"gone":1,"read":[1]}')
    assert metadata["read"] == [1]
    metadata["own"] = 2
    metadata.refresh('{"done":5,"own":1,"new":"x","read":[1,2]}')
    assert dict(metadata) == {"done": 5, "own": 2, "new": "x", "read": [1]}
    assert metadata.take() == {"own": Change("set", 2)}


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_has_one_writer_and_a_name() -> None:
    ctx = Context(Attempt(CLAIMED))
    assert ctx.stream("tokens") is ctx.stream("tokens")
    for wrong in ("", " x", "a\0b", 5, None):
        with pytest.raises(InvalidOption, match="name of a stream"):
            ctx.stream(wrong)  # type: ignore[arg-type]
    for number in range(99):
        ctx.stream(f"s{number}").write(number)
    with pytest.raises(InvalidOption, match="100 streams at most"):
        ctx.stream("one more")
    ctx.stream("tokens").write("still there")


def test_pieces_that_are_written_are_forgotten_here() -> None:
    teller = Attempt(CLAIMED).teller
    for value in "abc":
        teller.stream("s").write(value)
    first = teller.chunks(2)
    assert [(chunk.value, chunk.seq, chunk.claim) for chunk in first] == [('"a"', 1, 2), ('"b"', 2, 2)]
    teller.written(Tidings([], first))
    teller.written(Tidings([], first))  # by the flush that was under way, and by the suspension
    assert [chunk.value for chunk in teller.chunks()] == ['"c"']
