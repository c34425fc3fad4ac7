"""Hearing at once that another process has committed to a SQLite file.

Every commit in WAL mode writes to the file ``…-wal``. Where the kernel can tell (inotify, on Linux), one thread
sleeps until it does; elsewhere the thread asks for the file's size and time every 50 ms. Polling by whoever waits
stays what is correct.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

POLL_SECONDS = 0.05


class FileWatch:
    """Calls ``changed`` from a thread of its own whenever the file is written."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self.path, self.changed = path, changed
        self.stopping = threading.Event()
        self.interrupt: Callable[[], None] = lambda: None
        self.alive = False  # until it hears: a commit that nobody hears wakes nobody
        self.thread = threading.Thread(target=self.work, name="holdfast-watch", daemon=True)
        self.thread.start()

    def work(self) -> None:
        try:
            if sys.platform == "linux":
                with contextlib.suppress(OSError):  # the kernel has no watch left for us
                    self.watch_inotify()
            if not self.stopping.is_set():
                self.watch_polling()
        finally:
            self.alive = False

    def watch_inotify(self) -> None:
        from inotify_simple import INotify, flags  # type: ignore[import-untyped]

        with INotify() as inotify:
            watch = inotify.add_watch(self.path.parent, flags.MODIFY | flags.CREATE)
            self.interrupt = lambda: inotify.rm_watch(watch)  # which is an event, too
            name = self.path.name
            self.begin()
            while not self.stopping.is_set():
                if any(event.name == name for event in inotify.read(timeout=1000)) and not self.stopping.is_set():
                    self.changed()

    def begin(self) -> None:
        self.alive = True
        self.changed()  # whatever was written meanwhile was not heard

    def watch_polling(self) -> None:
        seen = self.stamp()
        self.begin()
        while not self.stopping.wait(POLL_SECONDS):
            now = self.stamp()
            if now != seen:
                seen = now
                self.changed()

    def stamp(self) -> tuple[int, int]:
        try:
            status = os.stat(self.path)
        except OSError:
            return (0, 0)
        return (status.st_size, status.st_mtime_ns)

    def close(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError, ValueError):  # it has ended by itself
            self.interrupt()
        self.thread.join(1)
