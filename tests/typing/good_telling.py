"""What tasks tell while they run, and who follows it: accepted as it stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from pydantic import BaseModel

from holdfast import AsyncContext, Chunk, Context, Holdfast, Metadata, Progress, Run, StreamReader
from holdfast.testing import FakeContext

app = Holdfast()


class Page(BaseModel):
    number: int


@app.task
def scan(pages: list[str], ctx: Context) -> int:
    for page in ctx.track(pages, "pages"):
        assert_type(page, str)
    assert_type(ctx.track(range(3), total=3), Iterator[int])
    ctx.progress(0.5, 1, "half")
    ctx.metadata.increment("pages", 2)
    if ctx.parent is not None:
        ctx.parent.metadata.append("seen", pages[0])
        ctx.parent.metadata["last"] = pages[0]
    ctx.root.metadata.increment("pages")
    ctx.stream("pages").write({"n": 1})
    return len(pages)


async def lines() -> AsyncIterator[bytes]:
    yield b""


@app.task
async def read(name: str, ctx: AsyncContext) -> None:
    async for line in ctx.track(lines(), "lines"):
        assert_type(line, bytes)
    for number in ctx.track([1, 2], "numbers"):
        assert_type(number, int)


async def follow() -> None:
    handle = await scan.atrigger(["a"])
    assert_type(handle.stream("pages"), StreamReader[Any])
    assert_type(handle.stream("pages", Page, start=3), StreamReader[Page])
    async for chunk in handle.stream("pages", Page):
        assert_type(chunk, Chunk[Page])
        assert_type((chunk.value, chunk.offset, chunk.attempt, chunk.first), tuple[Page, int, int, bool])
    for text in handle.stream("pages", str):
        assert_type(text.value, str)
    async for run in handle.aupdates():
        assert_type(run, Run[int])
        assert_type(run.progress, Progress | None)


def look() -> None:
    ctx = FakeContext(parent_id="p")
    assert ctx.parent is not None
    assert_type(ctx.parent.metadata, Metadata)
    assert_type(ctx.streamed("pages"), list[Any])
