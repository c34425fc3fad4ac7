"""A TypeScript app triggers tasks in Python, with the official package."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import Holdfast, Retry
from tests.api.trigger_dev.conftest import Making


class Person(BaseModel):
    name: str
    at: datetime | None = None
    many: int | None = None


def an_app(database: str) -> Holdfast:
    app = Holdfast(database=database)

    @app.task
    def greet(person: Person) -> dict[str, Any]:
        return {"hello": person.name, "at": person.at, "many": str(person.many)}

    @app.task(retry=Retry(max_attempts=1))
    def fail(text: str) -> None:
        raise ValueError(f"always fails: {text}")

    @app.task
    def nothing() -> None:
        pass

    return app


async def test_tasks_are_triggered_and_polled(
    database_url: str, official: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_VERSION", "2026.7")
    app = an_app(database_url)
    there = await official(app)
    async with app.running():
        said = await there.does("trigger")
    the_ends(said)
    what_was_said(said)
    first, second = said["first"], said["second"]
    assert first["id"] == second["id"]
    assert said["large"] == 200_000
    the_refusals(said["refused"])


def the_ends(said: dict[str, Any]) -> None:
    done = said["done"]
    assert done["id"] == said["handle"]["id"]
    assert (done["status"], done["isCompleted"], done["isSuccess"], done["isFailed"]) == (
        "COMPLETED",
        True,
        True,
        False,
    )
    assert done["output"] == {"hello": "Ada", "at": "1970-01-01T00:00:00Z", "many": "12345678901234567890"}
    assert done["payload"]["name"] == "Ada"
    assert done["attemptCount"] == 1
    assert done["createdAt"] <= done["startedAt"] <= done["finishedAt"]
    failed = said["failed"]
    assert (failed["status"], failed["isCompleted"], failed["isFailed"]) == ("FAILED", True, True)
    assert (failed["error"]["name"], failed["error"]["message"]) == ("ValueError", "always fails: text")
    assert "always fails" in failed["error"]["stackTrace"]
    assert "output" not in failed
    assert said["nothing"]["status"] == "COMPLETED"
    versions = [(said[where]["status"], said[where]["version"]) for where in ("here", "nowhere")]
    assert versions == [("COMPLETED", "2026.7"), ("PENDING_VERSION", "2026.6")]


def what_was_said(said: dict[str, Any]) -> None:
    waiting = said["waiting"]
    assert said["full"]["id"] == said["again"]["id"] == waiting["id"]
    assert (waiting["status"], waiting["isQueued"], waiting["isCompleted"]) == ("DELAYED", True, False)
    delay = datetime.fromisoformat(waiting["delayedUntil"]) - datetime.fromisoformat(waiting["createdAt"])
    assert 3590 <= delay.total_seconds() <= 3610
    assert (waiting["ttl"], waiting["tags"], waiting["metadata"]) == ("10m", ["user:1", "x"], {"m": 1})
    assert waiting["idempotencyKey"] == "k1"
    assert not {"startedAt", "finishedAt", "output", "error"} & waiting.keys()


def the_refusals(refused: dict[str, Any]) -> None:
    assert refused["tags"]["kind"] == "UnprocessableEntityError"
    assert refused["tags"]["message"].endswith("Runs can only have 10 tags, you're trying to set 11.")
    assert (refused["delay"]["status"], refused["unfit"]["status"]) == (422, 422)
    assert (refused["unknown"]["kind"], refused["unknown"]["status"]) == ("NotFoundError", 404)
    assert (refused["key"]["kind"], refused["key"]["status"]) == ("AuthenticationError", 401)
