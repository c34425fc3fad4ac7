"""The one clock: milliseconds since the epoch, UTC.

On SQLite it is the host's, on PostgreSQL the database's (storage asks it), in tests a frozen one that moves when told
to. It says when something is due. How long something took, and whether somebody still beats, is measured on
``time.monotonic``, which no administrator can set.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, shown

__all__ = ["Clock", "FrozenClock", "SystemClock", "moment_ms", "utc"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS: Final = (datetime(1, 1, 2, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS: Final = (datetime(9999, 12, 30, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_AWARE: Final = "Write an aware datetime, such as datetime(2027, 1, 1, tzinfo=UTC)."


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


def utc(ms: int) -> datetime:
    """A stored time. One that no datetime can hold in every time zone, as it may be due that late, is the last one that
    can be held: a run has to be shown whenever it is due."""
    return _EPOCH + timedelta(milliseconds=max(_FIRST_MS, min(ms, _LAST_MS)))


def moment_ms(value: object, *, option: str, do: str = _AWARE) -> int:
    """An aware datetime in milliseconds since the epoch; ``option`` is what it was given for, used in the message.

    Raises:
        InvalidOption: no datetime, or one without a time zone.
    """
    if not isinstance(value, datetime):
        raise InvalidOption(f"{option} is not a datetime", seen=shown(value), do=do)
    if value.utcoffset() is None:
        raise InvalidOption(f"{option} has no time zone", seen=shown(value), do=_AWARE)
    return (value - _EPOCH) // timedelta(milliseconds=1)
