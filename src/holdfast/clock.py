"""The one clock: milliseconds since the epoch, UTC.

On SQLite it is the host's, on PostgreSQL the database's (storage asks it), in tests a frozen one that moves when told
to. It says when something is due. How long something took, and whether somebody still beats, is measured on
``time.monotonic``, which no administrator can set.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from holdfast.duration import Duration, to_ms

__all__ = ["Clock", "FrozenClock", "SystemClock"]


class Clock(Protocol):
    """Anything that knows the time."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The host's clock."""

    __slots__ = ()

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class FrozenClock:
    """A clock that stands still until it is moved. Threads may share it.

    >>> clock = FrozenClock(start_ms=0)
    >>> clock.advance("3d")
    259200000
    """

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:  # 2026-01-01T00:00:00Z
        self._now = start_ms
        self._lock = threading.Lock()

    def now(self) -> int:
        return self._now

    def advance(self, duration: Duration) -> int:
        """Move forward and return the new time."""
        with self._lock:
            self._now += to_ms(duration, name="duration")
            return self._now

    def set(self, now_ms: int) -> None:
        """Jump to a time, backwards too: what an administrator or a time server does to a real clock."""
        with self._lock:
            self._now = now_ms
