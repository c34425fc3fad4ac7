"""Where a test plays: a database in memory, a clock that stands still, and the steps between two looks at them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from holdfast import storage, views
from holdfast.clock import FrozenClock
from holdfast.context import running
from holdfast.engine import catalogue, schedules, ticks
from holdfast.errors import HoldfastError
from holdfast.http_task import HttpTask, http_entry
from holdfast.inside import home_of
from holdfast.records import RunRecord
from holdfast.request import HTTP_QUEUE, HTTP_TASK
from holdfast.task import Task
from holdfast.testing.answers import Answers
from holdfast.testing.stepping import Stepped, settled, stand_in
from holdfast.worker import capture
from holdfast.worker.home import Home

if TYPE_CHECKING:
    from holdfast.app import Holdfast

__all__ = ["Stage"]

MANY: Final = 5_000


class Stage:
    """An app over a database in memory, for as long as it is entered. Its steps carry out whatever is due."""

    def __init__(self, app: Holdfast, start_ms: int, patience_ms: int) -> None:
        self.app, self.patience_ms = app, patience_ms
        self.clock = FrozenClock(start_ms)
        self.replaced: dict[str, tuple[Task[Any, Any], object]] = {}
        self.overrides: dict[Any, object] = {}
        self.stand_ins: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.opened = contextlib.ExitStack()
        self.one_thread, self.one_turn = threading.Lock(), asyncio.Lock()

    def open(self) -> None:
        self.app.load()
        self.store = storage.open("sqlite://:memory:", clock=self.clock)
        self.opened.callback(self.store.close)
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # makes its loop when it is first needed
        self.opened.callback(elsewhere, self.runner.close)
        self.answers = Answers(self.store, self.work, self.awork)
        self.opened.enter_context(self.app.client.standing_in(self.store, self.answers, self.answers))
        self.announce()

    def announce(self) -> None:
        """Let the database know the tasks, as if their workers had been there before: it knows who has hooks then."""
        home = home_of(self.app)
        entries = [task.entry() for task in (*home.tasks.values(), *home.elsewhere)]
        self.store.run_sync(catalogue.announce, [*entries, http_entry()], home.queues)
        self.store.run_sync(schedules.declare, self.app.settings.app, home.schedules)

    def close(self) -> None:
        self.opened.close()

    # steps, in both colours

    def work(self) -> None:
        """Carry out whatever is due."""
        self.block(self.step)

    async def awork(self) -> None:
        async with self.one_turn:
            await self.step()

    def advance(self, duration_ms: int) -> None:
        """Go to each moment at which something is due, carry that out, and end up so much later."""
        self.block(lambda: self.travel(duration_ms))

    async def aadvance(self, duration_ms: int) -> None:
        async with self.one_turn:
            await self.travel(duration_ms)

    def block(self, act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do this on the stage's own event loop."""
        self.refuse_to_block()
        with self.one_thread:
            self.runner.run(act())

    def refuse_to_block(self) -> None:
        """Raise HoldfastError where waiting would keep the very thing from happening that is waited for."""
        if asyncio._get_running_loop() is not None:
            raise HoldfastError(
                "This would block the event loop, and with it whatever is to be carried out",
                do="Await the verb's twin: jobs.arun, jobs.aadvance, handle.aresult.",
            )
        if running.get() is not None:
            raise HoldfastError(
                "A task cannot step the test that carries it out", do="Trigger, and wait for the result."
            )

    async def travel(self, duration_ms: int) -> None:
        until = self.clock.now() + duration_ms
        due_at = await self.step()
        while due_at is not None and due_at <= until:
            self.clock.set(max(due_at, self.clock.now()))
            due_at = await self.step()
        self.clock.set(until)
        await self.step()

    async def step(self) -> int | None:
        """Fire the schedules that are due and carry out what is; answers when there is more to do."""
        await self.fire()
        due_at = await self.carry_out()
        while await self.fire():
            due_at = await self.carry_out()
        next_in = (await self.store.read(ticks.outlook)).due_in_ms
        ahead = [] if next_in is None else [self.clock.now() + next_in]
        return min(ahead if due_at is None else [*ahead, due_at], default=None)

    async def fire(self) -> int:
        """Make the runs of schedules, as the scheduler does. Answers how many."""
        made = 0
        while due := (await self.store.read(ticks.due))[1]:
            now = self.clock.now()
            made += len((await self.store.run(ticks.fire, [ticks.decide(each, now) for each in due])).runs)
        return made + len(await self.store.run(ticks.follow))

    async def carry_out(self) -> int | None:
        """Carry out whatever is due, with a worker of its own; answers when there is more to do."""
        home = home_of(self.app)
        tasks = settled({**home.tasks, **http_tasks(home)}) | {
            name: stand_in(*pair) for name, pair in self.replaced.items()
        }
        home = home._replace(tasks=tasks, overrides=self.overrides, stand_ins=self.stand_ins)
        worker = Stepped(home, self.store, self.clock, self.answers, self.patience_ms)
        restore = capture.install(pass_on=True)
        try:
            await worker.run()
            worker.hold.threads.shutdown()
        finally:
            restore()
            self.answers.step_ended()
        return worker.next_due_at

    # what happened

    def records(self) -> list[RunRecord]:
        """All runs so far, the first one first."""
        ids: list[str] = []
        cursor: str | None = None
        while True:
            page = self.store.read_sync(views.page, views.Filter(), limit=MANY, before=cursor)
            ids += [run.id for run in page.runs]
            cursor = page.next_cursor
            if cursor is None:
                return self.store.read_sync(views.records, ids[::-1])


def http_tasks(home: Home) -> dict[str, Task[Any, Any]]:
    """The tasks that are requests. Nothing leaves a test: each is answered with 200, unless it is replaced."""
    pushed: Task[Any, Any] = HttpTask.announced(HTTP_TASK, HTTP_QUEUE, http_entry().options)
    return {task.id: task for task in (*home.elsewhere, pushed)}


def elsewhere(act: Callable[[], None]) -> None:
    """Do what an event loop forbids in its own thread, where one runs here."""
    if asyncio._get_running_loop() is None:
        act()
        return
    thread = threading.Thread(target=act, name="holdfast-testing")
    thread.start()
    thread.join()
