"""Changes of many runs that a filter finds: cancel all of them, or trigger all of them once more.

First it is found out which they are: that is the dry run, and what progress is measured by. Then they are changed in
steps, the oldest first, each in a short transaction of its own. A change that was interrupted has done what it has
done; asked for again, it goes on with what is left, for what was canceled is not found any more, and what was replayed
is remembered.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from holdfast import views
from holdfast.client import Client
from holdfast.engine import bulk as engine
from holdfast.engine.bulk import Changed
from holdfast.ids import new_id
from holdfast.model import FINAL, STATUSES
from holdfast.storage import Tx
from holdfast.storage.base import repeatable
from holdfast.views import Filter

__all__ = ["Bulk", "Change", "Survey", "asurvey", "survey"]

STEP: Final = 500
OPEN: Final = frozenset(STATUSES) - FINAL
UNDONE: Final = FINAL - {"completed", "canceled"}  # what one means by "again" when one does not say


@dataclass(frozen=True, slots=True)
class Bulk:
    """How far a change of many runs has come, and at the end what came of it.

    ``total`` runs were found. ``outcomes`` counts what became of them so far. When they are canceled: ``canceled``,
    ``requested`` of the worker that holds it, ``final`` meanwhile. When they are replayed: ``replayed``, or ``known``,
    for they have been replayed before. Either way ``unknown``, for a run that was removed meanwhile. ``batch_id`` is
    the batch of the new runs.
    """

    total: int
    outcomes: Mapping[str, int]
    batch_id: str | None = None

    @property
    def done(self) -> int:
        """How many of the runs have been dealt with."""
        return sum(self.outcomes.values())


class Survey:
    """Finds out which runs are meant. ``counts`` says how many they are of each task and status."""

    def __init__(self, wanted: Filter, limit: int | None = None, ago_ms: int | None = None) -> None:
        self.wanted, self.limit, self.ago_ms = wanted, limit, ago_ms
        self.ids: list[str] = []  # the newest first
        self.counts: Counter[tuple[str, str]] = Counter()
        self.cursor: str | None = None
        self.over = False

    def look(self, tx: Tx) -> views.Page:
        """The next page. Since when, is settled by the database's clock at the first."""
        if self.ago_ms is not None:
            self.wanted = msgspec.structs.replace(self.wanted, since=tx.now() - self.ago_ms)
            self.ago_ms = None
        size = STEP if self.limit is None else min(STEP, self.limit - len(self.ids))
        return views.page(tx, self.wanted, limit=size, before=self.cursor, far=views.FAR_OFF)

    def take(self, page: views.Page) -> None:
        self.ids += [run.id for run in page.runs]
        self.counts.update((run.task, run.status) for run in page.runs)
        self.cursor = page.next_cursor
        self.over = self.cursor is None or len(self.ids) == self.limit


def survey(client: Client, found: Survey) -> Survey:
    """Find them all."""
    while not found.over:
        found.take(client.read(found.look))
    return found


async def asurvey(client: Client, found: Survey) -> Survey:
    """`survey` for async code."""
    while not found.over:
        found.take(await client.aread(found.look))
    return found


class Change:
    """What is done with runs that were found, step by step."""

    def __init__(self, ids: list[str], *, replay: bool, progress: Callable[[Bulk], object] = lambda _: None) -> None:
        self.left = deque(reversed(ids))
        self.total = len(ids)
        self.batch_id = new_id() if replay else None
        self.changed: list[Changed] = []
        self.outcomes: Counter[str] = Counter()
        self.progress = progress

    @repeatable
    def step(self, tx: Tx) -> list[Changed]:
        """Change the next few."""
        ids = [self.left[place] for place in range(min(STEP, len(self.left)))]
        return engine.cancel(tx, ids) if self.batch_id is None else engine.replay(tx, ids, self.batch_id)

    def take(self, changed: list[Changed]) -> None:
        """A step was committed."""
        for each in changed:
            self.left.popleft()
            self.outcomes[each.outcome] += 1
        self.changed += changed
        self.progress(self.state())

    def state(self) -> Bulk:
        return Bulk(self.total, dict(self.outcomes), self.batch_id)

    def make(self, client: Client) -> Bulk:
        """Make all steps."""
        while self.left:
            self.take(client.write(self.step))
        return self.state()

    async def amake(self, client: Client) -> Bulk:
        """`make` for async code."""
        while self.left:
            self.take(await client.awrite(self.step))
        return self.state()
