"""What a process says of a database that is away: once when it goes, once a minute while it is, once when it is back.

Many duties of a process find out at the same time, and again at each of their turns. Each tells its own failures and
successes here; what is said is one line for all of them. It is back when nobody is left for whom it is away, so that a
disk that is full, which lets reads through, is not taken for a database that comes and goes.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from holdfast.duration import format_ms

__all__ = ["RETRY_SECONDS", "Outage"]

log = logging.getLogger("holdfast")

AGAIN_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 2.0  # how soon a duty tries again while it is away, however rare its turns are
RECENT_SECONDS: Final = 30.0  # a duty that has not failed for so long may have ended: it is not waited for


class Outage:
    """What is known of one database in this process. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.since: float | None = None  # None: it answers
        self.said_at = 0.0
        self.missed_by: dict[str, float] = {}
        self.lock = threading.Lock()

    def away(self, who: str, error: Exception) -> None:
        """The database has failed this duty."""
        with self.lock:
            now = time.monotonic()
            self.missed_by[who] = now
            if self.since is None:
                self.since = self.said_at = now
                log.warning("The database is away, and what needs it waits. %s", error)
            elif now - self.said_at >= AGAIN_SECONDS:
                self.said_at = now
                log.warning("The database has been away for %s. %s", for_people(now - self.since), error)

    def back(self, who: str) -> None:
        """The database has done what this duty asked of it."""
        if self.since is not None:
            with self.lock:
                self.found_by(who, time.monotonic())

    def found_by(self, who: str, now: float) -> None:
        self.missed_by.pop(who, None)
        if self.since is None or any(now - at < RECENT_SECONDS for at in self.missed_by.values()):
            return
        log.warning("The database is back, after %s.", for_people(now - self.since))
        self.since = None
        self.missed_by.clear()


def for_people(seconds: float) -> str:
    return format_ms(round(seconds * 1000))
