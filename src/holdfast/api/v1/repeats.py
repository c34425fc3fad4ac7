"""Calls that are sent again: the client repeats one that makes something and whose answer it has not seen, under the
same name.

Such a call is answered with what came of the first one, also while that is still under way. What is remembered here is
in this process. On PostgreSQL the names of triggers are kept beside idempotency keys, too, for as long as a client
repeats and a good while more: so it holds for any number of servers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")
SECONDS: Final = 600.0
MOST: Final = 50_000


class Repeats(Generic[T]):
    """What came of calls, by their names. For one event loop."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self.most, self.seconds = most, seconds
        self.known: dict[Hashable, tuple[float, T | asyncio.Future[T]]] = {}

    async def once(self, name: Hashable | None, do: Callable[[], Awaitable[T]]) -> T:
        """What ``do`` answers, or answered when it was called under this name, if it has one. What it raised is not
        remembered."""
        if name is None:
            return await do()
        now = time.monotonic()
        if (found := self.known.get(name)) is not None:
            at, outcome = found
            if isinstance(outcome, asyncio.Future):
                return await asyncio.shield(outcome)
            if at > now - self.seconds:
                return outcome
            del self.known[name]
        self.forget(now)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.known[name] = now, future
        try:
            outcome = await do()
        except BaseException as error:
            del self.known[name]
            refuse(future, error)
            raise
        self.known[name] = now, outcome
        future.set_result(outcome)
        return outcome

    def forget(self, now: float) -> None:
        """Forget what is too old, or too much; the oldest comes first."""
        while self.known:
            name, (at, outcome) = next(iter(self.known.items()))
            if isinstance(outcome, asyncio.Future) or (len(self.known) < self.most and at > now - self.seconds):
                return
            del self.known[name]


def refuse(future: asyncio.Future[T], error: BaseException) -> None:
    """Tell those who wait for the same; a call that was broken off leaves it to them to call again."""
    if isinstance(error, Exception):
        future.set_exception(error)
        future.exception()  # perhaps nobody waits, and nobody is to be told of that
    else:
        future.cancel()
