"""TLS: whom a request is told to. The authority is made when the tests run, and trusted by those that say so."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme
from aiohttp import web

from holdfast.push import guard as module
from holdfast.push.deliver import Answer, Call, Sender
from holdfast.push.guard import Guard
from tests.push.receiver import Receiver

NAME = "jobs.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> trustme.CA:
    """The authority, as an operator makes it known to a pusher."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return authority


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name leads to this machine, as one does that somebody has poisoned."""

    async def look_up(host: str, port: int, family: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(module, "look_up", look_up)


class Shown:
    """What a server was asked for in the handshake."""

    def __init__(self) -> None:
        self.names: list[str | None] = []


@asynccontextmanager
async def served(certificate: trustme.LeafCert, shown: Shown | None = None, **more: Any) -> AsyncIterator[Receiver]:
    """A receiver with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, value in more.items():
        setattr(context, name, value)
    certificate.configure_cert(context)
    if shown is not None:
        context.sni_callback = lambda _, name, __: shown.names.append(name)
    receiver = Receiver()
    runner = web.ServerRunner(web.Server(receiver.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def sent(url: str, **headers: str) -> Answer:
    sender = Sender(Guard.reading("127.0.0.1"), keep_bytes=1_000)
    try:
        return await sender.send(Call(url, "POST", {"X-Secret": "hunter2", **headers}, b"body", 30))
    finally:
        await sender.close()


async def test_the_name_is_what_is_asked_for_and_what_has_to_be_shown(trusted: trustme.CA) -> None:
    """Also though the connection is to an address that was looked up and judged before."""
    shown = Shown()
    async with served(trusted.issue_cert(NAME), shown) as receiver:
        answer = await sent(f"https://{NAME}:{receiver.port}/jobs")
        assert (answer.status, answer.body) == (200, b"ok")
        [request] = receiver.received
        assert request.headers["Host"] == f"{NAME}:{receiver.port}"
        assert request.http.remote == "127.0.0.1"
    assert shown.names == [NAME]


PAST = {"not_before": datetime(2019, 1, 1, tzinfo=UTC), "not_after": datetime(2020, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("name", "valid", "said"),
    [("elsewhere.example", {}, "Hostname mismatch"), (NAME, PAST, "certificate has expired")],
    ids=["of another name", "that has expired"],
)
async def test_a_server_is_refused_with_a_certificate(
    trusted: trustme.CA, name: str, valid: dict[str, datetime], said: str
) -> None:
    """Nothing of the request is told to it: not its path, not its headers, not its body."""
    async with served(trusted.issue_cert(name, **valid)) as receiver:
        answer = await sent(f"https://{NAME}:{receiver.port}/jobs")
        assert answer.status is None
        assert answer.error is not None
        assert answer.error.startswith("no TLS connection: ")
        assert said in answer.error
        assert "hunter2" not in answer.error
        assert receiver.received == []


async def test_one_in_the_middle_is_refused(authority: trustme.CA) -> None:
    """It has a certificate for the name, of its own authority, which this machine does not trust."""
    async with served(authority.issue_cert(NAME)) as receiver:
        answer = await sent(f"https://{NAME}:{receiver.port}/")
        assert answer.status is None
        assert "certificate verify failed" in (answer.error or "")
        assert receiver.received == []


async def test_a_server_without_tls_is_not_spoken_to_in_clear() -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(1_000))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        answer = await sent(f"https://{NAME}:{server.sockets[0].getsockname()[1]}/")
    assert answer.status is None
    assert b"hunter2" not in heard
    assert b"POST" not in heard


async def test_an_address_has_to_show_itself(trusted: trustme.CA) -> None:
    async with served(trusted.issue_cert("127.0.0.1")) as receiver:
        assert (await sent(f"https://127.0.0.1:{receiver.port}/")).status == 200
    async with served(trusted.issue_cert(NAME)) as receiver:
        assert "IP address mismatch" in ((await sent(f"https://127.0.0.1:{receiver.port}/")).error or "")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_old_protocols_are_not_spoken(trusted: trustme.CA) -> None:
    async with served(trusted.issue_cert(NAME), maximum_version=ssl.TLSVersion.TLSv1_1) as receiver:
        answer = await sent(f"https://{NAME}:{receiver.port}/")
        assert (answer.status, receiver.received) == (None, [])
