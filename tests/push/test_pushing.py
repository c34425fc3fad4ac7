"""From ``app.push`` to what the app there gets, and what is kept of it."""

from __future__ import annotations

import json

from aiohttp import web
from pydantic import BaseModel, SecretStr

from holdfast import Retry
from holdfast.engine import pushes
from holdfast.http_task import PushResponse
from tests.push.conftest import Pushing
from tests.push.receiver import Receiver

FAST = Retry(delays=[0.05, 0.05], jitter=False)


class User(BaseModel):
    id: int
    email: str


class Login(BaseModel):
    password: SecretStr


async def test_a_request_arrives_and_its_run_completes(pushing: Pushing, receiver: Receiver) -> None:
    pushing.start()
    handle = await pushing.app.apush(f"{receiver.url}/jobs?x=1", json={"n": 1}, headers={"X-Kind": "nightly"})
    run = await pushing.ended(handle)
    assert run.status == "completed"
    assert run.output == PushResponse(200, run.output.headers, "ok")
    [request] = receiver.received
    assert (request.method, request.path, request.body) == ("POST", "/jobs?x=1", b'{"n":1}')
    assert request.headers["X-Kind"] == "nightly"
    assert request.headers["Content-Type"] == "application/json"
    [invocation] = await pushing.app.client.aread(pushes.invocations, handle.id)
    assert (invocation.number, invocation.status) == (1, 200)
    record = json.loads(invocation.record)
    assert record["body"] == "ok"
    assert 0 < record["connect_us"] <= record["first_byte_us"] <= invocation.total_us


async def test_an_http_task_is_a_task_like_any_other(pushing: Pushing, receiver: Receiver) -> None:
    notify = pushing.app.http_task("notify", f"{receiver.url}/notify", User, headers={"X-From": "us"})
    pushing.start()
    run = await pushing.ended(await notify.atrigger(User(id=1, email="ada@example.com"), tags=["a"]))
    assert (run.status, run.output.status, run.queue, run.tags) == ("completed", 200, "task/notify", ["a"])
    [request] = receiver.received
    assert (request.path, request.headers["X-From"]) == ("/notify", "us")
    assert json.loads(request.body) == {"id": 1, "email": "ada@example.com"}


async def test_a_corrected_url_reaches_what_is_queued_already(pushing: Pushing, receiver: Receiver) -> None:
    wrong = pushing.app.http_task("notify", "http://127.0.0.1:81/wrong", User)
    handle = await wrong.atrigger(User(id=1, email="x"))
    right = Pushing(pushing.database)
    await right.app.http_task("notify", f"{receiver.url}/right", User).atrigger(User(id=2, email="y"))
    await right.close()
    pushing.start()
    assert (await pushing.ended(handle)).status == "completed"
    assert {request.path for request in await receiver.came(2)} == {"/right"}


async def test_a_failure_is_tried_again_with_the_same_id_body_and_headers(pushing: Pushing, receiver: Receiver) -> None:
    answers = [web.Response(status=500, text="not now"), web.Response(status=302, headers={"Location": "/else"})]
    receiver.answers = lambda _: answers.pop(0) if answers else web.Response(status=201)
    pushing.start()
    handle = await pushing.app.apush(f"{receiver.url}/x", content="hello", headers={"X-A": "1"}, retry=FAST)
    run = await pushing.ended(handle)
    assert (run.status, run.attempts) == ("completed", 3)
    first, second, third = receiver.received
    assert first.body == second.body == third.body == b"hello"
    assert {each.headers["webhook-id"] for each in receiver.received} == {handle.id}
    assert [each.headers["X-Holdfast-Attempt"] for each in receiver.received] == ["1", "2", "3"]
    assert {each.path for each in receiver.received} == {"/x"}  # no redirect was followed
    kept = await pushing.app.runs.ainvocations(handle.id)
    assert [(each.attempt, each.status) for each in kept] == [(1, 500), (2, 302), (3, 201)]
    assert [each.body for each in kept] == ["not now", "", ""]


async def test_when_no_attempt_is_left_it_has_failed_and_says_why(pushing: Pushing, receiver: Receiver) -> None:
    receiver.answers = lambda _: web.Response(status=500, text="the disk is full")
    pushing.start()
    run = await pushing.ended(await pushing.app.apush(receiver.url, retry=FAST))
    assert (run.status, run.attempts) == ("failed", 3)
    assert run.error is not None
    assert run.error.message == "the app answered 500: the disk is full"


async def test_a_name_is_free_again_once_its_run_has_ended(pushing: Pushing, receiver: Receiver) -> None:
    first = await pushing.app.apush(receiver.url, name="report")
    again = await pushing.app.apush(receiver.url, name="report")
    assert (again.id, again.created) == (first.id, False)
    pushing.start()
    await pushing.ended(first)
    later = await pushing.app.apush(receiver.url, name="report")
    assert later.created
    assert later.id != first.id


async def test_bytes_arrive_as_they_are(pushing: Pushing, receiver: Receiver) -> None:
    pushing.start()
    body = bytes(range(256))
    await pushing.ended(await pushing.app.apush(receiver.url, content=body))
    await pushing.ended(await pushing.app.apush(receiver.url))
    assert [request.body for request in receiver.received] == [body, b""]
    assert "Content-Type" not in receiver.received[0].headers


async def test_credentials_in_a_url_and_a_header_are_kept_nowhere(pushing: Pushing, receiver: Receiver) -> None:
    """Also where the app repeats them, as many do that have no such path."""
    receiver.answers = lambda request: web.Response(
        status=404,
        text=f"no {request.path}, {request.headers['X-Api-Key']}",
        headers={"Location": "/a?sig=lengthy-sig-12345678"},
    )
    pushing.start()
    url = f"{receiver.url}/jobs?user=5&access_token=lengthy-token-12345678"
    headers = {"X-Api-Key": "lengthy-key-12345678"}
    handle = await pushing.app.apush(url, headers=headers, retry=Retry(max_attempts=1))
    run = await pushing.ended(handle)
    assert receiver.received[0].path == "/jobs?user=5&access_token=lengthy-token-12345678"
    [kept] = await pushing.app.client.aread(pushes.invocations, handle.id)
    record = json.loads(kept.record)
    assert record["url"] == f"{receiver.url}/jobs?user=5&access_token=**********"
    assert record["response_headers"]["location"] == "/a?sig=**********"
    assert record["body"].startswith("no /jobs?user=5&access_token=****")
    assert "lengthy" not in kept.record + str(run.error)


async def test_secrets_arrive_and_are_kept_nowhere(pushing: Pushing, receiver: Receiver) -> None:
    receiver.answers = lambda request: web.Response(body=request.body, headers={"Set-Cookie": "session=1"})
    login = pushing.app.http_task("login", receiver.url, Login, headers={"Authorization": "Bearer topsecret"})
    pushing.start()
    handle = await login.atrigger(Login(password=SecretStr("hunter2!")))
    run = await pushing.ended(handle)
    [request] = receiver.received
    assert json.loads(request.body) == {"password": "hunter2!"}
    assert request.headers["Authorization"] == "Bearer topsecret"
    [kept] = await pushing.app.client.aread(pushes.invocations, handle.id)
    for text in (kept.record, str(run.output), str(run.payload)):
        assert "hunter2!" not in text
        assert "topsecret" not in text
        assert "session=1" not in text
