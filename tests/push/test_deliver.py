"""One request: its deadline, what is read of the answer, and what is not done."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from holdfast.push.deliver import Answer, Call, Sender
from holdfast.push.guard import Guard
from tests.push.receiver import Receiver

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def sent(url: str, *, timeout: float = 20.0, keep_bytes: int = 1_000, method: str = "POST") -> Answer:
    sender = Sender(Guard.reading("127.0.0.1"), keep_bytes=keep_bytes)
    try:
        return await sender.send(Call(url, method, {"Accept-Encoding": "identity"}, b"{}", timeout))
    finally:
        await sender.close()


@asynccontextmanager
async def talking(handler: Handler) -> AsyncIterator[str]:
    """A server that says just what the test wants said."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.answers = lambda _: web.Response(status=307, headers={"Location": "/other"})
    assert (await sent(receiver.url)).status == 307
    assert len(receiver.received) == 1


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await sent(receiver.url)).status == 200


async def test_no_more_is_read_than_is_kept(receiver: Receiver) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    receiver.answers = lambda received: endless(received.http)
    answer = await sent(receiver.url, keep_bytes=500)
    assert (answer.status, answer.body, answer.truncated) == (200, b"x" * 500, True)


async def test_nothing_is_decompressed(receiver: Receiver) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    receiver.answers = lambda _: web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
    answer = await sent(receiver.url, keep_bytes=100_000)
    assert answer.body == bomb


async def test_one_deadline_covers_the_body_too() -> None:
    """An answer that trickles in for ever; with a time limit for each read only, it would never end."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with talking(trickle) as url:
        answer = await sent(url, timeout=0.5)
    assert (answer.status, answer.error) == (None, "no complete answer within 0.5 s")
    assert not answer.down  # somebody is there


async def test_an_app_that_says_nothing_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with talking(silent) as url:
        answer = await sent(url, timeout=0.3)
    assert (answer.status, answer.down) == (None, True)


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n", b"HTTP/1.1 999999 OK\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"],
)  # fmt: skip
async def test_answers_that_are_none_are_failures(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with talking(talk) as url:
        answer = await sent(url)
    assert answer.status is None
    assert answer.error


async def test_headers_that_are_no_text_are_kept_as_some() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: \xff\xfe\r\n\r\n")
        await writer.drain()

    async with talking(talk) as url:
        answer = await sent(url)
    assert answer.status == 200
    answer.headers["x-a"].encode("utf-8")


async def test_a_host_that_is_not_there_says_so() -> None:
    answer = await sent("http://127.0.0.1:81/")
    assert (answer.status, answer.down) == (None, True)
    assert answer.error is not None
    assert answer.error.startswith("no connection: ")
    answer = await sent("http://no-such-name.invalid/")
    assert (answer.status, answer.down) == (None, True)
    assert answer.error is not None
    assert answer.error.startswith("the name cannot be resolved")
