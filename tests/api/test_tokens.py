"""The URL of a token, in the hands of somebody who has nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import BaseModel, SecretStr

from holdfast import Holdfast, Token
from holdfast.api.app import application


class Approval(BaseModel):
    by: str


class Login(BaseModel):
    pin: SecretStr


class Outside:
    """An app behind a proxy, with an API key that the caller does not have."""

    def __init__(self, database: str) -> None:
        self.app = Holdfast(database=database, payload_limit=1_000, public_url="https://jobs.example.com")
        served = application(lambda: self.app.client, key="a key")
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=served))

    async def post(self, url: str, body: Any = b"", **more: Any) -> httpx.Response:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await self.http.post(url, **content, **more)

    async def status(self, token: Token[Any]) -> str:
        return (await self.app.tokens.aretrieve(token)).status


@pytest.fixture
async def outside(database_url: str) -> AsyncIterator[Outside]:
    made = Outside(database_url)
    yield made
    await made.http.aclose()
    await made.app.aclose()


async def test_it_is_completed_once(outside: Outside) -> None:
    token = await outside.app.tokens.acreate(Approval)
    first, again = await outside.post(token.url, {"by": "Ada"}), await outside.post(token.url, {"by": "Bob"})
    assert (first.status_code, first.json()) == (200, {"success": True, "status": "completed"})
    assert (again.status_code, again.json()["status"]) == (200, "already")
    assert (await outside.app.tokens.aretrieve(token)).value == Approval(by="Ada")


async def test_twice_at_once(outside: Outside) -> None:
    token = await outside.app.tokens.acreate()
    answers = await asyncio.gather(*(outside.post(token.url, n) for n in range(5)))
    assert sorted(each.json()["status"] for each in answers) == ["already"] * 4 + ["completed"]


@pytest.mark.parametrize("spoil", ["secret", "id", "other's secret", "no secret", "id of another alphabet", "nul"])
async def test_without_the_secret_there_is_no_such_token(outside: Outside, spoil: str) -> None:
    """Also for one that has been completed: nobody learns which ids there are."""
    token, other = await outside.app.tokens.acreate(), await outside.app.tokens.acreate()
    head, _, secret = token.url.rpartition("/")
    wrong = {
        "secret": f"{head}/{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
        "id": token.url.replace(token.id, "0" * 26),
        "other's secret": f"{head}/{other.url.rpartition('/')[2]}",
        "id of another alphabet": token.url.replace(token.id, "é"),
        "nul": token.url.replace(token.id, "a%00b"),
        "no secret": head,
    }[spoil]
    before = await outside.post(wrong, 1)
    await outside.app.tokens.acomplete(token.id, 2)
    after = await outside.post(wrong, 1)
    assert before.status_code == after.status_code == (404 if spoil != "no secret" else 401)
    assert before.content == after.content
    assert await outside.status(other) == "open"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", 400),
        (b"NaN", 400),
        (b"\xff", 400),
        (b"[" * 900, 400),
        ({}, 422),
        ({"by": 5}, 422),
        (b"", 422),
        ({"by": "x" * 1_000}, 413),
    ],
)
async def test_what_cannot_be_its_value_changes_nothing(outside: Outside, body: Any, code: int) -> None:
    token = await outside.app.tokens.acreate(Approval)
    answer = await outside.post(token.url, body)
    assert (answer.status_code, next(iter(answer.json()))) == (code, "error")
    assert await outside.status(token) == "open"
    assert (await outside.post(token.url, {"by": "Ada"})).status_code == 200


async def test_what_does_not_fit_is_told_field_by_field(outside: Outside) -> None:
    token = await outside.app.tokens.acreate(Approval)
    answer = (await outside.post(token.url, {"by": ["s3cret"]})).json()
    assert answer["details"] == [{"error": "by: should be of type string"}]
    assert "s3cret" not in str(answer)


async def test_its_time_is_over(outside: Outside) -> None:
    token = await outside.app.tokens.acreate(timeout=0)
    assert (await outside.post(token.url, 1)).status_code == 410
    assert await outside.status(token) == "expired"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_following_a_link_changes_nothing(outside: Outside, method: str) -> None:
    token = await outside.app.tokens.acreate()
    assert (await outside.http.request(method, token.url)).status_code == 405
    assert await outside.status(token) == "open"


async def test_no_body_is_null_and_no_type_of_content_is_asked_for(outside: Outside) -> None:
    empty, form = await outside.app.tokens.acreate(), await outside.app.tokens.acreate()
    assert (await outside.post(empty.url)).status_code == 200
    assert (await outside.post(form.url, b'"yes"', headers={"content-type": "text/plain"})).status_code == 200
    assert (await outside.app.tokens.aretrieve(form.id)).value == "yes"


async def test_a_secret_value_is_shown_to_nobody(outside: Outside) -> None:
    token = await outside.app.tokens.acreate(Login)
    assert (await outside.post(token.url, {"pin": "0417"})).status_code == 200
    assert (await outside.app.tokens.aretrieve(token.id)).value == {"pin": "**********"}


async def test_the_rest_still_asks_for_the_key(outside: Outside) -> None:
    token = await outside.app.tokens.acreate()
    path = urlsplit(token.url).path
    for url in ("https://jobs.example.com/", "http://127.0.0.1/", f"http://127.0.0.1{path}/x"):
        assert (await outside.http.get(url)).status_code == 401


async def test_a_database_that_does_not_answer_and_a_log_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    app = Holdfast(database="postgresql://nobody@127.0.0.1:1/nothing")
    transport = httpx.ASGITransport(app=application(lambda: app.client))
    url = app.client.token_url("0" * 26, "s3cret")
    with caplog.at_level(logging.WARNING):
        async with httpx.AsyncClient(transport=transport) as http:
            answer = await http.post(url, json=1)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "could not be answered" in caplog.text
    assert "s3cret" not in caplog.text
    await app.aclose()
