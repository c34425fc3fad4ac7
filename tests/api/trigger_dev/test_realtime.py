"""A TypeScript app follows runs in Python, with the official package."""

from __future__ import annotations

import asyncio

from holdfast import AsyncContext, Holdfast
from tests.api.trigger_dev.conftest import Making


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
