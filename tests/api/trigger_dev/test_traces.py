"""What a run did when, as the official package reads it: as a tree, in pages, span by span, and as events."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from holdfast import AsyncContext, Holdfast, Retry
from tests.api.trigger_dev.conftest import Making


async def test_a_trace_has_attempts_steps_and_lines(tmp_path: Path, official: Making) -> None:
    app = Holdfast(str(tmp_path / "holdfast.db"))

    def pay(amount: int) -> str:
        return f"paid {amount}"

    @app.task
    def ship() -> str:
        return "shipped"

    @app.task(retry=Retry(max_attempts=2, min_delay="1ms"))
    async def order(ctx: AsyncContext) -> str:
        if ctx.attempt.number == 1:
            raise ValueError("the card was refused")
        await ctx.step(pay, 5)
        logging.getLogger("shop").warning("it is getting late")
        return await ctx.trigger_and_wait(ship)

    there = await official(app)
    async with app.running():
        said = await there.does("traces")
    root = said["trace"]["rootSpan"]
    the_tree(root, said["id"])
    assert said["count"] == 3
    assert [[shape(each) for each in said["assembled"]]] == [[shape(root)]]
    assert (said["step"]["properties"]["result"], said["step"]["isError"]) == ("paid 5", False)
    (made,) = said["child"]["triggeredRuns"]
    assert (made["taskIdentifier"], made["status"], made["runId"][:4]) == ("ship", "COMPLETED", "run_")
    assert {"it is getting late", "the card was refused", "pay"} <= {each["message"] for each in said["events"]}
    assert (said["waiting"]["data"]["isPartial"], said["waiting"]["children"]) == (True, [])
    assert [each["status"] for each in said["unknown"]] == [404, 404, 400]


def the_tree(root: dict[str, Any], run_id: str) -> None:
    assert (root["runId"], root["data"]["message"], root["data"]["isPartial"]) == (run_id, "order", False)
    first, second = root["children"]
    assert (first["data"]["message"], first["data"]["isError"], first["children"]) == ("Attempt 1", True, [])
    assert first["data"]["events"][-1]["message"] == "the card was refused"
    assert "Traceback" in first["data"]["events"][-1]["stackTrace"]
    assert [each["data"]["message"] for each in second["children"]] == ["pay", "ship"]
    (line,) = second["data"]["events"]
    assert (line["level"], line["message"]) == ("WARN", "it is getting late")
    assert 0 <= second["data"]["duration"] <= root["data"]["duration"]


def shape(node: dict[str, Any]) -> Any:
    return node["id"], [shape(each) for each in node["children"]]
