"""The API inside other people's web apps: FastAPI, Starlette, Django; and pages elsewhere that call it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from holdfast import Cron, Holdfast, views
from holdfast.api.app import application
from holdfast.errors import InvalidOption
from holdfast.inside import announce_mounted
from tests.conftest import Eventually

KEY = "a key"
PAGE = "https://shop.example.com"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Holdfast]:
    monkeypatch.setenv("HOLDFAST_API_KEY", KEY)
    monkeypatch.setenv("HOLDFAST_CORS_ORIGINS", PAGE)
    made = Holdfast(database="sqlite://:memory:", public_url="http://test/jobs")
    yield made
    made.close()


def nothing() -> None: ...


def in_fastapi(app: Holdfast) -> Any:
    web = FastAPI()
    web.get("/")(lambda: "theirs")
    web.mount("/jobs", app.asgi())
    return web


def in_starlette(app: Holdfast) -> Any:
    async def theirs(_: object) -> PlainTextResponse:
        return PlainTextResponse('"theirs"')

    return Starlette(routes=[Mount("/jobs", app.asgi()), Route("/", theirs)])


def in_django(app: Holdfast) -> Any:
    """Beside Django, as its asgi.py would have it."""
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse
    from django.urls import path

    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}})  # as other tests want it
    settings.SECRET_KEY, settings.ALLOWED_HOSTS, settings.ROOT_URLCONF = "x", ["*"], __name__
    globals()["urlpatterns"] = [path("", lambda request: HttpResponse('"theirs"'))]
    return Starlette(routes=[Mount("/jobs", app.asgi()), Mount("/", get_asgi_application())])


@pytest.mark.parametrize("web", [in_fastapi, in_starlette, in_django])
async def test_it_is_served_below_a_path_of_another_app(app: Holdfast, web: Any) -> None:
    whole = web(app)
    token = await app.tokens.acreate()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=whole), base_url="http://test") as http:
        signed = {"Authorization": f"Bearer {KEY}"}
        assert (await http.get("/")).text == '"theirs"'
        assert (await http.get("/jobs/healthz")).json()["status"] == "ok"
        assert (await http.get("/jobs/v2/tasks")).json()["message"] == "The API key is missing or wrong"
        assert (await http.get("/jobs/v2/tasks", headers=signed)).json() == []
        assert (await http.get("/jobs/api/v1/audit", headers=signed)).status_code == 200
        assert (await http.get("/jobs/api/v1/audit")).json()["error"]
        assert (await http.post(token.url, json=1)).json()["status"] == "completed"


async def test_what_it_declares_is_known_with_its_first_call(app: Holdfast, eventually: Eventually) -> None:
    app.task(id="nightly", schedule=Cron("0 3 * * *"))(nothing)

    def known() -> None:
        assert [each.id for each in app.client.read(views.tasks)] == ["nightly"]
        assert [each.task for each in app.schedules.list()] == ["nightly"]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app.asgi()), base_url="http://test") as http:
        assert (await http.get("/healthz")).status_code == 200
        await asyncio.to_thread(eventually, known)


async def test_urls_lead_to_where_it_was_called_unless_it_is_said_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_API_KEY", KEY)
    signed = {"Authorization": f"Bearer {KEY}"}
    for said, found in ((None, "http://shop.test:8000/jobs/api"), ("https://jobs.test", "https://jobs.test/api")):
        app = Holdfast(database="sqlite://:memory:", public_url=said)
        transport = httpx.ASGITransport(app=Starlette(routes=[Mount("/jobs", app.asgi())]))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test:8000/jobs/api/v1") as http:
            made = (await http.post("/waitpoints/tokens", headers=signed)).json()
            listed = (await http.get("/waitpoints/tokens", headers=signed)).json()["data"]
            assert made["url"].startswith(f"{found}/v1/waitpoints/tokens/")
            assert [each["url"] for each in listed] == [made["url"]]
            one = (await http.get(f"/waitpoints/tokens/{made['id']}", headers=signed)).json()
            assert one["url"] == made["url"]
        await app.aclose()


def test_an_app_that_declares_nothing_takes_nothing_away(app: Holdfast) -> None:
    app.task(id="nightly", schedule=Cron("0 3 * * *"))(nothing)
    announce_mounted(app)
    other = Holdfast(database="sqlite://:memory:")
    with other.client.standing_in(app.client.store, None, None):  # type: ignore[arg-type]  # nobody waits here
        announce_mounted(other)
    assert [each.task for each in app.schedules.list()] == ["nightly"]


async def test_it_goes_through_a_lifespan_as_an_app_of_its_own(app: Holdfast) -> None:
    """What serves it may hold one, or none."""
    said = []
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(asked)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app.asgi()({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_page_of_ours_may_call_and_another_may_not(app: Holdfast) -> None:
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, x-trigger-source",
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app.asgi()), base_url="http://test") as http:
        before = await http.options("/api/v1/audit", headers={"Origin": PAGE, **asks})
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == PAGE
        assert "x-trigger-source" in before.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in before.headers
        refused = await http.get("/api/v1/audit", headers={"Origin": PAGE})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
        other = await http.options("/api/v1/audit", headers={"Origin": "https://evil.example", **asks})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(("cors", "code"), [(None, 403), (PAGE, 200), ("*", 403)])
async def test_without_a_key_a_page_must_be_named_to_be_let_in(cors: str | None, code: int) -> None:
    home = Holdfast(database="sqlite://:memory:")
    transport = httpx.ASGITransport(app=application(lambda: home.client, cors=cors))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.get("/v2/tasks", headers={"Origin": PAGE})).status_code == code
    await home.aclose()


@pytest.mark.parametrize("said", ["shop.example.com", "https://shop.example.com/x", "ftp://x"])
def test_what_is_no_origin_is_told(app: Holdfast, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_CORS_ORIGINS", said)
    with pytest.raises(InvalidOption, match="HOLDFAST_CORS_ORIGINS"):
        app.asgi()
