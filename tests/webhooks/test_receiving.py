"""Requests that come in from elsewhere: verified, taken once, answered when they are on disk, and else refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, SecretStr

from holdfast import (
    GitHub,
    Holdfast,
    SharedSecret,
    Slack,
    StandardWebhooks,
    Stripe,
    Svix,
    Webhook,
    WebhookRequest,
)
from holdfast.api.app import application
from holdfast.engine import webhooks as engine
from holdfast.records import Rejected
from tests.webhooks import senders

SENDERS = ("stripe", "github", "slack", "standard", "svix", "shared")


class Event(BaseModel):
    id: str
    email: str = ""


class Login(BaseModel):
    pin: SecretStr


def app_with_webhooks(database: str) -> Holdfast:
    app = Holdfast(database, payload_limit=10_000)
    verifiers = {
        "stripe": Stripe([senders.STRIPE, "whsec_the_next_one"]),
        "github": GitHub(senders.GITHUB),
        "slack": Slack(senders.SLACK),
        "standard": StandardWebhooks(senders.STANDARD),
        "svix": Svix(senders.STANDARD),
        "shared": SharedSecret(senders.SHARED, header="X-Token", id_header="X-Id"),
    }
    for name, verify in verifiers.items():

        @app.webhook(f"/{name}", verify=verify, id=name)
        async def take(hook: Webhook[Event]) -> str:
            return f"{hook.body.email} {hook.id}"

    @app.webhook("/own/path", verify=own)
    def mine(hook: Webhook[str]) -> str:
        return hook.body

    @app.webhook("/async", verify=own_async)
    async def bare(hook: Webhook[bytes]) -> int:
        return len(hook.body)

    @app.webhook("/broken", verify=broken)
    async def never() -> None: ...

    @app.webhook("/login", verify=own)
    async def login(hook: Webhook[Login]) -> int:
        return len(hook.body.pin.get_secret_value())

    return app


def own(request: WebhookRequest) -> bool | str:
    return request.headers.get("x-pass") == "sesame" and (request.query.get("id") or True)


async def own_async(request: WebhookRequest) -> bool:
    return request.headers.get("x-pass") == "sesame"


def broken(request: WebhookRequest) -> bool:
    raise RuntimeError("no verifier")


class Receiving:
    """An app behind a proxy, with an API key that senders do not have."""

    def __init__(self, database: str, app: Holdfast | None = None) -> None:
        self.app = app_with_webhooks(database) if app is None else app
        served = application(lambda: self.app.client, key="a key", endpoints=lambda: self.app.webhooks)
        transport = httpx.ASGITransport(app=served)
        self.http = httpx.AsyncClient(transport=transport, base_url="https://jobs.example.com")

    async def send(self, name: str, sent: senders.Sent, **headers: str) -> httpx.Response:
        return await self.http.post(f"/webhooks/{name}", content=sent.body, headers={**sent.headers, **headers})

    async def runs(self) -> list[str]:
        return [run.task for run in await self.app.runs.alist()]

    async def rejected(self, **said: Any) -> list[Rejected]:
        return await self.app.client.aread(engine.rejected, **said)


@pytest.fixture
async def receiving(database_url: str) -> AsyncIterator[Receiving]:
    made = Receiving(database_url)
    yield made
    await made.http.aclose()
    await made.app.aclose()


def sent_by(name: str, data: Any, **said: Any) -> senders.Sent:
    found: senders.Sent = getattr(senders, name)(data, **said)
    return found


async def test_a_request_that_is_signed_becomes_a_run_once(receiving: Receiving) -> None:
    for name in SENDERS:
        sent = sent_by(name, {"id": "evt_1", "email": "ada@example.com"})
        first, again = await receiving.send(name, sent), await receiving.send(name, sent)
        assert (first.status_code, again.status_code) == ((200, 200) if name == "slack" else (202, 200))
        assert first.content == b"" if name == "slack" else first.json() == again.json()
    assert sorted(await receiving.runs()) == sorted(SENDERS)
    async with receiving.app.running():
        outputs = [await receiving.app.handle(run.id).aresult() for run in await receiving.app.runs.alist()]
    assert outputs == ["ada@example.com evt_1"] * len(SENDERS)


async def test_one_that_is_not_is_refused_and_can_be_looked_at(receiving: Receiving) -> None:
    answer = await receiving.send("shared", senders.shared({"id": "1"}, secret="not it"), **{"x-nul": "a"})
    garbage = await receiving.send("stripe", senders.Sent(b"\xff\0\xfe", {}))
    assert (answer.status_code, garbage.status_code) == (401, 401)
    assert await receiving.runs() == []
    one, other = await receiving.rejected()
    assert (one.path, one.reason, one.size) == ("/stripe", "It has no header stripe-signature", 3)
    assert (other.path, json.loads(other.headers)["x-token"]) == ("/shared", "**********")
    assert other.reason == "Its header x-token does not have the secret"
    assert json.loads(other.body) == {"id": "1"}


async def test_questions_are_answered_and_make_no_run(receiving: Receiving) -> None:
    ping = await receiving.send("github", senders.github({"id": "1"}, event="ping"))
    body = {"id": "1", "type": "url_verification", "challenge": "3eZbrw1aB"}
    challenge = await receiving.send("slack", senders.slack(body))
    stranger = await receiving.send("slack", senders.slack(body, secret="another secret"))
    assert (ping.status_code, challenge.json()) == (200, {"challenge": "3eZbrw1aB"})
    assert (stranger.status_code, "3eZbrw1aB" in stranger.text) == (401, False)
    assert await receiving.runs() == []


async def test_a_function_of_the_users(receiving: Receiving) -> None:
    sesame = {"x-pass": "sesame"}
    post = receiving.http.post
    assert (await post("/webhooks/own/path?id=a", content=b"hi", headers=sesame)).status_code == 202
    assert (await post("/webhooks/own/path?id=a", content=b"hi", headers=sesame)).status_code == 200
    assert (await post("/webhooks/own/path", content=b"hi", headers=sesame)).status_code == 202
    assert (await post("/webhooks/own/path", content=b"hi")).status_code == 401
    assert (await post("/webhooks/async", content=b"\xff\0", headers=sesame)).status_code == 202
    assert (await post("/webhooks/broken", content=b"hi")).status_code == 503
    assert sorted(await receiving.runs()) == ["bare", "mine", "mine"]
    assert [each.path for each in await receiving.rejected()] == ["/broken", "/own/path"]
    async with receiving.app.running():
        outputs = [await receiving.app.handle(run.id).aresult() for run in await receiving.app.runs.alist()]
    assert sorted(map(str, outputs)) == ["2", "hi", "hi"]


async def test_what_is_secret_in_a_body_is_stars(receiving: Receiving) -> None:
    headers = {"x-pass": "sesame", "authorization": "Bearer hunter2", "x-api-key": "hunter3"}
    answer = await receiving.http.post("/webhooks/login", json={"pin": "hunter1"}, headers=headers)
    run = await receiving.app.runs.aretrieve(answer.json()["run"])
    assert "hunter" not in repr(run.payload)
    async with receiving.app.running():
        assert await receiving.app.handle(run.id).aresult() == 7


async def test_what_does_not_fit_is_a_run_that_failed_and_is_not_lost(receiving: Receiving) -> None:
    answer = await receiving.send("shared", senders.Sent(b"[1, 2", {"X-Token": senders.SHARED}))
    assert answer.status_code == 202
    async with receiving.app.running():
        [finished] = await receiving.app.runs.alist()
        handle = receiving.app.handle(finished.id)
        async for run in handle.aupdates():
            last = run
    assert last.status == "failed"
    assert "PayloadInvalid" in str(last.error)


async def test_where_nothing_is_and_where_the_app_is_not_loaded(receiving: Receiving, database_url: str) -> None:
    assert (await receiving.http.post("/webhooks/nothing")).status_code == 404
    assert (await receiving.http.get("/webhooks/stripe")).status_code == 405
    async with receiving.app.running():
        elsewhere = Receiving(database_url, Holdfast(database_url))
        answer = await elsewhere.send("stripe", senders.stripe({"id": "evt_1"}))
        await elsewhere.http.aclose()
        await elsewhere.app.aclose()
    assert answer.status_code == 503
    assert "holdfast server APP" in answer.json()["error"]


async def test_a_body_may_not_be_larger_than_a_payload(receiving: Receiving) -> None:
    answer = await receiving.send("stripe", senders.stripe({"id": "x" * 10_000}))
    assert answer.status_code == 413


async def test_many_at_once_make_one_run(receiving: Receiving) -> None:
    sent = senders.stripe({"id": "evt_1"})
    answers = await asyncio.gather(*(receiving.send("stripe", sent) for _ in range(10)))
    assert sorted(each.status_code for each in answers) == [200] * 9 + [202]
    assert len({each.json()["run"] for each in answers}) == 1


async def test_those_that_are_refused_fill_no_disk(receiving: Receiving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "KEPT", 3)
    for number in range(5):
        await receiving.send("shared", senders.shared({"id": str(number)}, secret="wrong"), **{"x-number": str(number)})
    kept = await receiving.rejected()
    assert [json.loads(each.headers)["x-number"] for each in kept] == ["4", "3", "2"]


async def test_a_flood_is_refused_and_not_all_of_it_kept(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.api.webhooks.KEPT_RATE", "2/h")
    receiving = Receiving(database_url)
    answers = [await receiving.send("stripe", senders.Sent(b"hi", {})) for _ in range(5)]
    assert {each.status_code for each in answers} == {401}
    assert len(await receiving.rejected()) == 2
    await receiving.http.aclose()
    await receiving.app.aclose()


async def test_what_there_is_can_be_looked_at_over_http(receiving: Receiving) -> None:
    await receiving.send("shared", senders.shared({"id": "1"}, secret="not it"))
    await receiving.send("stripe", senders.Sent(b"hi", {}))
    key = {"authorization": "Bearer a key"}
    get = receiving.http.get
    first = (await get("/api/v1/webhooks/rejected?limit=1", headers=key)).json()
    rest = (await get(f"/api/v1/webhooks/rejected?cursor={first['next_cursor']}", headers=key)).json()
    assert [each["path"] for each in (*first["data"], *rest["data"])] == ["/stripe", "/shared"]
    one = (await get(f"/api/v1/webhooks/rejected/{rest['data'][0]['id']}", headers=key)).json()
    assert (one["headers"]["x-token"], json.loads(one["body"])) == ("**********", {"id": "1"})
    async with receiving.app.running():
        announced = (await get("/api/v1/webhooks", headers=key)).json()["data"]
    assert {"/stripe", "/own/path"} <= {each["path"] for each in announced}
    for path in ("/api/v1/webhooks", "/api/v1/webhooks/rejected", f"/api/v1/webhooks/rejected/{one['id']}"):
        assert (await get(path)).status_code == 401
    assert (await get("/api/v1/webhooks/rejected/nothing", headers=key)).status_code == 404
