"""``/v2/tasks`` as Mergent had it: fields, codes, errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from holdfast import Holdfast
from holdfast.api.app import application
from holdfast.api.limit import Limit
from holdfast.rate import Rate
from tests.push.conftest import Pushing, pushing, receiver
from tests.push.receiver import Receiver

__all__ = ["pushing", "receiver"]

KEY = "any key, whatever it looks like"
PROXIES = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "CF-Connecting-IP")


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    home = Holdfast(database=database_url)
    transport = httpx.ASGITransport(app=application(lambda: home.client, key=KEY), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://jobs.example/v2", headers=headers) as http:
        yield http
    await home.aclose()


async def created(api: httpx.AsyncClient, **said: Any) -> dict[str, Any]:
    answer = await api.post("/tasks", json={"request": {"url": "https://example.com/x"}, **said})
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def test_a_task_has_the_fields_that_clients_know(api: httpx.AsyncClient) -> None:
    request = {"url": "https://example.com/x", "headers": {"X-A": "1"}, "body": '{"n": 1}'}
    task = await created(api, name="report", queue="mail", request=request, delay="1h")
    assert re.fullmatch(r"[0-9a-f-]{36}", task["id"])
    due, made = (datetime.fromisoformat(task[name]) for name in ("scheduled_for", "created_at"))
    assert timedelta(minutes=59) < due - made < timedelta(minutes=61)
    assert {**task, "id": "", "scheduled_for": "", "created_at": ""} == {
        "id": "",
        "name": "report",
        "queue": "mail",
        "status": "queued",
        "request": request,
        "scheduled_for": "",
        "created_at": "",
    }
    again = await api.get(f"/tasks/{task['id']}")
    assert (again.status_code, again.json()) == (200, task)


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [
        ("5s", 5_000),
        ("1.5h", 5_400_000),
        ("2h45m", 9_900_000),
        ("PT5M", 300_000),
        ("1h2m3.5s", 3_723_500),
    ],
)
async def test_durations_are_added_to_the_time(api: httpx.AsyncClient, delay: str, milliseconds: int) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    local = at.astimezone(tz=None).isoformat()
    task = await created(api, scheduled_for=local, delay=delay)
    assert datetime.fromisoformat(task["scheduled_for"]) == at + timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    ("said", "param", "message"),
    [
        ({"request": {"url": "not a url"}}, "request.url", "Request url is not a valid URL"),
        ({"request": {"url": "ftp://example.com"}}, "request.url", "Request url is not a valid URL"),
        ({"request": {"url": "https://u:p@example.com"}}, "request.url", "Request url is not a valid URL"),
        ({"request": {"url": "https://x", "headers": {"Host": "y"}}}, "request.headers", "Request headers"),
        ({"request": {"url": "https://x", "headers": {"X-A": "a\r\nB: c"}}}, "request.headers", "Request headers"),
        ({"request": {"url": "https://x", "headers": {"webhook-id": "1"}}}, "request.headers", "Request headers"),
        ({"request": {}}, "request.url", "Request url is required"),
        ({}, "request", "Request is required"),
        ({"name": "a b", "request": {"url": "https://x"}}, "name", "Name contains invalid characters"),
        ({"delay": "soon", "request": {"url": "https://x"}}, "delay", "Delay is not a valid duration"),
        ({"scheduled_for": "soon", "request": {"url": "https://x"}}, "scheduled_for", "Scheduled for is not"),
    ],
)
async def test_what_is_wrong_is_said_with_its_parameter(
    api: httpx.AsyncClient, said: dict[str, Any], param: str, message: str
) -> None:
    answer = await api.post("/tasks", json=said)
    assert answer.status_code == 422
    assert answer.json()["param"] == param
    assert answer.json()["message"].startswith(message)


async def test_several_problems_are_all_told(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks", json={"name": "a b", "request": {"url": "x"}})
    assert [each["param"] for each in answer.json()["errors"]] == ["name", "request.url"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/tasks/00000000-0000-0000-0000-000000000000", 404),
        ("GET", "/tasks/nonsense", 404),
        ("PATCH", "/tasks/00000000-0000-0000-0000-000000000000", 404),
        ("DELETE", "/tasks/00000000-0000-0000-0000-000000000000", 404),
        ("POST", "/tasks/00000000-0000-0000-0000-000000000000/run", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/tasks", 405),
    ],
)
async def test_every_refusal_is_json_with_a_message(
    api: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == status
    assert answer.json()["message"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[]", b"1", b'{"request": 5}', b'{"request": {"url": 5}}'])
async def test_bodies_that_make_no_sense_are_refused(api: httpx.AsyncClient, body: bytes) -> None:
    answer = await api.post("/tasks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["message"]


async def test_a_body_that_is_too_large_is_refused_as_json(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks", json={"request": {"url": "https://x", "body": "x" * 11_000_000}})
    assert answer.status_code == 413
    assert answer.json()["message"]


async def test_json_is_understood_whatever_it_is_called(api: httpx.AsyncClient) -> None:
    """``curl -d`` calls everything a form."""
    body = '\n {"request": {"url": "https://example.com/a?b=c&d=e"}, "queue": "mail"}'
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/octet-stream", ""):
        answer = await api.post("/tasks", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 201, answer.text
        assert answer.json()["request"]["url"] == "https://example.com/a?b=c&d=e"
    batch = await api.post("/tasks/batch-create", content=f"[{body}]", headers={"Content-Type": kind})
    assert batch.status_code == 201


async def test_json_that_is_broken_is_told_where(api: httpx.AsyncClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await api.post("/tasks", content='{"request": {"url": }}', headers=form)
    assert (answer.status_code, answer.json()["message"]) == (422, "The body is not valid JSON (line 1 column 21)")


async def test_a_form_says_the_same_as_json(api: httpx.AsyncClient) -> None:
    form = {"request[url]": "https://example.com", "request[body]": "hi", "queue": "mail"}
    answer = await api.post("/tasks", data=form)
    assert answer.status_code == 201
    assert (answer.json()["request"]["body"], answer.json()["queue"]) == ("hi", "mail")


async def test_the_key_may_come_as_basic_and_must_come(database_url: str, api: httpx.AsyncClient) -> None:
    assert (await api.get("/tasks", auth=(KEY, ""))).status_code == 200
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}, {"Authorization": "Basic !"}):
        answer = await api.get("/tasks", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["message"] == "The API key is missing or wrong"


async def test_without_a_key_only_loopback_is_answered_and_no_page_from_elsewhere(database_url: str) -> None:
    home = Holdfast(database=database_url)
    for client, headers, status in (
        ("10.0.0.7", {}, 401),
        ("127.0.0.1", {}, 200),
        *(("127.0.0.1", {name: "10.0.0.7"}, 401) for name in PROXIES),
        ("127.0.0.1", {"Origin": "https://evil.example"}, 403),
        ("127.0.0.1", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("127.0.0.1", {"Host": "evil.example"}, 421),
    ):
        transport = httpx.ASGITransport(app=application(lambda: home.client), client=(client, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v2") as http:
            assert (await http.get("/tasks", headers=headers)).status_code == status
    await home.aclose()


async def test_a_name_is_taken_while_its_task_is_queued(api: httpx.AsyncClient) -> None:
    first = await created(api, name="a", delay="1h")
    answer = await api.post("/tasks", json={"name": "a", "request": {"url": "https://x"}})
    assert (answer.status_code, answer.json()["param"]) == (409, "name")
    assert (await api.delete(f"/tasks/{first['id']}")).status_code == 204
    assert (await created(api, name="a", delay="1h"))["id"] != first["id"]


async def test_an_update_changes_what_is_given(api: httpx.AsyncClient) -> None:
    task = await created(api, name="a", delay="1h", request={"url": "https://x.example/", "body": "b"})
    other = await created(api, name="b", delay="1h")
    path = f"/tasks/{task['id']}"
    moved = (await api.patch(path, json={"queue": "mail", "request": {"url": "https://y.example/"}})).json()
    request = {"url": "https://y.example/", "headers": {}, "body": "b"}
    assert moved == {**task, "queue": "mail", "request": request}
    later = (await api.patch(path, json={"delay": "2h"})).json()
    assert datetime.fromisoformat(later["scheduled_for"]) > datetime.fromisoformat(task["scheduled_for"])
    assert (await api.patch(path, json={"name": "b"})).status_code == 409
    assert (await api.patch(path, json={"name": "c"})).json()["name"] == "c"
    assert (await api.patch(f"/tasks/{other['id']}", json={"name": "a"})).json()["name"] == "a"


async def test_a_deleted_task_is_not_there_any_more(api: httpx.AsyncClient) -> None:
    task = await created(api, delay="1h")
    answer = await api.request("DELETE", f"/tasks/{task['id']}", json={})
    assert (answer.status_code, answer.content) == (204, b"")
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/run")):
        assert (await api.request(method, f"/tasks/{task['id']}{path}")).status_code == 404
    assert (await api.get("/tasks")).json() == []


async def test_tasks_are_listed_page_by_page_the_newest_first(api: httpx.AsyncClient) -> None:
    batch = [{"request": {"url": f"https://x/{n}"}, "delay": "1h"} for n in range(150)]
    made = await api.post("/tasks/batch-create", json=[*batch, {"request": {"url": "nonsense"}}])
    assert made.status_code == 201
    assert len(made.json()) == 150
    first = await api.get("/tasks")
    second = await api.get("/tasks", params={"after": first.headers["X-Cursor-After"]})
    assert "X-Cursor-After" not in second.headers
    assert (len(first.json()), len(second.json())) == (100, 50)
    ids = [task["id"] for task in [*first.json(), *second.json()]]
    assert ids == sorted(ids, reverse=True)
    assert set(ids) == {task["id"] for task in made.json()}


async def test_batches_have_their_limits(api: httpx.AsyncClient) -> None:
    one = {"request": {"url": "https://x"}}
    assert (await api.post("/tasks/batch-create", json=[one] * 1001)).status_code == 413
    assert (await api.post("/tasks/batch-create", json=[{}, {}])).status_code == 422
    assert (await api.post("/tasks/batch-create", json={})).status_code == 422
    ids = [(await created(api, delay="1h"))["id"] for _ in range(2)]
    assert (await api.post("/tasks/batch-delete", json=ids)).status_code == 204
    assert (await api.post("/tasks/batch-delete", json=ids)).status_code == 404
    assert (await api.post("/tasks/batch-delete", json=["x"] * 101)).status_code == 413


async def test_a_task_that_is_run_is_sent_now_and_once(
    api: httpx.AsyncClient, pushing: Pushing, receiver: Receiver
) -> None:
    pushing.start(api_key=KEY)
    task = await created(api, delay="1h", request={"url": receiver.url, "body": "foo"})
    assert (await api.post(f"/tasks/{task['id']}/run")).status_code == 200
    [request] = await receiver.came(1)
    assert request.body == b"foo"
    assert request.headers["X-Mergent-Task"] == task["id"]
    await pushing.ended(pushing.app.handle(request.headers["webhook-id"]))
    assert (await api.get(f"/tasks/{task['id']}")).json()["status"] == "success"
    assert (await api.post(f"/tasks/{task['id']}/run")).status_code == 409
    assert (await api.patch(f"/tasks/{task['id']}", json={"delay": "1h"})).status_code == 409
    assert (await api.delete(f"/tasks/{task['id']}")).status_code == 204
    assert (await api.get(f"/tasks/{task['id']}")).status_code == 404
    assert len(receiver.received) == 1


async def test_too_many_calls_are_refused_as_json(database_url: str) -> None:
    home = Holdfast(database=database_url)
    transport = httpx.ASGITransport(app=application(lambda: home.client, key=KEY, rate="3/h"))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://jobs.example", headers=headers) as http:
        codes = [(await http.get("/v2/tasks")).status_code for _ in range(5)]
        answer = await http.get("/v2/tasks")
        assert (await http.get("/healthz")).status_code == 200
    assert codes == [200, 200, 200, 429, 429]
    assert answer.json()["message"] == "There are more than 3 calls in 3600 s"
    assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("3", "0")
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    await home.aclose()


def test_the_window_slides() -> None:
    limit = Limit(Rate(2, 10_000))
    assert [limit.count(now).allowed for now in (0, 1, 2, 9.9, 10.1, 10.2, 11.1)] == [
        *(True, True, False, False, True, False, True)
    ]
