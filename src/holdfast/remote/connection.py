"""Calls to a server: made on one event loop, in a thread of its own, whoever asks.

Sync code waits for that thread, async code awaits it, so each verb is written once, and a connection is shared by all
loops and threads of a process. A call that was not answered, or that the server had no time for, is made again; every
call that makes something says by a key which one it is, so that the server makes it once.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
from yarl import URL

from holdfast import codec
from holdfast.errors import HoldfastError, InvalidOption, PayloadInvalid, shown

R = TypeVar("R")
TRIES: Final = 5
FIRST_SECONDS, LONGEST_SECONDS = 0.25, 30.0
AGAIN: Final = frozenset((408, 429, 500, 502, 503, 504))
BAD: Final = 300
PERMISSIONS: Final = frozenset((401, 403))


class RemoteError(HoldfastError):
    """The server refused: its ``status``, and the ``param`` it was about, if one was.

    401 and 403 are of the key, 404 is something that is not there, 422 what cannot be done as it was asked for.
    """

    def __init__(
        self,
        what: str | None = None,
        *,
        seen: str | None = None,
        do: str | None = None,
        status: int = 0,
        param: str | None = None,
    ) -> None:
        super().__init__(what, **({} if seen is None else {"seen": seen}), do=do)
        self.status = status
        self.param = param


class RemoteUnavailable(RemoteError):
    """The server does not answer, or has no time; the call was made again, and again in vain."""


class Connection:
    """A server's API, with the key that opens it. ``timeout`` is in seconds, for one try of a call."""

    def __init__(self, url: str, key: str | None, *, timeout: float) -> None:
        said = urlsplit(url.rstrip("/"))
        if said.scheme not in ("http", "https") or not said.hostname:
            raise InvalidOption(
                "url is not the URL of a server", seen=shown(url), do='Write "https://jobs.example.com".'
            )
        self.url = url.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._session: aiohttp.ClientSession | None = None

    # -- both colours --

    def wait(self, call: Coroutine[Any, Any, R]) -> R:
        """Make a call from sync code."""
        future = self._submit(call)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def awaited(self, call: Coroutine[Any, Any, R]) -> R:
        """Make a call from async code."""
        return await asyncio.wrap_future(self._submit(call))

    def close(self) -> None:
        """End all connections. The next call opens new ones."""
        with self._starting:
            loop, session = self._loop, self._session
            self._loop = self._session = None
        if loop is not None and self._process == os.getpid():
            if session is not None:
                asyncio.run_coroutine_threadsafe(session.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _submit(self, call: Coroutine[Any, Any, R]) -> Future[R]:
        with self._starting:
            if self._loop is None or self._process != os.getpid():  # a forked child has no thread of its parent's
                self._loop, self._process, self._session = asyncio.new_event_loop(), os.getpid(), None
                threading.Thread(target=run, args=(self._loop,), name="holdfast-remote", daemon=True).start()
            return asyncio.run_coroutine_threadsafe(call, self._loop)

    # -- one call --

    async def ask(
        self,
        method: str,
        *path: str,
        body: object = None,
        lines: bytes | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """What the server answers, decoded. ``path`` is parts, which may have any characters.

        Raises:
            RemoteError: it refused. RemoteUnavailable: it does not answer.
        """
        address = "/".join([self.url, *(quote(part, safe="") for part in path)])
        address += f"?{urlencode(query)}" if query else ""
        content = lines if lines is not None else None if body is None else codec.encode(body).encode()
        kind = "application/x-ndjson" if lines is not None else "application/json"
        for number in range(TRIES):
            last = number + 1 == TRIES
            try:
                status, headers, text = await self._once(method, address, content, kind)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if last:
                    raise unavailable(self.url, f"{type(error).__name__}: {error}") from None
                await asyncio.sleep(pause(number))
                continue
            if status < BAD:
                return answer(text)
            if status not in AGAIN or last:
                raise refusal(status, text)
            await asyncio.sleep(pause(number, headers.get("Retry-After")))
        raise AssertionError("a try ends the loop")

    async def _once(
        self, method: str, address: str, content: bytes | None, kind: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        async with self._session.request(
            method,
            URL(address, encoded=True),
            data=content,
            headers={"Content-Type": kind},
            allow_redirects=False,  # the key is for this server only
        ) as response:
            return response.status, response.headers, await response.read()


def run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def pause(number: int, asked: str | None = None) -> float:
    """How long to wait before the next try: longer each time, never together with all others, and as was asked for."""
    if asked is not None and asked.isdecimal():
        return min(float(asked), LONGEST_SECONDS) + random.random() / 4
    return FIRST_SECONDS * float(2**number) * (0.5 + random.random())


def answer(text: bytes) -> Any:
    try:
        return codec.decode(text.decode("utf-8")) if text else None
    except (PayloadInvalid, UnicodeDecodeError):
        raise RemoteError(
            "This is not the API of Holdfast", seen=shown(text[:80]), do="Look at the URL: it is the server's."
        ) from None


class Said(msgspec.Struct):
    """An error as the server tells it."""

    error: str = ""
    message: str = ""
    param: str | None = None


def refusal(status: int, text: bytes) -> RemoteError:
    """The error that an answer stands for."""
    try:
        said = msgspec.json.decode(text, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = Said()
    what = said.error or said.message or "The server refused"
    if status in AGAIN:
        return RemoteUnavailable(what, seen=f"status {status}", do="Try again later.", status=status)
    do = "Give a key that may: key=, or HOLDFAST_API_KEY." if status in PERMISSIONS else None
    return RemoteError(what, seen=f"status {status}", do=do, status=status, param=said.param)


def unavailable(url: str, seen: str) -> RemoteUnavailable:
    return RemoteUnavailable(f"The server at {url} does not answer", seen=seen, do="Is it up, and is that its URL?")
