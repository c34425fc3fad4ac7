"""Fake contexts: tasks called as the functions they are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast import AsyncContext, Context, Holdfast, InvalidOption, NotBound, ResultTimeout, Slot
from holdfast.testing import AsyncFakeContext, FakeContext

app = Holdfast(":memory:")


@app.task
def resize(path: str, ctx: Context) -> str:
    ctx.metadata["done"] = 1
    return f"{path} {ctx.attempt.number} {deep()}"


@app.task
async def charge(amount: int, ctx: AsyncContext) -> str:
    return f"{amount} {ctx.run.id} {AsyncContext.current().run.id}"


def deep() -> str:
    return Context.current().task.id


def test_a_slot() -> None:
    slot = Slot(datetime(2027, 1, 1, tzinfo=UTC), external_id="user-1")
    assert FakeContext(slot=slot).slot == slot
    assert FakeContext().slot is None


def test_a_task_is_called_with_a_fake() -> None:
    with FakeContext(attempt=2, task="resize") as ctx:
        assert resize("cat.png", ctx) == "cat.png 2 resize"
    assert dict(ctx.metadata) == {"done": 1}
    with pytest.raises(NotBound):
        deep()


async def test_and_so_is_one_that_is_async() -> None:
    with AsyncFakeContext(id="r7") as ctx:
        assert await charge(5, ctx) == "5 r7 r7"


def test_facts_that_are_not_given_are_something_usual() -> None:
    ctx = FakeContext()
    assert (ctx.run.id, ctx.task.id, ctx.queue, ctx.attempt.number) == ("a_run", "a_task", "task/a_task", 1)
    assert (ctx.run.tags, ctx.run.priority, ctx.run.concurrency_key, dict(ctx.metadata)) == ([], 0, None, {})


def test_facts_that_are_given() -> None:
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    ctx = AsyncFakeContext(
        queue="mail",
        tags=["a"],
        metadata={"n": 1},
        concurrency_key="k",
        idempotency_key="i",
        priority=2.5,
        parent_id="p",
        batch_id="b",
        version="v",
        at=moment,
    )
    run = ctx.run
    assert (ctx.queue, run.tags, dict(ctx.metadata), run.concurrency_key) == ("mail", ["a"], {"n": 1}, "k")
    assert (run.idempotency_key, run.priority, run.parent_id, run.batch_id, run.version) == ("i", 2.5, "p", "b", "v")
    assert run.created_at == ctx.attempt.started_at == moment


def test_a_fact_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"no such fact \(attempts\)\. There are id, task"):
        FakeContext(attempts=2)  # type: ignore[call-arg]


def test_what_it_triggers_has_no_parent() -> None:
    with app.testing() as jobs, FakeContext():
        assert app.trigger("resize", "x").retrieve().parent_id is None
        assert jobs.payloads(resize) == ["x"]


def test_what_it_tells_can_be_looked_at() -> None:
    ctx = FakeContext(parent_id="p")
    assert ctx.parent is not None
    ctx.parent.metadata.increment("done")
    ctx.root.metadata.append("seen", 1)
    assert dict(ctx.parent.metadata) == {"done": 1, "seen": [1]}
    ctx.stream("tokens").write("a")
    ctx.stream("tokens").write("b")
    assert (ctx.streamed("tokens"), ctx.streamed("none")) == (["a", "b"], [])
    assert list(ctx.track("ab", "letters")) == ["a", "b"]
    assert ctx.metadata["progress"] == {"done": 2, "total": 2, "note": "letters"}
    assert FakeContext().root.metadata is not None


def test_a_stream_and_updates_in_a_test() -> None:
    app = Holdfast(database=":memory:")

    @app.task
    def speaks(n: int, ctx: Context) -> None:
        for number in ctx.track(range(n)):
            ctx.stream("words").write(number)

    with app.testing() as jobs:
        handle = speaks.trigger(3)
        assert [chunk.value for chunk in handle.stream("words")] == [0, 1, 2]
        assert [run.status for run in handle.updates()] == ["completed"]
        late = speaks.trigger(2, delay="1h")
        with pytest.raises(ResultTimeout, match="clock stands still"):
            list(late.stream("words"))
        jobs.advance("1h")
        assert [chunk.value for chunk in late.stream("words", start=1)] == [1]
