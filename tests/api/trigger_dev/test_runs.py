"""What the official package does with runs: lists and pages them, changes them, does them once more."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast import Holdfast, Retry
from tests.api.trigger_dev.conftest import Making
from tests.api.trigger_dev.test_trigger import an_app


async def test_runs_are_listed_changed_and_repeated(tmp_path: Path, official: Making) -> None:
    app = an_app(str(tmp_path / "holdfast.db"))
    failing_otherwise(app)
    there = await official(app)
    async with app.running():
        said = await there.does("runs")
    the_filters(said)
    the_pages(said)
    the_changes(said)
    the_repeats(said)
    tags_metadata_and_results(said)
    the_keys(said)
    many_at_once(said["bulk"])
    what_was_done_to_them(said["internal"])


def failing_otherwise(app: Holdfast) -> None:
    @app.task(retry=Retry(max_attempts=1))
    def hungry() -> None:
        raise MemoryError

    @app.task(max_duration="50ms")
    async def slow() -> None:
        await asyncio.sleep(60)


def the_filters(said: dict[str, Any]) -> None:
    ids, found = said["ids"], said["filters"]
    done, failed, delayed, tested = (ids[name] for name in ("done", "failed", "delayed", "tested"))
    everything = [tested, delayed, failed, done]
    assert (found["all"], found["period"]) == (everything, everything)
    assert (found["completed"], found["several"]) == ([done], [tested, delayed, failed])
    assert (found["task"], found["own"], found["queue"]) == ([failed], [failed], [delayed])
    assert (found["tag"], found["machine"], found["region"]) == ([delayed, done], [delayed], [tested])
    assert found["version"] == [failed, done]
    for name in ("test", "from", "to", "batch", "schedule", "bulk"):
        assert found[name] == [], name


def the_pages(said: dict[str, Any]) -> None:
    everything = said["filters"]["all"]
    assert said["pages"] == [everything[:3], everything[3:], everything[:3]]
    assert said["ends"] == [False, True, True, False]
    assert said["iterated"] == everything


def the_changes(said: dict[str, Any]) -> None:
    moved = said["moved"]
    delay = datetime.fromisoformat(moved["delayedUntil"]) - datetime.fromisoformat(moved["createdAt"])
    assert 7190 <= delay.total_seconds() <= 7260
    assert said["soon"]["status"] == "COMPLETED"
    assert (said["late"]["kind"], said["late"]["status"]) == ("BadRequestError", 400)
    assert said["canceled"]["id"] == said["twice"]["id"] == said["gone"]["id"]
    gone = said["gone"]
    assert (gone["status"], gone["isCompleted"], gone["isFailed"], gone["isCancelled"]) == (
        "CANCELED",
        True,
        True,
        True,
    )


def the_repeats(said: dict[str, Any]) -> None:
    again, replayed = said["again"], said["replayed"]
    assert again["id"] != said["ids"]["done"]
    assert again["output"]["hello"] == "Ada"
    assert (again["tags"], again["metadata"]) == (["a", "b"], {"m": 1})
    assert (replayed["output"]["hello"], replayed["tags"]) == ("Other", ["r"])


def tags_metadata_and_results(said: dict[str, Any]) -> None:
    assert said["tagged"]["message"]
    assert said["after"]["tags"] == ["a", "b", "z"]
    assert (said["many"]["kind"], said["many"]["status"]) == ("UnprocessableEntityError", 422)
    assert said["set"]["metadata"] == {"user": {"name": "Ada"}, "list": [{"a": 1}], "n": 5}
    assert said["replaced"]["metadata"] == {"new": True}
    done, failed, waiting = said["results"][0], said["results"][1], said["results"][2]
    assert (done["ok"], done["id"], done["outputType"]) == (True, said["ids"]["done"], "application/json")
    assert (failed["ok"], failed["error"]["type"], failed["error"]["name"]) == (False, "BUILT_IN_ERROR", "ValueError")
    assert waiting["error"]["code"] == "TASK_RUN_CANCELLED"


def what_was_done_to_them(said: dict[str, Any]) -> None:
    result, told = said["hungry"]
    assert (result["error"]["type"], result["error"]["code"]) == ("INTERNAL_ERROR", "TASK_PROCESS_OOM_KILLED")
    assert "TASK_PROCESS_OOM_KILLED" in told["message"]
    result, error = said["slow"]
    assert result["error"]["code"] == "MAX_DURATION_EXCEEDED"
    assert error["name"] == "RunTimedOut"
    assert "max_duration" in error["message"]


def the_keys(said: dict[str, Any]) -> None:
    keyed, known, fresh = said["keys"]
    assert keyed == known != fresh
    assert (said["missing"]["kind"], said["missing"]["status"]) == ("NotFoundError", 404)


def many_at_once(said: dict[str, Any]) -> None:
    stopped, repeated = said["stopped"], said["repeated"]
    assert (stopped["type"], stopped["status"], stopped["name"]) == ("CANCEL", "COMPLETED", "n")
    assert stopped["counts"] == {"total": 3, "success": 3, "failure": 0}
    assert said["statuses"] == ["CANCELED"] * 3
    assert repeated["counts"] == {"total": 3, "success": 2, "failure": 1}
    assert (said["made"], said["listed"]) == (2, [repeated["id"]])
    assert said["back"] == [repeated["id"], False, True]
    assert said["aborted"]["id"] == stopped["id"]
    assert (said["neither"]["status"], said["unknown"]["status"]) == (400, 404)
