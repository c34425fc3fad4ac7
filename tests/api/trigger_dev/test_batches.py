"""Batches in two calls, as the official package makes them, and as a client does that is not sure what arrived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.api.trigger_dev.conftest import Making
from tests.api.trigger_dev.test_trigger import an_app


async def test_batches(tmp_path: Path, official: Making) -> None:
    app = an_app(str(tmp_path / "holdfast.db"))
    there = await official(app)
    async with app.running():
        mine = await app.tasks["nothing"].abatch_trigger([None, None])
        said = await there.does("batches", f"batch_{mine.id}")
    assert (said["python"]["status"], said["python"]["runCount"]) == ("COMPLETED", 2)
    the_whole(said)
    the_parts(said["parts"])


def the_whole(said: dict[str, Any]) -> None:
    handle, done = said["handle"], said["done"]
    assert (handle["runCount"], done["runCount"], done["runs"], done["status"]) == (600, 600, 600, "COMPLETED")
    assert handle["publicAccessToken"].count(".") == 2
    last = said["last"]
    assert (last["output"]["hello"], last["batchId"]) == ("n599", handle["batchId"])
    assert last["triggerFunction"] == "batchTrigger"
    partly = said["partly"]
    assert (partly["status"], len(partly["runs"])) == ("PARTIAL_FAILED", 2)
    (error,) = partly["processing"]["errors"]
    assert (error["index"], error["taskIdentifier"]) == (2, "greet")
    assert "name" in error["error"]
    first, second = said["cached"]
    assert first == second
    assert said["listed"] == ["fail", "greet"]
    assert [each["ok"] for each in said["results"]["items"]] == [True, False]
    assert said["unknown"]["status"] == 404


def the_parts(parts: list[Any]) -> None:
    (some, some_said), pending, (rest, rest_said), (again, again_said), *refused = parts
    assert (some, some_said["sealed"], some_said["itemsAccepted"]) == (200, False, 2)
    assert (some_said["enqueuedCount"], some_said["expectedCount"], pending) == (2, 3, "PENDING")
    assert (rest, rest_said["sealed"], rest_said["itemsAccepted"], rest_said["itemsDeduplicated"]) == (200, True, 1, 2)
    assert (again, again_said["sealed"], again_said["itemsAccepted"]) == (200, True, 0)
    assert [status for status, _ in refused] == [400, 422, 415, 404, 422]
