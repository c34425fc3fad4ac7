"""What running attempts tell, on its way to the database while they run.

Code tells, and stirs; soon afterwards all that the worker's attempts have told is written, in one transaction, and then
not again for a moment. It needs no place in the worker's rounds: each write is fenced, and can be sent again. What is
left when an attempt ends goes with its outcome, also if it is just being written here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from holdfast.engine import telling
from holdfast.records import Telling, Tidings
from holdfast.storage import Store
from holdfast.storage.base import is_outage
from holdfast.worker.live import Live
from holdfast.worker.outbox import BUSY

log = logging.getLogger("holdfast")

NOTES_SECONDS: Final = (0.1, 0.5)  # until metadata is written after a change, and between two writes
CHUNKS_SECONDS: Final = (0.02, 0.05)  # the same for streams
CHUNKS_AT_ONCE: Final = 1_000  # of one run
OUTAGE_SECONDS: Final = 1.0


class Errand:
    """Does something soon after it was stirred, from whatever thread: ``soon`` after the first time, so that what comes
    together goes together, and not again within ``seconds``."""

    def __init__(
        self, act: Callable[[], Awaitable[None]], pace: tuple[float, float], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.act, (self.soon, self.seconds), self.loop = act, pace, loop
        self.stirred = self.stopped = False
        self.task: asyncio.Task[None] | None = None

    def stir(self) -> None:
        if not self.stirred and not self.stopped:
            self.stirred = True
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody writes any more
                self.loop.call_soon_threadsafe(self.begin)

    def begin(self) -> None:
        if self.task is None and not self.stopped:
            self.task = self.loop.create_task(self.run(), name="holdfast-reports")

    async def run(self) -> None:
        try:
            await asyncio.sleep(self.soon)
            while self.stirred:
                self.stirred = False
                await self.act()
                await asyncio.sleep(self.seconds)
        finally:
            self.task = None

    def stop(self) -> None:
        self.stopped = True
        if self.task is not None:
            self.task.cancel()


class Reports:
    """Writes what the attempts in ``held`` tell."""

    def __init__(self, store: Store, held: Mapping[str, Live], loop: asyncio.AbstractEventLoop) -> None:
        self.store, self.held = store, held
        self.notes = Errand(self.write_notes, NOTES_SECONDS, loop)
        self.chunks = Errand(self.write_chunks, CHUNKS_SECONDS, loop)

    def stir_notes(self) -> None:
        self.notes.stir()

    def stir_chunks(self) -> None:
        self.chunks.stir()

    async def write_notes(self) -> None:
        told = [(live, Tidings(notes, [])) for live in self.tellers() if (notes := live.notes())]
        await self.write(told, self.notes)

    async def write_chunks(self) -> None:
        told = [(live, Tidings([], chunks)) for live in self.tellers() if (chunks := live.chunks(CHUNKS_AT_ONCE))]
        if any(len(tidings.chunks) == CHUNKS_AT_ONCE for _, tidings in told):
            self.chunks.stir()
        await self.write(told, self.chunks)

    def tellers(self) -> list[Live]:
        return [live for live in self.held.values() if live.attempt.told_by is not None]

    async def write(self, told: Sequence[tuple[Live, Tidings]], errand: Errand) -> None:
        """Write this; if it is refused, each alone, so that only what is bad is given up."""
        if not told:
            return
        try:
            await self.store.run(telling.write, [Telling(*live.fence, tidings) for live, tidings in told])
        except Exception as error:
            if is_outage(error):  # it is written later, with the outcome at the latest
                errand.stir()
                await asyncio.sleep(OUTAGE_SECONDS)
                return
            if len(told) > 1:
                for each in told:
                    await self.write([each], errand)
                return
            if isinstance(error, BUSY):  # somebody's lock is in the way
                errand.stir()
                return
            log.exception("what run %s tells cannot be stored", told[0][0].claimed.id)
        for live, tidings in told:
            live.written(tidings)

    def stop(self) -> None:
        self.notes.stop()
        self.chunks.stop()
