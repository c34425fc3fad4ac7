"""Keys and public tokens, as those who call have them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from holdfast import Holdfast
from holdfast.api import keyring, public
from holdfast.api.app import application, routes
from holdfast.api.auth import need_of
from holdfast.api.limit import MOST, Limits
from holdfast.engine import audit, keys
from holdfast.engine.keys import Known
from holdfast.ids import new_api_key
from holdfast.rate import Rate
from holdfast.scopes import Right
from holdfast.storage import Tx

OPERATORS = "whatever it looks like, though one of 64 bytes is what signing tokens asks for"


class Served:
    """A server with a key of its operator's, and those that a test makes."""

    def __init__(self, database: str, key: str | None = OPERATORS, client: str = "10.0.0.7", **more: Any) -> None:
        self.home = Holdfast(database=database)
        self.app = application(lambda: self.home.client, key=key, **more)
        transport = httpx.ASGITransport(app=self.app, client=(client, 4711))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://jobs.example.com")

    async def key(self, *scopes: str, lasting_ms: int | None = None) -> tuple[str, str]:
        """A new key, and its id."""
        key = new_api_key()
        made = await self.home.client.awrite(keys.create, key, "web", scopes, lasting_ms)
        self.again()
        return key, made.id

    def again(self) -> None:
        """Let the server read the keys anew: a second has passed."""
        self.app.state.keys.read_at = float("-inf")

    async def ask(self, key: str | None, path: str = "/v2/tasks", method: str = "GET", **more: Any) -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return await self.http.request(method, path, headers=headers | more.pop("headers", {}), **more)

    async def close(self) -> None:
        await self.http.aclose()
        await self.home.aclose()


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[Served]:
    made = Served(database_url)
    yield made
    await made.close()


async def test_a_key_counts_from_when_it_is_made_until_it_is_revoked(served: Served) -> None:
    key, key_id = await served.key("read")
    assert (await served.ask(key)).status_code == 200
    assert (await served.ask(key[:-1] + "!")).status_code == 401
    assert await served.home.client.awrite(keys.revoke, key_id) == "revoked"
    served.again()
    assert (await served.ask(key)).status_code == 401
    assert await served.home.client.awrite(keys.revoke, key_id) == "already"
    assert await served.home.client.awrite(keys.revoke, "01") == "unknown"
    assert (await served.ask(OPERATORS)).status_code == 200


