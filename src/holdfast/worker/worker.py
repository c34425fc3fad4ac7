"""The rounds of one worker process: claim, dispatch, drain.

    ┌► exchange: outcomes and log lines out, runs in, one transaction ─► start what came
    │      while it travels, the loop runs what is here, and outcomes gather for the next
    └── promote, make due, read orders; sleep only when there is nothing to say and nothing to take

All of a worker's talking to the database is one after the other, so that what it holds and what it has asked for are
never in doubt. When an answer is lost, what the database says this worker holds is compared with what it knows, and
the rest is handed back. When the worker is declared lost, everything it holds is stopped, and it goes on under a new
name.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import platform
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

from holdfast.engine import catalogue, claim, limits, workers
from holdfast.engine.claim import Ask, Round
from holdfast.engine.trigger import queue_id, route_id
from holdfast.errors import DatabaseError, DatabaseFull, DatabaseReadOnly, DatabaseUnavailable, IdempotencyBusy
from holdfast.ids import new_id
from holdfast.records import Claimed, Ended, LogLine, QueueEntry
from holdfast.sizes import MIB
from holdfast.storage import Store
from holdfast.storage.base import RowBusy
from holdfast.storage.runs import AgainRow, Fence, again_row
from holdfast.task import Task
from holdfast.worker.live import Live, said
from holdfast.worker.outcome import Outcome, Reason, back, system_failure

log = logging.getLogger("holdfast")

AHEAD = 500  # runs claimed ahead of free slots, at most
AHEAD_SECONDS = 0.1  # … and never more than will start within this
ORDERS_SECONDS = 1.0
ROUTES_SECONDS = 1.0
STRAY_MS = 5_000
LOOK_SECONDS = 0.25
LINES_SECONDS = 0.5
LINES_AT_ONCE = 2_000
POLL_SECONDS = 1.0  # where wake-ups arrive
BLIND_POLL_SECONDS = 0.1  # where they do not
GRACE_SECONDS = 30.0  # for code that was told to stop
BACKOFF_SECONDS = 2.0
ASIDE_SECONDS = 5.0  # until what was locked is tried again
LATER = (DatabaseUnavailable, DatabaseFull, DatabaseReadOnly, IdempotencyBusy)  # what passes: the same again, later
BUSY = (RowBusy, IdempotencyBusy)  # … which only some of it has to wait for


class Home(NamedTuple):
    """What a worker needs of an app: its tasks, its queues, what triggers inside a task go through, and a limit in
    bytes."""

    tasks: Mapping[str, Task[Any, Any]]
    queues: list[QueueEntry]
    verbs: object
    output_limit: int = 10 * MIB


class Settings(NamedTuple):
    """How a worker works. Durations in seconds, but for the lease."""

    concurrency: int = 32
    queues: Sequence[str] | None = None
    lease_ms: int = 30_000
    drain_seconds: float = 30.0
    grace_seconds: float = GRACE_SECONDS
    version: str | None = None


class Worker:
    """One worker: an event loop, a pool of threads for ``def`` tasks, and what it holds."""

    def __init__(
        self, home: Home, store: Store, settings: Settings, *, registered: Callable[[str], None] = lambda _: None
    ) -> None:
        self.home, self.store, self.settings = home, store, settings
        self.registered = registered  # told the worker's id each time it has one
        self.tasks = home.tasks
        self.me = ""
        self.routes: list[int] = []
        self.queue_names: dict[int, str] = {}
        self.waiting: deque[Live] = deque()  # claimed, not started
        self.held: dict[str, Live] = {}  # claimed and not reported
        self.running = 0  # slots in use …
        self.ghosts = 0  # … those of them whose thread is busy with an attempt that is over
        self.ended: list[Ended] = []
        self.again: list[AgainRow] = []
        self.aside: deque[Ended | AgainRow] = deque()  # outcomes that somebody's lock is in the way of
        self.lines: deque[LogLine] = deque()  # threads append to it
        self.suspects: set[str] = set()
        self.pace, self.heads = Pace(), Heads()
        self.busy = 0  # routes that gave something last time
        self.idle = True  # what the database was told
        self.wants_idle = True
        self.draining = self.stopped = self.woken = self.starting = False
        self.doubtful = False  # an answer was lost
        self.repeated: set[str] = set()  # runs whose outcome was in a lost answer
        self.outcast = False  # declared lost, and not registered anew yet
        self.orders_at = self.routes_at = self.lines_at = self.asked_at = 0.0
        self.aside_at = self.metadata_at = 0.0
        self.fruitless = 0
        self.notes = False
        self.suspects_wait = False
        self.due_at = float("inf")

    # life

    async def run(self) -> None:
        """Work until drained. Cancel it to stop at once."""
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()  # what attempts start from
        self.changed = asyncio.Event()
        self.threads: Executor = ThreadPoolExecutor(self.settings.concurrency, "holdfast-task")
        unsubscribe = self.store.wakeups.subscribe(self.wake)
        self.store.listen()
        try:
            await self.persist(self.register)
            while not self.finished():
                await self.turn()
            await self.persist(lambda: self.store.run(workers.stop, self.me))
        finally:
            self.stopped = True
            unsubscribe()
            self.threads.shutdown(wait=False, cancel_futures=True)

    def finished(self) -> bool:
        return self.draining and not (self.held or self.ended or self.again or self.aside or self.lines)

    async def persist(self, act: Callable[[], Any]) -> None:
        """Do this however long the database is away."""
        while True:
            try:
                await act()
                return
            except LATER as error:
                log.warning("the database does not answer, trying again: %s", error)
                await asyncio.sleep(random.uniform(0.2, BACKOFF_SECONDS))

    async def register(self) -> None:
        """Announce tasks and queues, and enter under a new name."""
        entries = [task.entry(self.settings.version) for task in self.tasks.values()]
        for queue in await self.store.run(catalogue.announce, entries, self.home.queues):
            await self.relane(queue.name)
        me = new_id()
        queues = None if self.settings.queues is None else list(self.settings.queues)
        entry = workers.WorkerEntry(
            id=me,
            lease_ms=self.settings.lease_ms,
            host=platform.node(),
            pid=os.getpid(),
            concurrency=self.settings.concurrency,
            queues=queues,
            version=self.settings.version,
        )
        await self.store.run(workers.register, entry, sorted(self.tasks))
        self.me, self.idle, self.wants_idle, self.outcast = me, True, True, False
        await self.find_routes()
        self.registered(me)

    async def relane(self, queue: str) -> None:
        """The limits of a queue have changed: its runs go into the lanes they belong to now."""
        after: str | None = ""
        while after is not None:
            after = await self.store.run(limits.relane, queue, queue_id(queue), after)

    async def find_routes(self) -> None:
        found = await self.store.read(workers.routes, sorted(self.tasks), self.settings.queues)
        if not {route.id for route in found}.issubset(self.routes):
            self.changed.set()  # whoever made a route did so to use it
        self.routes = [route.id for route in found]
        self.queue_names = {queue_id(route.queue): route.queue for route in found}
        random.shuffle(self.routes)
        self.routes_at = time.monotonic()

    # rounds

    async def turn(self) -> None:
        """One pass: say and take, then look around; sleep if there was nothing."""
        try:
            if self.outcast:
                await self.register()
            took = await self.exchange()
            await self.look_around()
            if not took:
                await self.rest()
        except LATER as error:
            log.warning("the database does not answer, work goes on and is reported later: %s", error)
            await self.doubt()
        except Exception:
            log.exception("a round failed, and is tried again")
            await self.doubt()

    async def doubt(self) -> None:
        """What the last round did is not known. Compare, but not at once."""
        self.doubtful = True
        await asyncio.sleep(random.uniform(0.1, BACKOFF_SECONDS))

    async def exchange(self) -> bool:
        """A round, if there is anything to say or to take. Answers whether another one should follow at once."""
        if self.doubtful:
            await self.compare(0)
            self.doubtful = False
        while len(self.lines) > LINES_AT_ONCE:
            await self.write_lines([self.lines.popleft() for _ in range(LINES_AT_ONCE)])
        ask = self.ask()
        ended, again, lines = self.ended, self.again, self.take_lines()
        if not (ask.n or ask.suspect or ended or again or lines or ask.idle is not None):
            return False
        self.ended, self.again = [], []
        self.asked_at = time.monotonic()
        try:
            result = await self.store.run(claim.exchange, ask, ended, again, lines)
        except Exception as error:
            if not away(error):
                await self.one_by_one([*ended, *again], lines, error)
                return True
            self.ended, self.again = ended + self.ended, again + self.again
            self.lines.extendleft(reversed(lines))
            self.repeated.update([run.id for run in ended] + [row.id for row in again])
            raise
        self.take_in(ask, result)
        return bool(result.claimed) or ask.idle is not None or self.must_tell()

    def ask(self) -> Ask:
        """What this worker can take now."""
        free = self.settings.concurrency - self.ghosts + self.pace.ahead() - len(self.held)
        n = 0 if self.draining else max(0, free)
        suspect = bool(n and self.suspects_wait and not self.suspects)
        each = max(1, -(-n // max(1, self.busy)))
        idle = self.wants_idle if self.must_tell() else None
        return Ask(self.me, self.routes, n, each, suspect, idle, self.heads.known())

    def must_tell(self) -> bool:
        """Whether the database should be told that this worker is about to sleep, or no longer is.

        A trigger notifies only those that said so. After saying so comes another claim before the sleep: a run that was
        made meanwhile was made by somebody who had not heard of it.
        """
        return self.store.tells_sleepers and self.wants_idle is not self.idle

    def take_in(self, ask: Ask, result: Round) -> None:
        """Learn from a round, and start what it brought."""
        if ask.idle is not None:
            self.idle = ask.idle
        self.notes, self.suspects_wait = result.notes, result.suspects
        self.due_at = float("inf") if result.due_in_ms is None else time.monotonic() + result.due_in_ms / 1000
        for run_id, number in result.lost:
            if run_id not in self.repeated:
                log.warning("run %s has moved on: what claim %d had to report is discarded", run_id, number)
        self.repeated.clear()
        got = len(result.claimed)
        if ask.n:
            self.wants_idle = got < ask.n
            self.busy = self.heads.learn(result.claimed, self.queue_names)
            self.fruitless = 0 if got else self.fruitless + 1
        if got:
            self.admit(result.claimed)
        if result.me not in ("live", "draining"):
            self.lost()

    def admit(self, claimed: list[Claimed]) -> None:
        for row in sorted(claimed, key=lambda run: (run.sort_at, run.id)):
            run = row._replace(queue=self.queue_names.get(row.queue, ""))  # type: ignore[call-overload]
            if run.suspect:
                self.suspects.add(run.id)
            try:
                live = Live(run, self.tasks[run.task], self)
            except Exception as error:
                message = f"What is stored of this run cannot be read: {said(error)}"
                self.ended.append(system_failure(run.id, run.claim, message))
                continue
            self.held[run.id] = live
            self.waiting.append(live)
        if self.draining:  # they were asked for before
            self.drop_waiting()
        self.start_waiting()

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
        while self.waiting and self.running < self.settings.concurrency and not self.draining:
            live = self.waiting.popleft()
            if live.claimed.granted and time.monotonic() - self.asked_at > limits.START_MS / 1000:
                self.drop(live, "returned")  # too late: its rate limit has counted on an earlier start
                continue
            self.running += 1
            live.start()

    def done(self, live: Live, outcome: Outcome | None) -> None:
        """An attempt is over: note its outcome for the next round, and start the next run."""
        run = live.claimed
        self.held.pop(run.id, None)
        self.suspects.discard(run.id)
        if live.work is not None:
            self.pace.count()
        self.note(run, outcome)
        if live.in_thread:
            self.ghosts += 1
        elif live.work is not None:
            self.free()
        self.changed.set()

    def freed(self) -> None:
        self.ghosts -= 1
        self.free()

    def free(self) -> None:
        """A slot is not in use any more."""
        self.running -= 1
        if self.waiting:
            self.start_waiting()
        self.changed.set()

    def note(self, run: Claimed, outcome: Outcome | None) -> None:
        if isinstance(outcome, Ended):
            self.ended.append(outcome)
        elif outcome is not None:
            self.again.append(again_row(outcome, self.me, run.attempt, run.started_at))

    async def one_by_one(self, outcomes: list[Ended | AgainRow], lines: list[LogLine], error: Exception) -> None:
        """The round was refused: write each outcome alone, so that only the bad one is told, and forget none."""
        if not (outcomes or lines):
            raise error
        log.warning("the database refused a round, its outcomes are written one by one: %s", error)
        left, said_by = deque(outcomes), by_run(lines)
        try:
            while left:
                await self.write_alone(left[0], said_by.pop(left[0].id, []))
                left.popleft()
        finally:
            for one in left:
                (self.ended if isinstance(one, Ended) else self.again).append(one)  # type: ignore[arg-type]
        for some in said_by.values():
            await self.write_lines(some)

    async def write_alone(self, one: Ended | AgainRow, lines: list[LogLine]) -> None:
        """Write an outcome; if it cannot be stored, that; if somebody else's lock is in the way, put it aside."""
        await self.write_lines(lines)
        try:
            await self.tell(one)
        except BUSY as error:
            log.warning("the outcome of run %s has to wait: %s", one.id, error)
            self.aside.append(one)
            self.aside_at = time.monotonic()
        except Exception as error:
            if away(error):
                raise
            log.exception("the outcome of run %s cannot be stored", one.id)
            message = f"The outcome of this run could not be stored: {said(error)}"
            await self.tell(system_failure(one.id, one.claim, message))

    async def retry_aside(self) -> None:
        """Try what was locked: until it is locked again, for that takes the time of everything else."""
        for _ in range(len(self.aside)):
            one, waiting = self.aside.popleft(), len(self.aside)
            try:
                await self.write_alone(one, [])
            except BaseException:
                self.aside.appendleft(one)
                raise
            if len(self.aside) > waiting:
                return

    async def tell(self, one: Ended | AgainRow) -> None:
        ended, again = ([one], []) if isinstance(one, Ended) else ([], [one])
        await self.store.run(claim.exchange, Ask(self.me), ended, again, [])

    async def write_lines(self, lines: list[LogLine]) -> None:
        """Write log lines by themselves. What the database refuses is given up: no run should fail for its log."""
        if not lines:
            return
        try:
            await self.store.run(claim.write_logs, lines, [])
        except Exception as error:
            if away(error):
                self.lines.extendleft(reversed(lines))
                raise
            log.exception("%d log lines cannot be stored, of run %s", len(lines), lines[0].run_id)

    def take_lines(self) -> list[LogLine]:
        """The log lines to send now: those of running attempts every half second, all of them with an outcome."""
        now = time.monotonic()
        if not self.lines or not (self.ended or self.again or now - self.lines_at >= LINES_SECONDS):
            return []
        self.lines_at = now
        return [self.lines.popleft() for _ in range(len(self.lines))]

    # looking around

    async def look_around(self) -> None:
        """What is not a run's own: lanes to promote, runs that are due, orders, new routes."""
        now = time.monotonic()
        if now >= self.due_at and not self.draining:
            self.due_at, self.notes = float("inf"), True
            if await self.store.run(claim.due):
                self.changed.set()
        if self.notes and not self.draining:
            self.notes = False
            if await self.store.run(limits.promote):
                self.changed.set()
        if now - self.orders_at >= ORDERS_SECONDS:
            await self.obey()
        if self.aside and now - self.aside_at >= ASIDE_SECONDS:
            await self.retry_aside()
        if now - self.routes_at >= ROUTES_SECONDS:
            await self.find_routes()

    async def obey(self) -> None:
        """Read what this worker is told, write what its attempts say of themselves, and hand back what it does not
        know."""
        self.orders_at = time.monotonic()
        orders = await self.store.read(claim.orders, self.me, STRAY_MS)
        if orders.state not in ("live", "draining"):
            self.lost()
            return
        for run_id, number in orders.cancel:
            self.interrupt(run_id, number, "canceled")
        self.hand_back(orders.held)
        self.share()
        await self.trust_survivors()
        await self.write_metadata()

    async def write_metadata(self) -> None:
        """Write what running attempts have changed in their runs' metadata."""
        changed = [(live, text) for live in list(self.held.values()) if (text := live.metadata()) is not None]
        if not changed or time.monotonic() < self.metadata_at:
            return
        try:
            await self.store.run(claim.write_logs, [], [fenced(live, text) for live, text in changed])
        except LATER:  # it is written later, with the outcome at the latest
            self.metadata_at = time.monotonic() + ASIDE_SECONDS
            return
        except Exception:
            log.exception("the metadata of running runs cannot be stored")
        for live, text in changed:
            live.written(text)

    async def payload(self, run_id: str) -> str | None:
        """A payload that was too big to ride along with its claim; None if it is not there."""
        while True:
            try:
                return (await self.store.read(claim.payloads, [run_id])).get(run_id)
            except (DatabaseError, IdempotencyBusy):
                await asyncio.sleep(random.uniform(0.2, BACKOFF_SECONDS))

    async def compare(self, older_ms: int) -> None:
        """After a lost answer: whatever the database says we hold and we do not know goes back in line."""
        self.hand_back(await self.store.read(claim.strays, self.me, older_ms))

    def hand_back(self, held: Iterable[Fence]) -> None:
        reported = {one.id for one in (*self.ended, *self.again, *self.aside)}
        for run_id, number in held:
            live = self.held.get(run_id)
            if (live is None or live.claimed.claim != number) and run_id not in reported:
                log.warning("run %s was claimed by an answer that never arrived: it goes back in line", run_id)
                self.again.append(again_row(back(run_id, number), self.me, 0, 0))

    def share(self) -> None:
        """Hand back what was claimed ahead and has waited too long after all: somebody else may be free."""
        late = [live for live in self.waiting if live.age() > ORDERS_SECONDS]
        for live in late:
            self.drop(live, "returned")
        if late:
            self.pace.rate = 0.0  # nothing more is claimed ahead until runs end again

    async def trust_survivors(self) -> None:
        """A suspect that has outlived its last life is one no more."""
        trusted = [run for run in self.suspects if (live := self.held.get(run)) and live.outlived()]
        if trusted:
            await self.store.run(claim.clear_suspects, self.me, trusted)
            self.suspects.difference_update(trusted)

    def interrupt(self, run_id: str, number: int, reason: Reason) -> None:
        live = self.held.get(run_id)
        if live is None or live.claimed.claim != number or live.reason is not None:
            return
        if live.work is None:  # claimed, not started
            self.drop(live, reason)
            return
        live.interrupt(reason)

    def drop(self, live: Live, reason: Reason) -> None:
        """An attempt that never started ends for this reason."""
        if live in self.waiting:
            self.waiting.remove(live)
        live.reason = reason
        live.abandon()

    # sleep

    def wake(self) -> None:
        """Called from a storage thread: there may be work."""
        if not self.woken and not self.stopped:
            self.woken = True
            self.loop.call_soon_threadsafe(self.changed.set)

    async def rest(self) -> None:
        """Sleep until something happens here or elsewhere, something is due, or it is time to look."""
        if not self.changed.is_set():
            if self.fruitless > 1 and self.woken:
                await asyncio.sleep(
                    min(0.02, 0.001 * self.fruitless)
                )  # others are busy; do not answer each of their commits
            timeout = POLL_SECONDS if self.store.early else BLIND_POLL_SECONDS
            if self.lines:
                timeout = min(timeout, LINES_SECONDS)
            timeout = min(timeout, max(0.0, self.due_at - time.monotonic())) * random.uniform(0.9, 1.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), timeout)
        self.changed.clear()
        self.woken = False

    # the end

    def drain(self) -> None:
        """Take no more; hand back what has not started; let the rest end within the drain time, then stop it."""
        if self.draining:
            return
        self.draining = True
        self.telling = self.loop.create_task(self.persist(lambda: self.store.run(workers.drain, self.me)))
        self.drop_waiting()
        self.loop.call_later(self.settings.drain_seconds, self.stop_all, "returned")
        self.changed.set()

    def drop_waiting(self) -> None:
        for live in list(self.waiting):
            self.drop(live, "returned")

    def abort(self) -> None:
        """Nobody beats for this worker any more: hand everything back at once, and end."""
        self.drain()
        self.stop_all("returned")

    def stop_all(self, reason: Reason) -> None:
        for live in list(self.held.values()):
            self.interrupt(live.claimed.id, live.claimed.claim, reason)
            self.loop.call_later(1.0, live.abandon)

    def lost(self) -> None:
        """This worker was declared lost: whatever it holds is not its own any more. It goes on under a new name."""
        log.error("this worker was declared lost: its %d runs are stopped, and it registers anew", len(self.held))
        self.waiting.clear()
        for live in list(self.held.values()):
            live.interrupt("lost")
            live.abandon()
        self.ended, self.again = [], []
        self.aside.clear()
        self.lines.clear()
        self.suspects.clear()
        self.outcast = True


