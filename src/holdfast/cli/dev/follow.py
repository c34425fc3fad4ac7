"""What the app's runs do, told as it happens: what they print, how they end.

Only runs that are made from now on, and no more at once than somebody can read: in a flood the rest is counted.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Final

from holdfast import views
from holdfast.cli.dev.tell import Tell
from holdfast.cli.runs.tail import FOLLOWED, PAUSE_SECONDS, Arrivals, Changed, Following, Missed
from holdfast.client import Client
from holdfast.errors import DatabaseError
from holdfast.model import FINAL

READABLE: Final = 30  # lines for one look
OWN: Final = (
    "stdout",
    "stderr",
    "holdfast",
)  # what an app logs otherwise, its workers write to the terminal themselves


class Follow:
    """Tells of the runs in the database of ``client``, in a thread, until it is closed."""

    def __init__(self, client: Client, tell: Tell) -> None:
        self.client, self.tell = client, tell
        self.tasks: dict[str, str] = {}  # of the runs that are followed
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self.work, name="holdfast-follow", daemon=True)
        self.thread.start()

    def work(self) -> None:
        arrivals, following = Arrivals(self.client), Following(self.client)
        while not self.closed.wait(PAUSE_SECONDS):
            with contextlib.suppress(DatabaseError):  # it is told of elsewhere
                new = arrivals.look()[: FOLLOWED - len(following.places)]
                if new:
                    self.tasks.update((run.id, run.task) for run in self.client.read(views.listed_runs, new))
                    following.add(new)
                self.look(following)
                self.tasks = {run_id: self.tasks.get(run_id, "") for run_id in following.places}

    def look(self, following: Following) -> None:
        told = more = 0
        for event in following.look():
            if self.closed.is_set():
                return
            if isinstance(event, Missed) or (isinstance(event, Changed) and not worth_telling(event.run.status)):
                continue
            if not isinstance(event, Changed) and event.logger not in OWN:
                continue
            told += 1
            if told > READABLE:
                more += 1
            elif isinstance(event, Changed):
                self.tell.run(event.run)
            else:
                self.tell.said(self.tasks.get(event.run_id, ""), event)
        if more:
            self.tell.line("", f"… and {more} lines more; holdfast runs list shows the rest", "bright_black")

    def close(self) -> None:
        self.closed.set()
        self.thread.join(5)


def worth_telling(status: str) -> bool:
    return status in FINAL or status == "pending_version"
