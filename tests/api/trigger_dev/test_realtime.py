"""A TypeScript app follows runs in Python, with the official package."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import AsyncContext, Holdfast
from tests.api.trigger_dev.conftest import Making
from tests.conftest import eventually_holds


async def test_runs_are_followed_until_they_have_ended(database_url: str, official: Making) -> None:
    app = Holdfast(database_url)

    @app.task
    async def work(name: str, ctx: AsyncContext) -> str:
        for n in range(3):
            ctx.metadata["n"] = n
            ctx.stream("tokens").write(f"{name}{n}")
            await asyncio.sleep(0.05)
        return name.upper()

    there = await official(app)
    async with app.running():
        said = await there.does("realtime")
    *_, last = said["followed"]
    assert (last["id"], last["status"], last["output"], last["metadata"]) == (said["id"], "COMPLETED", "ADA", {"n": 2})
    assert said["tagged"][-1]["id"] == said["id"]
    if said["batched"] is not None:
        assert {each["output"] for each in said["batched"] if each["status"] == "COMPLETED"} == {"B", "C"}
    assert said["parts"] == ["ada0", "ada1", "ada2"]
    assert "run" in said["withStreams"]
    assert said["withStreams"].count("tokens") == 3


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True)
async def test_they_go_on_when_another_server_comes(database_url: str, official: Making) -> None:
    app = Holdfast(database_url)
    seen, go_on = asyncio.Event(), asyncio.Event()

    @app.task
    async def work(name: str, ctx: AsyncContext) -> str:
        ctx.metadata["n"] = 1
        ctx.stream("tokens").write(f"{name} before")
        await go_on.wait()
        ctx.stream("tokens").write(f"{name} after")
        return name.upper()

    @app.task
    async def ready() -> None:
        seen.set()

    there = await official(app)
    async with app.running():
        following = asyncio.create_task(there.does("reconnecting"))
        await asyncio.wait_for(seen.wait(), 90)
        await there.stop()
        go_on.set()
        await asyncio.to_thread(eventually_holds, lambda: all_ended(app))
        there.serve(there.port)
        said = await following
    done = [{"status": "COMPLETED", "output": "ONE", "n": 1}]
    assert (said["one"], said["tagged"]) == (done, done)
    assert [each["output"] for each in said["batch"]] == ["A", "B"]
    assert said["parts"] == ["one before", "one after"]


def all_ended(app: Holdfast) -> None:
    assert [run.status for run in app.runs.list(task="work")] == ["completed"] * 3
