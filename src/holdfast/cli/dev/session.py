"""One sitting of ``holdfast dev``: look at the app, run its workers, and look again when code has changed.

    look ─► supervisor and workers, until Ctrl-C ─► the end
      ▲        │ code changes: look elsewhere; if the app imports, the workers drain and start anew,
      │        │ else the trouble is told and the old ones go on
      └────────┘ its database is another one now: everything anew over that

As long as the app has not been imported once there are no workers, and the next change is waited for.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from holdfast.app import Holdfast
from holdfast.cli.dev.follow import Follow
from holdfast.cli.dev.look import Look, Trouble, look_at
from holdfast.cli.dev.tell import Tell
from holdfast.cli.dev.watch import Watch
from holdfast.cli.show import DIM, complain
from holdfast.client import Client
from holdfast.settings import project_of
from holdfast.worker.channel import Orders
from holdfast.worker.supervisor import Child, Supervisor

DRAIN_SECONDS = 5.0  # then what still runs goes back in line: nobody wants to wait for it at each save
RENEW_SECONDS = 60.0
FAILED = 2


class Wanted(NamedTuple):
    """What the command was told."""

    app: str | None
    database: str | None
    concurrency: int
    reload: bool


class Session:
    """Call `run` from the main thread. ``client`` is what the HTTP side reads from."""

    def __init__(self, wanted: Wanted, tell: Tell) -> None:
        self.wanted, self.tell = wanted, tell
        self.home = Holdfast()  # never the user's: an empty app over the database that theirs names
        self.lookouts: dict[Path, Watch] = {}
        self.changed = threading.Event()
        self.supervisor: Supervisor | None = None
        self.renewed: set[int] = set()  # processes that were told to make room
        self.look: Look | None = None
        self.looked = self.stopped = self.anew = False
        self.code = 0

    @property
    def client(self) -> Client:
        return self.home.client

    def place(self) -> tuple[str | None, str] | None:
        """The app that is worked with, and its database; None while there is none."""
        return None if self.look is None else (self.wanted.app, self.look.database)

    def run(self) -> int:
        """Until Ctrl-C. Answers the exit code: 2 if it was no use to go on."""
        try:
            with self.signals():
                while not self.stopped:
                    self.sit()
        finally:
            for lookout in self.lookouts.values():
                lookout.close()
            self.home.close()
        if self.code == 0:
            self.tell.line("stopped", "what is left goes on when a worker starts", DIM)
        return self.code

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Outside the supervisor, which has handlers of its own."""
        before = {number: signal.signal(number, self.signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def signalled(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        self.changed.set()

    # looking

    def sit(self) -> None:
        """Look, and work over what was found for as long as it is good."""
        self.changed.clear()
        if self.wanted.reload and not self.lookouts:
            self.watch(self.supposed_project())  # before looking, so that no change falls in between
        look = look_at(self.wanted.app, self.wanted.database)
        first, self.looked = not self.looked, True
        if self.stopped:
            return
        if isinstance(look, Trouble):
            self.await_repair(look, first=first)
        else:
            if self.wanted.reload:
                self.watch(Path(look.project))
            self.work(look)

    def supposed_project(self) -> Path:
        """Where the project's code is, as far as that can be said without importing it."""
        written = Path((self.wanted.app or "").partition(":")[0])
        return project_of(written if written.is_file() else Path.cwd() / "_")

    def watch(self, project: Path) -> None:
        """Watch this folder, if none is watched that it is in."""
        if not any(project.is_relative_to(known) for known in self.lookouts):
            self.lookouts[project] = Watch([project], self.on_change)

    def await_repair(self, trouble: Trouble, *, first: bool = False) -> None:
        """Say what is wrong, and wait for the next change; if there is no hope of one, give up."""
        if not self.wanted.reload or (first and trouble.absent):
            complain(trouble.what, trouble.seen, trouble.do)
            self.code, self.stopped = FAILED, True
        else:
            self.tell.trouble(trouble, "There is no worker until it can. Waiting for a change.")
        while not self.stopped and not self.changed.wait(0.2):  # not for ever at once: a signal's handler needs a turn
            pass

    # working

    def work(self, look: Look) -> None:
        self.home.settings.use_flags(database=look.database)
        self.home.close()
        supervisor = self.supervisor = Supervisor(
            self.client.store,
            Orders(
                app=self.wanted.app,
                database=look.database,
                concurrency=self.wanted.concurrency,
                queues=None,
                lease_ms=look.lease_ms,
                drain_seconds=DRAIN_SECONDS,
            ),
            retention_ms=look.retention_ms,
            ready=self.on_ready,
            stays=True,
        )
        self.look, self.anew = look, False
        self.tell.start(look, self.client.store.url)
        follow = Follow(self.client, self.tell)
        code = supervisor.run()
        self.supervisor = None
        follow.close()
        if code != 0 and not self.stopped:
            self.await_repair(Trouble(what=supervisor.cannot_start or "The worker cannot start."))
        else:
            self.stopped = self.stopped or not self.anew

    def on_ready(self, child: Child) -> None:
        self.tell.ready(child.pid)

    # changes, in the thread of the watch

    def on_change(self, paths: list[Path]) -> None:
        self.changed.set()
        supervisor, known = self.supervisor, self.look
        if supervisor is None or known is None:
            return
        self.tell.changed(paths)
        look = look_at(self.wanted.app, self.wanted.database)
        if isinstance(look, Trouble):
            self.tell.trouble(look, "The workers go on with the code from before. Waiting for a change.")
        elif look.database != known.database:
            self.anew = True
            supervisor.stop()
        else:
            self.tell.difference(known, look)
            self.look = look
            self.renew(supervisor)

    def renew(self, supervisor: Supervisor) -> None:
        """Have the workers there are now replaced, each once: told twice, it would not drain but end where it is. One
        that somebody has asked to drain comes back."""
        supervisor.dismissed = 0
        deadline = time.monotonic() + RENEW_SECONDS
        for child in [child for child in supervisor.children if not child.pushes]:  # a pusher has no code to be renewed
            while child.worker is None and child.exited() is None and time.monotonic() < deadline:
                time.sleep(0.02)  # it may have imported the old code, and cannot drain before it is ready
            if child.pid not in self.renewed:
                self.renewed.add(child.pid)
                child.send(signal.SIGTERM)