async def test_what_is_known_of_keys_is_read_again_after_a_second(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, key_id = await served.key("read")
    now = time.monotonic()
    monkeypatch.setattr(keyring.time, "monotonic", lambda: now)
    assert (await served.ask(key)).status_code == 200
    await served.home.client.awrite(keys.revoke, key_id)
    assert (await served.ask(key)).status_code == 200
    now += 1.0
    assert (await served.ask(key)).status_code == 401


async def test_a_key_counts_at_once_and_guesses_cost_few_looks(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = time.monotonic(), list[float]()
    known = keys.known

    def counted(tx: Tx) -> Known:
        looks.append(now)
        return known(tx)

    monkeypatch.setattr(keyring.time, "monotonic", lambda: now)
    monkeypatch.setattr(keys, "known", counted)
    assert (await served.ask("nobody's")).status_code == 401
    key = new_api_key()
    await served.home.client.awrite(keys.create, key, "web", ["read"], None)
    now += 0.001
    assert (await served.ask(key)).status_code == 200
    for _ in range(90):
        now += 0.01
        assert (await served.ask(new_api_key())).status_code == 401
    assert len(looks) == 1 + keyring.LOOKS.starts


async def test_a_key_ends_by_itself(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    over, _ = await served.key("read", lasting_ms=0)
    assert (await served.ask(over)).status_code == 401
    assert [each.state for each in await served.home.client.aread(keys.listed)] == ["expired"]
    key, _ = await served.key("read", lasting_ms=500)
    now = time.monotonic()
    monkeypatch.setattr(keyring.time, "monotonic", lambda: now)
    assert (await served.ask(key)).status_code == 200
    now += 0.9
    assert (await served.ask(key)).status_code == 401, "it is over within what was read"


async def test_the_database_has_no_key(served: Served) -> None:
    key, _ = await served.key("admin")
    (row,) = await served.home.client.aread(lambda tx: tx.rows("keys_in_force"))
    assert key not in str(row)
    assert keys.hash_of(key) in row
    assert (await served.home.client.aread(keys.listed))[0].ending == key[-4:]


async def test_its_last_use_is_written_once_in_a_while(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = await served.key("read")
    written = []
    monkeypatch.setattr(keys, "used", lambda tx, key_id, used=keys.used: (written.append(key_id), used(tx, key_id)))
    assert (await served.home.client.aread(keys.listed))[0].used_at is None
    for _ in range(5):
        await served.ask(key)
    assert len(written) == 1
    assert (await served.home.client.aread(keys.listed))[0].used_at is not None


async def test_without_any_key_only_this_machine_is_answered(database_url: str) -> None:
    """A stored key is enough that all have to bring one; one that is over is still one."""
    here, elsewhere = Served(database_url, key=None, client="127.0.0.1"), Served(database_url, key=None)
    here.http.base_url = "http://127.0.0.1"
    assert (await here.ask(None)).status_code == 200
    refused = await elsewhere.ask(None)
    assert (refused.status_code, "serves loopback only" in refused.json()["message"]) == (401, True)
    await here.key("read", lasting_ms=0)
    assert (await here.ask(None)).status_code == 401
    await here.close()
    await elsewhere.close()


async def test_who_may_only_read_is_not_shown_what_requests_bring_along(served: Served) -> None:
    reading, _ = await served.key("read")
    making, _ = await served.key("read", "trigger:http")
    request = {"url": "https://example.com/?token=hunter2", "headers": {"Authorization": "Bearer hunter2", "X-A": "b"}}
    task = (await served.ask(OPERATORS, method="POST", json={"request": request, "delay": "1h"})).json()
    cron = {"request": request, "cron": "0 0 * * *"}
    schedule = (await served.ask(OPERATORS, "/v2/schedules", "POST", json=cron)).json()
    for path in ("tasks", f"tasks/{task['id']}", "schedules", f"schedules/{schedule['id']}"):
        told = await served.ask(reading, f"/v2/{path}")
        assert (told.status_code, "hunter2" in told.text, '"X-A":"b"' in told.text) == (200, False, True)
        assert (await served.ask(making, f"/v2/{path}")).text.count("hunter2") == 2


async def test_no_key_is_in_an_answer_or_a_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    key, _ = await served.key("read")
    with caplog.at_level(logging.DEBUG):
        answers = [await served.ask(each, path) for each in (key, OPERATORS, "wr0ng") for path in ("/v2/tasks/1", "/x")]
    said = caplog.text + "".join(answer.text + str(answer.headers) for answer in answers)
    assert not any(each in said for each in (key, OPERATORS, "wr0ng"))


# -- public tokens ----------------------------------------------------------------------------------------------------


def signed(secret: str = OPERATORS, **claims: Any) -> str:
    """As the official client signs one."""
    now = int(time.time())
    said = {"sub": "env_1", "pub": True, "iss": public.ISSUER, "aud": public.AUDIENCE, "iat": now, "exp": now + 900}
    return jwt.encode({**said, "scopes": ["read:runs:run_01"], **claims}, secret, algorithm="HS256")


@pytest.mark.parametrize(
    ("spoil", "there"),
    [
        ({}, True),
        ({"secret": "another" * 10}, False),
        ({"exp": 1}, False),
        ({"iss": "me"}, False),
        ({"aud": "you"}, False),
        ({"pub": False}, False),
        ({"scopes": "read:runs"}, True),
        ({"scopes": [["read"], None, 5]}, True),
        ({"sub": "key_unknown"}, False),
        ({"realtime": 5}, True),
    ],
)
async def test_what_counts_as_a_public_token(served: Served, spoil: dict[str, Any], there: bool) -> None:
    assert (await served.app.state.keys.caller(signed(**spoil)) is not None) is there


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS512"}])
async def test_only_one_way_of_signing_is_believed(served: Served, header: dict[str, str]) -> None:
    claims = jwt.decode(signed(), options={"verify_signature": False})
    secret = None if header["alg"] == "none" else OPERATORS
    assert await served.app.state.keys.caller(jwt.encode(claims, secret, algorithm=header["alg"])) is None


@pytest.mark.parametrize(
    ("scope", "right"),
    [
        ("read:runs:run_01", Right("read", "run", "01")),
        ("read:runs", Right("read", "run")),
        ("read:tags:user:1", Right("read", "tag", "user:1")),
        ("trigger:tasks:greet", Right("trigger", "task", "greet")),
        ("batchTrigger:tasks:greet", Right("trigger", "task", "greet")),
        ("write:waitpoints:waitpoint_01", Right("write", "token", "01")),
        ("trigger:tasks:run_report", Right("trigger", "task", "run_report")),
        ("read:tags:batch_1", Right("read", "tag", "batch_1")),
        ("read:batch:run_01", Right("read", "batch", "run_01")),
        ("read:runs:", None),
        ("read:runs:run_", None),
        ("admin", None),
        ("read", None),
        ("read:all", None),
        ("delete:runs", None),
        ("", None),
    ],
)
def test_what_its_scopes_stand_for(scope: str, right: Right | None) -> None:
    assert public.right_of(scope) == right


async def test_the_server_signs_for_who_has_a_stored_key(served: Served) -> None:
    key, key_id = await served.key("read")
    asked = {"json": {"scopes": ["read:runs:run_01"], "expirationTime": "1h"}}
    answer = await served.ask(key, "/api/v1/auth/public-tokens", "POST", **asked)
    token = answer.json()["token"]
    caller = await served.app.state.keys.caller(token)
    assert (caller.rights, caller.key_id) == ({Right("read", "run", "01")}, key_id)
    assert 3500 < caller.ends_at - time.time() <= 3600
    again = await served.ask(token, "/api/v1/auth/public-tokens", "POST", **asked)
    assert again.status_code == 403, "a token makes no other one"
    await served.home.client.awrite(keys.revoke, key_id)
    served.again()
    assert await served.app.state.keys.caller(token) is None, "it went with its key"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"scopes": ["trigger:tasks:greet"]}, 403),
        ({"scopes": ["write:runs"]}, 403),
        ({"scopes": ["admin"]}, 422),
        ({"scopes": 5}, 422),
        ({}, 422),
        ({"scopes": [], "expirationTime": "yesterday"}, 422),
        ({"scopes": [], "expirationTime": 5}, 422),
        ({"scopes": [], "expirationTime": "2200-01-01T00:00:00Z"}, 422),
        ({"scopes": [], "expirationTime": "1e400s"}, 422),
    ],
)
async def test_nobody_gives_away_more_than_they_have(served: Served, asked: Any, code: int) -> None:
    key, _ = await served.key("read")
    answer = await served.ask(key, "/api/v1/auth/public-tokens", "POST", json=asked)
    assert (answer.status_code, "error" in answer.json()) == (code, True)


