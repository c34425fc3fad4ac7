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
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
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
ENDING_SECONDS: Final = 5.0
KEY: Final = "Give a key that may: key=, or HOLDFAST_API_KEY."
MEND: Final = "Mend the call: what it asks for is not done."
DO: Final = {401: KEY, 403: KEY, 404: "Look at what it is called: a list has what there is."}


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
        self._sessions: list[aiohttp.ClientSession] = []  # one at most, of this loop
        self._end: Callable[[], object] | None = None

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
            end, self._end, self._loop = self._end, None, None
        if end is not None:
            end()

    def _submit(self, call: Coroutine[Any, Any, R]) -> Future[R]:
        with self._starting:
            if self._loop is None or self._process != os.getpid():  # a forked child has no thread of its parent's
                self._loop, self._process, self._sessions = asyncio.new_event_loop(), os.getpid(), []
                what = (self._loop, self._sessions)
                thread = threading.Thread(target=run, args=what, name="holdfast-remote", daemon=True)
                thread.start()
                self._end = weakref.finalize(self, end, self._loop, thread, self._process)
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
                raise refusal(status, text, f"{method} /{'/'.join(path)}")
            await asyncio.sleep(pause(number, headers.get("Retry-After")))
        raise AssertionError("a try ends the loop")

    async def _once(
        self, method: str, address: str, content: bytes | None, kind: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        if not self._sessions:
            self._sessions.append(aiohttp.ClientSession(headers=self._headers, timeout=self._timeout))
        async with self._sessions[0].request(
            method,
            URL(address, encoded=True),
            data=content,
            headers={"Content-Type": kind},
            allow_redirects=False,  # the key is for this server only
        ) as response:
            return response.status, response.headers, await response.read()


def run(loop: asyncio.AbstractEventLoop, sessions: Sequence[aiohttp.ClientSession]) -> None:
    """What the thread does until the loop is stopped; the connections end with it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        for session in sessions:
            loop.run_until_complete(session.close())
    finally:
        loop.close()


def end(loop: asyncio.AbstractEventLoop, thread: threading.Thread, process: int) -> None:
    """Stop a thread of this process: when its connection is closed, forgotten, or the program ends."""
    if process == os.getpid():
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(ENDING_SECONDS)


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
    details: list[Said] = []

    def what(self) -> str:
        """All that was said: a few words may stand for details."""
        return "; ".join(each.what() for each in self.details) or self.error or self.message


def refusal(status: int, text: bytes, call: str) -> RemoteError:
    """The error that an answer to this call stands for."""
    try:
        said = msgspec.json.decode(text, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = Said()
    what, seen = said.what() or "The server refused", f"{call}: status {status}"
    if status in AGAIN:
        return RemoteUnavailable(what, seen=seen, do="Try again later.", status=status)
    return RemoteError(what, seen=seen, do=DO.get(status, MEND), status=status, param=said.param)


def unavailable(url: str, seen: str) -> RemoteUnavailable:
    return RemoteUnavailable(f"The server at {url} does not answer", seen=seen, do="Is it up, and is that its URL?")
