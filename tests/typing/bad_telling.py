"""Planted mistakes in what tasks tell and in who follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from holdfast import AsyncContext, Context, Holdfast

app = Holdfast()


@app.task
def scan(pages: list[str], ctx: Context) -> int:
    ctx.parent.metadata.increment("pages")  # E
    ctx.progress("3 of 10")  # E
    ctx.metadata.increment("pages", "1")  # E
    print(ctx.root.metadata["pages"])  # E
    ctx.stream(1).write("x")  # E
    return len(pages)


async def lines() -> AsyncIterator[bytes]:
    yield b""


@app.task
async def read(name: str, ctx: AsyncContext) -> None:
    for _ in ctx.track(lines(), "lines"):  # E
        break


def follow() -> None:
    handle = scan.trigger(["a"])
    for chunk in handle.stream("pages", str):
        print(chunk.value + 1)  # E
    handle.stream("pages", from_=3)  # E
