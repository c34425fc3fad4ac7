"""Calls the hooks of runs that ended while no worker carried them out.

A worker whose tasks have such hooks looks for notes once a second, and takes a few at a time. The hooks are called
outside of any slot, for there is no attempt: the run is final. A note whose hooks took three workers down is given up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, cast

from holdfast.engine import aftermath, read
from holdfast.engine.aftermath import Fence, Owed, Settled
from holdfast.errors import DatabaseError, HoldfastError, IdempotencyBusy
from holdfast.events import Unfit
from holdfast.model import Run, RunError, failure
from holdfast.records import LogLine, RunRecord
from holdfast.storage import Store
from holdfast.storage.base import is_outage
from holdfast.task import Task
from holdfast.worker.capture import Lines, listening
from holdfast.worker.home import BACKOFF_SECONDS, Home, Settings
from holdfast.worker.hooks import Caller, wrapping_of
from holdfast.worker.told import Told, tell_end

log = logging.getLogger("holdfast")

LOOK_SECONDS: Final = 1.0
AT_ONCE: Final = 20
TRIES: Final = 3


class Place(Protocol):
    """What this needs of the worker's hold."""

    home: Home
    store: Store
    settings: Settings
    loop: asyncio.AbstractEventLoop
    context: Any
    changed: asyncio.Event
    closing: bool

    @property
    def apart(self) -> Apart: ...


class Apart(Protocol):
    """Who has processes for runs of their own."""

    async def call_hooks(self, owed: Owed, sink: Callable[[LogLine], None], /) -> bool:
        """Call the hooks of this run in such a process; False if it had none."""
        ...


class Writer(NamedTuple):
    """Whose lines they are: those of hooks after the end come after all that the run has written."""

    id: str
    claim: int
    attempt: int


class Aftermath:
    """The notes that one worker has taken, and the asyncio tasks that call their hooks."""

    def __init__(self, place: Place) -> None:
        self.place = place
        known = (*place.home.elsewhere, *place.home.tasks.values())
        self.known = {task.id: (task, wrapping_of(task)) for task in known if task.ends()}
        self.tasks = list(self.known)
        self.busy: dict[str, asyncio.Task[None]] = {}
        self.look_at = 0.0  # not before

    async def look(self, me: str) -> None:
        """Take notes if there are any. Costs a worker nothing that has no such hooks."""
        if not self.tasks or time.monotonic() < self.look_at or self.place.closing:
            return
        room = AT_ONCE - len(self.busy)
        if room <= 0:
            return
        self.look_at = time.monotonic() + LOOK_SECONDS
        store = self.place.store
        if await store.read(aftermath.waits, me, self.tasks, list(self.busy)):
            owed = await store.run(aftermath.claim, me, self.tasks, list(self.busy), room)
            for one in owed:
                self.start(one)
            if len(owed) == room:  # there are more: as soon as there is room again
                self.look_at = 0.0

    def start(self, owed: Owed) -> None:
        place = self.place
        self.busy[owed.fence.run_id] = place.loop.create_task(self.settle(owed), context=place.context.copy())

    def stop(self) -> None:
        """Call no more hooks: another worker will."""
        for task in self.busy.values():
            task.cancel()

    async def settle(self, owed: Owed) -> None:
        """Call the hooks and tear up the note, or hand it back if we are stopped."""
        lines: list[LogLine] = []
        try:
            await self.call_hooks(owed, lines.append)
            await self.persist(lambda: self.tear_up(Settled(owed.fence, lines)))
        except asyncio.CancelledError:
            await self.persist(lambda: self.place.store.run(aftermath.hand_back, owed.fence))
        except Exception:
            log.exception("the note for the hooks of run %s cannot be torn up", owed.fence.run_id)
        finally:
            self.busy.pop(owed.fence.run_id, None)
            self.place.changed.set()

    async def tear_up(self, settled: Settled) -> None:
        await asyncio.shield(asyncio.wrap_future(self.place.store.gather(aftermath.settle, settled)))

    async def persist(self, act: Callable[[], Any]) -> None:
        """Do this however long the database is away."""
        while True:
            try:
                await act()
                return
            except (DatabaseError, IdempotencyBusy) as error:
                if is_outage(error):
                    self.place.store.outage.away("hooks", error)
                else:
                    log.warning("what hooks have done cannot be written down yet: %s", error)
                await asyncio.sleep(BACKOFF_SECONDS)

    # hooks

    async def call_hooks(self, owed: Owed, sink: Callable[[LogLine], None]) -> None:
        """In a process of its own, if the run had one: what its code does there may be done by its hooks as well."""
        if owed.record is not None and not await self.place.apart.call_hooks(owed, sink):
            await self.call_here(owed, owed.record, sink)

    async def call_here(self, owed: Owed, record: RunRecord, sink: Callable[[LogLine], None]) -> None:
        task, wrapping = self.known[record.task]
        lines = Lines(Writer(record.id, record.claim + owed.fence.claim, record.attempts), sink)
        if owed.fence.claim > TRIES:
            given_up(owed.fence, lines)
        elif wrapping is not None:
            listening.set(lines)
            lines.hush(secrets_of(record, task))
            caller = Caller(wrapping, lines, self.place.settings.hook_seconds)
            caller.share_context()
            told = self.told(record, task)
            if record.status == "completed":
                await tell_end(caller, told, output=told.run.output)
            else:
                await tell_end(caller, told, error=error_of(record))
        lines.close()

    def told(self, record: RunRecord, task: Task[Any, Any]) -> Told:
        store = self.place.store
        run = Run[Any](record, task.output_codec, lambda: store.read_sync(read.logs, record.id))
        return Told(run, payload_of(record, task), {})


def payload_of(record: RunRecord, task: Task[Any, Any]) -> Any:
    try:
        return task.load(record.payload)
    except HoldfastError as error:
        return Unfit(error)


def secrets_of(record: RunRecord, task: Task[Any, Any]) -> list[str]:
    try:
        return task.secrets(record.payload)
    except HoldfastError:  # no JSON at all
        return []


def error_of(record: RunRecord) -> RunError:
    return cast("RunError", failure(record).error)


def given_up(fence: Fence, lines: Lines) -> None:
    message = f"The hooks for the end of this run have taken {TRIES} workers down, and are not called again."
    log.error("run %s: %s", fence.run_id, message)
    lines.add("ERROR", "holdfast", message)
