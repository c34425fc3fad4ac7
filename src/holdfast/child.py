"""One worker process, as its supervisor starts it.

    python -m holdfast.child            its orders come as a line of JSON on file descriptor 3, its news go there, too

It finds the app, runs a ``Worker`` (or a ``Pusher``, which needs no app), and says its name each time it has one, so
that the supervisor can beat for it. SIGTERM drains it. SIGINT is the supervisor's business: a terminal sends it to
both. SIGQUIT makes it tell where each of its threads is.

When the channel closes the supervisor is gone and nobody beats any more: the worker hands back what it holds and ends.
Where it cannot, its guard ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import msgspec

from holdfast.app import Holdfast
from holdfast.discovery import find_app
from holdfast.errors import DatabaseUnavailable, HoldfastError
from holdfast.inside import home_of
from holdfast.loops import Loop
from holdfast.outage import Outage
from holdfast.storage import Store
from holdfast.version import version_of
from holdfast.worker import capture, leftovers
from holdfast.worker.channel import CANNOT_START, CHANNEL, Channel, News, Orders
from holdfast.worker.home import Origin, Settings
from holdfast.worker.worker import Worker

log = logging.getLogger("holdfast")

SWITCH_SECONDS = 0.0001  # how long a thread may keep the interpreter from others: bounds a hop beside a busy loop
BLOCKED_SECONDS = 3.0
SPARE_FILES = 200
LEAVE_SECONDS = 5.0  # for handing back what is held once nobody beats any more …
GUARD_SECONDS = 6.0  # … before it is ended from outside; both are shorter where a lease is
LEASE_MS = 30_000


def main() -> None:
    """Run the worker that the supervisor asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    faulthandler.register(signal.SIGQUIT)
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    channel = Channel(socket.socket(fileno=CHANNEL))
    orders = msgspec.json.decode(channel.hear(), type=Orders)
    for name, value in orders.variables.items():
        os.environ.setdefault(name, value)
    if not orders.push:
        leftovers.post_guard(min(GUARD_SECONDS, 0.6 * (orders.lease_ms or LEASE_MS) / 1000))
    try:
        worker = prepare_pusher(orders, channel) if orders.push else prepare(orders, channel)
    except HoldfastError as error:
        channel.tell(News(error=str(error)))
        sys.exit(CANNOT_START)
    except BaseException:
        logging.getLogger("holdfast").exception("the app cannot be imported")
        channel.tell(News(error="the app cannot be imported; its traceback stands above"))
        sys.exit(CANNOT_START)
    asyncio.run(work(worker, channel))


def leave(code: int) -> NoReturn:
    """End the process without waiting for anybody: threads that cannot be interrupted and tasks that will not stop have
    been reported, and everything else that waits for them would wait as long."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def prepare(orders: Orders, channel: Channel) -> Worker:
    """Import the app and open its database."""
    sys.path.insert(0, os.getcwd())
    app = find_app(orders.app).app
    app.load()
    app.settings.use_flags(database=orders.database, lease=orders.lease_ms and orders.lease_ms / 1000)
    store = opened(app)
    origin = Origin(app=orders.app, folder=os.getcwd(), database=str(app.settings.get("database").value), logs=True)
    home = home_of(app)._replace(origin=origin)
    settings = Settings(
        concurrency=orders.concurrency,
        queues=orders.queues,
        lease_ms=app.settings.get("lease").value,
        suspend_after=app.settings.get("suspend_after").value / 1000,
        suspend_above=app.settings.get("suspend_above").value,
        drain_seconds=orders.drain_seconds,
        version=version_of(app),
        pins=app.settings.get("pin_versions").value,
        max_runs=orders.max_runs,
        room=orders.room,
        machines=orders.machines,
    )
    capture.install()
    gc.collect()
    gc.freeze()  # what was imported lives for good: no collection need look at it again
    tasks = sorted(app.tasks)
    return Worker(
        home,
        store,
        settings,
        registered=lambda me: channel.tell(News(worker=me, tasks=tasks, database=store.url)),
        spent=lambda why: channel.tell(News(spent=why)),
        apart=lambda there: channel.hint(News(apart=there)),
    )


def prepare_pusher(orders: Orders, channel: Channel) -> Worker:
    """Open the database; there is no app to be imported."""
    from holdfast.push.pusher import Pusher, push_settings  # aiohttp is much to load for who only carries out code

    app = Holdfast(orders.database)
    app.settings.use_flags(lease=orders.lease_ms and orders.lease_ms / 1000)
    settings, push = push_settings(app.settings, drain_seconds=orders.drain_seconds)
    if app.settings.get("traces").value:
        from holdfast.contrib.opentelemetry import instrument_pushes

        instrument_pushes()
    raise_open_files(settings.concurrency)
    store = opened(app)
    gc.collect()
    gc.freeze()
    return Pusher(store, settings, push, registered=lambda me: channel.tell(News(worker=me, database=store.url)))


def raise_open_files(wanted: int) -> None:
    """Let this process have as many connections as it may: the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < enough:
        limit = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
        if limit < enough:
            log.warning("only %d files may be open here, so fewer requests than %d can be", limit, wanted)


def opened(app: Holdfast) -> Store:
    """The database of the app, however long it is away: a child may be replaced just then."""
    outage = Outage()
    while True:
        try:
            store = app.client.store
        except DatabaseUnavailable as error:
            outage.away("start", error)
            time.sleep(random.uniform(0.2, 2))
        else:
            outage.back("start")
            return store


async def work(worker: Worker, channel: Channel) -> None:
    """Run the worker; the process ends with it."""
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, Terminator(loop, worker.drain))
    worker.beaten_at = time.monotonic()  # whoever has just started it is there, and from now on expected to say so
    threading.Thread(target=follow, args=(channel, loop, worker), name="holdfast-channel", daemon=True).start()
    Watchdog(loop)
    try:
        await worker.run()
    except BaseException:
        log.exception("this worker cannot go on")
        leave(1)
    leave(0)


class Terminator:
    """SIGTERM drains, however often it comes: whoever signals a whole group reaches this process twice, directly and
    through its supervisor. To end it where it is there is SIGKILL, which is what the supervisor sends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> None:
        self.loop, self.drain = loop, drain

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.loop.call_soon_threadsafe(self.drain)


def follow(channel: Channel, loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    """Hear that the supervisor beats, until it is gone; then end quickly, and never outlive a lease that nobody
    renews."""
    while channel.hear():
        worker.beaten_at = time.monotonic()
    log.error("the supervisor is gone: this worker hands back what it holds and ends")
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(worker.abort)
    time.sleep(min(LEAVE_SECONDS, worker.settings.lease_ms / 2000))
    os._exit(1)


class Watchdog:
    """Notices from another thread that the event loop is blocked, and names the task that blocks it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.answered_at = time.monotonic()
        self.warned = False
        self.loops = Loop("watchdog", self.look, 1.0).start()

    def look(self) -> None:
        silent = time.monotonic() - self.answered_at
        if silent > BLOCKED_SECONDS and not self.warned:
            self.warned = True
            current = asyncio.current_task(self.loop)
            name = current.get_name() if current else "unknown"
            log.warning(
                "task %s has blocked the event loop for %.0f s: nothing else runs in this process until it awaits. "
                "Make it a def task, or move what blocks into asyncio.to_thread",
                name,
                silent,
            )
        self.loop.call_soon_threadsafe(self.answer)

    def answer(self) -> None:
        self.answered_at, self.warned = time.monotonic(), False


if __name__ == "__main__":
    main()
