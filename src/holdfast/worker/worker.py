"""The rounds of one worker process: claim, dispatch, drain.

    ┌► exchange: outcomes and log lines out, lanes promoted, runs in, one transaction ─► start what came
    │      while it travels, the loop runs what is here, and outcomes gather for the next
    └── make due, read orders; sleep only when there is nothing to say and nothing to take

All of a worker's talking to the database is one after the other, so that what it holds and what it has asked for are
never in doubt. When an answer is lost, what the database says this worker holds is compared with what it knows, and
the rest is handed back. When the worker is declared lost, everything it holds is stopped, and it goes on under a new
name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.engine import alerts, catalogue, claim, due, journal, limits, schedules, workers
from holdfast.engine.claim import Ask, Round
from holdfast.engine.trigger import RouteName, queue_id
from holdfast.engine.workers import Route
from holdfast.ids import new_id
from holdfast.machine import machine_of
from holdfast.records import Claimed, Entry, Suspension, TaskEntry
from holdfast.storage import Store
from holdfast.storage.base import is_outage
from holdfast.storage.runs import Place
from holdfast.worker import branches
from holdfast.worker.capacity import Room
from holdfast.worker.hold import Hold
from holdfast.worker.home import BACKOFF_SECONDS, Home, Settings
from holdfast.worker.outbox import LATER, LINES_SECONDS, Outbox
from holdfast.worker.pace import AHEAD_SECONDS, NEVER, Heads
from holdfast.worker.suspects import NONE, Wish

log = logging.getLogger("holdfast")

ORDERS_SECONDS = 1.0
ROUTES_SECONDS = 1.0
SILENCE_SECONDS = 3.0  # of a supervisor, which should beat every second
LULL_SECONDS = 0.05
OWN_WAKES = 8
POLL_SECONDS = 1.0  # where wake-ups arrive
BLIND_POLL_SECONDS = 0.1  # where they do not
NOTHING = Room(0, 0)


class Worker:
    """One worker: an event loop, a pool of threads for ``def`` tasks, and what it holds."""

    hold: Hold
    what = "worker"

    def __init__(
        self,
        home: Home,
        store: Store,
        settings: Settings,
        *,
        registered: Callable[[str], None] = lambda _: None,
        spent: Callable[[str], None] = lambda _: None,
        apart: Callable[[dict[int, str]], None] = lambda _: None,
    ) -> None:
        self.home, self.store, self.settings = home, store, settings
        self.registered = registered  # told the worker's id each time it has one
        self.spent = spent  # told once why this process should be replaced
        self.apart = apart  # told again and again which runs are in processes of their own, by pid
        self.any_apart = False  # … there were some last time
        self.me = ""
        self.outbox = Outbox(store)
        self.routes: list[int] = []
        self.pinned: list[int] = []  # … those of them for runs that are bound to our version
        self.places: list[Place] = []  # routes of runs with machines, that could fit here …
        self.pinned_places: list[Place] = []
        self.known_routes: set[int] = set()  # all of these
        self.queue_names: dict[int, str] = {}
        self.heads, self.busy = Heads(), 0  # busy: routes that gave something last time
        self.idle = self.wants_idle = True  # what the database was told, and what it should be told
        self.draining = self.stopped = self.woken = False
        self.doubtful = False  # an answer was lost
        self.refused: list[Suspension] = []  # what was not suspended, and it is not known why
        self.unheard: set[str] = set()  # runs in which something may have settled that they have not heard of
        self.outcast = False  # declared lost, and not registered anew yet
        self.beaten_at: float | None = None  # when a supervisor said that it beats for us; None if nobody ever says so
        self.notes = self.promoting = self.suspects_wait = False
        self.due_at = NEVER
        self.took_over_at = -NEVER  # when runs whose wait was over were last claimed as they were
        self.orders_at = self.routes_at = 0.0
        self.fruitless = self.in_vain = 0  # looks that brought nothing; wake-ups in a row that did not

    # life

    async def run(self) -> None:
        """Work until drained. Cancel it to stop at once."""
        self.loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()
        self.hold = self.make_hold()
        self.hold.coming.room, self.hold.coming.admit = self.spare, self.welcome
        unsubscribe = self.store.wakeups.subscribe(self.wake)
        self.store.listen()
        restore = branches.follow(self.loop)
        try:
            await self.persist(self.register)
            while not self.finished():
                await self.turn()
            await self.persist(lambda: self.store.run(workers.stop, self.me))
        finally:
            self.stopped = True
            restore()
            unsubscribe()
            await self.hold.shut()

    def make_hold(self) -> Hold:
        return Hold(self.home, self.store, self.settings, self.outbox, self.changed)

    def entries(self) -> list[TaskEntry]:
        """What it announces: the tasks it carries out, and those of the app's that pushers do."""
        return [task.entry(self.settings.version) for task in (*self.home.tasks.values(), *self.home.elsewhere)]

    def finished(self) -> bool:
        return self.draining and self.hold.closing and not (self.hold.busy or self.outbox)

    async def persist(self, act: Callable[[], Any]) -> None:
        """Do this however long the database is away."""
        while True:
            try:
                await act()
                self.store.outage.back(self.what)
                return
            except LATER as error:
                self.complain(error)
                await asyncio.sleep(random.uniform(0.2, BACKOFF_SECONDS))

    async def register(self) -> None:
        """Announce tasks and queues, and enter under a new name."""
        for queue in await self.store.run(catalogue.announce, self.entries(), self.home.queues):
            await self.relane(queue.name)
        me = new_id()
        queues = None if self.settings.queues is None else list(self.settings.queues)
        room, machines = self.settings.room, self.settings.machines
        entry = workers.WorkerEntry(
            id=me,
            lease_ms=self.settings.lease_ms,
            host=platform.node(),
            pid=os.getpid(),
            concurrency=self.settings.concurrency,
            queues=queues,
            version=self.settings.version,
            app=self.home.app,
            declares=schedules.digest(self.home.schedules),
            cpu_millis=room.cpu_millis if room is not None else None,
            memory_bytes=room.memory_bytes if room is not None else None,
            machines=None if machines is None else list(machines),
        )
        await self.store.run(workers.register, entry, sorted(self.home.tasks))
        if self.home.app is not None:
            await self.store.run(schedules.declare, self.home.app, self.home.schedules)
            await self.store.run(alerts.declare, self.home.app, self.home.alerts)
        self.me = self.outbox.me = me
        self.idle, self.wants_idle, self.outcast = True, True, False
        await self.find_routes()
        self.registered(me)

    async def relane(self, queue: str) -> None:
        """The limits of a queue have changed: its runs go into the lanes they belong to now."""
        after: str | None = ""
        while after is not None:
            after = await self.store.run(limits.relane, queue, queue_id(queue), after)

    async def find_routes(self) -> None:
        wanted = sorted(self.home.tasks), self.settings.queues, self.settings.version
        found = await self.store.read(workers.routes, *wanted)
        if await self.pin_routes(found):
            found = await self.store.read(workers.routes, *wanted)
        if not {route.id for route in found}.issubset(self.known_routes):
            self.changed.set()  # whoever made a route did so to use it
        self.known_routes = {route.id for route in found}
        plain = [route for route in found if route.machine is None or self.settings.room is None]
        self.routes = [route.id for route in plain]
        self.pinned = [route.id for route in plain if route.version is not None]
        self.places = self.places_of(found)
        self.pinned_places = self.places_of([route for route in found if route.version is not None])
        self.queue_names = {queue_id(route.queue): route.queue for route in found}
        random.shuffle(self.routes)
        self.routes_at = time.monotonic()

    def places_of(self, routes: Iterable[Route]) -> list[Place]:
        """Those of these routes whose runs have machines that this worker takes, and that fit here when nothing else is
        there."""
        room, wanted = self.settings.room, self.settings.machines
        if room is None:
            return []
        sized = [(route.id, machine_of(route.machine)) for route in routes if route.machine is not None]
        return [
            Place(route, machine.cpu_millis, machine.memory_bytes)
            for route, machine in sized
            if room.holds(machine) and (wanted is None or machine.name in wanted)
        ]

    async def pin_routes(self, found: list[Route]) -> bool:
        """Make the routes of what starts here and is pinned to our version, before anything is claimed; those of other
        machines, too, on which what triggers have named our version for may go on."""
        version = self.settings.version
        if version is None:
            return False
        pinned = {name_of(route) for route in found if route.version is not None}
        named = {(route.queue, route.task) for route in pinned}
        missing = {name_of(each) for each in found if self.settings.pins or (each.queue, each.task) in named} - pinned
        if missing:
            await self.store.run(catalogue.pin_routes, list(missing), version)
        return bool(missing)

    # rounds

    async def turn(self) -> None:
        """One pass: say and take, then look around; sleep if there was nothing."""
        try:
            if self.outcast and not self.attended():
                await asyncio.sleep(ORDERS_SECONDS)  # whatever it took it would lose again, and leave under suspicion
                return
            if self.outcast:
                await self.register()
            took = await self.exchange()
            took = await self.look_around() or took
            self.store.outage.back(self.what)
            if self.wants_idle:  # the line is empty: what has come starts now, not while the next round is sent
                await asyncio.sleep(0)
            if not took:
                await self.rest()
        except LATER as error:
            self.complain(error)
            await self.doubt()
        except Exception:
            log.exception("a round failed, and is tried again")
            await self.doubt()

    def complain(self, error: Exception) -> None:
        """What was asked of the database has to wait."""
        if is_outage(error):
            self.store.outage.away(self.what, error)
        else:
            log.warning("what this worker has to say has to wait: %s", error)

    def attended(self) -> bool:
        """Whether somebody beats for this worker, as far as it can know."""
        lease = self.settings.lease_ms / 1000
        silence = min(max(SILENCE_SECONDS, lease / 2), 0.9 * lease)  # never as long as others wait to call it lost
        return self.beaten_at is None or time.monotonic() - self.beaten_at < silence

    async def doubt(self) -> None:
        """What the last round did is not known. Compare, but not at once."""
        self.doubtful = True
        self.unheard.update(self.hold.held)
        await asyncio.sleep(random.uniform(0.1, BACKOFF_SECONDS))

    async def exchange(self) -> bool:
        """A round, if there is anything to say or to take. Answers whether another one should follow at once."""
        if self.doubtful:
            await self.compare()
            self.doubtful = False
        await self.outbox.write_surplus()
        ask, parcel = self.ask(), self.outbox.take()
        if not (ask.n or ask.suspects or ask.promotes or any(parcel) or ask.idle is not None):
            return False
        self.hold.asked_at = time.monotonic()
        try:
            result = await self.store.run(claim.exchange, ask, *parcel)
        except Exception as error:
            if is_outage(error):
                self.outbox.keep(parcel)
                raise
            await self.outbox.one_by_one(parcel, error)
            return True
        self.park(parcel.waits, result.suspended)
        self.hold.recorded = await self.journals(result.claimed)
        self.take_in(ask, result)
        if self.refused:
            await self.settle_waits()
        elif result.told:
            await self.hear()
        more = bool(result.claimed) and not self.emptied(ask, result)
        return more or bool(ask.suspects or self.notes) or ask.idle is not None or self.must_tell()

    def emptied(self, ask: Ask, result: Round) -> bool:
        """Whether every line was taken to its end while the database knew that this worker is to be notified of what
        comes in: there is nothing to look for before that."""
        return self.idle and self.wants_idle and len(result.claimed) < ask.each and not ask.places

    async def journals(self, claimed: list[Claimed]) -> dict[str, list[Entry]]:
        """What these runs have recorded."""
        looks = self.hold.looks(claimed)
        return await self.store.read(journal.since, looks) if looks else {}

    def park(self, waits: list[Suspension], suspended: list[str]) -> None:
        """Park the runs that gave up their slots. How those stand that did not is to be asked."""
        there = set(suspended)
        for wait in waits:
            if wait.id not in there:
                self.refused.append(wait)
            elif (live := self.hold.waiting_for(wait)) is not None:
                self.hold.park(live, wait.tidings)

    async def settle_waits(self) -> None:
        """Those that were not suspended: something has come, a cancel has, or they have moved on."""
        if not self.refused:
            return
        standing, taken = await self.store.run(claim.standing, self.me, [wait.id for wait in self.refused])
        self.unheard.update(taken)
        refused, self.refused = self.refused, []
        for wait, live in [(wait, live) for wait in refused if (live := self.hold.waiting_for(wait)) is not None]:
            where = standing.get(wait.id)
            if where == ("waiting", wait.claim):  # the answer to an earlier round was lost
                self.hold.park(live, wait.tidings)
            elif where == ("executing", wait.claim):
                live.stay()
                self.unheard.add(wait.id)
                self.orders_at = 0.0  # it may be canceled
            else:
                live.interrupt("lost")
                live.abandon()
        await self.hear(taken)

    async def hear(self, taken: Mapping[str, bool] | None = None) -> None:
        """Something has settled for which runs here wait, in those ``taken`` or in whatever the database says. What
        fails on the way is not forgotten."""
        if taken is None:
            taken = await self.store.run(journal.take_news, self.me)
            self.unheard.update(taken)
        self.hold.hear_who_is_awaited(run_id for run_id, awaited in taken.items() if awaited)
        lives = [live for run_id in self.unheard if (live := self.hold.held.get(run_id)) is not None]
        found, canceled = await self.store.read(journal.news, [look for live in lives for look in live.looks()])
        for live in lives:
            await live.hear_of_children()
        for run_id, number in canceled:
            self.hold.interrupt(run_id, number, "canceled")
        for live in lives:
            live.heard(found)
        self.unheard.clear()

    def ask(self) -> Ask:
        """What this worker can take now."""
        n = self.hold.room() if self.attended() else 0
        wish = self.hold.suspects.wish(n) if self.suspects_wait else NONE
        n -= wish.n
        each = max(1, -(-n // max(1, self.busy)))
        idle = self.wants_idle if self.must_tell() else None
        home = self.settings.version, self.settings.pins
        routes = self.pinned if self.draining else self.routes
        places = self.pinned_places if self.draining else self.places
        free = self.hold.left(self.settings.room) if places and self.settings.room is not None else NOTHING
        return Ask(self.me, routes, n, each, *wish, idle, self.promotes(), self.heads.known(), *home, places, *free)

    def promotes(self) -> bool:
        """Whether lanes are to be promoted: somebody says so, or some were just now, and more of theirs will end."""
        return (self.notes or self.promoting) and not self.hold.closing

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
        self.notes, self.promoting = result.notes and not self.hold.closing, result.promoted > 0
        self.suspects_wait = result.suspects
        self.due_at = NEVER if result.due_in_ms is None else time.monotonic() + result.due_in_ms / 1000
        self.outbox.hear(result.lost)
        got = len(result.claimed)
        self.hold.suspects.learn(Wish(ask.group, ask.suspects), sum(run.suspect > 0 for run in result.claimed))
        if ask.n:
            self.wants_idle = got < ask.n
            self.busy = self.heads.learn(result.claimed, self.queue_names)
            self.fruitless = 0 if got else self.fruitless + 1
        if self.draining and not (self.hold.closing or got or self.hold.held):
            self.hold.close()  # nothing of this version is left to do here
        if got:
            self.in_vain = 0
            self.hold.admit(result.claimed, self.queue_names)
        if result.me not in ("live", "draining"):
            self.lost()

    # looking around

    async def look_around(self) -> bool:
        """What is not a run's own: lanes to promote, runs that are due, orders, new routes. Answers whether it brought
        runs to carry on."""
        now, took = time.monotonic(), False
        await self.settle_waits()
        if self.unheard:
            await self.hear()
        if now >= self.due_at and not self.hold.closing:
            took = await self.take_due(now)
        if self.hold.late:
            late, self.hold.late = sorted(self.hold.late), set()
            await self.store.run(journal.expire, late)
            await self.hear()
        if now - self.orders_at >= ORDERS_SECONDS:
            await self.obey()
        await self.outbox.retry_aside()
        await self.hold.aftermath.look(self.me)
        if now - self.routes_at >= ROUTES_SECONDS:
            await self.find_routes()
        return took

    async def take_due(self, now: float) -> bool:
        """Let what is due go on, here and at once as far as there is room and the line was empty a moment ago. Answers
        whether something does so here."""
        n = self.hold.room() if self.takes_over() else 0
        if not n and self.takes_over() and now - self.took_over_at < AHEAD_SECONDS:
            self.due_at = now + AHEAD_SECONDS  # there will be room for them
            return False
        self.due_at, self.notes = NEVER, True
        self.hold.asked_at = now
        taken = await self.store.run(due.take, due.Room(self.me, self.routes, n, self.settings.version))
        if taken.claimed:
            self.took_over_at = time.monotonic()
            self.fruitless = self.in_vain = 0
            known = [run for run in taken.claimed if run.id not in taken.recorded]
            self.hold.recorded = taken.recorded | await self.journals(known)
            self.hold.admit(taken.claimed, self.queue_names)
        self.changed.set()
        return bool(taken.claimed)

    def takes_over(self) -> bool:
        """Whether runs whose wait is over pass nobody when they are claimed without standing in line."""
        return self.wants_idle and not self.draining and self.attended()

    def spare(self) -> due.Room | None:
        """What runs that are made here may take at once, if they pass nobody; None if they stand in line."""
        if not self.takes_over() or self.settings.pins:
            return None
        n = min(self.hold.room(), max(1, self.hold.pace.ahead()))
        return due.Room(self.me, self.routes, n, self.settings.version)

    def welcome(self, me: str | None, claimed: list[Claimed]) -> None:
        """Take in what was made and claimed here. What came for an earlier life of this worker is recovered."""
        if me == self.me:
            self.hold.admit(claimed, self.queue_names)

    async def obey(self) -> None:
        """Do what this worker is told, and hand back what it does not know."""
        self.orders_at = time.monotonic()
        orders = await self.store.read(claim.orders, self.me)
        if orders.state not in ("live", "draining"):
            self.lost()
            return
        if orders.told:
            await self.hear()
        for run_id, number in orders.cancel:
            self.hold.interrupt(run_id, number, "canceled")
        self.hold.hand_back(orders.held)
        self.hold.share()
        self.count()
        self.tell_apart()
        await self.trust_survivors()
        self.hold.reports.stir_notes()  # for what was changed in place

    async def compare(self) -> None:
        """After a lost answer: whatever the database says we hold and we do not know goes back in line.

        Nothing of ours is under way while this is asked, so what is not known now never will be.
        """
        self.hold.hand_back(await self.store.read(claim.held, self.me))

    async def trust_survivors(self) -> None:
        """A suspect that has outlived its last life is one no more."""
        trusted = self.hold.survivors()
        if trusted:
            await self.store.run(claim.clear_suspects, self.me, trusted)
            for run_id in trusted:
                self.hold.suspects.discard(run_id)

    def count(self) -> None:
        """Say so when this process has carried out as many runs as it should."""
        most, done = self.settings.max_runs, self.hold.carried_out
        if most is not None and done >= most:
            self.settings = self.settings._replace(max_runs=None)
            self.spent(f"it has carried out {done} runs")

    def tell_apart(self) -> None:
        """Say which processes carry out which runs, for whoever measures them; once more when there are none left."""
        there = self.hold.apart.processes(self.hold.held)
        if there or self.any_apart:
            self.apart(there)
            self.any_apart = bool(there)

    # sleep

    def wake(self) -> None:
        """Called from a storage thread: there may be work."""
        if not self.woken and not self.stopped:
            self.woken = True
            self.loop.call_soon_threadsafe(self.changed.set)

    async def rest(self) -> None:
        """Sleep until something happens here or elsewhere, something is due, or it is time to look."""
        had_nothing = not self.hold.held
        if not self.changed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.patience() * random.uniform(0.9, 1.0)):
                    await self.changed.wait()
        if pause := self.breath():
            await asyncio.sleep(pause)
        self.changed.clear()
        self.woken = False
        if had_nothing:
            self.hold.pace.begin()

    def breath(self) -> float:
        """How long to wait after a wake-up: longer and longer while one comes after the other, and none is for us.

        Our own commits wake us, too, a few times after each run; those cost nothing.
        """
        again = time.monotonic() - self.hold.asked_at < LULL_SECONDS
        self.in_vain = self.in_vain + 1 if self.woken and self.fruitless and again else 0
        return min(0.02, 0.001 * max(0, self.in_vain - OWN_WAKES))

    def patience(self) -> float:
        """How long to sleep at most, in seconds."""
        poll = POLL_SECONDS if self.store.early else BLIND_POLL_SECONDS
        lines = LINES_SECONDS if self.outbox.lines else poll
        return min(poll, lines, max(0.0, self.due_at - time.monotonic()), self.heads.patience())

    # the end

    def drain(self) -> None:
        """Take no more; hand back what has not started; let the rest end within the drain time, then stop it.

        Who pins versions takes runs of its own version until then, for perhaps nobody else can, and starts none.
        """
        if self.draining or self.stopped:
            return
        self.draining = True
        self.telling = self.loop.create_task(self.persist(lambda: self.store.run(workers.drain, self.me)))
        if self.settings.pins:
            self.hold.drop_waiting()
            self.loop.call_later(self.settings.drain_seconds, self.hold.close)
        else:
            self.hold.close()
        self.loop.call_later(self.settings.drain_seconds, self.hold.stop_all, "returned")
        self.changed.set()

    def abort(self) -> None:
        """Nobody beats for this worker any more: hand everything back at once, and end."""
        self.drain()
        self.hold.close()
        self.hold.stop_all("returned")

    def lost(self) -> None:
        """This worker was declared lost: whatever it holds is not its own any more. It goes on under a new name."""
        log.error("this worker was declared lost: its %d runs are stopped, and it registers anew", len(self.hold.held))
        self.hold.lose_all()
        self.outcast = True


def name_of(route: Route) -> RouteName:
    return RouteName(route.queue, route.task, route.machine)
