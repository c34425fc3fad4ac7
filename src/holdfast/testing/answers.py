"""Results for code that waits, in a test.

In production somebody else carries a run out while ``handle.result()`` waits. In a test nobody does: so waiting is what
carries it out. Code inside a task that waits for another run is told when the step that is under way has come to it.
Where nothing is due any more and the run has still not ended, time would have to pass, and the waiting ends with a
`ResultTimeout` that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from holdfast import views
from holdfast.context import Attempt, running
from holdfast.errors import HoldfastError, ResultTimeout, RunNotFound
from holdfast.model import at
from holdfast.records import RunRecord
from holdfast.storage import Store
from holdfast.views import Followed, Mark
from holdfast.waiting import Finished

__all__ = ["Answers"]


class Step(Protocol):
    """What the answers tell the step that is under way."""

    def lend(self, count: int, /) -> None: ...


class _Wait(NamedTuple):
    """The code of an attempt waits for all of these."""

    attempt: Attempt
    ids: list[str]
    future: Future[Finished]


class Answers:
    """Stands in for `Waiting` and `Following`. ``work`` and ``awork`` carry out whatever is due."""

    def __init__(self, store: Store, work: Callable[[], None], awork: Callable[[], Awaitable[None]]) -> None:
        self.store, self.work, self.awork = store, work, awork
        self.lock = threading.Lock()
        self.waits: list[_Wait] = []
        self.step: Step | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    # for those who wait

    def watch(self, ids: Sequence[str]) -> Future[Finished]:
        """The records of these runs once all are final. Code outside of tasks carries them out by this."""
        if (attempt := running.get()) is not None:
            return self.inside(attempt, ids)
        future: Future[Finished] = Future()
        try:
            self.work()
            future.set_result(self.outcome(self.store.read_sync(views.records, list(ids)), ids))
        except Exception as error:
            future.set_exception(error)
        return future

    async def awatch(self, ids: Sequence[str]) -> Finished:
        """`watch` for async code."""
        if (attempt := running.get()) is not None:
            return await asyncio.wrap_future(self.inside(attempt, ids))
        await self.awork()
        return self.outcome(await self.store.read(views.records, list(ids)), ids)

    def news(self, followed: Followed, seen: Mark | None) -> Future[Mark | None]:
        """How far something is. Between two looks whatever is due is carried out; where that moves nothing, there is no
        next one."""
        future: Future[Mark | None] = Future()
        try:
            mark = self.store.read_sync(views.marks, [followed]).get(followed)
            if mark == seen and mark is not None:
                with moving() as moved:
                    self.watch([followed[0]]).result()
                mark = self.store.read_sync(views.marks, [followed]).get(followed)
                moved(mark != seen)
            future.set_result(mark)
        except Exception as error:
            future.set_exception(error)
        return future

    async def anews(self, followed: Followed, seen: Mark | None) -> Mark | None:
        """`news` for async code."""
        mark = (await self.store.read(views.marks, [followed])).get(followed)
        if mark == seen and mark is not None:
            with moving() as moved:
                await self.awatch([followed[0]])
            mark = (await self.store.read(views.marks, [followed])).get(followed)
            moved(mark != seen)
        return mark

    def inside(self, attempt: Attempt, ids: Sequence[str]) -> Future[Finished]:
        future: Future[Finished] = Future()
        if self.loop is None:
            raise HoldfastError("This run is over, so nobody carries out what it waits for", do="Wait inside the task.")
        with self.lock:
            self.waits.append(_Wait(attempt, list(ids), future))
        self.loop.call_soon_threadsafe(self.count)
        return future

    def close(self) -> None:
        """Nobody waits here between steps."""

    # for the worker of a step

    def step_began(self, step: Step) -> None:
        self.step, self.loop = step, asyncio.get_running_loop()

    def step_ended(self) -> None:
        self.step = self.loop = None
        with self.lock:
            left, self.waits = self.waits, []
        for wait in left:
            wait.future.cancel()

    async def look(self) -> None:
        """Tell those whose runs have ended."""
        for wait in self.waiting():
            found = await self.store.read(views.records, wait.ids)
            if len(found) < len(wait.ids) or all(record.finished_at is not None for record in found):
                self.tell(wait, found)

    def all_wait(self, executing: int) -> bool:
        """Whether everything that executes waits for something else."""
        return 0 < executing <= self.attempts()

    def give_up(self) -> bool:
        """Tell those who still wait that nothing is due. False if nobody does."""
        waits = self.waiting()
        for wait in waits:
            self.tell(wait, self.store.read_sync(views.records, wait.ids))
        return bool(waits)

    def tell(self, wait: _Wait, found: Sequence[RunRecord]) -> None:
        if wait.future.set_running_or_notify_cancel():
            try:
                wait.future.set_result(self.outcome(found, wait.ids))
            except Exception as error:
                wait.future.set_exception(error)
        self.count()

    def count(self) -> None:
        if self.step is not None:
            self.step.lend(self.attempts())

    def attempts(self) -> int:
        return len({id(wait.attempt) for wait in self.waiting()})

    def waiting(self) -> list[_Wait]:
        """Those who wait; who has been told, or has gone away, is forgotten."""
        with self.lock:
            self.waits = [wait for wait in self.waits if not wait.future.done()]
            return list(self.waits)

    def outcome(self, found: Sequence[RunRecord], ids: Sequence[str]) -> Finished:
        records = {record.id: record for record in found}
        for run_id in ids:
            if run_id not in records:
                raise RunNotFound(
                    "There is no run with this id, or no longer", seen=run_id, do="Look where it is from."
                )
        left = [record for record in records.values() if record.finished_at is None]
        if left:
            raise unfinished(left)
        return records


@contextlib.contextmanager
def moving() -> Iterator[Callable[[bool], None]]:
    """Keeps what says that a run has not ended, for whoever then finds that nothing has moved."""
    unended: list[ResultTimeout] = []

    def moved(has: bool) -> None:
        if unended and not has:
            raise unended[0]

    try:
        yield moved
    except ResultTimeout as error:
        unended.append(error)


def unfinished(left: Sequence[RunRecord]) -> ResultTimeout:
    first = left[0]
    what = f"Run {first.id} of {first.task} has not ended" if len(left) == 1 else f"{len(left)} runs have not ended"
    seen, do = first.status, "In a test nothing happens by itself."
    if first.status == "delayed" and first.due_at is not None:
        seen = f"delayed until {at(first.due_at).isoformat()}"
        do = "The clock stands still: move it with jobs.advance()."
    elif first.status == "pending_version":
        do = "This app has no code of the task: jobs.replace(task, output) stands in."
    return ResultTimeout(f"{what}, and nothing else is due", seen=seen, do=do)
