"""Connections that ask nothing take nothing from others.

uvicorn waits for ever for the first request of a connection, and for the rest of its head. Here a connection has to say
what it wants within some seconds, in so many bytes; and when too many wait, those go first that have waited longest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol
else:
    Protocol = AutoHTTPProtocol

SECONDS: Final = 20.0
HEAD_BYTES: Final = 65_536
FEWEST: Final = 100
FILES: Final = 65_536


def hasty(seconds: float = SECONDS, most: int | None = None) -> type[asyncio.Protocol]:
    """uvicorn's protocol for the connections of one server, of which at most so many wait for a request."""
    waiting: OrderedDict[Any, asyncio.TimerHandle] = OrderedDict()
    limit = max(FEWEST, open_files() // 2) if most is None else most

    class Hasty(Protocol):
        head = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.settle()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.head += len(data)
            self.settle()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.settle()

        def connection_lost(self, exc: Exception | None) -> None:
            self.go_on()
            super().connection_lost(exc)

        def settle(self) -> None:
            """Wait for a request, or go on with one."""
            cycle: Any = self.cycle
            if cycle is not None and not cycle.response_complete:
                self.go_on()
                return
            if self not in waiting and not self.transport.is_closing():
                self.head = 0
                waiting[self] = self.loop.call_later(seconds, self.transport.close)
            if len(waiting) > limit:
                next(iter(waiting)).transport.close()
                waiting.popitem(last=False)[1].cancel()
            if self.head > HEAD_BYTES:
                self.transport.close()

        def go_on(self) -> None:
            self.head = 0
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

    return Hasty


def open_files() -> int:
    """How many files and connections this process may have open: as many as the system lets it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(FILES, hard if hard != resource.RLIM_INFINITY else FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return FILES if soft == resource.RLIM_INFINITY else soft
