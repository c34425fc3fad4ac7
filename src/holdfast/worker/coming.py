"""Children that are carried out where their parent is, and at once.

    nobody stands in line ─► made as claimed by this worker, as many as it has room for ─► started
    somebody does         ─► made as ready: whoever stands there before goes first

To be made ready and to be claimed a moment later costs a run a third of its way, and a worker that has just made a run
and has seen its line empty passes nobody. It takes what it will start within a tenth of a second at its
pace, and at least one, which has the slot that its parent is about to give up; the rest is for whoever is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from holdfast.engine.due import Room
from holdfast.engine.journal import Written
from holdfast.engine.trigger import route_name, route_number
from holdfast.records import Claimed, Here, NewRun

NOBODY = Here()


class Coming:
    """The new runs of one worker that are on their way into it. Its methods run on the loop.

    ``room`` says what may be taken now, if that would pass nobody; ``admit`` takes in what came for the worker of this
    name. Where nobody has set them, all stand in line.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.room: Callable[[], Room | None] = lambda: None
        self.admit: Callable[[str | None, list[Claimed]], None] = lambda me, claimed: None

    def choose(self, runs: Sequence[NewRun]) -> Here:
        """Those of these new runs that are to be carried out here."""
        room = self.room()
        if room is None or room.n <= 0:
            return NOBODY
        routes = set(room.routes)
        ids = [run.id for run in runs if route_number(route_name(run)) in routes][: room.n]
        return Here(room.me, frozenset(ids)) if ids else NOBODY

    def expect(self, here: Here, writing: asyncio.Future[Written]) -> None:
        """They are being made. Until that is known they take up room, and are not handed back as unknown."""
        if here.ids:
            self.ids |= here.ids
            writing.add_done_callback(lambda _: self.arrive(here, writing))

    def arrive(self, here: Here, writing: asyncio.Future[Written]) -> None:
        """They are made; or that is not known, and the worker finds them among what it is said to hold."""
        self.ids -= here.ids
        if not writing.cancelled() and writing.exception() is None and (claimed := writing.result().claimed):
            self.admit(here.worker_id, claimed)
