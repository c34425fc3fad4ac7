"""The supervisor: starts worker processes, beats for them, and replaces those that die.

It never imports the app. What users do in a worker, a blocked loop, a C extension that holds the interpreter, cannot
stop its beats; and it gives none to a child that is stopped or gone, so that a lease says what is true. It tells each
child that it has beaten, so that one whose supervisor is silent takes nothing that it could not keep. It saw a child
exit, so the child's runs go on elsewhere at once, without waiting for a lease, and what they have started there is
killed. A child that does not get ready is killed and replaced. One that is spent, for it has carried out many runs or
has grown large, drains as soon as another one is ready in its place; one after the other. One that somebody has asked
to drain ends, and nothing takes its place; when all of them were asked, the supervisor ends, too.

The first SIGTERM, SIGINT or SIGHUP drains the children, a second one kills them; so does a drain that takes too long.
As process 1 of a container a supervisor inherits orphans, and waits for those that have ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import msgspec

from holdfast.duration import format_ms
from holdfast.engine import pushes, variables, workers
from holdfast.errors import HoldfastError
from holdfast.loops import Loop
from holdfast.scheduler import Scheduler
from holdfast.sizes import MIB
from holdfast.storage import Store
from holdfast.upkeep import Upkeep
from holdfast.worker import leftovers
from holdfast.worker.channel import CANNOT_START, CHANNEL, Beaten, Channel, News, Orders
from holdfast.worker.meter import Measured, Meter, alive, memory_of

log = logging.getLogger("holdfast")

BEAT_SECONDS = 1.0
SAME_SECONDS = 0.1
LOOK_SECONDS = 0.05
SHORT_LIFE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 30.0  # before the next child is started, when the last ones did not even get ready …
SHORT_PAUSE_SECONDS = 1.0  # … and when they did
LAST_WORDS_SECONDS = 0.5
PROMPT_SECONDS = 1.0  # for an answer that is only for people
DEAF_SECONDS = 10.0  # for a child to end after its drain: its event loop may be blocked


class Child:
    """One worker process, and what is known of it."""

    pushes = False  # whether it is a pusher

    def __init__(self, orders: Orders) -> None:
        ours, theirs = socket.socketpair()
        self.pushes, self.ready_seconds = orders.push, orders.ready_seconds
        self.mark = leftovers.new_mark()
        self.process = spawn(theirs, self.mark)
        theirs.close()
        self.channel = Channel(ours)
        self.channel.tell(orders)
        self.started_at = time.monotonic()
        self.names: list[str] = []  # every worker it has been; the last one is the one it is
        self.news: News | None = None
        self.apart: dict[int, str] = {}  # its runs in processes of their own, by pid
        self.error: str | None = None
        self.spent: str | None = None  # why it should be replaced
        self.told_at: float | None = None  # to drain
        self.dismissed = False  # somebody has asked for that: nothing takes its place
        self.asked_at: float | None = None  # where it hangs
        self.listening = threading.Thread(target=self.listen, name="holdfast-news", daemon=True)
        self.listening.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def worker(self) -> str | None:
        return self.names[-1] if self.names else None

    def listen(self) -> None:
        while line := self.channel.hear():
            news = msgspec.json.decode(line, type=News)
            self.error, self.spent = news.error or self.error, self.spent or news.spent
            if news.apart is not None:
                self.apart = news.apart
            if news.worker is not None:
                self.news = news
                self.names.append(news.worker)

    def exited(self) -> int | None:
        return self.process.poll()

    def last_words(self) -> None:
        """It has exited: take in what it said before. One it has forked may keep the channel open."""
        self.listening.join(1)

    def drain(self) -> None:
        if self.told_at is None:
            self.told_at = time.monotonic()
            self.send(signal.SIGTERM)

    def deaf(self, drain_seconds: float) -> bool:
        return self.told_at is not None and time.monotonic() - self.told_at > drain_seconds + DEAF_SECONDS

    def late(self) -> bool:
        return not self.names and time.monotonic() - self.started_at > self.ready_seconds

    def give_up(self) -> None:
        """Have it tell where it hangs, and then kill it."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            log.error("worker process %d was not ready after %g s: it is killed", self.pid, self.ready_seconds)
            self.send(signal.SIGQUIT)
        elif time.monotonic() - self.asked_at > LAST_WORDS_SECONDS:
            self.send(signal.SIGKILL)

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


def spawn(channel: socket.socket, mark: str) -> subprocess.Popen[bytes]:
    """Start a child that has the channel as its file descriptor 3. Never by fork: this process has threads."""
    number = channel.fileno()
    start = (
        "import os, sys; "
        f"number = {number}; "
        f"(os.dup2(number, {CHANNEL}), os.close(number)) if number != {CHANNEL} else None; "
        "from holdfast.child import main; main()"
    )
    environment = os.environ | {leftovers.MARK: mark}
    return subprocess.Popen([sys.executable, "-c", start], pass_fds=(number,), close_fds=True, env=environment)


