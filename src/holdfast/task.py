"""Tasks: a function, and what has to be known to run it somewhere else.

    @app.task                        TaskFactory: a decorator
    @app.task(retry=Retry(5))        … or, with options, a maker of one (TaskDecorator)
    def greet(name: str) -> str      SyncTask or AsyncTask: still the function, and a Task

A task is decided at import: its signature is read, its options are checked, its codecs are built. Its verbs go through
the app it was registered on, which it knows as `Verbs` only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Concatenate, Final, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

import msgspec

from holdfast import codec, secret
from holdfast.annotations import place
from holdfast.batch import Batch, Item, batch_of
from holdfast.codec import Codec, codec_for
from holdfast.context import AsyncContext, Context, parent_of
from holdfast.errors import InvalidOption, InvalidTask, NotBound, PayloadInvalid, shown
from holdfast.handle import BatchHandle, RunHandle, RunVerbs
from holdfast.hooks import Hook, Hooked, Hooks, ends_of, in_order
from holdfast.idempotency import Scope
from holdfast.names import ID_LENGTH, checked_name, checked_run_id
from holdfast.options import (
    Rules,
    Target,
    TaskOptions,
    TriggerOptions,
    encode_rules,
    key_to_reset,
    new_run,
    read_rules,
    read_trigger_options,
)
from holdfast.queue import Queue, own_queue, queue_of
from holdfast.records import Make, NewRun, NewSchedule, TaskEntry
from holdfast.retry import Retry
from holdfast.schedule import catch_up_count, schedules_in, takes_slot
from holdfast.signature import ABSENT, Signature, read_signature
from holdfast.typed_dicts import for_pydantic

__all__ = [
    "AsyncTask",
    "Governing",
    "SyncTask",
    "Task",
    "TaskDecorator",
    "TaskFactory",
    "Verbs",
    "check_options",
    "define",
]

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")
Coro = Coroutine[Any, Any, R]

_NULL: Final = "null"


class Governing(NamedTuple):
    """What governs an attempt: the task's own retry and limits, under what was said at the trigger."""

    retry: Retry
    max_attempts: int
    max_duration_ms: int | None


class Verbs(RunVerbs, Protocol):
    """What tasks ask of the app they are registered on."""

    def trigger(self, run: NewRun, output: Codec[Any], connection: object = None) -> RunHandle[Any]: ...
    async def atrigger(self, run: NewRun, output: Codec[Any], connection: object = None) -> RunHandle[Any]: ...
    def batch_trigger(self, batch: Batch, connection: object = None) -> BatchHandle[Any]: ...
    async def abatch_trigger(self, batch: Batch, connection: object = None) -> BatchHandle[Any]: ...
    def reset_idempotency_key(self, task: str, key: str) -> bool: ...
    async def areset_idempotency_key(self, task: str, key: str) -> bool: ...
    def declare(self, queue: Queue) -> None:
        """Make a queue with its limits known. Raises InvalidOption if it was declared with other limits."""


class Hookup(Protocol):
    """Where requests come in that become runs of a task."""

    @property
    def path(self) -> str: ...
    @property
    def verified_by(self) -> str: ...