async def test_a_client_with_the_operators_key_signs_for_itself(served: Served) -> None:
    answer = await served.ask(
        OPERATORS, "/api/v1/auth/jwt/claims", "POST", headers={"Content-Type": "application/json"}
    )
    assert answer.json() == {"sub": "env_holdfast", "pub": True}
    caller = await served.app.state.keys.caller(signed(**answer.json(), realtime={"skipColumns": ["payload"]}))
    assert (caller.may("read", "run", "01"), caller.may("read"), caller.hidden) == (True, False, {"payload"})


async def test_a_token_for_one_use_is_used_once(served: Served) -> None:
    """By one call, which may be sent again."""
    token = signed(scopes=["trigger:tasks:http"], otu=True)
    task = {"json": {"request": {"url": "https://example.com"}, "delay": "1h"}}
    call = {"headers": {"x-trigger-request-idempotency-key": "one"}}
    first = await served.ask(token, "/v2/tasks", "POST", **task, **call)
    again = await served.ask(token, "/v2/tasks", "POST", **task, **call)
    other = await served.ask(token, "/v2/tasks", "POST", **task)
    assert [first.status_code, again.status_code, other.status_code] == [201, 201, 422]


# -- the audit log, and limits ----------------------------------------------------------------------------------------


async def test_what_changes_something_is_noted_with_who_and_from_where(served: Served) -> None:
    key, key_id = await served.key("admin")
    made = await served.ask(key, "/v2/tasks", "POST", json={"request": {"url": "https://example.com"}, "delay": "1h"})
    task = made.json()["id"]
    await served.ask(OPERATORS, f"/v2/tasks/{task}", "PATCH", json={"delay": "2h"})
    await served.ask(key, f"/v2/tasks/{task}", "DELETE")
    await served.ask(key, f"/v2/tasks/{task}", "DELETE")  # which is gone
    await served.ask(key, f"/v2/tasks/{task}")
    lines = (await served.ask(OPERATORS, "/api/v1/audit")).json()["data"]
    assert [(each["actor"], each["verb"], each["subject"], each["key_id"]) for each in lines] == [
        ("web", "DELETE /v2/tasks/{id}", task, key_id),
        ("HOLDFAST_API_KEY", "PATCH /v2/tasks/{id}", task, None),
    ]
    assert {each["origin"] for each in lines} == {"10.0.0.7"}


