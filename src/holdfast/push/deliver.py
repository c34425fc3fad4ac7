"""One request: sent to an address that may be reached, within one deadline, and timed.

Nothing is followed, no proxy of the environment is used, no cookie is kept, nothing is decompressed. Of the answer no
more is read than is kept; the rest is not waited for. The deadline covers everything: the look-up of the name, the
connection, TLS, the answer's headers and its body.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp import ClientConnectorCertificateError, ClientConnectorError, ClientSSLError, TCPConnector, TraceConfig
from yarl import URL

from holdfast.errors import shown
from holdfast.push.guard import AddressRefused, Guard, GuardedResolver, literal
from holdfast.sizes import KIB

USER_AGENT: Final = f"Holdfast/{version('holdfast')}"
KEEP_SECONDS: Final = (
    1.0  # a connection is used again: servers close theirs after 2 s or more, and must not do so just then
)
DNS_SECONDS: Final = 5
CONNECT_SECONDS: Final = 30.0
HEADER_BYTES: Final = 32 * KIB
SKIPPED: Final = ("Content-Type", "Accept-Encoding", "Accept", "User-Agent")


class Call(NamedTuple):
    """What to send."""

    url: str
    method: str
    headers: dict[str, str]
    body: bytes
    timeout: float  # seconds


class Answer(NamedTuple):
    """What came back: a status with headers and a body, or an error. Times are microseconds since it was begun, None
    for what was not reached or, on a connection that was there already, not needed."""

    at: int
    status: int | None = None
    headers: Mapping[str, str] = {}
    body: bytes = b""
    truncated: bool = False
    error: str | None = None
    down: bool = False  # the host is to blame, and not the app: nobody is there, or it does not answer
    dns_us: int | None = None
    connect_us: int | None = None
    first_byte_us: int | None = None
    total_us: int = 0
    reused: bool = False


class Sender:
    """Sends requests, thousands at once. To be made, and closed, on the event loop."""

    def __init__(self, guard: Guard, *, keep_bytes: int) -> None:
        self.guard, self.keep_bytes = guard, keep_bytes
        self.connector = TCPConnector(
            resolver=GuardedResolver(guard),
            limit=0,
            use_dns_cache=True,  # of what may be reached: the addresses that are kept are those that were judged
            ttl_dns_cache=DNS_SECONDS,
            keepalive_timeout=KEEP_SECONDS,
            ssl=ssl.create_default_context(),
        )
        self.session = aiohttp.ClientSession(
            connector=self.connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            requote_redirect_url=False,
            skip_auto_headers=SKIPPED,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            trace_configs=[timed()],
        )

    async def close(self) -> None:
        await self.session.close()

    async def send(self, call: Call) -> Answer:
        """Send it, and say what came of it. Raises nothing but what cancels it."""
        watch = Stopwatch()
        deadline = asyncio.timeout(call.timeout)
        try:
            async with deadline:
                return await self.exchange(call, watch)
        except TimeoutError:
            seconds = call.timeout if deadline.expired() else CONNECT_SECONDS
            what = "no connection" if watch.first_byte is None and not deadline.expired() else "no complete answer"
            return watch.failed(f"{what} within {seconds:g} s", down=watch.first_byte is None)
        except AddressRefused as error:
            return watch.failed(str(error), down=False)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = refusal_in(error)
            if refused is not None:
                return watch.failed(str(refused), down=False)
            return watch.failed(said(error), down=isinstance(error, aiohttp.ClientConnectionError | OSError))

    async def exchange(self, call: Call, watch: Stopwatch) -> Answer:
        url = URL(call.url, encoded=True)
        if (address := literal(url.host or "")) is not None:
            self.guard.check(url.host or "", [address])
        async with self.session.request(
            call.method,
            url,
            data=call.body or None,
            headers=call.headers,
            allow_redirects=False,
            trace_request_ctx=watch,
        ) as response:
            watch.first_byte = time.perf_counter()
            body, truncated = await self.read(response)
            return watch.answered(
                response.status,
                {name.lower(): clean(value) for name, value in response.headers.items()},
                body,
                truncated,
            )

    async def read(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """The body up to the limit. Where there is more, the connection is closed on it."""
        found = bytearray()
        async for chunk in response.content.iter_any():
            found += chunk
            if len(found) > self.keep_bytes:
                response.close()
                return bytes(found[: self.keep_bytes]), True
        return bytes(found), False


def clean(value: str) -> str:
    """The value of a header as text that can be kept: what is no UTF-8 came in as surrogates."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


class Stopwatch:
    """When what happened, as far as it did."""

    __slots__ = ("at", "began", "connected", "first_byte", "looked_up", "reused")

    def __init__(self) -> None:
        self.at, self.began = int(time.time() * 1000), time.perf_counter()
        self.looked_up: float | None = None
        self.connected: float | None = None
        self.first_byte: float | None = None
        self.reused = False

    def since(self, moment: float | None) -> int | None:
        return None if moment is None else round((moment - self.began) * 1e6)

    def times(self) -> dict[str, Any]:
        return {
            "dns_us": self.since(self.looked_up),
            "connect_us": self.since(self.connected),
            "first_byte_us": self.since(self.first_byte),
            "total_us": self.since(time.perf_counter()),
            "reused": self.reused,
        }

    def answered(self, status: int, headers: Mapping[str, str], body: bytes, truncated: bool) -> Answer:
        return Answer(self.at, status, headers, body, truncated, **self.times())

    def failed(self, error: str, *, down: bool) -> Answer:
        return Answer(self.at, error=error, down=down, **self.times())


def timed() -> TraceConfig:
    """Notes the moments that only the connector knows."""

    async def looked_up(_: object, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.looked_up = time.perf_counter()

    async def connected(_: object, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.connected = time.perf_counter()

    async def reused(_: object, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.reused = True

    trace = TraceConfig()
    trace.on_dns_resolvehost_end.append(looked_up)
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(reused)
    return trace


def refusal_in(error: BaseException | None) -> AddressRefused | None:
    """The refusal of an address, if that is what is behind an error of the connector."""
    while error is not None:
        if isinstance(error, AddressRefused):
            return error
        error = error.__cause__ or (error.os_error if isinstance(error, ClientConnectorError) else None)
    return None


def said(error: BaseException) -> str:
    """What went wrong, in the words of whoever looks at an app that does not answer."""
    if isinstance(error, ClientConnectorCertificateError | ClientSSLError):
        return f"no TLS connection: {shown(str(error), 200)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name cannot be resolved: {error.os_error.strerror or error.os_error}"
    if isinstance(error, ClientConnectorError):
        return f"no connection: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError | aiohttp.ClientPayloadError):
        return "the connection was dropped before the answer was complete"
    return f"{type(error).__name__}: {shown(str(error), 200)}"