class Task(Hooked[T, R], Generic[T, R]):
    """A task with payload ``T`` and output ``R``.

    Made by ``@app.task``. The payload is checked against the annotation where it is triggered, and again where it runs.
    """

    id: str

    def __init__(self, fn: Callable[..., Any], signature: Signature, options: TaskOptions) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), fn)
        self.fn = fn
        self.signature = signature
        self.place = place(fn)
        said: dict[str, Any] = dict(options)
        self.id = _task_id(fn, said.pop("id", None))
        queue = said.pop("queue", None)
        self.queue = Queue(own_queue(self.id)) if queue is None else queue_of(queue)
        schedule = said.pop("schedule", None)
        self.schedules = () if schedule is None else schedules_in(schedule)
        self.webhook: Hookup | None = None
        self.rules = read_rules(said)
        self.payload_codec = _codec(signature.annotation, "payload", self.place)
        self.output_codec = _codec(signature.output, "output", self.place)
        self._if_none = _text_for_none(signature, self.payload_codec)
        if self.schedules and self._needs_payload():
            raise InvalidTask(
                f"Task {self.id} has a schedule, and takes a payload that nobody gives",
                seen=self.place,
                do="Let it take a Slot, or nothing; or make schedules with app.schedules.create(task, rule, payload).",
            )
        self._verbs: Verbs | None = None
        self._shared_hooks: Mapping[str, list[Hook]] = {}
        self._settle()

    # -- triggering --

    @overload
    def trigger(
        self: Task[None, R] | Task[Context, R] | Task[AsyncContext, R],
        payload: None = None,
        /,
        **options: Unpack[TriggerOptions],
    ) -> RunHandle[R]: ...
    @overload
    def trigger(self, payload: T, /, **options: Unpack[TriggerOptions]) -> RunHandle[R]: ...
    def trigger(self, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[R]:
        """Make a run. When this returns, it is on disk.

        Raises:
            InvalidOption, PayloadInvalid, NotSerializable, TooLarge: nothing was made, and why.
            IdempotencyBusy: somebody's open transaction holds the idempotency key.
            AttemptLost: the attempt that triggers no longer holds its run.
            DatabaseError: the database refused.

        >>> greet.trigger("Ada", delay="5s", tags=["signup"]).id
        '01jh…'
        """
        verbs = self._bound()
        return verbs.trigger(self._run(verbs, payload, options), self.output_codec, options.get("connection"))

    @overload
    async def atrigger(
        self: Task[None, R] | Task[Context, R] | Task[AsyncContext, R],
        payload: None = None,
        /,
        **options: Unpack[TriggerOptions],
    ) -> RunHandle[R]: ...
    @overload
    async def atrigger(self, payload: T, /, **options: Unpack[TriggerOptions]) -> RunHandle[R]: ...
    async def atrigger(self, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[R]:
        """`trigger` for async code."""
        verbs = self._bound()
        return await verbs.atrigger(self._run(verbs, payload, options), self.output_codec, options.get("connection"))

    def item(self, payload: T, /, **options: Unpack[TriggerOptions]) -> Item[R]:
        """An entry for a batch, with options of its own. A ``connection`` is given to the batch.

        >>> onboard.batch_trigger([ada, onboard.item(grace, priority=10)])
        """
        if (connection := options.get("connection")) is not None:
            raise InvalidOption(
                "connection is not an option of a single item",
                seen=shown(connection),
                do="Give it to batch_trigger(…, connection=…).",
            )
        return self._item(self.target(), payload, options)

    def batch_trigger(self, payloads: Iterable[T | Item[R]], /, *, connection: Any = None) -> BatchHandle[R]:
        """Make a run for each payload, thousands in one call. All are checked before any is made.

        With a ``connection`` all of them are made in its transaction.

        Raises:
            InvalidOption, PayloadInvalid, NotSerializable, TooLarge: nothing was made; a note says which item it is.
            BatchIncomplete: the database refused some items; the others were made.
        """
        verbs = self._bound()
        return verbs.batch_trigger(batch_of(payloads, verbs, self.item), connection)

    async def abatch_trigger(self, payloads: Iterable[T | Item[R]], /, *, connection: Any = None) -> BatchHandle[R]:
        """`batch_trigger` for async code."""
        verbs = self._bound()
        return await verbs.abatch_trigger(batch_of(payloads, verbs, self.item), connection)

    def reset_idempotency_key(self, key: str, /, *, scope: Scope = "global") -> bool:
        """Free an idempotency key of this task, so that the next trigger with it makes a new run. The run that had it
        goes on. Answers whether there was one.

        Raises:
            InvalidOption: the key cannot be a key, or the scope has no meaning here.

        >>> onboard.reset_idempotency_key("user-1")
        True
        """
        verbs = self._bound()
        return verbs.reset_idempotency_key(self.id, key_to_reset(key, scope, parent_of(verbs)))

    async def areset_idempotency_key(self, key: str, /, *, scope: Scope = "global") -> bool:
        """`reset_idempotency_key` for async code."""
        verbs = self._bound()
        return await verbs.areset_idempotency_key(self.id, key_to_reset(key, scope, parent_of(verbs)))

    def handle(self, run_id: str, /) -> RunHandle[R]:
        """The handle of one of this task's runs. Nothing is read; an unknown id shows when the handle is used."""
        return RunHandle(checked_run_id(run_id), False, self._bound(), self.output_codec)

    # -- for the app and the worker --

    def bind(self, verbs: Verbs, defaults: Rules, hooks: Mapping[str, list[Hook]] | None = None) -> None:
        """Belong to an app, whose defaults now stand under this task's own options, and whose hooks are called, too."""
        self._verbs = verbs
        self._shared_hooks = {} if hooks is None else hooks
        self.rules = self.rules.over(defaults)
        self._settle()

    def target(self) -> Target:
        """What a trigger must know of it: queue and defaults."""
        return self._target

    def rename(self, id: str) -> None:
        """Have another id, and so another queue of its own: what the prefix of a blueprint does."""
        if self.queue == Queue(own_queue(self.id)):
            self.queue = Queue(own_queue(id))
        self.id = id
        self._settle()

    def dump(self, payload: object) -> str:
        """A payload as JSON text, checked against the annotation.

        Raises:
            PayloadInvalid, NotSerializable
        """
        if payload is None and self._if_none is not None:
            return self._if_none
        if self.signature.payload is None:
            raise PayloadInvalid(f"Task {self.id} takes no payload", seen=shown(payload), do="Trigger it without one.")
        return self.payload_codec.dump_checked(payload)

    def load(self, text: str) -> Any:
        """A payload from its JSON text, as the function expects it.

        Raises:
            PayloadInvalid: it does not fit the annotation.
        """
        if self.signature.payload is None:
            return None
        return self.payload_codec.load(self._if_none if text == _NULL and self._if_none is not None else text)

    def unchecked(self, payload: Any) -> str:
        """A payload that nobody has compared with the annotation, as JSON text: what is secret in it is sealed. What
        does not fit fails where it runs."""
        return codec.encode(secret.sealed_by(self._secret_schema, payload) if self._secret_schema else payload)

    def secrets(self, payload: str) -> list[str]:
        """The texts of what is secret in a payload, however that came to be written."""
        if secret.KEY not in payload:
            if self._secret_schema is None:
                return []
            payload = codec.encode(secret.sealed_by(self._secret_schema, codec.decode(payload)))
        return codec.secrets_of(payload)

    @functools.cached_property
    def _secret_schema(self) -> Mapping[str, Any] | None:
        schema = self.payload_codec.schema() if self.signature.payload else None
        return schema if schema is not None and secret.has_secrets(codec.encode(schema)) else None

    def governing(self, overrides: str | None) -> Governing:
        """What governs an attempt, given the options that were stored with its run."""
        if overrides is None:
            return self._governing
        said = codec.decode(overrides)
        usual = self._governing
        return Governing(
            usual.retry,
            said.get("max_attempts", usual.max_attempts),
            said.get("max_duration_ms", usual.max_duration_ms),
        )

    def hooks_in_order(self) -> Hooks:
        """The app's hooks and its own, by kind, in the order in which they are called."""
        return in_order(self._shared_hooks, self.hooks)

    def ends(self) -> int:
        """Which ends its hooks are to be told of that may come without a worker, as bits."""
        return ends_of(self.hooks_in_order())

    def entry(self, version: str | None = None) -> TaskEntry:
        """This task as workers announce it."""
        schema = self.payload_codec.schema() if self.signature.payload else None
        return TaskEntry(
            id=self.id,
            queue=self.queue.name,
            options=encode_rules(self.rules),
            schema=codec.encode(schema) if schema is not None else None,
            version=version,
            end_hooks=self.ends(),
            webhook=self.webhook.path if self.webhook else None,
            verified_by=self.webhook.verified_by if self.webhook else None,
        )

    def declared_schedules(self, app: str) -> list[NewSchedule]:
        """Its schedules as workers of this app announce them."""
        payload = None if self._gets_slot() else self._if_none
        make = msgspec.json.encode(Make(task=self.id, payload=payload)).decode()
        return [
            NewSchedule(
                id="",
                task=self.id,
                rule=msgspec.json.encode(each.rule(0)).decode(),
                make=make,
                catch_up=catch_up_count(each.catch_up),
                overlap=each.overlap,
                jitter_ms=each.jitter_ms,
                owner=app,
                key=f"{self.id}#{number}",
            )
            for number, each in enumerate(self.schedules)
        ]

    def scheduled_payload(self, payload: object) -> str | None:
        """What the runs of a schedule get as their payload, as JSON text; None for their slot.

        Raises:
            PayloadInvalid, NotSerializable
        """
        return None if payload is None and self._gets_slot() else self.dump(payload)

    def _gets_slot(self) -> bool:
        return self.signature.payload is None or takes_slot(self.signature.annotation)

    def _needs_payload(self) -> bool:
        return not self._gets_slot() and self._if_none is None

    def __reduce__(self) -> str:
        return self.fn.__qualname__  # pickled by name, as functions are

    def __repr__(self) -> str:
        return f"<Task {self.id}>"

    def _settle(self) -> None:
        retry = self.rules.retry or Retry()
        machine = self.rules.machine.name if self.rules.machine else None
        self._target = Target(self.id, self.queue.name, self.rules.ttl_ms, self.rules.priority_ms or 0, machine)
        self._governing = Governing(retry, retry.max_attempts, self.rules.max_duration_ms)

    def _bound(self) -> Verbs:
        if self._verbs is None:
            raise NotBound(
                f"Task {self.id} belongs to no app yet",
                seen=self.place,
                do="Define it with @app.task, or take its blueprint in with app.include(blueprint).",
            )
        return self._verbs

    def _read(self, options: TriggerOptions) -> Mapping[str, Any]:
        said = read_trigger_options(options)
        queue = options.get("queue")
        if isinstance(queue, Queue):
            self._bound().declare(queue)
        return said

    def _run(self, verbs: Verbs, payload: object, options: TriggerOptions) -> NewRun:
        return self._run_of(self.target(), verbs, payload, options)

    def _run_of(self, target: Target, verbs: Verbs, payload: object, options: TriggerOptions) -> NewRun:
        return new_run(target, self.dump(payload), self._read(options), parent=parent_of(verbs))

    async def _child_run(self, home: object, payload: object, options: TriggerOptions) -> NewRun:
        """The run that a task which goes through ``home`` triggers, and waits for.

        Raises:
            What trigger raises, and InvalidOption: it goes through another app, or joins a transaction.
        """
        verbs = self._bound()
        if verbs is not home or options.get("connection") is not None:
            raise InvalidOption(
                "A run can wait for a task of its own app only, and not in a transaction of yours",
                seen=self.id,
                do="Trigger it with task.trigger(), and wait for the handle's result in a step.",
            )
        return self._run_of(await self._atarget(), verbs, payload, options)

    async def _atarget(self) -> Target:
        return self.target()

    def _item(self, target: Target, payload: object, options: TriggerOptions) -> Item[R]:
        return Item(self._bound(), target, self.output_codec, self.dump(payload), self._read(options))


class SyncTask(Task[T, R], Generic[T, R, P]):
    """A task whose function is a ``def``. Calling it calls the function, here and now."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", self.fn(*args, **kwargs))


class AsyncTask(Task[T, R], Generic[T, R, P]):
    """A task whose function is an ``async def``. Calling it calls the function, here and now."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coro[R]:
        return cast("Coro[R]", self.fn(*args, **kwargs))


# -- the decorator ----------------------------------------------------------------------------------------------------


class TaskDecorator:
    """Makes a function a task. ``register`` takes the task in."""

    def __init__(self, register: Callable[[Task[Any, Any]], None], options: TaskOptions | None = None) -> None:
        self._register = register
        self._options: TaskOptions = options or {}

    # The first parameter is the payload unless it is the context; what comes after it is injected.
    @overload
    def __call__(self, fn: Callable[Concatenate[T, P], Coro[R]], /) -> AsyncTask[T, R, Concatenate[T, P]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[Concatenate[T, P], R], /) -> SyncTask[T, R, Concatenate[T, P]]: ...
    @overload
    def __call__(self, fn: Callable[P, Coro[R]], /) -> AsyncTask[None, R, P]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncTask[None, R, P]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Any:
        task = define(fn, self._options)
        self._register(task)
        return task


class TaskFactory(TaskDecorator):
    """What ``app.task`` is: a decorator, or with options a maker of one.

    >>> @app.task(id="fulfill-order", retry=Retry(max_attempts=5), max_duration="15m")
    ... async def fulfill(user: User) -> str: ...

    Raises:
        InvalidTask: the function asks for what nobody can give it.
        InvalidOption: an option is unknown or cannot be used.
        DuplicateTask: the app has a task with this id.
    """

    @overload
    def __call__(self, fn: Callable[Concatenate[T, P], Coro[R]], /) -> AsyncTask[T, R, Concatenate[T, P]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[Concatenate[T, P], R], /) -> SyncTask[T, R, Concatenate[T, P]]: ...
    @overload
    def __call__(self, fn: Callable[P, Coro[R]], /) -> AsyncTask[None, R, P]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncTask[None, R, P]: ...
    @overload
    def __call__(self, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    def __call__(self, *functions: Any, **options: Unpack[TaskOptions]) -> Any:
        decorate = TaskDecorator(self._register, options)
        if not functions:
            check_options(options)
            return decorate
        if len(functions) != 1 or options:
            raise InvalidTask("@app.task takes a function or options", do='Write @app.task(id="…") above the function.')
        return decorate(functions[0])


def define(fn: Callable[..., Any], options: TaskOptions) -> Task[Any, Any]:
    """The task that a function and options make, belonging to no app yet.

    Raises:
        InvalidTask, InvalidOption
    """
    fn = fn.__func__ if isinstance(fn, staticmethod) else fn
    signature = read_signature(fn)
    return (AsyncTask if signature.is_async else SyncTask)(fn, signature, options)


def check_options(options: TaskOptions) -> None:
    """Refuse what no function could be a task with, on the line where it is written."""
    said: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if "id" in said:
        checked_name(said.pop("id"), option="id", length=ID_LENGTH)
    if "queue" in said:
        queue_of(said.pop("queue"))
    if "schedule" in said:
        schedules_in(said.pop("schedule"))
    read_rules(said)


def _task_id(fn: Callable[..., Any], given: str | None) -> str:
    name = given if given is not None else getattr(fn, "__name__", None)
    if name is None or name == "<lambda>":
        raise InvalidTask(
            "A task needs a name, and this function has none", seen=place(fn), do='Write @app.task(id="…").'
        )
    return checked_name(name, option="id", length=ID_LENGTH)


def _codec(annotation: Any, role: str, written: str) -> Codec[Any]:
    try:
        return codec_for(for_pydantic(annotation), role=role)
    except InvalidTask as error:
        error.add_note(f"It is the annotation of the {role} of the task at {written}.")
        raise


def _text_for_none(signature: Signature, payload: Codec[Any]) -> str | None:
    """The JSON text that a trigger without payload stands for; None if the annotation has to decide, and refuse."""
    if signature.payload is None or signature.default is None:
        return _NULL
    if signature.default is ABSENT or _admits_none(signature, payload):
        return None
    return payload.dump_checked(signature.default)


def _admits_none(signature: Signature, payload: Codec[Any]) -> bool:
    if signature.annotation is Any:
        return False
    try:
        payload.load(_NULL)
    except PayloadInvalid:
        return False
    return True
