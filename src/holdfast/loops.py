"""One class for every periodic duty: it jitters, survives errors, can be woken, and stops twice safely.

A duty runs in a thread of its own, never on an event loop: what users do to theirs must not stop a beat.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from holdfast.errors import DatabaseError
from holdfast.outage import RETRY_SECONDS, Outage
from holdfast.storage.base import is_outage

log = logging.getLogger("holdfast")

QUIET_SECONDS = 30.0  # a duty that fails for long says so once in this time, and not at every turn


class Loop:
    """Calls ``duty`` every ``seconds``, give or take a tenth, until it is stopped.

    A duty that answers a number is called again after so many seconds. An error is logged and the duty is tried again
    at its next turn. ``wake()`` makes the next turn come now. What is said of a database that is away, ``outage`` says.
    """

    def __init__(
        self, name: str, duty: Callable[[], float | None], seconds: float, outage: Outage | None = None
    ) -> None:
        self.name, self.duty, self.seconds = name, duty, seconds
        self.outage = outage or Outage()
        self.woken = threading.Event()
        self.stopping = False
        self.succeeded_at = time.monotonic()
        self.complained_at = float("-inf")
        self.thread: threading.Thread | None = None

    def start(self) -> Loop:
        self.thread = threading.Thread(target=self.work, name=f"holdfast-{self.name}", daemon=True)
        self.thread.start()
        return self

    def work(self) -> None:
        while not self.stopping:
            pause = self.turn()
            self.woken.wait(self.seconds * random.uniform(0.9, 1.1) if pause is None else pause)
            self.woken.clear()

    def turn(self) -> float | None:
        try:
            pause = self.duty()
            self.succeeded_at = time.monotonic()
        except Exception as error:
            if not is_outage(error) or self.stopping:
                self.complain(error)
                return None
            self.outage.away(self.name, error)
            return min(self.seconds, RETRY_SECONDS)
        self.outage.back(self.name)
        return pause

    def complain(self, error: Exception) -> None:
        if self.stopping or time.monotonic() - self.complained_at < QUIET_SECONDS:
            return
        self.complained_at = time.monotonic()
        expected = isinstance(error, DatabaseError)
        log.warning("%s failed and will be tried again: %s", self.name, error, exc_info=None if expected else error)

    def wake(self) -> None:
        self.woken.set()

    def stop(self, timeout: float = 5) -> None:
        self.stopping = True
        self.woken.set()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(timeout)
