"""The HTTP side, asked through its ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from holdfast import Holdfast
from holdfast.api.app import application


@asynccontextmanager
async def served(database: str) -> AsyncIterator[httpx.AsyncClient]:
    home = Holdfast(database=database)
    transport = httpx.ASGITransport(app=application(lambda: home.client))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            yield http
    finally:
        await home.aclose()


async def test_the_process_is_up_and_its_database_answers(database_url: str) -> None:
    async with served(database_url) as http:
        health, ready = await http.get("/healthz"), await http.get("/readyz")
    assert health.json()["status"] == "ok"
    assert ready.status_code == 200
    kind = "sqlite" if database_url.startswith("sqlite") else "postgres"
    assert ready.json() == {"status": "ready", "database": kind, "workers": 0}


@pytest.mark.parametrize("path", ["/readyz", "/"])
async def test_a_database_that_does_not_answer_is_told(path: str) -> None:
    async with served("postgresql://nobody:secret@127.0.0.1:1/nothing") as http:
        health, answer = await http.get("/healthz"), await http.get(path)
    assert health.status_code == 200
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("host", "code"), [("127.0.0.1:8765", 200), ("localhost", 200), ("[::1]:1", 200), ("evil.example", 421)]
)
async def test_on_loopback_it_answers_to_its_own_names_only(host: str, code: int) -> None:
    home = Holdfast(database="sqlite://:memory:")
    transport = httpx.ASGITransport(app=application(lambda: home.client))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.get("/", headers={"host": host})).status_code == code
    await home.aclose()


async def test_there_is_nothing_else() -> None:
    async with served("sqlite://:memory:") as http:
        assert (await http.get("/redoc")).status_code == 404
        assert (await http.post("/")).status_code == 405
