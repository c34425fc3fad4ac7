"""Clients that misbehave, against a server on a real socket: it is another client who asks how it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import uvicorn

from holdfast import Holdfast
from holdfast.api import body
from holdfast.api.app import application
from holdfast.api.connections import hasty
from holdfast.cli.dev.serve import listen

KEY = "a key"
LIMIT = 10_000
MOST_SENT = 30_000_000
HEAD = f"POST /v2/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
TASK = '{"request": {"url": "https://example.com"}, "delay": "1h"}'


class Site:
    """A server on a port of its own."""

    def __init__(self, app: Holdfast, port: int) -> None:
        self.app, self.port = app, port
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {KEY}"}, timeout=30
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def fine(self) -> None:
        """Others are served as ever, and nothing was made."""
        assert (await self.http.get("/v2/tasks")).json() == []
        assert (await self.http.get("/healthz")).status_code == 200


@asynccontextmanager
async def serving(**protocol: Any) -> AsyncIterator[Site]:
    app = Holdfast(database="sqlite://:memory:", payload_limit=LIMIT)
    listening = listen("127.0.0.1", 0)
    app.webhook("/shop", verify=lambda request: True, id="shop")(lambda: None)
    served = application(lambda: app.client, key=KEY, endpoints=lambda: app.webhooks)
    config = uvicorn.Config(served, http=hasty(**protocol), log_level="critical", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    site = Site(app, listening.getsockname()[1])
    try:
        yield site
    finally:
        await site.http.aclose()
        server.should_exit = True
        await task
        await app.aclose()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What the server still says before it ends the connection, however it ends."""
    said = b""
    async with asyncio.timeout(30):
        with suppress(ConnectionResetError):
            while piece := await reader.read(LIMIT):
                said += piece
    return said


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING):
        yield
    assert not [each for each in caplog.records if each.exc_info], caplog.text


@pytest.mark.parametrize("said", ["", "GET /v2/ta", HEAD])
async def test_who_does_not_say_what_they_want_is_let_go(said: str) -> None:
    async with serving(seconds=0.2) as site:
        reader, writer = await site.connect()
        writer.write(said.encode())
        assert await until_closed(reader) == b""
        await site.fine()
        writer.close()


async def test_who_says_it_letter_by_letter_is_let_go() -> None:
    async with serving(seconds=0.5) as site:
        reader, writer = await site.connect()
        closed = asyncio.create_task(until_closed(reader))
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not closed.done():
            writer.write(b"x")
            await asyncio.wait([closed], timeout=0.05)
        assert closed.result() == b""
        await site.fine()
        writer.close()


async def test_two_thousand_idle_connections_change_nothing_for_others() -> None:
    """Those that have waited longest go first, when the server has no more room for such."""
    async with serving(seconds=300, most=500) as site:
        idle = [await site.connect() for _ in range(2_000)]
        await site.fine()
        gone = await asyncio.gather(*(until_closed(reader) for reader, _ in idle[:1_000]))
        assert set(gone) == {b""}
        reader, writer = idle[-1]
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await until_closed(reader)
        for _, each in idle:
            each.close()


async def test_a_connection_that_is_in_use_is_not_idle() -> None:
    async with serving(seconds=300, most=3) as site:
        reader, writer = await site.connect()
        writer.write(f"{HEAD}Content-Length: {len(TASK)}\r\n\r\n".encode())
        await site.fine()
        idle = [await site.connect() for _ in range(10)]
        writer.write(TASK.encode())
        async with asyncio.timeout(30):
            assert b" 201 " in await reader.readline()
        for each in (writer, *(other for _, other in idle)):
            each.close()


async def test_a_head_without_end_is_refused() -> None:
    async with serving(seconds=300) as site:
        reader, writer = await site.connect()
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000)
        answer = await until_closed(reader)
        assert answer == b"" or b" 400 " in answer or b" 431 " in answer
        await site.fine()
        writer.close()