class Supervisor:
    """Keeps ``count`` worker processes alive until it is told to stop; and a pusher, ``pushing`` from the start or, as
    long as that is None, once the database knows an HTTP task. ``stays`` if there is more beside it than its children,
    and it goes on when each of them was asked to drain."""

    def __init__(
        self,
        store: Store,
        orders: Orders,
        *,
        count: int = 1,
        retention_ms: int | None = None,
        ready: Callable[[Child], None] = lambda _: None,
        pushing: bool | None = None,
        stays: bool = False,
    ) -> None:
        self.store, self.count, self.ready = store, count, ready
        self.orders = msgspec.structs.replace(orders, variables=store.read_sync(variables.values))
        self.pushing, self.stays = pushing, stays
        self.children: list[Child] = []
        self.upkeep = Upkeep(store) if retention_ms is None else Upkeep(store, retention_ms=retention_ms)
        self.scheduler = Scheduler(store)
        self.meter = Meter(os.getpid())
        self.beating = Loop("beat", self.beat, BEAT_SECONDS, store.outage)
        self.looking = Loop("pusher", self.look_for_requests, BEAT_SECONDS, store.outage)
        self.stopping = self.signal = 0
        self.signalled_at = float("-inf")
        self.draining_at: float | None = None  # since when people know that it drains
        self.dismissed = 0  # how many of its workers were asked to drain
        self.failures = 0
        self.start_at = 0.0  # not before this
        self.announced: set[int] = set()
        self.cannot_start: str | None = None

    def run(self) -> int:
        """Work until stopped; answers the exit code. Must be called from the main thread, for its signals."""
        before = {number: signal.signal(number, self.signalled) for number in signals()}
        self.beating.start()
        self.upkeep.start()
        self.scheduler.start()
        if self.pushing is None:
            self.looking.start()
        try:
            while not self.finished():
                self.look()
                time.sleep(LOOK_SECONDS)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.kill()
            self.beating.stop()
            self.scheduler.stop()
            self.upkeep.stop()
            self.looking.stop()
        if self.cannot_start:
            return CANNOT_START
        self.tell_drained()
        return 128 + self.signal if self.stopping > 1 else 0

    def finished(self) -> bool:
        return not self.children and (self.stopping > 0 or self.deserted or self.cannot_start is not None)

    @property
    def deserted(self) -> bool:
        """Whether each of its workers was asked to drain, and there is nothing else to go on for."""
        return self.dismissed == self.count > 0 and not self.stays

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """Two signals at once are one: `timeout` sends its own to the process and to its group."""
        at = time.monotonic()
        if at - self.signalled_at >= SAME_SECONDS:
            self.signal, self.signalled_at = number, at
            self.stop()

    def stop(self) -> None:
        """Drain the children; called again, kill them."""
        self.stopping += 1
        for child in self.children:
            child.drain() if self.stopping == 1 else child.send(signal.SIGKILL)

    def kill(self) -> None:
        for child in self.children:
            child.send(signal.SIGKILL)
            child.process.wait()
            self.bury(child)

    # what a look does

    def look(self) -> None:
        """Bury the dead, replace them, and announce the living."""
        for child in list(self.children):
            if child.exited() is not None:
                self.children.remove(child)
                self.bury(child)
            elif child.late():
                child.give_up()
            elif child.deaf(self.orders.drain_seconds):
                log.error("worker process %d did not end when it was drained: it is killed", child.pid)
                child.send(signal.SIGKILL)
            elif child.worker and child.pid not in self.announced:
                self.announced.add(child.pid)
                if not child.pushes:
                    self.ready(child)
        self.reap()
        if self.stopping or self.deserted:
            self.tell_draining()
        if self.stopping or self.cannot_start:
            for child in self.children:
                child.drain()  # also one that was just being started when the signal came
            return
        if time.monotonic() >= self.start_at:
            self.fill_up()
        self.relieve()

    def tell_draining(self) -> None:
        """Say once that it stops, and what it waits for."""
        if self.draining_at is not None:
            return
        self.draining_at = time.monotonic()
        limit = format_ms(round(self.orders.drain_seconds * 1000))
        match self.under_way():
            case 0:
                what = "nothing is under way"
            case None:
                what = f"what is under way has up to {limit} to end"
            case 1:
                what = f"one run is under way, and has up to {limit} to end"
            case several:
                what = f"{several} runs are under way, and have up to {limit} to end"
        log.info("draining: %s; a second signal stops at once", what)

    def under_way(self) -> int | None:
        """How many runs the children hold; None if the database does not say so at once."""
        mine = [child.worker for child in self.children if child.worker]
        with contextlib.suppress(Exception):
            return self.store.submit(lambda tx: workers.held(tx, mine), write=False).result(PROMPT_SECONDS)
        return None

    def tell_drained(self) -> None:
        if self.draining_at is not None:
            took = format_ms(round((time.monotonic() - self.draining_at) * 1000))
            log.info("drained, after %s" if self.stopping <= 1 else "stopped at once, %s after the first signal", took)

    def reap(self) -> None:
        """Wait for orphans that have ended. Only process 1 has any; elsewhere they are other people's children."""
        if os.getpid() != 1:
            return
        ours = {child.pid for child in self.children}
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in ours:
                os.waitpid(dead.si_pid, os.WNOHANG)

    @property
    def working(self) -> list[Child]:
        """The children that take runs, or soon will."""
        return [child for child in self.children if not child.pushes and child.told_at is None]

    def relieve(self) -> None:
        """Drain a child that is spent, if there is one more that is ready than there need be."""
        ready = [child for child in self.working if child.worker]
        spent = next((child for child in ready if child.spent), None)
        if spent is not None and len(ready) > self.count - self.dismissed:
            log.info("worker process %d is replaced: %s", spent.pid, spent.spent)
            spent.drain()

    def fill_up(self) -> None:
        """Start the children that are missing, and one more while one of them is spent."""
        wanted = self.count - self.dismissed
        try:
            while len(self.working) < wanted + any(child.spent for child in self.working):
                self.children.append(Child(self.orders))
            if self.pushing and not any(child.pushes for child in self.children):
                self.children.append(Child(msgspec.structs.replace(self.orders, push=True)))
        except OSError as error:
            log.error("no worker process can be started, which is tried again: %s", error)
            self.start_at = time.monotonic() + SHORT_PAUSE_SECONDS

    def look_for_requests(self) -> None:
        """Whoever pushes nothing need not pay for a process that does."""
        if self.pushing is None and self.store.read_sync(pushes.any_http_task):
            self.pushing = True
            self.looking.stopping = True

    def bury(self, child: Child) -> None:
        """A child has exited: its runs go on elsewhere now, and another one takes its place, after a pause if it died
        young."""
        code = child.exited()
        self.announced.discard(child.pid)  # which may be the next one's
        child.last_words()
        if left := leftovers.end(child.mark):
            log.info("worker process %d had started %d others that are killed", child.pid, left)
        for name in child.names:
            with contextlib.suppress(HoldfastError):  # the sweep will find them
                self.upkeep.gone(name)
        if code == CANNOT_START and not any(each.worker for each in self.working):
            self.cannot_start = child.error or "the worker cannot start"
            log.error("the worker cannot start: %s", self.cannot_start)
        elif code != 0 and not self.stopping:
            then = "" if child.dismissed else " and is replaced"
            log.warning("worker process %d %s%s", child.pid, described(code), then)
            self.pause(child)

    def pause(self, child: Child) -> None:
        """Wait longer and longer while children die young, or never get ready; not for long if they did, for then a run
        may be to blame, and others wait."""
        now = time.monotonic()
        young = not child.names or now - child.started_at < SHORT_LIFE_SECONDS
        self.failures = self.failures + 1 if young else 0
        if self.failures <= 3 or (child.names and now < self.start_at):  # each further death would put it off
            return
        longest = SHORT_PAUSE_SECONDS if child.names else LONGEST_PAUSE_SECONDS
        self.start_at = now + min(longest, 0.2 * 2 ** min(self.failures, 10)) * random.uniform(0.5, 1)

    def beat(self) -> None:
        """One beat for every child that lives and is not stopped; and a word to each that there was one, also if it
        came too late, for then the child comes back under a new name."""
        living = {name: child for child in self.children if (name := child.worker) and alive(child.pid)}
        if living:
            usage = self.meter.look({name: Measured(child.pid, child.apart) for name, child in living.items()})
            asked = self.upkeep.beat(list(living), usage)
            for name, child in living.items():
                if asked.get(name):
                    self.dismiss(child)
                child.channel.hint(Beaten(time.monotonic()))
                self.weigh(child)

    def dismiss(self, child: Child) -> None:
        """Somebody has asked for its drain."""
        if child.dismissed:
            return
        child.dismissed = True
        log.info("worker process %d was asked to drain: it ends, and is not replaced", child.pid)
        if child.pushes:
            self.pushing = False
        elif child.told_at is None:  # else another one has taken its place already
            self.dismissed += 1
        child.drain()

    def weigh(self, child: Child) -> None:
        """One that has grown too large is spent."""
        limit = self.orders.max_memory
        if limit is not None and not child.pushes and not child.spent and (size := memory_of(child.pid)) > limit:
            child.spent = f"it uses {size // MIB} MB, and {limit // MIB} are allowed"


def signals() -> list[signal.Signals]:
    """What drains: SIGHUP, too, when a terminal is closed, unless ``nohup`` has said otherwise."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hangs_up else [])]


def described(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "is gone"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"exited with {code}"
