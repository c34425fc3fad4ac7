"""Hooks of HTTP tasks: a worker that knows the task calls those for the end of its runs, which a pusher has seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from holdfast import Holdfast, PushResponse, Retry
from holdfast.events import Cancellation, Completion, Failure, Success
from tests.push.receiver import Receiver

Told = list[tuple[str, str, Any]]
ENDS = ("on_success", "on_failure", "on_cancel", "on_complete")
OTHERS = ("init", "on_start", "on_attempt_start", "catch_error", "on_error", "on_wait", "on_resume", "cleanup")


@pytest.fixture
async def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Holdfast]:
    monkeypatch.setattr("holdfast.worker.worker.ORDERS_SECONDS", 0.2)
    monkeypatch.setattr("holdfast.worker.aftermath.LOOK_SECONDS", 0.1)
    here = Holdfast(database_url)
    here.settings.use_flags(push_allow="127.0.0.1/32")
    yield here
    await here.aclose()


def told_by(owner: Any, who: str, told: Told, *kinds: str) -> None:
    for kind in kinds:
        getattr(owner, kind)(lambda event, kind=kind: told.append((who, kind, event)))


async def until_told(told: Told, count: int) -> list[tuple[str, str]]:
    async with asyncio.timeout(60):
        while len(told) < count:  # noqa: ASYNC110 - of whatever may come to be true
            await asyncio.sleep(0.02)
    return [(who, kind) for who, kind, _ in told]


async def test_the_end_of_a_request_is_told_like_that_of_any_task(app: Holdfast, receiver: Receiver) -> None:
    told: Told = []
    notify = app.http_task("notify", receiver.url, str, retry=Retry(max_attempts=1))
    told_by(notify, "task", told, *ENDS)
    told_by(app, "app", told, *ENDS, *OTHERS)
    app.middleware(lambda event, call_next: call_next())
    async with app.running():
        await notify.atrigger("Ada")
        assert await until_told(told, 4) == [
            (who, kind) for kind in ("on_success", "on_complete") for who in ("task", "app")
        ]
        success, completion = told[0][2], told[3][2]
        assert type(success) is Success
        assert (success.payload, success.output.status, success.output.body) == ("Ada", 200, "ok")
        assert type(completion) is Completion
        assert (completion.ok, completion.output) == (True, success.output)

        told.clear()
        receiver.answers = lambda _: web.Response(status=500, text="on fire")
        await notify.atrigger("Ada")
        assert await until_told(told, 4) == [
            (who, kind) for kind in ("on_failure", "on_complete") for who in ("task", "app")
        ]
        failure = told[0][2]
        assert type(failure) is Failure
        assert "500: on fire" in failure.error.message
        assert failure.run.status == "failed"


async def test_one_that_is_canceled_while_it_is_open(app: Holdfast, receiver: Receiver) -> None:
    told: Told = []
    notify = app.http_task("notify", receiver.url)
    told_by(notify, "task", told, *ENDS)

    async def never() -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answers = lambda _: never()
    async with app.running():
        handle = await notify.atrigger()
        await receiver.came(1)
        await handle.acancel()
        assert await until_told(told, 2) == [("task", "on_cancel"), ("task", "on_complete")]
        assert type(told[0][2]) is Cancellation


async def test_a_request_of_no_task_and_one_without_hooks_leave_no_note(app: Holdfast, receiver: Receiver) -> None:
    told: Told = []
    told_by(app, "app", told, *ENDS)
    quiet = Holdfast(app.settings.get("database").value)
    plain = quiet.http_task("plain", receiver.url)
    marked = app.http_task("marked", receiver.url)
    async with app.running():
        for handle in (await app.apush(receiver.url), await plain.atrigger(), await marked.atrigger()):
            await handle.aresult(timeout="1m")
        assert await until_told(told, 2) == [("app", "on_success"), ("app", "on_complete")]
        assert {event.run.task for _, _, event in told} == {"marked"}
    await quiet.aclose()


def test_they_are_called_in_tests() -> None:
    app = Holdfast()
    told: Told = []
    notify = app.http_task("notify", "https://no-such-name.invalid/", str)
    told_by(notify, "task", told, *ENDS)
    told_by(app, "app", told, *OTHERS)
    with app.testing() as jobs:
        jobs.run(notify, "Ada")
        jobs.replace(notify, PushResponse(201))
        jobs.run(notify, "Grace")
        notify.trigger("late", delay="1h").cancel()
        jobs.advance("1m")
    assert [kind for _, kind, _ in told] == ["on_success", "on_complete"] * 2 + ["on_cancel", "on_complete"]


@pytest.mark.parametrize("kind", [*OTHERS, "middleware"])
def test_its_attempts_have_no_hooks(kind: str) -> None:
    notify = Holdfast().http_task("notify", "https://no-such-name.invalid/")
    with pytest.raises(TypeError, match=r"attempts do not run here.*on_cancel, on_failure, on_success, on_complete"):
        getattr(notify, kind)(lambda *_: None)
