"""What tasks write to streams is read along while they run, in sync and in async code."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from holdfast import AsyncContext, Chunk, Context, NotSerializable, Retry, RunNotFound, TooLarge
from holdfast.engine import telling
from holdfast.errors import DatabaseUnavailable
from tests.support.inside import Inside


async def test_a_reader_reads_along(inside: Inside) -> None:
    """Each piece is read before the next one is written, so none waits for the outcome."""
    read = asyncio.Event()

    @inside.app.task
    async def speaks(n: int, ctx: AsyncContext) -> None:
        for number in range(n):
            ctx.stream("words").write(f"word {number}")
            await asyncio.wait_for(read.wait(), 20)
            read.clear()

    inside.start()
    handle = await speaks.atrigger(3)
    seen: list[Chunk[str]] = []
    async with asyncio.timeout(30):
        async for chunk in handle.stream("words", str):
            seen.append(chunk)
            read.set()
    assert [chunk.value for chunk in seen] == ["word 0", "word 1", "word 2"]
    assert [(chunk.offset, chunk.attempt, chunk.first) for chunk in seen] == [
        (0, 1, True),
        (1, 1, False),
        (2, 1, False),
    ]
    assert [chunk.value async for chunk in handle.stream("words", start=2)] == ["word 2"]
    assert [chunk.value async for chunk in handle.stream("none")] == []


async def test_sync_code_reads_along(inside: Inside) -> None:
    go = threading.Event()

    @inside.app.task
    def speaks(n: int, ctx: Context) -> None:
        stream = ctx.stream("words")
        stream.write({"n": 0})
        go.wait(20)
        for number in range(1, n):
            stream.write({"n": number})

    inside.start()
    handle = await speaks.atrigger(1_200)

    def read_all() -> list[Any]:
        values = []
        for chunk in handle.stream("words"):
            values.append(chunk.value["n"])
            go.set()
        return values

    assert await asyncio.wait_for(asyncio.to_thread(read_all), 30) == list(range(1_200))


async def test_a_reader_sees_a_restart(inside: Inside) -> None:
    @inside.app.task(retry=Retry(max_attempts=2, min_delay="10ms", max_delay="10ms"))
    async def stumbles(n: int, ctx: AsyncContext) -> None:
        ctx.stream("words").write(f"try {ctx.attempt.number}")
        ctx.stream("words").write("…")
        if ctx.attempt.number == 1:
            raise ValueError("again")

    inside.start()
    handle = await stumbles.atrigger(1)
    async with asyncio.timeout(20):
        seen = [chunk async for chunk in handle.stream("words")]
    assert [(chunk.value, chunk.offset, chunk.attempt, chunk.first) for chunk in seen] == [
        ("try 1", 0, 1, True),
        ("…", 1, 1, False),
        ("try 2", 2, 2, True),
        ("…", 3, 2, False),
    ]
    assert [chunk.offset async for chunk in handle.stream("words", start=1)] == [1, 2, 3]


async def test_what_cannot_be_written_is_refused_where_it_is_written(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.stream.STREAM_LIMIT", 150_000)

    @inside.app.task
    async def writes(n: int, ctx: AsyncContext) -> list[str]:
        stream, errors = ctx.stream("s"), []
        for value in (object(), "x" * 70_000, "x" * 60_000, "y" * 60_000, "z" * 60_000, "small"):
            try:
                stream.write(value)
            except (NotSerializable, TooLarge) as error:
                errors.append(type(error).__name__)
        return errors

    inside.start()
    handle = await writes.atrigger(1)
    assert await handle.aresult(timeout=20) == ["NotSerializable", "TooLarge", "TooLarge"]
    assert [chunk.value[0] async for chunk in handle.stream("s")] == ["x", "y", "s"]


async def test_pieces_that_were_on_their_way_in_an_outage_arrive_later(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by forgetting what had been taken."""
    refused, go = asyncio.Event(), asyncio.Event()

    @inside.app.task
    async def speaks(n: int, ctx: AsyncContext) -> None:
        ctx.stream("words").write("one")
        await go.wait()
        ctx.stream("words").write("two")

    write = telling.write

    def away(tx: Any, told: Any) -> None:
        write(tx, told)
        loop.call_soon_threadsafe(refused.set)
        raise DatabaseUnavailable("away")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr("holdfast.engine.telling.write", away)
    inside.start()
    handle = await speaks.atrigger(1)
    await asyncio.wait_for(refused.wait(), 20)
    go.set()
    async with asyncio.timeout(20):
        assert [chunk.value async for chunk in handle.stream("words")] == ["one", "two"]


async def test_a_run_that_is_not_there(inside: Inside) -> None:
    with pytest.raises(RunNotFound):
        await anext(aiter(inside.app.handle("01gone").stream("words")))
    with pytest.raises(RunNotFound):
        await asyncio.to_thread(lambda: list(inside.app.handle("01gone").stream("words")))


async def test_updates_come_with_each_change(inside: Inside) -> None:
    """Each progress is seen before the next one is told."""
    seen, stages = asyncio.Event(), []

    @inside.app.task
    async def steps(n: int, ctx: AsyncContext) -> None:
        for number in ctx.track(range(n), "steps"):
            await asyncio.wait_for(seen.wait(), 20)
            seen.clear()
            assert number is not None

    inside.start()
    handle = await steps.atrigger(3)
    async with asyncio.timeout(30):
        async for run in handle.aupdates():
            if run.progress is not None:
                stages.append(run.progress.done)
                seen.set()
    assert list(dict.fromkeys(stages)) == [0, 1, 2, 3]
