"""What a worker holds: attempts that wait for a slot here, attempts that run, and the slots themselves.

An attempt is held from its claim until its outcome is noted. A slot is in use while code of an attempt may run, also
after the attempt is over: a thread cannot be ended from outside, and keeps its slot as a ghost until it returns.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from operator import attrgetter

from holdfast.engine import claim, journal, limits, read
from holdfast.errors import DatabaseError, IdempotencyBusy
from holdfast.machine import Machine, machine_in, machine_of
from holdfast.records import Again, Claimed, Entry, LogLine, Suspension, Tidings
from holdfast.storage import Store
from holdfast.storage.runs import Fence
from holdfast.worker.aftermath import Aftermath
from holdfast.worker.capacity import Room
from holdfast.worker.coming import Coming
from holdfast.worker.home import BACKOFF_SECONDS, Home, Settings
from holdfast.worker.hooks import wrapping_of
from holdfast.worker.isolated.apart import Apart
from holdfast.worker.live import Live, said
from holdfast.worker.outbox import Outbox
from holdfast.worker.outcome import Outcome, Reason, returned
from holdfast.worker.pace import Pace
from holdfast.worker.parked import MOST, Parked
from holdfast.worker.reports import Reports
from holdfast.worker.scopes import WorkerScope
from holdfast.worker.suspects import Suspects
from holdfast.worker.wrapped import Wrapped

log = logging.getLogger("holdfast")

PATIENCE_SECONDS = 1.0  # for what was claimed ahead of a slot


class Hold:
    """The attempts of one worker. Its methods run on the loop; ``changed`` is set when one is over."""

    def __init__(self, home: Home, store: Store, settings: Settings, outbox: Outbox, changed: asyncio.Event) -> None:
        self.home, self.store, self.settings = home, store, settings
        self.wrappings = {task.id: wrapping_of(task) for task in home.tasks.values()}
        self.scope = WorkerScope(home.overrides)
        self.outbox, self.lines, self.changed = outbox, outbox.lines, changed
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()  # what attempts start from
        # A thread whose run waits has no slot, and is not free: there are more of them than slots.
        self.threads: Executor = ThreadPoolExecutor(settings.concurrency + MOST, "holdfast-task")
        self.pace = Pace(settings.concurrency)
        self.waiting: deque[Live] = deque()  # claimed, not started
        self.held: dict[str, Live] = {}  # claimed and not reported
        self.coming = Coming()
        self.suspects = Suspects()
        self.recorded: dict[str, list[Entry]] = {}  # what the runs that were just claimed have recorded …
        self.partly: set[str] = set()  # … and of which runs only what their attempts here do not know
        self.parked = Parked(settings.suspend_above)  # waiting, without a slot, and still in memory
        self.leaving: set[Live] = set()  # on their way out of memory: their finally blocks run
        self.late: set[str] = set()  # runs in which a time seems to be over
        self.running = 0  # slots in use …
        self.ghosts = 0  # … those of them whose thread is busy with an attempt that is over
        self.carried_out = 0  # attempts that have begun here and are over
        self.machines: dict[str, Machine] = {}  # of the runs that have one
        self.asked_at = 0.0  # when what comes in was asked for
        self.closing = self.starting = False
        self.apart = Apart(home, store, self.loop)
        self.aftermath = Aftermath(self)
        self.reports = Reports(store, self.held, self.loop)

    def room(self) -> int:
        """How many more runs may be claimed."""
        free = self.settings.concurrency - self.ghosts + self.pace.ahead() - len(self.held) - len(self.coming.ids)
        return 0 if self.closing else max(0, free)

    def left(self, room: Room) -> Room:
        """What the runs with machines that are held here leave of it."""
        self.machines = {run: machine for run, machine in self.machines.items() if run in self.held}
        return room.without(self.machines.values())

    # in

    def admit(self, claimed: list[Claimed], queue_names: Mapping[int, str]) -> None:
        """Take in what a claim brought, and start what there are slots for."""
        for row in sorted(claimed, key=attrgetter("sort_at", "id")):
            run = Claimed._make((*row[:3], queue_names.get(row.queue, ""), *row[4:]))  # type: ignore[call-overload]
            try:
                live = self.back_again(run)
                if live is None and run.id in self.partly:  # it has left memory while the rest of its journal was read
                    self.outbox.note(run, returned(run))
                    continue
                live = live or self.live(run)
            except Exception as error:
                self.outbox.give_up(run, f"What is stored of this run cannot be read: {said(error)}")
                continue
            if run.suspect:
                self.suspects.add(run.id, run.suspect)
            self.held[run.id] = live
            if (word := machine_in(run.options)) is not None:
                self.machines[run.id] = machine_of(word)
            self.waiting.append(live)
        if self.closing:  # they were asked for before
            self.drop_waiting()
        self.start_waiting()

    def live(self, run: Claimed) -> Live:
        task, wrapping = self.home.tasks[run.task], self.wrappings[run.task]
        if self.apart.wants(run.task, run.options) and (isolated := self.apart.attempt(run, task, self)) is not None:
            return isolated
        return Live(run, task, self) if wrapping is None else Wrapped(run, task, self, wrapping)

    def start_waiting(self) -> None:
        """Start what waits, as far as there are slots. What ends at once calls this again: once is enough."""
        if self.starting:
            return
        self.starting = True
        try:
            self.start_next()
        finally:
            self.starting = False

    def start_next(self) -> None:
        while self.waiting and self.running < self.settings.concurrency and not self.closing:
            live = self.waiting.popleft()
            if live.claimed.granted and time.monotonic() - self.asked_at > limits.START_MS / 1000:
                self.drop(live, "returned")  # too late: its rate limit has counted on an earlier start
                continue
            if live.over:  # its code has ended while it waited here
                del self.held[live.claimed.id]
                self.outbox.note(live.claimed, returned(live.claimed))
                continue
            self.running += 1
            live.start()

    async def payload(self, run_id: str) -> str | None:
        """A payload that was too big to ride along with its claim; None if it is not there."""
        while True:
            try:
                return (await self.store.read(claim.payloads, [run_id])).get(run_id)
            except (DatabaseError, IdempotencyBusy):
                await asyncio.sleep(random.uniform(0.2, BACKOFF_SECONDS))

    # out

    def done(self, live: Live, outcome: Outcome | None) -> None:
        """An attempt is over: note its outcome for the next round, and start the next run."""
        run = live.claimed
        if live.parked:  # its run waits: its code has left memory, or has gone on and ended by itself
            self.parked.discard(live)
            self.leaving.discard(live)
            if outcome is not None and outcome.woke and run.id not in self.held:
                self.outbox.note(run, outcome)
            self.changed.set()
            return
        self.held.pop(run.id, None)
        self.suspects.discard(run.id)
        if live.work is not None:
            self.pace.count(live.age())
            self.carried_out += 1
        if isinstance(outcome, Again):
            outcome.begun = live.work is not None
        self.outbox.note(run, outcome)
        if live.in_thread:
            self.ghosts += 1
        elif live.work is not None:
            self.free()
            return
        self.changed.set()

    def stop_thread(self) -> bool:
        return False

    def used(self) -> None:
        return None

    def freed(self) -> None:
        self.ghosts -= 1
        self.free()

    def free(self) -> None:
        """A slot is not in use any more."""
        self.running -= 1
        if self.waiting:
            self.start_waiting()
        self.changed.set()

    # waiting

    def suspend(self, live: Live) -> None:
        """Every branch of an attempt waits: with the next round its run gives up its slot."""
        self.outbox.waits.append(live.suspension(self.outbox.me if self.keeps(live) else None))
        self.changed.set()

    def keeps(self, live: Live) -> bool:
        """Whether it stays in memory while its run waits."""
        fits = live.size() <= self.settings.suspend_above
        return live.kept and fits and self.settings.suspend_after > 0 and not self.closing

    def unsuspend(self, live: Live) -> None:
        self.outbox.waits = [wait for wait in self.outbox.waits if wait.id != live.claimed.id]
        live.stay()

    def park(self, live: Live, tidings: Tidings | None) -> None:
        """Its run waits, and holds no slot any more."""
        run = live.claimed.id
        if tidings is not None:
            live.written(tidings)
        del self.held[run]
        self.suspects.discard(run)
        live.park()
        self.parked.add(live)
        if not self.keeps(live):
            self.unwind(live)
        else:
            live.later(self.settings.suspend_after, lambda: self.unwind(live))
            for surplus in self.parked.surplus():
                self.unwind(surplus)
        self.free()

    def unwind(self, live: Live) -> None:
        """It is not kept in memory any longer."""
        self.parked.discard(live)
        self.leaving.add(live)
        live.unwind()

    def back_again(self, run: Claimed) -> Live | None:
        """The attempt of a run that was claimed again, if its code is still here, as nobody had it in between."""
        live = self.parked.pop(run.id)
        if live is None:
            return None
        if live.claimed.claim + 1 != run.claim or live.over:
            self.unwind(live)
            return None
        live.rebind(run, self.recorded.get(run.id, []))
        return live

    def waiting_for(self, wait: Suspension) -> Live | None:
        """The attempt that has asked to be suspended, if it is still held here."""
        live = self.held.get(wait.id)
        return live if live is not None and live.claimed.claim == wait.claim and not live.over else None

    @property
    def busy(self) -> bool:
        """Whether code of runs is at work here, or about to be."""
        return bool(self.held or self.leaving or self.coming.ids or self.aftermath.busy)

    def looks(self, claimed: Iterable[Claimed]) -> list[journal.Look]:
        """What to read of the journals of these runs. One that was never claimed before has none."""
        looks = [journal.Look(run.id, self.seen(run)) for run in claimed if run.claim > 1]
        self.partly = {look.id for look in looks if look.since}
        return looks

    def seen(self, run: Claimed) -> int:
        live = self.parked.get(run.id)
        durable = live.operations() if live is not None and live.claimed.claim + 1 == run.claim else None
        return durable.journal.seen if durable is not None else 0

    def trust(self, live: Live) -> None:
        self.suspects.discard(live.claimed.id)

    def hear_who_is_awaited(self, ids: Iterable[str]) -> None:
        """Somebody waits for the ends of these, perhaps since a moment ago."""
        for live in [live for run_id in ids if (live := self.held.get(run_id)) is not None]:
            live.claimed = live.claimed._replace(awaited=True)

    def overdue(self, live: Live) -> None:
        self.late.add(live.claimed.id)
        self.changed.set()

    def logs(self, run_id: str) -> list[LogLine]:
        return self.store.read_sync(read.logs, run_id)

    def interrupt(self, run_id: str, number: int, reason: Reason) -> None:
        live = self.held.get(run_id)
        if live is None or live.claimed.claim != number:
            return
        if reason == "canceled":
            live.canceling = live.canceling or live.parked
            if live.catching_up():
                return
        if live.work is None:  # claimed, not started
            self.drop(live, reason)
            return
        live.interrupt(reason)

    def drop(self, live: Live, reason: Reason) -> None:
        """An attempt that never started ends for this reason."""
        if live in self.waiting:
            self.waiting.remove(live)
        if live.parked:
            del self.held[live.claimed.id]
            if reason != "lost":
                self.outbox.note(live.claimed, returned(live.claimed))
            live.unwind()
            return
        live.reason = reason
        live.abandon()

    def drop_waiting(self) -> None:
        for live in list(self.waiting):
            self.drop(live, "returned")

    def share(self) -> None:
        """Hand back what was claimed ahead and has waited too long after all: somebody else may be free."""
        late = [live for live in self.waiting if live.age() > PATIENCE_SECONDS]
        for live in late:
            self.drop(live, "returned")
        if late:
            self.pace.rate = 0.0  # nothing more is claimed ahead until runs end again

    def hand_back(self, held: Iterable[Fence]) -> None:
        """Whatever the database says is held here, and is not, goes back in line."""
        reported = self.outbox.reported() | self.coming.ids
        for run_id, number in held:
            live = self.held.get(run_id)
            if (live is None or live.claimed.claim != number) and run_id not in reported:
                log.warning("run %s was claimed by an answer that never arrived: it goes back in line", run_id)
                self.outbox.send_back(run_id, number)

    def survivors(self) -> list[str]:
        """The suspects that have outlived their last life."""
        return [run for run in self.suspects.held if (live := self.held.get(run)) and live.outlived()]

    # the end

    def close(self) -> None:
        """Take no more, and hand back what has not started."""
        self.closing = True
        self.drop_waiting()
        for live in self.parked:
            self.unwind(live)

    def stop_all(self, reason: Reason) -> None:
        """Stop what runs; what does not stop within a second is reported without it."""
        if self.held:
            log.warning("%d of the runs here did not end in time: they are stopped and go back in line", len(self.held))
        for live in list(self.held.values()):
            self.interrupt(live.claimed.id, live.claimed.claim, reason)
            self.loop.call_later(1.0, live.abandon)
        self.loop.call_later(1.0, self.leaving.clear)
        self.aftermath.stop()

    def lose_all(self) -> None:
        """Nothing of this is ours any more."""
        for live in list(self.waiting):
            self.drop(live, "lost")
        for live in list(self.held.values()):
            live.interrupt("lost")
            live.abandon()
        self.suspects.clear()
        self.outbox.clear()
        self.aftermath.stop()

    async def shut(self) -> None:
        """Close what attempts have shared. No thread takes up anything new."""
        self.reports.stop()
        await self.scope.close(self.settings.hook_seconds)
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.apart.close()
