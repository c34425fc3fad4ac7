"""Workers of an app inside another process: what ``app.running()`` gives.

    async with app.running(): …     on the caller's own event loop: a web app's lifespan
    with app.running(): …           on a loop in a thread of its own: a script, a notebook

`home_of` is what any worker has to know of an app; the worker process that a supervisor starts uses it, too. `announce`
says what of it the database is to know, where a server has the app and no worker does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from holdfast.duration import Duration, to_ms
from holdfast.engine import announce as announcing
from holdfast.engine import limits
from holdfast.engine.trigger import queue_id
from holdfast.errors import HoldfastError, InvalidOption, shown
from holdfast.http_task import HttpTask
from holdfast.names import checked_name
from holdfast.queue import Queue
from holdfast.storage import Store
from holdfast.version import version_of
from holdfast.worker.capacity import detect
from holdfast.worker.embedded import Embedded
from holdfast.worker.home import Home, Origin, Settings
from holdfast.worker.worker import Worker

if TYPE_CHECKING:
    from holdfast.app import Holdfast

__all__ = ["Running", "announce", "announce_mounted", "home_of"]


def home_of(app: Holdfast) -> Home:
    """What a worker needs of an app, as it is now."""
    return Home(
        tasks={name: task for name, task in app.tasks.items() if not isinstance(task, HttpTask)},
        elsewhere=[task for task in app.tasks.values() if isinstance(task, HttpTask)],
        queues=[queue.entry() for queue in app.client.queues.values()],
        verbs=app.client,
        output_limit=app.settings.get("output_limit").value,
        app=app.settings.app,
        alerts=[each.entry() for each in app.alerts.values()],
        schedules=[each for task in app.tasks.values() for each in task.declared_schedules(app.settings.app)],
    )


def origin_of(app: Holdfast) -> Origin | None:
    """Where a fresh process finds the app that this one has; None if it cannot, as in a script or a notebook."""
    file = app.settings.file
    for name, module in list(sys.modules.items()):
        if file is None or name == "__main__" or getattr(module, "__file__", None) != str(file):
            continue
        attribute = next((each for each, value in vars(module).items() if value is app), None)
        if attribute is not None:
            database = str(app.settings.get("database").value)
            return Origin(app=f"{name}:{attribute}", folder=os.getcwd(), database=database, path=sys.path)
    return None


def announce(app: Holdfast, store: Store) -> None:
    """Let the database know what an app declares, unless a live worker of it has done so and knows best."""
    home, version = home_of(app), version_of(app)
    said = announcing.Declarations(
        app=app.settings.app,
        tasks=[task.entry(version) for task in (*home.tasks.values(), *home.elsewhere)],
        queues=home.queues,
        schedules=home.schedules,
        alerts=home.alerts,
    )
    for queue in store.run_sync(announcing.without_workers, said) or ():
        after: str | None = ""
        while after is not None:
            after = store.run_sync(limits.relane, queue.name, queue_id(queue.name), after)


def announce_mounted(app: Holdfast) -> None:
    """`announce` for an app that another one serves. One that declares nothing only triggers what others declare, and
    says nothing of it."""
    app.load()
    if app.tasks or app.alerts:
        announce(app, app.client.store)


class Running:
    """A worker for as long as it is entered, either way; leaving drains it. It may be entered again afterwards.

    Entering raises what keeps the worker from starting: the modules of ``imports=`` cannot be imported, or the database
    refuses.
    """

    def __init__(
        self, app: Holdfast, *, concurrency: int, queues: Iterable[str | Queue] | None, drain: Duration
    ) -> None:
        self._app = app
        self._concurrency = _checked_concurrency(concurrency)
        self._queues = _queue_names(queues)
        self._drain_seconds = to_ms(drain, name="drain") / 1000
        self._embedded: Embedded | None = None

    def __enter__(self) -> None:
        self._app.load()
        self._app.client.open()
        self._prepare().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.__exit__(kind, error, trace)

    async def __aenter__(self) -> None:
        self._app.load()
        await self._app.client.aopen()
        await self._prepare().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            await embedded.__aexit__(kind, error, trace)

    def _prepare(self) -> Embedded:
        if self._embedded is not None:
            raise HoldfastError(
                "This worker runs already", do="Leave it first, or call app.running() once more for a second one."
            )
        settings = Settings(
            concurrency=self._concurrency,
            queues=self._queues,
            lease_ms=self._app.settings.get("lease").value,
            suspend_after=self._app.settings.get("suspend_after").value / 1000,
            suspend_above=self._app.settings.get("suspend_above").value,
            drain_seconds=self._drain_seconds,
            version=version_of(self._app),
            pins=self._app.settings.get("pin_versions").value,
            room=detect(),
        )
        retention_ms = self._app.settings.get("retention").value
        store = self._app.client.store
        home = home_of(self._app)._replace(origin=origin_of(self._app))
        self._embedded = Embedded(home, store, settings, retention_ms=retention_ms, pusher=lambda: self._pusher(store))
        return self._embedded

    def _pusher(self, store: Store) -> Worker:
        from holdfast.push.pusher import Pusher, push_settings  # aiohttp is much to load for who pushes nothing

        return Pusher(store, *push_settings(self._app.settings, drain_seconds=self._drain_seconds))


def _checked_concurrency(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise InvalidOption(
            "concurrency is not a whole number from 1 to 10000", seen=shown(value), do="Write, say, concurrency=32."
        )
    return value


def _queue_names(queues: object) -> list[str] | None:
    if queues is None:
        return None
    if isinstance(queues, str | bytes | Mapping) or not isinstance(queues, Iterable):
        raise InvalidOption("queues is not a list of queues", seen=shown(queues), do='Write queues=["mail"].')
    names = [each.name if isinstance(each, Queue) else checked_name(each, option="A queue") for each in queues]
    if not names:
        raise InvalidOption(
            "queues is empty, so no run would ever start",
            seen=shown(queues),
            do="Leave it out to take from all queues.",
        )
    return names
