"""Workers in the test's own process that die at a given write to the database, as if their process had been killed.

A dead worker gets no answer any more and sends nothing; its code is left where it is, and does nothing more if it asks
for `living` first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal

from holdfast import storage
from holdfast.context import running
from holdfast.engine import workers
from holdfast.errors import DatabaseUnavailable
from holdfast.storage import Store
from holdfast.worker.worker import Worker
from tests.support.inside import Inside

When = Literal["before", "after"]
NEVER = 10**9


class Frail:
    """A worker with its own way to the database, that dies before or after its ``n``-th write; ``at_work``, of those
    that it sends while it holds a run."""

    def __init__(
        self, inside: Inside, n: int = NEVER, when: When = "before", *, at_work: bool = False, **settings: Any
    ) -> None:
        self.n, self.when, self.writes, self.dead = n, when, 0, False
        self.at_work = at_work
        self.unheard: list[Future[Any]] = []  # answers that it is still waiting for when it is put away
        self.loop, self.death = asyncio.get_running_loop(), asyncio.Event()
        self.inside = inside
        self.store: Store = storage.open(inside.database, clock=inside.clock)
        self.submit = self.store.submit
        self.store.submit = self.send  # type: ignore[method-assign]
        self.worker: Worker = inside.worker(self.store, **settings)
        self.work = self.loop.create_task(self.worker.run())
        alive[self.store] = lambda: not self.dead

    def send(self, f: Callable[..., Any], *, write: bool = True, again: bool = False) -> Future[Any]:
        """The only door: everything that the worker says goes through it."""
        if self.dead:
            return self.silence()
        counts = write and (not self.at_work or bool(self.worker.me and self.worker.hold.held))
        self.writes += counts
        fatal = counts and self.writes == self.n and bool(self.worker.me)
        if not fatal:
            self.n += counts and not self.worker.me and self.writes == self.n  # it dies as somebody
            return self.let_through(self.submit(f, write=write, again=again))
        if self.when == "before":
            self.die()
        else:
            self.submit(f, write=write, again=again).add_done_callback(lambda _: self.die())
        return self.silence()

    def silence(self) -> Future[Any]:
        """No answer, ever; but a thread that waits for one must end before the test can."""
        self.unheard.append(unheard := Future[Any]())
        return unheard

    def let_through(self, answer: Future[Any]) -> Future[Any]:
        """What is answered after its death is not heard."""
        heard: Future[Any] = Future()

        def tell(answer: Future[Any]) -> None:
            if self.dead:
                self.unheard.append(heard)
                return
            if (error := answer.exception()) is not None:
                heard.set_exception(error)
            else:
                heard.set_result(answer.result())

        heard.set_running_or_notify_cancel()
        answer.add_done_callback(tell)
        return heard

    def die(self) -> None:
        self.dead = True
        self.loop.call_soon_threadsafe(self.death.set)

    def bury(self) -> None:
        """Somebody has seen that it is gone: the next sweep puts what it held back in line."""
        self.dead = True
        self.inside.store.run_sync(workers.declare_gone, self.worker.me)

    async def close(self) -> None:
        """Put away what is left of it, when nothing that it does can matter any more."""
        self.dead = True
        for live in [*self.worker.hold.held.values(), *self.worker.hold.parked]:
            live.over = True
            if live.work is not None:
                live.work.cancel()
        self.work.cancel()
        await asyncio.gather(self.work, return_exceptions=True)
        for answer in self.unheard:
            if not answer.done():
                answer.set_exception(DatabaseUnavailable("this worker is dead", do="nothing"))
        self.store.close()


alive: dict[Store, Callable[[], bool]] = {}


async def living() -> None:
    """Goes on only in a worker that lives."""
    attempt = running.get()
    live: Any = getattr(attempt and attempt._open, "__self__")  # noqa: B009
    if not alive.get(live.host.store, lambda: True)():
        await asyncio.get_running_loop().create_future()