class Heads:
    """Where the line of each route began at the last claim, so that the next one need not step over what is gone.

    What comes in before that, for its priority or because it was handed back, is found a quarter of a second later at
    most, when the lines are looked at from their beginning.
    """

    def __init__(self) -> None:
        self.since: dict[int, int] = {}
        self.looked_at = 0.0

    def known(self) -> Mapping[int, int]:
        now = time.monotonic()
        if now - self.looked_at > LOOK_SECONDS:
            self.looked_at = now
            return {}
        return self.since

    def learn(self, claimed: list[Claimed], names: Mapping[int, str]) -> int:
        """Note the heads; answers how many routes gave something."""
        since: dict[int, int] = {}
        for run in claimed:
            route = route_id(names.get(run.queue, ""), run.task, run.version)  # type: ignore[call-overload]
            since[route] = min(run.sort_at, since.get(route, run.sort_at))
        self.since = since
        return len(since)


class Pace:
    """How fast runs end here, to know how many may be claimed ahead of their slots."""

    def __init__(self) -> None:
        self.since, self.ended, self.rate = time.monotonic(), 0, 0.0

    def count(self) -> None:
        self.ended += 1

    def ahead(self) -> int:
        """Runs that will start within a tenth of a second, at the pace of the last while."""
        now = time.monotonic()
        passed = now - self.since
        if passed > 0.05:
            rate = self.ended / passed
            self.rate = rate if rate > self.rate else 0.7 * self.rate + 0.3 * rate
            self.since, self.ended = now, 0
        return min(AHEAD, int(self.rate * AHEAD_SECONDS))


def away(error: Exception) -> bool:
    """Whether nothing can be written at present: the same again, later."""
    return isinstance(error, LATER) and not isinstance(error, BUSY)


def fenced(live: Live, metadata: str) -> Ended:
    """The metadata of a running attempt with its fence."""
    return Ended(live.claimed.id, live.claimed.claim, "", None, None, metadata)


def by_run(lines: Iterable[LogLine]) -> dict[str, list[LogLine]]:
    found: dict[str, list[LogLine]] = {}
    for line in lines:
        found.setdefault(line.run_id, []).append(line)
    return found
