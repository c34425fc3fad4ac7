"""Runs nest so deep and no deeper, however they are made: a task that triggers itself without end comes to one."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from holdfast import AsyncContext, Context, RunFailed
from holdfast.errors import InvalidOption
from tests.support.inside import Inside
from tests.support.ledger import until

WAYS = ["trigger_and_wait", "batch_trigger_and_wait", "atrigger", "batch_trigger", "trigger", "connection"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_family_without_end(inside: Inside, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The error names the run and what it wanted to trigger. Fails on PostgreSQL where children made through a
    connection stand at the top of families of their own."""
    monkeypatch.setattr("holdfast.options.DEEPEST", 3)
    began: list[int] = []
    refused: list[str] = []

    async def descend(n: int, ctx: AsyncContext) -> Any:
        match way:
            case "trigger_and_wait":
                await ctx.trigger_and_wait(down, n)
            case "batch_trigger_and_wait":
                (await ctx.batch_trigger_and_wait(down, [n])).outputs()
            case "atrigger":
                await down.atrigger(n)
            case "batch_trigger":
                await down.abatch_trigger([n])
            case "connection":
                await through_a_connection(inside, down, n)

    @inside.app.task
    async def down(n: int, ctx: AsyncContext) -> None:
        began.append(n)
        try:
            await descend(n + 1, ctx) if n < 20 else None
        except InvalidOption as error:
            refused.append(str(error))
        except RunFailed:
            pass

    @inside.app.task
    def down_def(n: int, ctx: Context) -> None:
        began.append(n)
        try:
            down_def.trigger(n + 1) if n < 20 else None
        except InvalidOption as error:
            refused.append(str(error))

    inside.start()
    task = down_def if way == "trigger" else down
    await inside.ended(await task.atrigger(0))
    await until(lambda: refused or 20 in began)
    assert began == [0, 1, 2, 3]
    assert "Runs are nested more than 3 deep" in refused[0]
    assert f"triggers {task.id}" in refused[0]


async def through_a_connection(inside: Inside, task: Any, n: int) -> None:
    if inside.store.kind == "sqlite":
        async with inside.app.connection() as lent:
            await task.atrigger(n, connection=lent)
        return
    async with await psycopg.AsyncConnection.connect(inside.database) as connection:
        await task.atrigger(n, connection=connection)