# What a call with no right to change anything may do, and why the audit log has no line of it.
UNNOTED = {
    "/api/v1/tasks/{task:path}/trigger": "makes runs",
    "/api/v3/batches": "makes runs",
    "/api/v3/batches/{id}/items": "makes runs",
    "/api/v2/packets/{name:path}": "brings the payload of a run",
    "/v2/tasks": "makes runs",
    "/v2/tasks/batch-create": "makes runs",
    "/tasks/{task_id:path}/test": "makes runs",
    "/api/v1/auth/public-tokens": "nothing is kept of it",
}
NOTED = {"/api/v1/runs/{id}/replay", "/runs/{run_id}/replay", "/api/v1/idempotencyKeys/{key:path}/reset"}


def test_whatever_changes_something_is_noted(served: Served) -> None:
    changing = [each for each in routes(served.app) if each.methods and not each.methods <= {"GET", "HEAD"}]
    needs = {route.path: need for route in changing if (need := need_of(route)) is not None}
    unsaid = {path for path, need in needs.items() if need.action not in ("admin", "write")}
    assert unsaid == UNNOTED.keys() | NOTED


async def test_replays_are_noted_with_what_they_made(served: Served) -> None:
    key, _ = await served.key("trigger", "read")
    run = (await served.ask(key, "/api/v1/tasks/t/trigger", "POST", json={"payload": 1})).json()["id"]
    again = (await served.ask(key, f"/api/v1/runs/{run}/replay", "POST")).json()["id"]
    await served.ask(OPERATORS, f"/api/v2/runs/{again}/cancel", "POST")
    await served.ask(OPERATORS, f"/api/v1/runs/{run}/replay", "POST", json={"delay": "soon"})  # which is refused
    await served.ask(OPERATORS, "/api/v1/auth/jwt/claims", "POST")  # which changes nothing
    lines = (await served.ask(OPERATORS, "/api/v1/audit")).json()["data"]
    run, again = run.removeprefix("run_"), again.removeprefix("run_")
    assert [(each["actor"], each["verb"], each["subject"]) for each in lines] == [
        ("HOLDFAST_API_KEY", "runs cancel", again),
        ("web", "runs replay", f"{run} as {again}"),
    ]


async def test_the_audit_log_has_pages_and_an_end(served: Served) -> None:
    write = served.home.client.awrite
    for n in range(5):
        await write(audit.write, "ada", "queues pause", f"q{n} \0 \ud800 {'x' * 1000}", "here")
    first = (await served.ask(OPERATORS, "/api/v1/audit?limit=3")).json()
    rest = (await served.ask(OPERATORS, f"/api/v1/audit?limit=3&cursor={first['next_cursor']}")).json()
    assert [each["subject"][:2] for each in first["data"] + rest["data"]] == ["q4", "q3", "q2", "q1", "q0"]
    assert rest["next_cursor"] is None
    assert await write(audit.forget, 3_600_000) == 0
    assert await write(audit.forget, -1_000) == 5


async def test_each_key_has_calls_of_its_own(database_url: str) -> None:
    served = Served(database_url, rate="2/h")
    key, _ = await served.key("read")
    codes = [(await served.ask(each)).status_code for each in (key, key, key, OPERATORS, OPERATORS, OPERATORS, None)]
    assert codes == [200, 200, 429, 200, 200, 429, 401]
    left = await served.ask(OPERATORS, "/api/v1/audit")
    assert int(left.headers["X-RateLimit-Reset"]) > time.time() * 1000, "as clients of Trigger.dev read it"
    await served.close()


async def test_what_is_left_is_told_with_every_answer(database_url: str) -> None:
    served = Served(database_url, rate="5/h")
    assert [(await served.ask(OPERATORS)).headers["X-RateLimit-Remaining"] for _ in range(3)] == ["4", "3", "2"]
    await served.close()


def test_many_strangers_take_no_room() -> None:
    limits = Limits(Rate(1, 1_000))
    for n in range(MOST + 10):
        limits.count(str(n), 0)
    assert len(limits.callers) == MOST
