"""Schedules, queues and tokens, as the official package makes and changes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast import AsyncContext, Cron, Holdfast
from tests.api.trigger_dev.conftest import Making
from tests.api.trigger_dev.test_trigger import an_app


def another(database: str) -> Holdfast:
    app = an_app(database)

    @app.task(schedule=Cron("0 4 * * *"))
    def nightly() -> None:
        pass

    @app.task
    async def approve(ctx: AsyncContext) -> str:
        token = await ctx.token(dict[str, str])
        ctx.metadata["token"] = token.id
        return (await ctx.wait_for(token))["by"]

    return app


async def test_schedules_queues_and_tokens(tmp_path: Path, official: Making) -> None:
    app = another(str(tmp_path / "holdfast.db"))
    there = await official(app)
    async with app.running():
        said = await there.does("others")
    the_schedules(said["schedules"])
    the_queues(said["queues"])
    the_tokens(said["tokens"])


def the_schedules(said: dict[str, Any]) -> None:
    made, again = said["made"], said["again"]
    assert made["generator"]["expression"] == "30 9 * * *"
    assert (made["timezone"], made["externalId"], made["deduplicationKey"]) == ("Asia/Kolkata", "u1", "k")
    assert (made["type"], made["active"], made["nextRun"][11:16]) == ("IMPERATIVE", True, "04:00")
    assert (said["paused"]["active"], said["paused"]["nextRun"]) == (False, None)
    assert (again["id"], again["active"], again["externalId"], again["timezone"]) == (made["id"], False, None, "UTC")
    assert said["resumed"]["active"]
    assert (said["updated"]["task"], said["updated"]["externalId"]) == ("nothing", "u2")
    assert said["read"] == said["updated"]
    assert (said["declared"]["task"], said["declared"]["deduplicationKey"]) == ("nightly", None)
    (first, pages), (second, _) = said["pages"]
    assert pages == {"currentPage": 1, "totalPages": 2, "count": 3}
    assert sorted(first + second) == sorted([made["id"], said["other"]["id"], said["declared"]["id"]])
    assert [each["status"] for each in said["refused"]] == [422] * 5
    assert (said["deleted"]["id"], said["gone"]["status"]) == (said["other"]["id"], 404)
    assert (said["zones"] > 400, said["slash"]) == (True, 200)
    assert "UTC" not in said["without"]


def the_queues(said: dict[str, Any]) -> None:
    assert ["custom", "a/b c"] in said["names"]
    assert ["task", "greet"] in said["names"]
    assert said["count"] == len(said["names"])
    assert said["byId"]["name"] == said["own"]["name"] == "greet"
    assert (said["paused"]["paused"], said["resumed"]["paused"]) == (True, False)
    assert (said["limited"]["concurrencyLimit"], said["limited"]["concurrency"]["override"]) == (5, 5)
    assert (said["reset"]["concurrencyLimit"], said["reset"]["concurrency"]["override"]) == (None, None)
    assert (said["unknown"]["status"], said["zero"]["status"]) == (404, 422)


def the_tokens(said: dict[str, Any]) -> None:
    token, plain, short = said["ids"]
    assert (said["again"]["id"], said["again"]["isCached"], said["token"]["isCached"]) == (token, True, False)
    assert said["token"]["publicAccessToken"].count(".") == 2
    opened = said["open"]
    assert (opened["status"], opened["tags"], opened["idempotencyKey"]) == ("WAITING", ["a", "b"], "ik")
    assert (said["done"]["status"], said["done"]["output"]) == ("COMPLETED", {"status": "approved"})
    assert (said["called"], said["read"]["output"]) == (200, {"by": "Ada"})
    assert (said["expired"]["status"], said["expired"]["error"]["name"]) == ("TIMED_OUT", "WaitpointTimeoutError")
    lists = said["lists"]
    assert set(lists["all"]) >= {token, plain, short}
    assert (lists["completed"], lists["timedOut"], lists["key"]) == ([token], [short], [token])
    assert said["approved"]["output"] == "Bob"
    ends = [[False, True], [True, False], [False, True]]
    assert said["paged"] == [
        [[[short, plain], [token], [short, plain]], ends],
        [[[plain], [token], [plain]], ends],
    ]
    assert (said["unknown"]["status"], said["unfit"]["status"]) == (404, 422)