@pytest.mark.parametrize("path", ["/v2/tasks", "/api/v1/tasks/greet/trigger", "/webhooks/shop", "/login"])
async def test_half_a_body_makes_nothing(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "holdfast")
    async with serving() as site:
        _, writer = await site.connect()
        head = HEAD.replace("/v2/tasks", path)
        writer.write(f"{head}Content-Length: {len(TASK)}\r\n\r\n{TASK[:20]}".encode())
        await writer.drain()
        await site.fine()
        writer.close()
        async with asyncio.timeout(30):
            while "the client has gone" not in caplog.text:  # noqa: ASYNC110 - the server is to notice
                await asyncio.sleep(0.01)
        await site.fine()


async def test_a_body_that_stops_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "PIECE_SECONDS", 0.2)
    async with serving() as site:
        reader, writer = await site.connect()
        writer.write(f"{HEAD}Content-Length: {len(TASK)}\r\n\r\n{TASK[:20]}".encode())
        assert b" 408 " in await until_closed(reader)
        await site.fine()
        writer.close()


async def test_a_body_that_trickles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "ALL_SECONDS", 0.5)
    async with serving() as site:
        reader, writer = await site.connect()
        writer.write(f"{HEAD}Content-Length: {LIMIT}\r\n\r\n".encode())
        closed = asyncio.create_task(until_closed(reader))
        while not closed.done():
            writer.write(b" ")
            await asyncio.wait([closed], timeout=0.05)
        assert b" 408 " in closed.result()
        await site.fine()
        writer.close()


ENDLESS = [
    *("POST /v2/tasks", "POST /api/v1/tasks/greet/trigger", "POST /api/v3/batches/01/items", "POST /webhooks/shop"),
    *("POST /login", "POST /api/v1/runs/01/replay", "POST /realtime/v1/streams/01/self/x"),
    *("GET /healthz", "POST /api/v1/queues/x/pause", "POST /nothing", "PUT /v2/tasks"),
]


@pytest.mark.parametrize("key", [KEY, "nobody's"])
async def test_a_body_without_end_is_refused_and_the_connection_with_it(key: str) -> None:
    """Whether its route reads it, and has a limit of its own, or not."""
    async with serving() as site:
        for call in ENDLESS:
            head = HEAD.replace(KEY, key).replace("POST /v2/tasks", call)
            sent, answer = await endless(site, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            assert sent < MOST_SENT, f"{call} is still read"
            assert answer == b"" or int(answer.split()[1]) in {200, 400, 401, 404, 405, 413, 415, 422}, call
        await site.fine()


async def endless(site: Site, head: bytes) -> tuple[int, bytes]:
    """Send a body until nobody takes it any more, or it is long enough; answers how much that was, and the answer."""
    reader, writer = await site.connect()
    writer.write(head)
    closed, sent = asyncio.create_task(until_closed(reader)), 0
    while not closed.done() and sent < MOST_SENT:
        writer.write(b"40000\r\n" + b" " * 0x40000 + b"\r\n")
        sent += 0x40000
        taken = asyncio.create_task(writer.drain())
        await asyncio.wait([closed, taken], return_when=asyncio.FIRST_COMPLETED)
        taken.cancel()
        if isinstance((await asyncio.gather(taken, return_exceptions=True))[0], ConnectionError):
            break
    writer.close()
    return sent, b"" if sent >= MOST_SENT else await closed


async def test_a_huge_body_is_refused_before_it_comes() -> None:
    async with serving() as site:
        reader, writer = await site.connect()
        writer.write(f"{HEAD}Content-Length: 99999999999\r\n\r\n".encode())
        assert b" 413 " in await until_closed(reader)
        await site.fine()
        writer.close()


async def test_who_goes_away_before_the_answer_leaves_nothing_behind() -> None:
    async with serving() as site:
        for _ in range(50):
            _, writer = await site.connect()
            writer.write(f"GET /v2/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
            await writer.drain()
            writer.transport.abort()
        await site.fine()
