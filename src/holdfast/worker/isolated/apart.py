"""Which runs of a worker have a process of their own; and hooks that are called in one, for a run that has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from holdfast.engine.aftermath import Owed
from holdfast.machine import machine_in
from holdfast.records import Claimed, LogLine
from holdfast.storage import Store
from holdfast.task import Task
from holdfast.worker.home import Home
from holdfast.worker.isolated.attempt import Isolated
from holdfast.worker.isolated.ended import how
from holdfast.worker.isolated.pool import Pool, Process
from holdfast.worker.isolated.wire import Call, Over, Owes, Wrote
from holdfast.worker.isolated.zygote import Report

if TYPE_CHECKING:
    from holdfast.worker.live import Host, Live

log = logging.getLogger("holdfast")


class Apart:
    """The processes of a worker's runs, and who gets one. Nothing is started before there is somebody who does."""

    def __init__(self, home: Home, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self.tasks = {task.id for task in home.tasks.values() if task.rules.isolation == "process"}
        self.pool = None if home.origin is None else Pool(home.origin, loop)
        self.warned = False
        if self.pool is not None and (self.tasks or any(task.rules.machine for task in home.tasks.values())):
            self.pool.warm()

    def wants(self, task: str, options: str | None) -> bool:
        """Whether a run should have a process of its own."""
        return task in self.tasks or machine_in(options) is not None

    def attempt(self, run: Claimed, task: Task[Any, Any], host: Host) -> Isolated | None:
        """The attempt of a run that should have one; None if it cannot, and shares the worker's."""
        if self.pool is not None:
            return Isolated(run, task, host, self.pool)
        if not self.warned:
            self.warned = True
            log.warning(
                "run %s of task %s should have a process of its own, and shares this one: its app is defined in a "
                "script or notebook, which no fresh process can import. Use holdfast worker, or define it in a module",
                run.id,
                run.task,
            )
        return None

    def processes(self, held: Mapping[str, Live]) -> dict[int, str]:
        """Which processes carry out which of these runs."""
        if self.pool is None or not self.pool.there:
            return {}
        apart = [live for live in held.values() if isinstance(live, Isolated) and live.process is not None]
        return {live.process.pid: live.claimed.id for live in apart if live.process and live.process.pid}

    async def call_hooks(self, owed: Owed, sink: Callable[[LogLine], None]) -> bool:
        """Call the hooks of a run that has ended in a process of their own, if the run should have had one."""
        record = owed.record
        if record is None or self.pool is None or not self.wants(record.task, record.options):
            return False
        process = self.pool.take()
        if process is None:
            return False
        await Errand(process, self.pool, self.store, sink).carry(owed)
        return True

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()


class Errand:
    """Hooks that are called elsewhere."""

    def __init__(self, process: Process, pool: Pool, store: Store, sink: Callable[[LogLine], None]) -> None:
        self.process, self.pool, self.store, self.sink = process, pool, store, sink
        self.over: asyncio.Future[None] = pool.loop.create_future()
        process.heard, process.ended = self.hear, self.gone

    async def carry(self, owed: Owed) -> None:
        self.process.send(Owes(owed, self.process.number))
        try:
            await self.over
        except asyncio.CancelledError:
            self.process.kill()
            raise

    def hear(self, message: object) -> None:
        match message:
            case Wrote(lines):
                for line in lines:
                    self.sink(line)
            case Call():
                self.pool.do(self.process.answer(message, self.store))
            case Over():
                self.settle()

    def gone(self, report: Report) -> None:
        if not self.over.done():
            log.error("a process in which hooks were called %s: %s", how(report.value), self.process.last_lines())
            self.settle()

    def settle(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
