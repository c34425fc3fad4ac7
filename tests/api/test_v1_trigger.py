"""Triggers over HTTP, as clients send them that are not the official one, or that are in trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import Holdfast
from holdfast.api.app import application
from holdfast.api.v1.repeats import Repeats

PATH = "/api/v1/tasks/greet/trigger"


class Here:
    """An app's API, in this process, without a key."""

    def __init__(self, app: Holdfast) -> None:
        self.app = app
        served = httpx.ASGITransport(app=application(lambda: self.app.client))
        self.http = httpx.AsyncClient(transport=served, base_url="http://127.0.0.1")

    async def trigger(self, body: Any = None, path: str = PATH, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else None
        json = None if isinstance(body, bytes) else body
        return await self.http.post(path, content=content, json=json, headers=headers)

    async def runs(self) -> list[str]:
        return [run.id for run in await self.app.runs.alist()]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    made = Here(Holdfast(database=str(tmp_path / "holdfast.db"), payload_limit=2_000))
    yield made
    await made.http.aclose()
    await made.app.aclose()


REPEATED = {"x-trigger-request-idempotency-key": "2f1c9a4e"}


async def test_a_call_that_is_sent_again_makes_no_second_run(here: Here) -> None:
    first, again = await here.trigger({}, **REPEATED), await here.trigger({}, **REPEATED)
    assert first.json() == again.json()
    assert (first.json()["isCached"], len(await here.runs())) == (False, 1)
    await here.trigger({}, path="/api/v1/tasks/other/trigger", **REPEATED)
    assert len(await here.runs()) == 2


@pytest.mark.parametrize(("path", "body"), [("/api/v1/waitpoints/tokens", {}), ("/api/v3/batches", {"runCount": 2})])
async def test_nor_a_second_token_or_batch(here: Here, path: str, body: dict[str, Any]) -> None:
    first, again = [await here.http.post(path, json=body, headers=REPEATED) for _ in range(2)]
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    other = await here.http.post(path, json=body, headers=dict.fromkeys(REPEATED, "another"))
    assert other.json()["id"] != first.json()["id"]


async def test_nor_one_that_is_sent_again_to_another_server(database_url: str) -> None:
    app = Holdfast(database_url)
    one, other = Here(app), Here(app)
    first, again = await one.trigger({}, **REPEATED), await other.trigger({}, **REPEATED)
    if app.client.store.kind == "postgres":  # a database file has one server
        assert first.json() == again.json()
        assert (first.json()["isCached"], len(await one.runs())) == (False, 1)
    run = await app.runs.aretrieve(first.json()["id"].removeprefix("run_"))
    assert run.idempotency_key is None
    count = len(await one.runs())
    for each in (one, other):
        assert (await each.http.post(f"/api/v1/runs/{run.id}/replay", headers=REPEATED)).status_code == 200
    assert len(await one.runs()) == count + 1
    for each in (one, other):
        await each.http.aclose()
    await app.aclose()


async def test_nor_one_that_is_sent_again_at_once(here: Here) -> None:
    answers = await asyncio.gather(*[here.trigger({}, **REPEATED) for _ in range(20)])
    assert {answer.json()["id"] for answer in answers} == {f"run_{run_id}" for run_id in await here.runs()}
    assert len(await here.runs()) == 1


async def test_one_that_was_refused_is_tried_anew(here: Here) -> None:
    refused = await here.trigger({"options": {"delay": "soon"}}, **REPEATED)
    assert (refused.status_code, refused.json()["param"]) == (422, "delay")
    assert (await here.trigger({}, **REPEATED)).status_code == 200


async def test_what_is_repeated_is_forgotten_in_time_and_in_number() -> None:
    repeats: Repeats[int] = Repeats(most=3, seconds=1000)
    count = 0

    async def made() -> int:
        nonlocal count
        count += 1
        return count

    assert [await repeats.once(name, made) for name in "aabca"] == [1, 1, 2, 3, 1]
    assert await repeats.once("d", made) == 4
    assert await repeats.once("a", made) == 5
    repeats.seconds = -1
    assert await repeats.once("d", made) == 6


async def test_who_waits_for_the_same_hears_its_error() -> None:
    repeats: Repeats[int] = Repeats()
    begun = asyncio.Event()

    async def failing() -> int:
        await begun.wait()
        raise ValueError

    waiting = [asyncio.create_task(repeats.once("a", failing)) for _ in range(3)]
    await asyncio.sleep(0)
    begun.set()
    for each in waiting:
        with pytest.raises(ValueError):
            await each
    assert repeats.known == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b'{"options":{"maxAttempts":"3"}}', 400),
        (b'{"payload":"{","options":{"payloadType":"application/super+json"}}', 422),
        (b'{"payload":1e999}', 422),
        (b'{"options":{"ttl":"0s"}}', 422),
        (b'{"options":{"tags":["\\ud800"]}}', 400),
        (b'{"options":{"queue":{"name":" "}}}', 422),
        (b'{"options":{"machine":"huge"}}', 422),
        (b'{"options":{"metadata":[1]}}', 422),
        (b'{"options":{"debounce":{"key":"d","delay":"0s"}}}', 422),
        (b'{"payload":"' + b"x" * 3_000 + b'","options":{"payloadType":"text/plain"}}', 413),
    ],
)
async def test_what_cannot_be_is_refused_in_words(here: Here, body: bytes, status: int) -> None:
    answer = await here.trigger(body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert await here.runs() == []


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b"", None),
        (b"{}", None),
        (b'{"payload":{"a":[1]}}', {"a": [1]}),
        (b'{"payload":"text"}', "text"),
        (b'{"payload":"{\\"a\\":1}","options":{"payloadType":"application/json"}}', {"a": 1}),
        (b'{"payload":"[1","options":{"payloadType":"application/json"}}', "[1"),
        (b'{"payload":"1","options":{"payloadType":"text/plain"}}', "1"),
        (b'{"payload":123456789012345678901234567890}', 123456789012345678901234567890),
        (b'{"payload":"a\\u0000b"}', "a\0b"),
    ],
)
async def test_payloads_reach_the_task_as_they_were_meant(here: Here, body: bytes, payload: Any) -> None:
    answer = await here.trigger(body)
    assert answer.status_code == 200, answer.text
    run = await here.app.runs.aretrieve(answer.json()["id"].removeprefix("run_"))
    assert run.payload == payload


async def test_a_name_with_a_slash_is_one_name(here: Here) -> None:
    await here.trigger({}, path="/api/v1/tasks/shop%2Forders%20new/trigger")
    assert [run.task for run in await here.app.runs.alist()] == ["shop/orders new"]


async def test_an_answer_brings_a_token_for_just_that_run(here: Here) -> None:
    mine, other = await here.trigger({}), await here.trigger({})
    bearer = {"Authorization": f"Bearer {mine.headers['x-trigger-jwt']}"}
    statuses = [
        (await here.http.get(f"/api/v3/runs/{each.json()['id']}", headers=bearer)).status_code for each in (mine, other)
    ]
    assert statuses == [200, 403]
