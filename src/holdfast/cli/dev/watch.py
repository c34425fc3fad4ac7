"""Hearing that code has changed.

The folders of the project are watched one by one, without those that tools have filled (``.git``, ``.venv``, caches):
a watch on everything below would cost thousands of watches, and wake up for each write to the database beside the code.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from watchfiles import Change, watch

log = logging.getLogger("holdfast")

SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages"))
FOLDERS = 5_000  # at most
QUIET_MS = 100  # after the last write: editors save in several steps


class Watch:
    """Calls ``changed`` with the files that have changed, in a thread of its own, until it is closed."""

    def __init__(self, roots: Sequence[Path], changed: Callable[[list[Path]], None]) -> None:
        self.roots, self.changed = roots, changed
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self.work, name="holdfast-reload", daemon=True)
        self.thread.start()

    def work(self) -> None:
        polling = False
        while not self.closed.is_set():
            try:
                self.follow(polling)
            except OSError as error:
                if polling:
                    log.warning("changes cannot be watched, so nothing is reloaded: %s", error)
                    return
                log.warning("the system has no watches left (%s): files are looked at every 300 ms instead", error)
                polling = True

    def follow(self, polling: bool) -> None:
        """Watch the folders there are now, until there is a new one."""
        folders = folders_of(self.roots)
        for changes in watch(
            *folders,
            watch_filter=is_code,
            step=QUIET_MS,
            stop_event=self.closed,
            rust_timeout=500,
            recursive=False,
            force_polling=polling,
        ):
            paths = sorted({Path(path) for _, path in changes})
            self.changed(paths)
            if any(path.is_dir() for path in paths):
                return

    def close(self) -> None:
        self.closed.set()
        self.thread.join(5)


def is_code(change: Change, path: str) -> bool:
    """Python files, and folders that are new."""
    name = os.path.basename(path)
    return (name.endswith(".py") and not name.startswith((".", "#"))) or (change is Change.added and wanted(path))


def wanted(path: str) -> bool:
    name = os.path.basename(path)
    return os.path.isdir(path) and not name.startswith(".") and name not in SKIPPED


def folders_of(roots: Iterable[Path]) -> list[Path]:
    """The folders that may hold code of the project's own."""
    found: dict[Path, None] = {}
    for root in roots:
        for here, names, _ in os.walk(root):
            if len(found) >= FOLDERS:
                log.warning("only the first %d folders of %s are watched for changes", FOLDERS, root)
                return list(found)
            found[Path(here)] = None
            names[:] = [
                name
                for name in names
                if not name.startswith(".") and name not in SKIPPED and not Path(here, name, "pyvenv.cfg").exists()
            ]
    return list(found)
