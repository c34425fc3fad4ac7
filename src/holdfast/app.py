"""The app: tasks, and the database their runs are in.

`Holdfast` is a registry and a front door. It holds no connection until one is needed, so a module that defines an app
can be imported anywhere, and forked. The verbs themselves are the client's.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

from holdfast.batch import Item, batch_of
from holdfast.blueprint import Blueprint, refuse_duplicate, refuse_same_path
from holdfast.client import Client
from holdfast.codec import AnyCodec
from holdfast.context import parent_of
from holdfast.declared import Declared
from holdfast.duration import Duration
from holdfast.errors import DuplicateTask, InvalidOption, shown
from holdfast.handle import BatchHandle, RunHandle
from holdfast.hooks import Hooked
from holdfast.http_task import RESPONSE, HttpTaskOptions, PushOptions, PushResponse, http_task, new_push
from holdfast.idempotency import Scope
from holdfast.machine import Machine, MachineName
from holdfast.names import ID_LENGTH, checked_name, checked_run_id
from holdfast.options import (
    Rules,
    Target,
    TaskOptions,
    TriggerOptions,
    key_to_reset,
    new_run,
    read_rules,
    read_trigger_options,
)
from holdfast.queue import Queue, own_queue
from holdfast.queues import Queues
from holdfast.records import NewRun
from holdfast.request import HTTP_TASK
from holdfast.retry import Retry
from holdfast.runs import Runs
from holdfast.schedules import Schedules
from holdfast.settings import Settings, calling_file, calling_place, project_of
from holdfast.task import Task, TaskDecorator, TaskFactory
from holdfast.tokens import Tokens

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import FastAPI

    from holdfast.alerts import Alert, Channel, Condition
    from holdfast.inside import Running
    from holdfast.storage.lending import Loan
    from holdfast.testing import Jobs
    from holdfast.webhooks.endpoint import Endpoint, Verify

__all__ = ["Holdfast"]

R = TypeVar("R")
T = TypeVar("T")


class Holdfast(Hooked[Any, Any]):
    """An app.

    ``database`` is a URL or the path of an SQLite file, which starts at the project if it is relative; default is
    ``HOLDFAST_DATABASE_URL``, else ``holdfast.db`` at the project. ``retry``, ``max_duration``, ``ttl`` and ``machine``
    are for tasks that do not say otherwise. ``imports`` are modules with further tasks, which workers import.
    ``payload_limit`` and ``output_limit`` are in bytes, by default 10 MiB. With ``pin_versions`` a run that has started
    goes on only on workers of the version that started it; by default on any worker that knows its task. A run that
    waits stays in memory for ``suspend_after`` (default 30 s), and is replayed from its journal after that; earlier if
    all that wait in a worker process hold more than ``suspend_above`` bytes of payloads and recorded results (64 MiB).

    Raises:
        InvalidOption: an option cannot be used.

    >>> app = Holdfast()
    >>> @app.task
    ... def greet(name: str) -> str:
    ...     return f"Hello, {name}!"
    """

    def __init__(
        self,
        database: str | None = None,
        *,
        retry: Retry | None = None,
        max_duration: Duration | None = None,
        ttl: Duration | None = None,
        imports: Sequence[str] = (),
        payload_limit: int | None = None,
        output_limit: int | None = None,
        public_url: str | None = None,
        pin_versions: bool | None = None,
        suspend_after: Duration | None = None,
        suspend_above: int | None = None,
        machine: Machine | MachineName | None = None,
    ) -> None:
        said = {
            "database": database,
            "max_duration": max_duration,
            "ttl": ttl,
            "payload_limit": payload_limit,
            "output_limit": output_limit,
            "public_url": public_url,
            "pin_versions": pin_versions,
            "suspend_after": suspend_after,
            "suspend_above": suspend_above,
            "machine": machine,
        }
        file = calling_file()
        self.settings = Settings(said, project_of(file), file=file)
        if database is not None:
            self.settings.get("database")  # which is read again when it is needed: a command's flag is stronger
        for name in ("output_limit", "public_url", "pin_versions", "suspend_after", "suspend_above"):
            self.settings.get(name)
        self.imports = _module_names(imports)
        self._defaults = self._read_defaults(retry)
        self._tasks: dict[str, Task[Any, Any]] = {}
        self._declared: dict[str, Declared[Any, Any]] = {}
        self._queues: dict[str, Queue] = {}
        self._alerts: dict[str, Alert] = {}
        # The URL is settled when it is needed: a command's flag comes after the app was imported.
        self.client = Client(
            lambda: str(self.settings.get("database").value),
            queues=self._queues,
            payload_limit=self.settings.get("payload_limit").value,
            said_url=self._said_url,
        )
        self._factory = TaskFactory(self._register)

    # -- tasks --

    @property
    def task(self) -> TaskFactory:
        """Makes a function a task: ``@app.task``, or with options ``@app.task(retry=Retry(max_attempts=5))``."""
        return self._factory

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]:
        """The tasks defined so far, by id."""
        return MappingProxyType(self._tasks)

    @property
    def declared_queues(self) -> Mapping[str, Queue]:
        """The queues declared so far, by name: those of the tasks, and those given at a trigger."""
        return MappingProxyType(self._queues)

    def include(self, blueprint: Blueprint, *, prefix: str = "") -> None:
        """Take in the tasks of a blueprint, those defined in it later, too. ``prefix`` goes before their ids.

        Including it once more with the same prefix does nothing.

        Raises:
            DuplicateTask: there is a task with such an id. None is taken in.
            InvalidOption: the blueprint belongs to another app, or is included with another prefix; ``prefix`` makes
                no id.

        >>> app.include(billing, prefix="billing.")
        """
        if not isinstance(blueprint, Blueprint):
            raise InvalidOption(
                "This is not a Blueprint", seen=shown(blueprint), do="Write billing = Blueprint() and include that."
            )
        blueprint._join(self, prefix, check=self._check, take=self._register)

    @overload
    def declare(self, id: str, payload: None, output: None) -> Task[None, None]: ...
    @overload
    def declare(self, id: str, payload: None, output: type[R]) -> Task[None, R]: ...
    @overload
    def declare(self, id: str, payload: type[T], output: None) -> Task[T, None]: ...
    @overload
    def declare(self, id: str, payload: type[T], output: type[R]) -> Task[T, R]: ...
    def declare(self, id: str, payload: Any, output: Any) -> Task[Any, Any]:
        """A task whose code is in another process: its id, the type of its payload and of its output. It can be
        triggered and waited for, and is neither announced nor carried out here. ``payload=None`` is none.

        Its queue and its defaults are those that its workers announced last. Where this app defines the task as well,
        the definition's are used.

        Raises:
            DuplicateTask: it is declared already, with other types.
            InvalidTask: a type cannot be turned into JSON and back.

        >>> train = app.declare("train", User, str)
        >>> train.trigger(ada).result()
        """
        checked_name(id, option="The id of a task", length=ID_LENGTH)
        earlier = self._declared.get(id)
        declared: Declared[Any, Any] = Declared(id, payload, output, calling_place(), self.client)
        if earlier is not None and not earlier.agrees_with(declared):
            raise DuplicateTask(
                f"The task {id} is declared twice, with different types",
                seen=f"{earlier.place} and {declared.place}",
                do="Declare it once, and import that.",
            )
        declared.definition = self._tasks.get(id)
        self._declared[id] = declared
        return declared

    @overload
    def http_task(
        self, id: str, url: str, payload: None = None, /, **options: Unpack[HttpTaskOptions]
    ) -> Task[None, PushResponse]: ...
    @overload
    def http_task(
        self, id: str, url: str, payload: type[T], /, **options: Unpack[HttpTaskOptions]
    ) -> Task[T, PushResponse]: ...
    def http_task(self, id: str, url: str, payload: Any = None, /, **options: Unpack[HttpTaskOptions]) -> Any:
        """A task whose attempt is a request to ``url``, with the payload as its JSON body. It is triggered, scheduled
        and waited for like any other; its output is what the app there answered.

        200 and 201 are success; anything else, a dropped connection and the ``timeout`` are failures, and it is sent
        again as ``retry`` says.

        Raises:
            InvalidOption: the URL or an option cannot be used.
            InvalidTask: the type of the payload cannot be turned into JSON.
            DuplicateTask: there is a task with this id.

        >>> notify = app.http_task("notify", "https://example.com/notify", User)
        >>> notify.trigger(ada, delay="1m").result().status
        200
        """
        task = http_task(id, url, payload, calling_place(), options)
        self._register(task)
        self.client.http_tasks[task.id] = task.entry
        return task

    def webhook(self, path: str, /, *, verify: Verify, **options: Unpack[TaskOptions]) -> TaskDecorator:
        """Makes a function a task whose runs are requests that come in at ``/webhooks`` and this ``path``.

        ``verify`` says whether a request is from whom it should be: `Stripe`, `GitHub`, `Slack`, `Svix`,
        `StandardWebhooks`, `SharedSecret`, or a function of yours that is given a `WebhookRequest` and answers True, or
        the sender's id as a string. The task takes a `Webhook`, whose ``body`` is of the type you say. It is answered
        as soon as its run is on disk; the same id of the sender's makes no second run.

        Raises:
            InvalidOption: the path, the verifier or an option of the task cannot be used.
            DuplicateTask: another task has this path.
            InvalidTask: the function takes something else than a `Webhook`.

        >>> @app.webhook("/stripe", verify=Stripe(os.environ["STRIPE_SECRET"]))
        ... async def paid(hook: Webhook[Event]) -> None: ...
        """
        from holdfast.webhooks.endpoint import receiving  # who has no webhooks need not load it

        return receiving(path, verify, options, self._register)

    def alert(
        self,
        name: str,
        /,
        *conditions: Condition,
        to: Channel | Sequence[Channel],
        gather: Duration = "15s",
        every: Duration = "5m",
    ) -> None:
        """Tell somebody when one of these ``conditions`` holds, and when it holds no more. See `holdfast.alerts`.

        What comes within ``gather`` of the first is one message, and there is one ``every`` so often at most: a
        thousand failures are one message. It is looked at by every host, also where no worker of this app is left.

        Raises:
            InvalidOption: the name, a condition, a channel or a duration cannot be used.

        >>> app.alert("ops", alerts.Failures(), alerts.NoWorker("2m"), to=alerts.Mail("ops@example.com"))
        """
        from holdfast.alerts import alert_of

        made = alert_of(name, conditions, to, gather, every)
        self._alerts[made.name] = made

    @property
    def alerts(self) -> Mapping[str, Alert]:
        """The alerts declared so far, by name."""
        return MappingProxyType(self._alerts)

    @property
    def webhooks(self) -> Mapping[str, Endpoint]:
        """The endpoints defined so far, by path."""
        tasks = list(self._tasks.values())  # as they are now: another thread may be importing more
        return cast("Mapping[str, Endpoint]", {each.webhook.path: each.webhook for each in tasks if each.webhook})

    def load(self) -> None:
        """Import the modules named in ``imports=``, so that their tasks are defined. What is imported already stays."""
        for module in self.imports:
            importlib.import_module(module)

    # -- runs --

    @property
    def runs(self) -> Runs:
        """All runs, whatever task they are of: ``list``, ``retrieve``, ``cancel``, ``replay``, and their ``a…`` twins.

        >>> app.runs.list(status="failed", since="1h")
        """
        return Runs(self.client)

    @property
    def queues(self) -> Queues:
        """The queues as operators see them: ``list``, ``retrieve``, ``pause``, ``resume``, ``limit``, and their twins.

        >>> app.queues.pause("mail")
        """
        return Queues(self.client)

    @property
    def schedules(self) -> Schedules:
        """The schedules, those in the code and those made at run time: ``create``, ``update``, ``pause``, ``resume``,
        ``delete``, ``list``, ``retrieve``, ``slots``, ``run_now``, and their twins.

        >>> app.schedules.create(onboard, Cron("@daily"), ada, external_id="user-1")
        """
        return Schedules(self.client, lambda name: self._tasks.get(name) or self._declared.get(name))

    @property
    def tokens(self) -> Tokens:
        """What runs wait for: ``create``, ``complete``, ``retrieve``, ``list``, and their twins.

        >>> app.tokens.complete(token_id, {"by": "Ada"})
        """
        return Tokens(self.client)

    def handle(self, run_id: str, /) -> RunHandle[Any]:
        """The handle of any run. Nothing is read; an unknown id shows when the handle is used."""
        return RunHandle(checked_run_id(run_id), False, self.client, AnyCodec(shows=True))

    def trigger(self, task: str, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[Any]:
        """Make a run of a task by its id, which may be one whose code is not here.

        Such a task's defaults are those that its workers announced last. A task that nobody has announced yet gets its
        run, too; it stays ``pending_version`` until a worker knows it.

        Raises:
            What `Task.trigger` raises.

        >>> app.trigger("greet", "Ada").result()
        'Hello, Ada!'
        """
        local = self._local(task)
        if local is not None:
            return local.trigger(payload, **options)
        run = self._run(self.client.target(task), payload, options)
        return self.client.trigger(run, AnyCodec(shows=True), options.get("connection"))

    async def atrigger(self, task: str, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[Any]:
        """`trigger` for async code."""
        local = self._local(task)
        if local is not None:
            return await local.atrigger(payload, **options)
        run = self._run(await self.client.atarget(task), payload, options)
        return await self.client.atrigger(run, AnyCodec(shows=True), options.get("connection"))

    def push(
        self, url: str, *, json: Any = None, content: str | bytes | None = None, **options: Unpack[PushOptions]
    ) -> RunHandle[PushResponse]:
        """Have a request sent: ``json`` or ``content`` is its body. When this returns, it is on disk.

        200 and 201 are success; anything else, a dropped connection and the ``timeout`` are failures, and it is sent
        again as ``retry`` says. With a ``name`` that a request has which still waits, the handle is that one's, and its
        ``created`` is False.

        Raises:
            InvalidOption, NotSerializable, TooLarge: nothing was made, and why.
            DatabaseError: the database refused.

        >>> app.push("https://example.com/jobs", json={"n": 1}, delay="5m")
        """
        run = self._push(url, json, content, options)
        return self.client.trigger(run, RESPONSE, options.get("connection"))

    async def apush(
        self, url: str, *, json: Any = None, content: str | bytes | None = None, **options: Unpack[PushOptions]
    ) -> RunHandle[PushResponse]:
        """`push` for async code."""
        run = self._push(url, json, content, options)
        return await self.client.atrigger(run, RESPONSE, options.get("connection"))

    def batch_trigger(self, items: Iterable[Item[R]], /, *, connection: Any = None) -> BatchHandle[R]:
        """Make a run for each item; the items may be of different tasks. See `Task.batch_trigger`.

        >>> app.batch_trigger([onboard.item(ada), greet.item("Ada", queue="slow")])
        """
        return self.client.batch_trigger(batch_of(items, self.client), connection)

    async def abatch_trigger(self, items: Iterable[Item[R]], /, *, connection: Any = None) -> BatchHandle[R]:
        """`batch_trigger` for async code."""
        return await self.client.abatch_trigger(batch_of(items, self.client), connection)

    def connection(self) -> Loan:
        """A connection to the app's SQLite database, in a transaction, for SQL of your own that shares its fate with
        your triggers: committed at the end of the ``with``, rolled back if that ends by an exception.

        Only one at a time may write to SQLite: keep it short, for everybody else waits. On PostgreSQL give a
        connection of your own to ``connection=``.

        >>> with app.connection() as connection:  # also: async with
        ...     connection.execute("INSERT INTO orders (id) VALUES (?)", (1,))
        ...     ship.trigger(1, connection=connection)
        """
        return self.client.connection()

    def reset_idempotency_key(self, task: str, key: str, /, *, scope: Scope = "global") -> bool:
        """Free an idempotency key of a task, which may be one whose code is not here. See
        `Task.reset_idempotency_key`."""
        name = checked_name(task, option="The id of a task", length=ID_LENGTH)
        return self.client.reset_idempotency_key(name, key_to_reset(key, scope, parent_of(self.client)))

    async def areset_idempotency_key(self, task: str, key: str, /, *, scope: Scope = "global") -> bool:
        """`reset_idempotency_key` for async code."""
        name = checked_name(task, option="The id of a task", length=ID_LENGTH)
        return await self.client.areset_idempotency_key(name, key_to_reset(key, scope, parent_of(self.client)))

    def running(
        self,
        *,
        concurrency: int = 32,
        queues: Iterable[str | Queue] | None = None,
        drain: Duration = "30s",
    ) -> Running:
        """A worker inside this process, for as long as it is entered: ``async with`` on the caller's own event loop (a
        web app's lifespan), ``with`` on a loop in a thread of its own (a script, a notebook).

        ``concurrency`` runs at a time, from these ``queues`` only if they are given. Leaving drains: nothing new is
        taken, and what has not ended after ``drain`` goes back in line for another worker.

        Raises:
            InvalidOption: an option cannot be used.
            DatabaseError: when it is entered, the database refused.

        >>> with app.running():
        ...     greet.trigger("Ada").result()
        'Hello, Ada!'
        """
        from holdfast.inside import Running  # a worker is much to load for a process that only triggers

        return Running(self, concurrency=concurrency, queues=queues, drain=drain)

    def testing(self, *, at: datetime | None = None, patience: Duration = "30s") -> Jobs:
        """This app in a test: in memory, with a database of its own, and a clock that the test moves.

        The clock starts ``at`` an aware datetime (default: now). ``patience`` is real time: when nothing has moved for
        so long, the test fails.

        >>> with app.testing() as jobs:
        ...     run = jobs.run(greet, "Ada")
        ...     assert run.output == "Hello, Ada!"
        """
        from holdfast.testing import Jobs  # only tests need it

        return Jobs(self, at=at, patience=patience)

    def asgi(self) -> FastAPI:
        """The HTTP API and the dashboard as an ASGI application, to be mounted in a web app of your own: FastAPI,
        Starlette, or Django beside them. It opens the database when it is first called, and needs no lifespan. Then it
        also announces what the app declares, as a worker does, unless one does so already.

        What ``holdfast server`` serves is this; ``HOLDFAST_API_KEY`` and the other settings of the API count. It
        answers programs on this machine only, as long as there is no key.

        Raises:
            InvalidOption: a setting of the API cannot be used.

        >>> web = FastAPI()
        >>> web.mount("/jobs", app.asgi())
        """
        from holdfast.api.app import served  # much to load for a process that only triggers
        from holdfast.inside import announce_mounted

        return served(self, begin=lambda: announce_mounted(self))

    def close(self) -> None:
        """Let go of the database. Who still waits for a result is told so. The next verb opens it again."""
        self.client.close()

    async def aclose(self) -> None:
        """`close` for async code."""
        await self.client.aclose()

    def __repr__(self) -> str:
        return f"<Holdfast with {len(self._tasks)} tasks>"

    def _read_defaults(self, retry: Retry | None) -> Rules:
        settled = {name: self.settings.get(name).value for name in ("max_duration", "ttl", "machine")}
        return Rules(
            retry=read_rules({"retry": retry}).retry,
            max_duration_ms=settled["max_duration"],
            ttl_ms=settled["ttl"],
            machine=settled["machine"],
        )

    def _said_url(self) -> str | None:
        setting = self.settings.get("public_url")
        return None if setting.source == "default" else str(setting.value)

    def _push(self, url: str, json: Any, content: str | bytes | None, options: PushOptions) -> NewRun:
        if isinstance(queue := options.get("queue"), Queue):
            self.client.declare(queue)
        return new_push(url, json, content, options, parent_of(self.client), self._defaults)

    def _register(self, task: Task[Any, Any]) -> None:
        refuse_reserved(task)
        refuse_duplicate(self._tasks.get(task.id), task)
        refuse_same_path(self._tasks, task, task.id)
        self.client.declare(task.queue)
        task.bind(self.client, self._defaults, self.hooks)
        self._tasks[task.id] = task
        self.client.loads[task.id] = task.load
        if task.id in self._declared:
            self._declared[task.id].definition = task

    def _check(self, task: Task[Any, Any], id: str) -> None:
        refuse_reserved(task, id)
        refuse_duplicate(self._tasks.get(id), task, id)
        refuse_same_path(self._tasks, task, id)
        if task.queue.name != own_queue(task.id):
            self.client.declare(task.queue)

    def _local(self, task: str) -> Task[Any, Any] | None:
        if not isinstance(task, str):
            raise InvalidOption(
                "A trigger by name needs a task's id", seen=shown(task), do="Write task.trigger(payload)."
            )
        known = self._tasks.get(task) or self._declared.get(task)
        if known is None:
            checked_name(task, option="The id of a task", length=ID_LENGTH)
        return known

    def _run(self, target: Target, payload: Any, options: TriggerOptions) -> NewRun:
        text = self.client.sealed(target.task, AnyCodec().dump(payload))
        said = read_trigger_options(options)
        if isinstance(queue := options.get("queue"), Queue):
            self.client.declare(queue)
        return new_run(target, text, said, parent=parent_of(self.client))


def refuse_reserved(task: Task[Any, Any], id: str | None = None) -> None:
    if (id or task.id) == HTTP_TASK:
        raise InvalidOption(
            f"The id {HTTP_TASK} is that of pushed requests", seen=task.place, do="Give the task another."
        )


def _module_names(imports: object) -> tuple[str, ...]:
    listed = imports if isinstance(imports, Sequence) and not isinstance(imports, str | bytes) else [None]
    if all(isinstance(name, str) and _is_module(name) for name in listed):
        return tuple(listed)
    raise InvalidOption(
        "imports is not a list of module names", seen=shown(imports), do='Write imports=["shop.orders"].'
    )


def _is_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))
